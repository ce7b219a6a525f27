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

/** ln a where the base is positive, 0 at 0: y ln a is 0 there for b > 0, and NaN · 0 must not spoil it. */
function safeLog(a: Tensor): Tensor {
  return a.greater(0).where(a, 1).log();
}

/** y = aᵇ elementwise, broadcasting. */
export const pow: Binary = defineBinary({
  name: 'pow',
  equation: 'y = aᵇ',
  derivative: 'ā = ȳ · b · aᵇ⁻¹, b̄ = ȳ · y · ln a (for a > 0; 0 at a = 0)',
  kernel: function pow(a, b) {
    return a ** b;
  },
  int32: 'float32',
  saves: { inputs: [0, 1], output: true },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => {
      const exponent = b as Operand;
      if (typeof exponent !== 'number') return gradOutput.mul(exponent).mul(a!.pow(exponent.sub(1)));
      // a⁰ and a¹ have derivatives without a negative power of a, which would be NaN at 0.
      if (exponent === 0) return gradOutput.mul(0);
      return exponent === 1 ? gradOutput : gradOutput.mul(exponent).mul(a!.pow(exponent - 1));
    },
    ({ gradOutput, inputs: [a], output }) =>
      gradOutput.mul(output).mul(typeof (a as Operand) === 'number' ? Math.log(a as unknown as number) : safeLog(a!)),
  ],
  test: {
    scalar: (a, b) => a! ** b!,
    domain: [
      [0.5, 2],
      [-2, 2],
    ],
  },
});

/** Share of the gradient that goes to the operand that was picked: 1, 0, or ½ at a tie. */
function share(x: Tensor, beats: 'greater' | 'less', other: Operand): Tensor {
  return x[beats](other).add(x.equal(other).mul(0.5));
}

/** y = max(a, b) elementwise; NaN when either is; ties share the gradient equally. */
export const maximum: Binary = defineBinary({
  name: 'maximum',
  equation: 'y = max(a, b)',
  derivative: 'ā = ȳ [a > b] + ½ȳ [a = b], b̄ likewise',
  kernel: f.maximum,
  saves: { inputs: [0, 1] },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(share(a!, 'greater', b!)),
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(share(b!, 'greater', a!)),
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
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(share(a!, 'less', b!)),
    ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(share(b!, 'less', a!)),
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
