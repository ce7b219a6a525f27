/** Activation functions. */
import type { Tensor } from '../tensor.js';
import { defineUnary, type Unary } from './elementwise.js';

/** y = tanh x. */
export const tanh: Unary = defineUnary({
  name: 'tanh',
  equation: 'y = tanh x',
  derivative: 'x̄ = (1 − y²) ȳ',
  kernel: function tanh(x) {
    return Math.tanh(x);
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square().neg().add(1)),
  gradKernel: function tanhGrad(g, y) {
    return g * (1 - y * y);
  },
  test: { scalar: (x) => 1 - 2 / (Math.exp(2 * x!) + 1) },
});

/** y = 1 / (1 + e⁻ˣ). */
export const sigmoid: Unary = defineUnary({
  name: 'sigmoid',
  equation: 'y = 1 / (1 + e⁻ˣ)',
  derivative: 'x̄ = y (1 − y) ȳ',
  kernel: function sigmoid(x) {
    return 1 / (1 + Math.exp(-x));
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output).mul(output.neg().add(1)),
  gradKernel: function sigmoidGrad(g, y) {
    return g * y * (1 - y);
  },
  test: { scalar: (x) => 0.5 + 0.5 * Math.tanh(x! / 2) },
});

/** y = max(x, 0); derivative 0 at 0. NaN passes, in both directions. */
export const relu: Unary = defineUnary({
  name: 'relu',
  equation: 'y = max(x, 0)',
  derivative: 'x̄ = ȳ [x > 0]',
  kernel: function relu(x) {
    return x > 0 || x !== x ? x : 0;
  },
  int32: 'exact',
  saves: 'output',
  // y > 0 exactly where x > 0, so the output serves, and the input need not be kept.
  vjp: ({ gradOutput, output }) => output.lessEqual(0).where(0, gradOutput),
  gradKernel: function reluGrad(g, x) {
    return x <= 0 ? 0 : g;
  },
  test: { scalar: (x) => Math.max(x!, 0), avoid: [0] },
});

/** y = (2/√π) ∫₀ˣ e^(−t²) dt. */
export const erf: Unary = defineUnary({
  name: 'erf',
  equation: 'y = (2/√π) ∫₀ˣ e^(−t²) dt',
  derivative: 'x̄ = (2/√π) e^(−x²) ȳ',
  // erf(x) = (2/√π) e^(−x²) Σ_n 2ⁿ x^(2n+1) / (1·3·5 ⋯ (2n+1)), Abramowitz & Stegun 7.1.6: all terms of one sign, so no
  // cancellation. Beyond |x| = 6 it is 1 to the last bit of a double.
  kernel: function erf(x) {
    const a = Math.abs(x);
    let term = a;
    let sum = a;
    for (let n = 1; n < 120; n++) {
      term = (term * 2 * a * a) / (2 * n + 1);
      sum = sum + term;
    }
    let y = 1.1283791670955126 * Math.exp(-a * a) * sum;
    if (a > 6) y = 1;
    if (x < 0) y = -y;
    if (x !== x) y = x;
    return y;
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.square().neg().exp()).mul(2 / Math.sqrt(Math.PI)),
  gradKernel: function erfGrad(g, x) {
    return g * 1.1283791670955126 * Math.exp(-x * x);
  },
});

/** x no farther than 1000 from 0: beyond, slopes are what they are there, and ∞ · 0 would be NaN. */
function within1000(x: Tensor): Tensor {
  return x.maximum(-1000).minimum(1000);
}

/** y = x Φ(x), Φ the normal distribution function (the exact form, with erf). */
export const gelu: Unary = defineUnary({
  name: 'gelu',
  equation: 'y = x Φ(x) = ½ x (1 + erf(x/√2))',
  derivative: 'x̄ = (Φ(x) + x φ(x)) ȳ, φ(x) = e^(−x²/2)/√(2π)',
  source: 'Hendrycks & Gimpel 2016, arXiv 1606.08415',
  kernel: function gelu(x) {
    const a = Math.abs(x * 0.7071067811865476);
    let term = a;
    let sum = a;
    for (let n = 1; n < 120; n++) {
      term = (term * 2 * a * a) / (2 * n + 1);
      sum = sum + term;
    }
    let y = 1.1283791670955126 * Math.exp(-a * a) * sum; // erf(|x|/√2), as in erf above: kernels call no others
    if (a > 6) y = 1;
    if (x < 0) y = -y;
    return y === -1 ? 0 : 0.5 * x * (1 + y); // −∞ · 0 is 0 here
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => {
    const distribution = x!.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
    const near = within1000(x!);
    const density = near
      .square()
      .mul(-0.5)
      .exp()
      .mul(1 / Math.sqrt(2 * Math.PI));
    return gradOutput.mul(distribution.add(near.mul(density)));
  },
  gradKernel: function geluGrad(g, x) {
    const a = Math.abs(x * 0.7071067811865476);
    let term = a;
    let sum = a;
    for (let n = 1; n < 120; n++) {
      term = (term * 2 * a * a) / (2 * n + 1);
      sum = sum + term;
    }
    let y = 1.1283791670955126 * Math.exp(-a * a) * sum;
    if (a > 6) y = 1;
    if (x < 0) y = -y;
    let slope = 0;
    if (a < 30) slope = x * 0.3989422804014327 * Math.exp(-0.5 * x * x); // ∞ · 0 is 0 here
    if (x !== x) slope = x;
    return g * (0.5 * (1 + y) + slope);
  },
});

/** y = x · sigmoid(1.702 x): the approximation of gelu that CLIP and CLOOB use. */
export const quickGelu: Unary = defineUnary({
  name: 'quickGelu',
  equation: 'y = x σ(1.702 x)',
  derivative: 'x̄ = σ (1 + 1.702 x (1 − σ)) ȳ, σ = σ(1.702 x)',
  source: 'Hendrycks & Gimpel 2016; the activation of the official CLIP and CLOOB transformers',
  kernel: function quickGelu(x) {
    return x < -1000 ? 0 : x / (1 + Math.exp(-1.702 * x));
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => {
    const near = within1000(x!).mul(1.702);
    const s = near.sigmoid();
    return gradOutput.mul(s).mul(near.mul(s.neg().add(1)).add(1));
  },
  gradKernel: function quickGeluGrad(g, x) {
    let near = x;
    if (x > 1000) near = 1000;
    if (x < -1000) near = -1000;
    const s = 1 / (1 + Math.exp(-1.702 * near));
    return g * s * (1 + 1.702 * near * (1 - s));
  },
  test: { scalar: (x) => x! * (0.5 + 0.5 * Math.tanh(0.851 * x!)) },
});

/** y = ln(1 + eˣ), without overflow. */
export const softplus: Unary = defineUnary({
  name: 'softplus',
  equation: 'y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|))',
  derivative: 'x̄ = σ(x) ȳ',
  kernel: function softplus(x) {
    return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sigmoid()),
  gradKernel: function softplusGrad(g, x) {
    return g / (1 + Math.exp(-x));
  },
  test: { scalar: (x) => Math.log(1 + Math.exp(x!)) },
});
