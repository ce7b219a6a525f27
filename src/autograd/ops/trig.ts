/** Sine, cosine, and the absolute value with its sign. */
import { defineUnary, type Unary } from './elementwise.js';

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
