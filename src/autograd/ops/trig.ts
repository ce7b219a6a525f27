/** Sine, cosine, and the absolute value with its sign. */
import { addMethods, defineUnary } from './elementwise.js';

declare module '../tensor.js' {
  interface Tensor {
    /** y = sin x, x in radians. */
    sin(): Tensor;
    /** y = cos x, x in radians. */
    cos(): Tensor;
    /** y = |x|; derivative 0 at 0. */
    abs(): Tensor;
    /** y = −1, 0 or 1. No derivative. */
    sign(): Tensor;
  }
}

function sin(x: number): number {
  return Math.sin(x);
}
function sinGrad(g: number, x: number): number {
  return g * Math.cos(x);
}

export const sine = defineUnary({
  name: 'sin',
  equation: 'y = sin x',
  derivative: 'x̄ = ȳ cos x',
  kernel: sin,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.cos()),
  gradKernel: sinGrad,
  test: { scalar: (x) => Math.cos(x! - Math.PI / 2), domain: [-4, 4], tolerance32: 2e-5 },
});

function cos(x: number): number {
  return Math.cos(x);
}
function cosGrad(g: number, x: number): number {
  return -g * Math.sin(x);
}

export const cosine = defineUnary({
  name: 'cos',
  equation: 'y = cos x',
  derivative: 'x̄ = −ȳ sin x',
  kernel: cos,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sin()).neg(),
  gradKernel: cosGrad,
  test: { scalar: (x) => Math.sin(x! + Math.PI / 2), domain: [-4, 4], tolerance32: 2e-5 },
});

function sign(x: number): number {
  return x > 0 ? 1 : x < 0 ? -1 : x;
}

export const signum = defineUnary({
  name: 'sign',
  equation: 'y = [x > 0] − [x < 0]',
  derivative: 'none',
  kernel: sign,
  saves: 'nothing',
  vjp: 'the sign is constant wherever it is continuous',
  test: { scalar: (x) => Math.sign(x!) },
});

function abs(x: number): number {
  return Math.abs(x);
}
function absGrad(g: number, x: number): number {
  return x > 0 ? g : x < 0 ? -g : 0;
}

export const absolute = defineUnary({
  name: 'abs',
  equation: 'y = |x|',
  derivative: 'x̄ = ȳ sign(x), 0 at 0',
  kernel: abs,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sign()),
  gradKernel: absGrad,
  test: { scalar: (x) => Math.max(x!, -x!), avoid: [0] },
});

addMethods({ sin: sine, cos: cosine, abs: absolute, sign: signum });
