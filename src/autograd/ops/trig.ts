/** Trigonometric functions and their inverses, and the absolute value with its sign. */
import type { Operand, Tensor } from '../tensor.js';
import { div, maximum, minimum } from './arithmetic.js';
import { type Binary, defineBinary, defineUnary, type Unary } from './elementwise.js';

/** y = sin x, x in radians. */
export const sin: Unary = defineUnary({
  name: 'sin',
  equation: 'y = sin x',
  derivative: 'x̄ = ȳ cos x',
  kernel: function sin(x) {
    return Math.sin(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.cos()),
  gradKernel: function sinGrad(g, x) {
    return g * Math.cos(x);
  },
  test: { scalar: (x) => Math.cos(x! - Math.PI / 2), domain: [-4, 4], tolerance32: 2e-5 },
});

/** y = cos x, x in radians. */
export const cos: Unary = defineUnary({
  name: 'cos',
  equation: 'y = cos x',
  derivative: 'x̄ = −ȳ sin x',
  kernel: function cos(x) {
    return Math.cos(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sin()).neg(),
  gradKernel: function cosGrad(g, x) {
    return -g * Math.sin(x);
  },
  test: { scalar: (x) => Math.sin(x! + Math.PI / 2), domain: [-4, 4], tolerance32: 2e-5 },
});

/** y = tan x, x in radians. */
export const tan: Unary = defineUnary({
  name: 'tan',
  equation: 'y = tan x',
  derivative: 'x̄ = (1 + y²) ȳ',
  kernel: function tan(x) {
    return Math.tan(x);
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square().add(1)),
  test: { scalar: (x) => Math.sin(x!) / Math.cos(x!), domain: [-1.2, 1.2] },
});

/** √(1 − x²), with its digits near ±1. */
const leg = (x: Tensor) => x.neg().add(1).mul(x.add(1)).sqrt();

/** y = arcsin x in [−π/2, π/2]; NaN beyond ±1. The derivative is infinite at ±1. */
export const asin: Unary = defineUnary({
  name: 'asin',
  equation: 'y = arcsin x',
  derivative: 'x̄ = ȳ / √(1 − x²)',
  kernel: function asin(x) {
    return Math.asin(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(leg(x!)),
  test: { scalar: (x) => Math.atan(x! / Math.sqrt(1 - x! * x!)), domain: [-0.9, 0.9] },
});

/** y = arccos x in [0, π]; NaN beyond ±1. The derivative is infinite at ±1. */
export const acos: Unary = defineUnary({
  name: 'acos',
  equation: 'y = arccos x',
  derivative: 'x̄ = −ȳ / √(1 − x²)',
  kernel: function acos(x) {
    return Math.acos(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(leg(x!)).neg(),
  test: { scalar: (x) => Math.PI / 2 - Math.atan(x! / Math.sqrt(1 - x! * x!)), domain: [-0.9, 0.9] },
});

/** y = arctan x in [−π/2, π/2]. */
export const atan: Unary = defineUnary({
  name: 'atan',
  equation: 'y = arctan x',
  derivative: 'x̄ = ȳ / (1 + x²)',
  kernel: function atan(x) {
    return Math.atan(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.square().add(1)),
  test: { scalar: (x) => Math.asin(x! / Math.sqrt(1 + x! * x!)) },
});

/** of / (a² + b²), all divided by the larger of the two first, so that no square overflows or vanishes. */
function overSquares(of: Operand, a: Operand, b: Operand): Tensor {
  const size = (x: Operand) => (typeof x === 'number' ? Math.abs(x) : x.detach().abs());
  const scale = minimum(maximum(size(a), size(b)), 1e38); // finite: beside an infinity the slope of the other is 0
  return div(of, scale).div(div(a, scale).square().add(div(b, scale).square()).mul(scale));
}

/**
 * y = the angle in (−π, π] of the point (b, a) seen from the origin: arctan(a/b) in the right quadrant. atan2(0, 0) is 0
 * (π for b = −0), without a derivative (NaN).
 */
export const atan2: Binary = defineBinary({
  name: 'atan2',
  equation: 'y = the angle of (b, a), tan y = a / b',
  derivative: 'ā = ȳ b / (a² + b²), b̄ = −ȳ a / (a² + b²)',
  kernel: function atan2(a, b) {
    return Math.atan2(a, b);
  },
  int32: 'float32',
  saves: { inputs: [0, 1] },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(overSquares(b!, a!, b!)),
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(overSquares(a!, a!, b!)).neg(),
  ],
  test: {
    scalar: (a, b) => 2 * Math.atan(a! / (Math.sqrt(a! * a! + b! * b!) + b!)),
    domain: [
      [-2, 2],
      [0.1, 2],
    ],
  },
});

/** y = −1, 0 or 1. No derivative. */
export const sign: Unary = defineUnary({
  name: 'sign',
  equation: 'y = [x > 0] − [x < 0]',
  derivative: 'none',
  kernel: function sign(x) {
    return x > 0 ? 1 : x < 0 ? -1 : x;
  },
  int32: 'exact',
  saves: 'nothing',
  vjp: 'the sign is constant wherever it is continuous',
  test: { scalar: (x) => Math.sign(x!) },
});

/** y = |x|; derivative 0 at 0. */
export const abs: Unary = defineUnary({
  name: 'abs',
  equation: 'y = |x|',
  derivative: 'x̄ = ȳ sign(x), 0 at 0',
  kernel: function abs(x) {
    return Math.abs(x);
  },
  int32: 'exact',
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sign()),
  gradKernel: function absGrad(g, x) {
    return x > 0 ? g : x < 0 ? -g : 0;
  },
  test: { scalar: (x) => Math.max(x!, -x!), avoid: [0] },
});
