/** Comparisons give 1 or 0 in the operands' dtype; `where` chooses by them. */
import type { Strided } from '../../kernels/device.js';
import * as f from '../../kernels/scalar.js';
import { walk } from '../../kernels/walk.js';
import { broadcastShapes } from '../../tensor/shape.js';
import { unbroadcast } from '../broadcast.js';
import { defineBuiltIn, defineComposite } from '../op.js';
import { checkTensor, type Operand, type Tensor } from '../tensor.js';
import { maximum, minimum } from './arithmetic.js';
import { type Binary, defineBinary, type Unary } from './elementwise.js';

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

/** A truth of two operands, composed. Every number but 0 is true, NaN as well. */
const truth = (name: string, equation: string, compose: Binary, scalar: (a: number, b: number) => boolean): Binary => {
  const op = defineComposite({
    name,
    equation,
    derivative: 'none',
    numbers: true,
    shape: (shapes) => broadcastShapes(name, ...shapes),
    compose: ([a, b]) => compose(a!, b!),
    constant: why,
    test: { scalar: (a, b) => Number(scalar(a!, b!)) },
  });
  return (a, b) => op([a, b]);
};
const question = (name: string, equation: string, compose: Unary, scalar: (x: number) => boolean): Unary => {
  const op = defineComposite({
    name,
    equation,
    derivative: 'none',
    compose: ([x]) => compose(x!),
    constant: why,
    test: { scalar: (x) => Number(scalar(x!)) },
  });
  return (x) => op([x]);
};

/** logicalNot of one of two operands, which may be a number. */
const isZero = (x: Operand): Operand => (typeof x === 'number' ? Number(x === 0) : equal(x, 0));

/** 1 where x = 0, else 0: what is not true. No derivative. */
export const logicalNot: Unary = question(
  'logicalNot',
  'y = [x = 0]',
  (x) => equal(x, 0),
  (x) => x === 0,
);

/** 1 where a ≠ b, else 0; NaN is unequal to everything. No derivative. */
export const notEqual: Binary = truth(
  'notEqual',
  'y = [a ≠ b]',
  (a, b) => logicalNot(equal(a, b)),
  (a, b) => a !== b,
);

/** 1 where a and b are both true (not 0; NaN is not 0), else 0. No derivative. */
export const logicalAnd: Binary = truth(
  'logicalAnd',
  'y = [a ≠ 0 and b ≠ 0]',
  (a, b) => logicalNot(maximum(isZero(a), isZero(b))),
  (a, b) => a !== 0 && b !== 0,
);

/** 1 where a or b is true (not 0; NaN is not 0), else 0. No derivative. */
export const logicalOr: Binary = truth(
  'logicalOr',
  'y = [a ≠ 0 or b ≠ 0]',
  (a, b) => logicalNot(minimum(isZero(a), isZero(b))),
  (a, b) => a !== 0 || b !== 0,
);

/** 1 where x is NaN, else 0. No derivative. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the function of tensors is called as that of numbers
export const isNaN: Unary = question('isNaN', 'y = [x ≠ x]', (x) => notEqual(x, x), Number.isNaN);

/** 1 where x is a finite number, 0 where it is infinite or NaN. No derivative. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the function of tensors is called as that of numbers
export const isFinite: Unary = question('isFinite', 'y = [x − x = 0]', (x) => equal(x.sub(x), 0), Number.isFinite);

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

const clipOp = defineComposite<{ low: boolean; high: boolean }>({
  name: 'clip',
  equation: 'y = min(max(x, low), high)',
  derivative: 'x̄ = ȳ [low ≤ x ≤ high]; a bound gets ȳ where it took the place of x',
  numbers: true,
  shape: (shapes) => broadcastShapes('clip', ...shapes),
  compose([x, ...bounds], { low, high }) {
    let y = x!;
    // Within the bound x itself, with its derivative; NaN is nowhere within.
    if (low) y = y.greaterEqual(bounds[0]!).where(y, y.detach().maximum(bounds[0]!));
    if (high) y = y.lessEqual(bounds[low ? 1 : 0]!).where(y, y.detach().minimum(bounds[low ? 1 : 0]!));
    return y;
  },
  test: { distinct: true },
});

/**
 * y = min(max(x, low), high) elementwise, broadcasting; null for no bound. At a bound the gradient is that of x; where x
 * is NaN, y is NaN and the gradient 0. `high` wins where it is below `low`.
 */
export function clip(x: Tensor, low: Operand | null, high: Operand | null = null): Tensor {
  checkTensor('clip', 'x', x);
  return clipOp([x, low, high].filter((bound) => bound !== null) as Operand[], {
    low: low !== null,
    high: high !== null,
  });
}
