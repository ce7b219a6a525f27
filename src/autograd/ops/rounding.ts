/** Rounding to whole numbers. */
import { defineUnary, type Unary } from './elementwise.js';

const vjp = 'a rounded number is constant wherever it is continuous';

/** y = ⌊x⌋, the largest whole number that is not above x. No derivative. */
export const floor: Unary = defineUnary({
  name: 'floor',
  equation: 'y = ⌊x⌋',
  derivative: 'none',
  kernel: function floor(x) {
    return Math.floor(x);
  },
  int32: 'exact',
  saves: 'nothing',
  vjp,
  test: { scalar: (x) => x! - (((x! % 1) + 1) % 1) },
});

/** y = ⌈x⌉, the smallest whole number that is not below x. No derivative. */
export const ceil: Unary = defineUnary({
  name: 'ceil',
  equation: 'y = ⌈x⌉',
  derivative: 'none',
  kernel: function ceil(x) {
    return Math.ceil(x);
  },
  int32: 'exact',
  saves: 'nothing',
  vjp,
  test: { scalar: (x) => x! + (((-x! % 1) + 1) % 1) },
});

/** y = the whole number nearest to x; of two that are as near the even one, as in IEEE 754, NumPy and PyTorch. No derivative. */
export const round: Unary = defineUnary({
  name: 'round',
  equation: 'y = the nearest whole number, the even one of two',
  derivative: 'none',
  source: 'IEEE 754, roundToIntegralTiesToEven',
  kernel: function round(x) {
    const below = Math.floor(x);
    const rest = x - below;
    let y = below;
    if (rest > 0.5) y = below + 1;
    // Half of an odd number is not whole.
    if (rest === 0.5 && Math.floor(below * 0.5) !== below * 0.5) y = below + 1;
    return y;
  },
  int32: 'exact',
  saves: 'nothing',
  vjp,
  test: { scalar: (x) => Number(x!.toFixed(0)) },
});
