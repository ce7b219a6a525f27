/** Arithmetic with broadcasting. */
import * as f from '../../kernels/scalar.js';
import type { Operand, Tensor } from '../tensor.js';
import { addMethods, defineBinary, defineUnary } from './elementwise.js';

declare module '../tensor.js' {
  interface Tensor {
    /** y = a + b, broadcasting. */
    add(other: Operand): Tensor;
    /** y = a − b, broadcasting. */
    sub(other: Operand): Tensor;
    /** y = a · b elementwise, broadcasting. */
    mul(other: Operand): Tensor;
    /** y = a / b elementwise, broadcasting. */
    div(other: Operand): Tensor;
    /** y = aᵇ elementwise, broadcasting. */
    pow(exponent: Operand): Tensor;
    /** y = max(a, b) elementwise; NaN when either is; ties share the gradient equally. */
    maximum(other: Operand): Tensor;
    /** y = min(a, b) elementwise; NaN when either is; ties share the gradient equally. */
    minimum(other: Operand): Tensor;
    /** y = −x. */
    neg(): Tensor;
    /** y = x². */
    square(): Tensor;
    /** y = 1 / x. */
    reciprocal(): Tensor;
  }
}

export const add = defineBinary({
  name: 'add',
  equation: 'y = a + b',
  derivative: 'ā = ȳ, b̄ = ȳ',
  kernel: f.add,
  saves: {},
  vjp: [({ gradOutput }) => gradOutput, ({ gradOutput }) => gradOutput],
  test: { scalar: (a, b) => a! + b! },
});

export const sub = defineBinary({
  name: 'sub',
  equation: 'y = a − b',
  derivative: 'ā = ȳ, b̄ = −ȳ',
  kernel: f.sub,
  saves: {},
  vjp: [({ gradOutput }) => gradOutput, ({ gradOutput }) => gradOutput.neg()],
  test: { scalar: (a, b) => a! - b! },
});

export const mul = defineBinary({
  name: 'mul',
  equation: 'y = a · b',
  derivative: 'ā = ȳ · b, b̄ = ȳ · a',
  kernel: f.mul,
  saves: { inputs: [0, 1] },
  vjp: [({ gradOutput, inputs: [, b] }) => gradOutput.mul(b!), ({ gradOutput, inputs: [a] }) => gradOutput.mul(a!)],
  test: { scalar: (a, b) => a! * b! },
});

export const div = defineBinary({
  name: 'div',
  equation: 'y = a / b',
  derivative: 'ā = ȳ / b, b̄ = −ȳ · y / b',
  kernel: f.div,
  float: true,
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

function pow(a: number, b: number): number {
  return a ** b;
}

/** ln a where the base is positive, 0 at 0: y ln a is 0 there for b > 0, and NaN · 0 must not spoil it. */
function safeLog(a: Tensor): Tensor {
  return a.greater(0).where(a, 1).log();
}

export const power = defineBinary({
  name: 'pow',
  equation: 'y = aᵇ',
  derivative: 'ā = ȳ · b · aᵇ⁻¹, b̄ = ȳ · y · ln a (for a > 0; 0 at a = 0)',
  kernel: pow,
  float: true,
  saves: { inputs: [0, 1], output: true },
  vjp: [
    ({ gradOutput, inputs: [a, b] }) => {
      const exponent = b as Operand;
      if (typeof exponent !== 'number') return gradOutput.mul(exponent).mul(power(a!, exponent.sub(1)));
      // a⁰ and a¹ have derivatives without a negative power of a, which would be NaN at 0.
      if (exponent === 0) return gradOutput.mul(0);
      return exponent === 1 ? gradOutput : gradOutput.mul(exponent).mul(power(a!, exponent - 1));
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

export const maximum = defineBinary({
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

export const minimum = defineBinary({
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

function neg(x: number): number {
  return -x;
}

export const negate = defineUnary({
  name: 'neg',
  equation: 'y = −x',
  derivative: 'x̄ = −ȳ',
  kernel: neg,
  saves: 'nothing',
  vjp: ({ gradOutput }) => gradOutput.neg(),
  test: { scalar: (x) => -x! },
});

function squareGrad(g: number, x: number): number {
  return 2 * g * x;
}

export const square = defineUnary({
  name: 'square',
  equation: 'y = x²',
  derivative: 'x̄ = 2x ȳ',
  kernel: f.square,
  saves: 'input',
  vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!).mul(2),
  gradKernel: squareGrad,
  test: { scalar: (x) => x! * x! },
});

function reciprocal(x: number): number {
  return 1 / x;
}
function reciprocalGrad(g: number, y: number): number {
  return -g * y * y;
}

export const inverse = defineUnary({
  name: 'reciprocal',
  equation: 'y = 1 / x',
  derivative: 'x̄ = −y² ȳ',
  kernel: reciprocal,
  saves: 'output',
  vjp: ({ gradOutput, output }) => gradOutput.mul(output.square()).neg(),
  gradKernel: reciprocalGrad,
  test: { scalar: (x) => 1 / x!, domain: [0.5, 2] },
});

addMethods({ add, sub, mul, div, pow: power, maximum, minimum, neg: negate, square, reciprocal: inverse });
