/** Comparisons give 1 or 0 in the operands' dtype; `where` chooses by them. */
import { equal } from '../../kernels/scalar.js';
import { broadcastPlan, broadcastShapes } from '../../tensor/shape.js';
import { unbroadcast } from '../broadcast.js';
import { defineBuiltIn } from '../op.js';
import type { Operand, Tensor } from '../tensor.js';
import { addMethods, defineBinary } from './elementwise.js';

declare module '../tensor.js' {
  interface Tensor {
    /** 1 where a > b, else 0. No derivative. */
    greater(other: Operand): Tensor;
    /** 1 where a < b, else 0. No derivative. */
    less(other: Operand): Tensor;
    /** 1 where a ≥ b, else 0. No derivative. */
    greaterEqual(other: Operand): Tensor;
    /** 1 where a ≤ b, else 0. No derivative. */
    lessEqual(other: Operand): Tensor;
    /** 1 where a = b, else 0; NaN equals nothing. No derivative. */
    equal(other: Operand): Tensor;
    /** y = a where this is not 0, b elsewhere; all three broadcast. `this` gets no gradient. */
    where(a: Operand, b: Operand): Tensor;
  }
}

const why = 'a comparison is constant wherever it is continuous';

function greater(a: number, b: number): number {
  return a > b ? 1 : 0;
}
function less(a: number, b: number): number {
  return a < b ? 1 : 0;
}
function greaterEqual(a: number, b: number): number {
  return a >= b ? 1 : 0;
}
function lessEqual(a: number, b: number): number {
  return a <= b ? 1 : 0;
}

const comparison = (
  kernel: (a: number, b: number) => number,
  symbol: string,
  scalar: (a: number, b: number) => boolean,
) =>
  defineBinary({
    name: kernel.name,
    equation: `y = [a ${symbol} b]`,
    derivative: 'none',
    kernel,
    saves: {},
    vjp: why,
    test: { scalar: (a, b) => Number(scalar(a!, b!)) },
  });

const comparisons = {
  greater: comparison(greater, '>', (a, b) => a > b),
  less: comparison(less, '<', (a, b) => a < b),
  greaterEqual: comparison(greaterEqual, '≥', (a, b) => a >= b),
  lessEqual: comparison(lessEqual, '≤', (a, b) => a <= b),
  equal: comparison(equal, '=', (a, b) => a === b),
};

const choose = defineBuiltIn<void>({
  name: 'where',
  equation: 'y = condition ≠ 0 ? a : b',
  derivative: 'ā = condition ? ȳ : 0, b̄ = condition ? 0 : ȳ',
  numbers: true,
  untyped: [0],
  saves: { inputs: [0] },
  shape: (shapes) => broadcastShapes('where', ...shapes),
  kernel: ([condition, a, b], { device, shapes, outputShape, dtype }) => {
    const plan = broadcastPlan(outputShape, shapes);
    // With two numbers nothing else tells the dtype of the result.
    const first = typeof a === 'number' && typeof b === 'number' ? device.fill(1, a, dtype) : a!;
    return device.where(condition as never, first, b!, plan);
  },
  vjp: [
    () => {
      throw new Error('unreachable: a condition is not differentiated');
    },
    ({ gradOutput, inputs: [condition], shapes }) => unbroadcast(condition!.where(gradOutput, 0), shapes[1]!),
    ({ gradOutput, inputs: [condition], shapes }) => unbroadcast(condition!.where(0, gradOutput), shapes[2]!),
  ],
  test: { scalar: (condition, a, b) => (condition !== 0 ? a! : b!) },
});

/** y = a where `condition` is not 0, b elsewhere; all broadcast. */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  return choose([condition, a, b]);
}

addMethods({ ...comparisons, where });
