/** Activation functions. */
import { addMethods, defineUnary } from './elementwise.js';

declare module '../tensor.js' {
  interface Tensor {
    /** y = tanh x. */
    tanh(): Tensor;
    /** y = 1 / (1 + e⁻ˣ). */
    sigmoid(): Tensor;
    /** y = max(x, 0); derivative 0 at 0. */
    relu(): Tensor;
    /** y = x Φ(x), Φ the normal distribution function (the exact form, with erf). */
    gelu(): Tensor;
    /** y = x · sigmoid(1.702 x): the approximation of gelu that CLIP and CLOOB use. */
    quickGelu(): Tensor;
    /** y = ln(1 + eˣ), without overflow. */
    softplus(): Tensor;
    /** y = (2/√π) ∫₀ˣ e^(−t²) dt. */
    erf(): Tensor;
  }
}

function tanh(x: number): number {
  return Math.tanh(x);
}
function tanhGrad(g: number, y: number): number {
  return g * (1 - y * y);
}

export const hyperbolicTangent = defineUnary({
  name: 'tanh',
  equation: 'y = tanh x',
  derivative: 'x̄ = (1 − y²) ȳ',
  kernel: tanh,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square().neg().add(1)),
  gradKernel: tanhGrad,
  test: { scalar: (x) => 1 - 2 / (Math.exp(2 * x!) + 1) },
});

function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}
function sigmoidGrad(g: number, y: number): number {
  return g * y * (1 - y);
}

export const logistic = defineUnary({
  name: 'sigmoid',
  equation: 'y = 1 / (1 + e⁻ˣ)',
  derivative: 'x̄ = y (1 − y) ȳ',
  kernel: sigmoid,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output).mul(output.neg().add(1)),
  gradKernel: sigmoidGrad,
  test: { scalar: (x) => 0.5 + 0.5 * Math.tanh(x! / 2) },
});

function relu(x: number): number {
  return x > 0 || x !== x ? x : 0;
}
function reluGrad(g: number, x: number): number {
  return x > 0 ? g : 0;
}

export const rectify = defineUnary({
  name: 'relu',
  equation: 'y = max(x, 0)',
  derivative: 'x̄ = ȳ [x > 0]',
  kernel: relu,
  saves: 'output',
  // y > 0 exactly where x > 0, so the output serves, and the input need not be kept.
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.greater(0)),
  gradKernel: reluGrad,
  test: { scalar: (x) => Math.max(x!, 0), avoid: [0] },
});

/**
 * erf(x) = (2/√π) e^(−x²) Σ_n 2ⁿ x^(2n+1) / (1·3·5 ⋯ (2n+1)): all terms of one sign, so no cancellation.
 * Beyond |x| = 6 it is 1 to the last bit of a double.
 * @source Abramowitz & Stegun 7.1.6
 */
function erf(x: number): number {
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
}
function erfGrad(g: number, x: number): number {
  return g * 1.1283791670955126 * Math.exp(-x * x);
}

export const errorFunction = defineUnary({
  name: 'erf',
  equation: 'y = (2/√π) ∫₀ˣ e^(−t²) dt',
  derivative: 'x̄ = (2/√π) e^(−x²) ȳ',
  kernel: erf,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.square().neg().exp()).mul(2 / Math.sqrt(Math.PI)),
  gradKernel: erfGrad,
});

function gelu(x: number): number {
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
  return 0.5 * x * (1 + y);
}
function geluGrad(g: number, x: number): number {
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
  return g * (0.5 * (1 + y) + x * 0.3989422804014327 * Math.exp(-0.5 * x * x));
}

export const gaussianLinear = defineUnary({
  name: 'gelu',
  equation: 'y = x Φ(x) = ½ x (1 + erf(x/√2))',
  derivative: 'x̄ = (Φ(x) + x φ(x)) ȳ, φ(x) = e^(−x²/2)/√(2π)',
  source: 'Hendrycks & Gimpel 2016, arXiv 1606.08415',
  kernel: gelu,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => {
    const distribution = x!.mul(Math.SQRT1_2).erf().add(1).mul(0.5);
    const density = x!
      .square()
      .mul(-0.5)
      .exp()
      .mul(1 / Math.sqrt(2 * Math.PI));
    return gradOutput.mul(distribution.add(x!.mul(density)));
  },
  gradKernel: geluGrad,
});

function quickGelu(x: number): number {
  return x / (1 + Math.exp(-1.702 * x));
}
function quickGeluGrad(g: number, x: number): number {
  const s = 1 / (1 + Math.exp(-1.702 * x));
  return g * s * (1 + 1.702 * x * (1 - s));
}

export const quickGaussianLinear = defineUnary({
  name: 'quickGelu',
  equation: 'y = x σ(1.702 x)',
  derivative: 'x̄ = σ (1 + 1.702 x (1 − σ)) ȳ, σ = σ(1.702 x)',
  source: 'Hendrycks & Gimpel 2016; the activation of the official CLIP and CLOOB transformers',
  kernel: quickGelu,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => {
    const s = x!.mul(1.702).sigmoid();
    return gradOutput.mul(s).mul(x!.mul(1.702).mul(s.neg().add(1)).add(1));
  },
  gradKernel: quickGeluGrad,
  test: { scalar: (x) => x! * (0.5 + 0.5 * Math.tanh(0.851 * x!)) },
});

function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}
function softplusGrad(g: number, x: number): number {
  return g / (1 + Math.exp(-x));
}

export const softPlus = defineUnary({
  name: 'softplus',
  equation: 'y = ln(1 + eˣ) = max(x, 0) + ln(1 + e^(−|x|))',
  derivative: 'x̄ = σ(x) ȳ',
  kernel: softplus,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sigmoid()),
  gradKernel: softplusGrad,
  test: { scalar: (x) => Math.log(1 + Math.exp(x!)) },
});

addMethods({
  tanh: hyperbolicTangent,
  sigmoid: logistic,
  relu: rectify,
  gelu: gaussianLinear,
  quickGelu: quickGaussianLinear,
  softplus: softPlus,
  erf: errorFunction,
});
