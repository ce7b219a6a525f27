/** Exponentials, logarithms and roots. */
import { exp, log, rsqrt } from '../../kernels/scalar.js';
import { addMethods, defineUnary } from './elementwise.js';

declare module '../tensor.js' {
  interface Tensor {
    /** y = eˣ. */
    exp(): Tensor;
    /** y = ln x; −∞ at 0, NaN below. No hidden epsilon. */
    log(): Tensor;
    /** y = √x; NaN below 0. The derivative is infinite at 0. */
    sqrt(): Tensor;
    /** y = 1/√x. */
    rsqrt(): Tensor;
    /** y = ln(1 + x), accurate near 0. */
    log1p(): Tensor;
    /** y = eˣ − 1, accurate near 0. */
    expm1(): Tensor;
  }
}

export const exponential = defineUnary({
  name: 'exp',
  equation: 'y = eˣ',
  derivative: 'x̄ = y ȳ',
  kernel: exp,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output),
  test: { scalar: (x) => Math.E ** x! },
});

export const logarithm = defineUnary({
  name: 'log',
  equation: 'y = ln x',
  derivative: 'x̄ = ȳ / x',
  kernel: log,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!),
  test: { scalar: (x) => Math.log2(x!) * Math.LN2, domain: [0.1, 3] },
});

function sqrt(x: number): number {
  return Math.sqrt(x);
}
function sqrtGrad(g: number, y: number): number {
  return g / (2 * y);
}

export const squareRoot = defineUnary({
  name: 'sqrt',
  equation: 'y = √x',
  derivative: 'x̄ = ȳ / 2y',
  kernel: sqrt,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.div(output.mul(2)),
  gradKernel: sqrtGrad,
  test: { scalar: (x) => x! ** 0.5, domain: [0.1, 3] },
});

function rsqrtGrad(g: number, y: number): number {
  return -0.5 * g * y * y * y;
}

export const inverseSquareRoot = defineUnary({
  name: 'rsqrt',
  equation: 'y = x^(−½)',
  derivative: 'x̄ = −½ y³ ȳ',
  kernel: rsqrt,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square().mul(output)).mul(-0.5),
  gradKernel: rsqrtGrad,
  test: { scalar: (x) => x! ** -0.5, domain: [0.2, 3] },
});

function log1p(x: number): number {
  return Math.log1p(x);
}

export const logOnePlus = defineUnary({
  name: 'log1p',
  equation: 'y = ln(1 + x)',
  derivative: 'x̄ = ȳ / (1 + x)',
  kernel: log1p,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.div(x!.add(1)),
  test: { scalar: (x) => Math.log(1 + x!), domain: [-0.8, 2] },
});

function expm1(x: number): number {
  return Math.expm1(x);
}

export const expMinusOne = defineUnary({
  name: 'expm1',
  equation: 'y = eˣ − 1',
  derivative: 'x̄ = (y + 1) ȳ',
  kernel: expm1,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.add(1)),
  test: { scalar: (x) => Math.exp(x!) - 1 },
});

addMethods({
  exp: exponential,
  log: logarithm,
  sqrt: squareRoot,
  rsqrt: inverseSquareRoot,
  log1p: logOnePlus,
  expm1: expMinusOne,
});
