/** Arithmetic with broadcasting. */
import * as f from '../../kernels/scalar.js';
import type { Operand, Tensor } from '../tensor.js';
import { type Binary, defineBinary, defineUnary, type Unary } from './elementwise.js';

/** y = a + b, broadcasting. */
export const add: Binary = defineBinary({
  name: 'add',
  equation: 'y = a + b',
  derivative: 'ā = ȳ, b̄ = ȳ',
  kernel: f.add,
  saves: {},
  vjp: [({ gradOutput }) => gradOutput, ({ gradOutput }) => gradOutput],
  test: { scalar: (a, b) => a! + b! },
});

/** y = a − b, broadcasting. */
export const sub: Binary = defineBinary({
  name: 'sub',
  equation: 'y = a − b',
  derivative: 'ā = ȳ, b̄ = −ȳ',
  kernel: f.sub,
  saves: {},
  vjp: [({ gradOutput }) => gradOutput, ({ gradOutput }) => gradOutput.neg()],
  test: { scalar: (a, b) => a! - b! },
});

/** y = a · b elementwise, broadcasting. */
export const mul: Binary = defineBinary({
  name: 'mul',
  equation: 'y = a · b',
  derivative: 'ā = ȳ · b, b̄ = ȳ · a',
  kernel: f.mul,
  kernelInt32: f.imul,
  saves: { inputs: [0, 1] },
  vjp: [({ gradOutput, inputs: [, b] }) => gradOutput.mul(b!), ({ gradOutput, inputs: [a] }) => gradOutput.mul(a!)],
  test: { scalar: (a, b) => a! * b! },
});

/** y = a / b elementwise, broadcasting. */
export const div: Binary = defineBinary({
  name: 'div',
  equation: 'y = a / b',
  derivative: 'ā = ȳ / b, b̄ = −ȳ · y / b',
  kernel: f.div,
  int32: 'float32',
  saves: { inputs: [1], output: true },
  vjp: [
    ({ gradOutput, inputs: [, b] }) => gradOutput.div(b!),
    ({ gradOutput, inputs: [, b], output }) => gradOutput.mul(output).div(b!).neg(),
  ],
  test: {
    scalar: (a, b) => a! / b!,
    domain: [
      [-2, 2],
      [0.5, 2],
    ],
  },
});

/**
 * y = aᵇ elementwise, broadcasting. The derivative to b is NaN where a < 0: between whole b there is no real power. Both
 * derivatives are 0 at a = b = 0, where 0⁰ = 1.
 */
export const pow: Binary = defineBinary({
  name: 'pow',
  equation: 'y = aᵇ',
  derivative: 'ā = ȳ · b · aᵇ⁻¹ (0 for a = b = 0), b̄ = ȳ · y · ln a (0 for a = 0 ≤ b; NaN for a < 0)',
  kernel: function pow(a, b) {
    return a ** b;
  },
  int32: 'float32',
  saves: { inputs: [0, 1], output: true },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => {
      const exponent = b as Operand;
      if (exponent === 0) return gradOutput.mul(0);
      if (exponent === 1) return gradOutput;
      if (typeof exponent === 'number') return gradOutput.mul(a!.pow(exponent - 1).mul(exponent));
      // Where b = 0, b · a⁻¹ would be 0 · ∞ at a = 0 (or nearly 0). With a⁰ it is 0, and so is every further derivative.
      const constant = a!.abs().greater(1e-30).where(0, exponent.equal(0));
      return gradOutput.mul(a!.pow(constant.where(1, exponent).sub(1)).mul(exponent));
    },
    ({ gradOutput, inputs: [a, b], output }) => {
      const base = a as Operand;
      const positive = b!.greaterEqual(0);
      // ln 0 = −∞ counts only where it is not multiplied by 0ᵇ = 0 (or, at b = 0, is the limit of that).
      if (typeof base === 'number')
        return gradOutput.mul(output).mul(base === 0 ? positive.where(0, -Infinity) : Math.log(base));
      return gradOutput.mul(output).mul(base.equal(0).mul(positive).where(1, base).log());
    },
  ],
  test: {
    scalar: (a, b) => a! ** b!,
    domain: [
      [0.5, 2],
      [-2, 2],
    ],
  },
});

/** The gradient of the operand that was picked: all of it, nothing, or half at a tie. NaN is picked wherever it stands. */
function share(grad: Tensor, x: Tensor, loses: 'greater' | 'less', other: Operand): Tensor {
  return x[loses](other).where(0, x.equal(other).where(grad.mul(0.5), grad));
}

/** y = max(a, b) elementwise; NaN when either is; ties share the gradient equally. */
export const maximum: Binary = defineBinary({
  name: 'maximum',
  equation: 'y = max(a, b)',
  derivative: 'ā = ȳ [a > b] + ½ȳ [a = b], b̄ likewise',
  kernel: f.maximum,
  saves: { inputs: [0, 1] },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => share(gradOutput, a!, 'less', b!),
    ({ gradOutput, inputs: [a, b] }) => share(gradOutput, b!, 'less', a!),
  ],
  test: { scalar: (a, b) => Math.max(a!, b!), distinct: true },
});

/** y = min(a, b) elementwise; NaN when either is; ties share the gradient equally. */
export const minimum: Binary = defineBinary({
  name: 'minimum',
  equation: 'y = min(a, b)',
  derivative: 'ā = ȳ [a < b] + ½ȳ [a = b], b̄ likewise',
  kernel: f.minimum,
  saves: { inputs: [0, 1] },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => share(gradOutput, a!, 'greater', b!),
    ({ gradOutput, inputs: [a, b] }) => share(gradOutput, b!, 'greater', a!),
  ],
  test: { scalar: (a, b) => Math.min(a!, b!), distinct: true },
});

/** y = −x. */
export const neg: Unary = defineUnary({
  name: 'neg',
  equation: 'y = −x',
  derivative: 'x̄ = −ȳ',
  kernel: function neg(x) {
    return -x;
  },
  int32: 'exact',
  saves: 'nothing',
  vjp: ({ gradOutput }) => gradOutput.neg(),
  test: { scalar: (x) => -x! },
});

/** y = x². */
export const square: Unary = defineUnary({
  name: 'square',
  equation: 'y = x²',
  derivative: 'x̄ = 2x ȳ',
  kernel: f.square,
  int32: 'exact',
  kernelInt32: function squareInt32(x) {
    return Math.imul(x, x);
  },
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!).mul(2),
  gradKernel: function squareGrad(g, x) {
    return 2 * g * x;
  },
  test: { scalar: (x) => x! * x! },
});

/** y = 1 / x. */
export const reciprocal: Unary = defineUnary({
  name: 'reciprocal',
  equation: 'y = 1 / x',
  derivative: 'x̄ = −y² ȳ',
  kernel: function reciprocal(x) {
    return 1 / x;
  },
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square()).neg(),
  gradKernel: function reciprocalGrad(g, y) {
    return -g * y * y;
  },
  test: { scalar: (x) => 1 / x!, domain: [0.5, 2] },
});
