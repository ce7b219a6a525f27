/** Exponentials, logarithms and roots. */
import * as f from '../../kernels/scalar.js';
import { defineUnary, type Unary } from './elementwise.js';

/** y = eˣ. */
export const exp: Unary = defineUnary({
  name: 'exp',
  equation: 'y = eˣ',
  derivative: 'x̄ = y ȳ',
  kernel: f.exp,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output),
  test: { scalar: (x) => Math.E ** x! },
});

/** y = ln x; −∞ at 0, NaN below. No hidden epsilon. */
export const log: Unary = defineUnary({
  name: 'log',
  equation: 'y = ln x',
  derivative: 'x̄ = ȳ / x',
  kernel: f.log,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!),
  test: { scalar: (x) => Math.log2(x!) * Math.LN2, domain: [0.1, 3] },
});

/** y = log₂ x; −∞ at 0, NaN below. */
export const log2: Unary = defineUnary({
  name: 'log2',
  equation: 'y = log₂ x',
  derivative: 'x̄ = ȳ / (x ln 2)',
  kernel: function log2(x) {
    return Math.log2(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.mul(Math.LN2)),
  test: { scalar: (x) => Math.log(x!) / Math.LN2, domain: [0.1, 3] },
});

/** y = log₁₀ x; −∞ at 0, NaN below. */
export const log10: Unary = defineUnary({
  name: 'log10',
  equation: 'y = log₁₀ x',
  derivative: 'x̄ = ȳ / (x ln 10)',
  kernel: function log10(x) {
    return Math.log10(x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.mul(Math.LN10)),
  test: { scalar: (x) => Math.log(x!) / Math.LN10, domain: [0.1, 3] },
});

/** y = √x; NaN below 0. The derivative is infinite at 0. */
export const sqrt: Unary = defineUnary({
  name: 'sqrt',
  equation: 'y = √x',
  derivative: 'x̄ = ȳ / 2y',
  kernel: f.sqrt,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.div(output.mul(2)),
  gradKernel: function sqrtGrad(g, y) {
    return g / (2 * y);
  },
  test: { scalar: (x) => x! ** 0.5, domain: [0.1, 3] },
});

/** y = 1/√x. */
export const rsqrt: Unary = defineUnary({
  name: 'rsqrt',
  equation: 'y = x^(−½)',
  derivative: 'x̄ = −½ y³ ȳ',
  kernel: f.rsqrt,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square().mul(output)).mul(-0.5),
  gradKernel: function rsqrtGrad(g, y) {
    return -0.5 * g * y * y * y;
  },
  test: { scalar: (x) => x! ** -0.5, domain: [0.2, 3] },
});

/** y = ln(1 + x), accurate near 0. */
export const log1p: Unary = defineUnary({
  name: 'log1p',
  equation: 'y = ln(1 + x)',
  derivative: 'x̄ = ȳ / (1 + x)',
  kernel: f.log1p,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.add(1)),
  test: { scalar: (x) => Math.log(1 + x!), domain: [-0.8, 2] },
});

/** y = eˣ − 1, accurate near 0. */
export const expm1: Unary = defineUnary({
  name: 'expm1',
  equation: 'y = eˣ − 1',
  derivative: 'x̄ = (y + 1) ȳ',
  kernel: function expm1(x) {
    return Math.expm1(x);
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.add(1)),
  test: { scalar: (x) => Math.exp(x!) - 1 },
});
