/** Comparisons give 1 or 0 in the operands' dtype; `where` chooses by them. */
import type { Strided } from '../../kernels/device.js';
import * as f from '../../kernels/scalar.js';
import { walk } from '../../kernels/walk.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { unbroadcast } from '../broadcast.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, type Operand, type Tensor } from '../tensor.js';
import { type Binary, defineBinary } from './elementwise.js';

const why = 'a comparison is constant wherever it is continuous';

type Comparison = (a: number, b: number) => number;

const comparison = (name: string, symbol: string, kernel: Comparison, scalar: (a: number, b: number) => boolean) =>
  defineBinary({
    name,
    equation: `y = [a ${symbol} b]`,
    derivative: 'none',
    kernel,
    saves: {},
    vjp: why,
    test: { scalar: (a, b) => Number(scalar(a!, b!)) },
  });

/** 1 where a > b, else 0. No derivative. */
export const greater: Binary = comparison(
  'greater',
  '>',
  function greater(a, b) {
    return a > b ? 1 : 0;
  },
  (a, b) => a > b,
);

/** 1 where a < b, else 0. No derivative. */
export const less: Binary = comparison(
  'less',
  '<',
  function less(a, b) {
    return a < b ? 1 : 0;
  },
  (a, b) => a < b,
);

/** 1 where a ≥ b, else 0. No derivative. */
export const greaterEqual: Binary = comparison(
  'greaterEqual',
  '≥',
  function greaterEqual(a, b) {
    return a >= b ? 1 : 0;
  },
  (a, b) => a >= b,
);

/** 1 where a ≤ b, else 0. No derivative. */
export const lessEqual: Binary = comparison(
  'lessEqual',
  '≤',
  function lessEqual(a, b) {
    return a <= b ? 1 : 0;
  },
  (a, b) => a <= b,
);

/** 1 where a = b, else 0; NaN equals nothing. No derivative. */
export const equal: Binary = comparison('equal', '=', f.equal, (a, b) => a === b);

const choose = defineBuiltIn<void>({
  name: 'where',
  equation: 'y = condition ≠ 0 ? a : b',
  derivative: 'ā = condition ? ȳ : 0, b̄ = condition ? 0 : ȳ',
  numbers: true,
  nonDifferentiable: [0],
  saves: { inputs: [0] },
  shape: (shapes) => broadcastShapes('where', ...shapes),
  kernel: ([condition, a, b], { device, shapes, outputShape, dtype }) => {
    const { shape, operands } = walk(outputShape, [condition!, a!, b!], shapes);
    return device.where(shape, operands[0] as Strided, operands[1]!, operands[2]!, dtype);
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

/**
 * y = a where `condition` is not 0, b elsewhere; all three broadcast. The condition gets no gradient.
 *
 * Both a and b are computed and differentiated everywhere. Where the one that is not picked has an infinite slope (√x at
 * 0, ln x at 0, 1/x at 0), its gradient is 0 · ∞ = NaN, as in all libraries of this kind. The remedy is to choose the
 * input as well: `positive.where(positive.where(x, 1).sqrt(), 0)` for `positive.where(x.sqrt(), 0)`; see docs/pitfalls.md.
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  checkTensor('where', 'condition', condition);
  return choose([condition, a, b]);
}
