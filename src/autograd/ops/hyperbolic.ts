/** Hyperbolic sine and cosine, and the inverses of the hyperbolic functions. tanh is among the activations. */
import { defineUnary, type Unary } from './elementwise.js';

/** y = sinh x = (eˣ − e⁻ˣ) / 2. */
export const sinh: Unary = defineUnary({
  name: 'sinh',
  equation: 'y = (eˣ − e⁻ˣ) / 2',
  derivative: 'x̄ = ȳ cosh x',
  kernel: function sinh(x) {
    return Math.sinh(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.cosh()),
  test: { scalar: (x) => (Math.exp(x!) - Math.exp(-x!)) / 2 },
});

/** y = cosh x = (eˣ + e⁻ˣ) / 2. */
export const cosh: Unary = defineUnary({
  name: 'cosh',
  equation: 'y = (eˣ + e⁻ˣ) / 2',
  derivative: 'x̄ = ȳ sinh x',
  kernel: function cosh(x) {
    return Math.cosh(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sinh()),
  test: { scalar: (x) => (Math.exp(x!) + Math.exp(-x!)) / 2 },
});

/** y = arsinh x, the number whose sinh is x. */
export const asinh: Unary = defineUnary({
  name: 'asinh',
  equation: 'y = ln(x + √(x² + 1))',
  derivative: 'x̄ = ȳ / √(x² + 1) = ȳ / cosh y',
  kernel: function asinh(x) {
    return Math.asinh(x);
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.div(output.cosh()), // x² may overflow, cosh y does not before x
  test: { scalar: (x) => Math.log(x! + Math.sqrt(x! * x! + 1)) },
});

/** y = arcosh x ≥ 0, the number whose cosh is x; NaN below 1. The derivative is infinite at 1. */
export const acosh: Unary = defineUnary({
  name: 'acosh',
  equation: 'y = ln(x + √(x² − 1))',
  derivative: 'x̄ = ȳ / √(x² − 1) = ȳ / sinh y',
  kernel: function acosh(x) {
    return Math.acosh(x);
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.div(output.sinh()),
  test: { scalar: (x) => Math.log(x! + Math.sqrt(x! * x! - 1)), domain: [1.2, 3] },
});

/** y = artanh x, the number whose tanh is x; ±∞ at ±1, NaN beyond. */
export const atanh: Unary = defineUnary({
  name: 'atanh',
  equation: 'y = ½ ln((1 + x) / (1 − x))',
  derivative: 'x̄ = ȳ / (1 − x²), NaN beyond ±1',
  kernel: function atanh(x) {
    return Math.atanh(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.neg().add(1).mul(x!.add(1))),
  test: { scalar: (x) => Math.log((1 + x!) / (1 - x!)) / 2, domain: [-0.9, 0.9] },
});
