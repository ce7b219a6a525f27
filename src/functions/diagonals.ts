/** Diagonals of matrices, and the triangles beside them. `offset` 0 is the main diagonal, 1 the one above, −1 the one below. */
import { tensor } from '../autograd/create.js';
import { defineComposite } from '../autograd/op.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { DomainError, describeValue, ShapeError } from '../tensor/errors.js';
import { formatShape, type Shape } from '../tensor/shape.js';
import { wholeRanges } from './common.js';

interface OffsetOptions {
  /** Which diagonal: 0 the main one (default), above it 1, 2 …, below it −1, −2 … */
  offset?: number;
}

/** The offset, checked; and that x has at least `axes` axes. */
function offsetOf(op: string, x: Tensor, options: OffsetOptions | undefined, axes: number): number {
  checkTensor(op, 'x', x);
  const { offset = 0 } = checkOptions(op, options, ['offset']);
  if (!Number.isSafeInteger(offset))
    throw new DomainError(op, { received: `offset ${describeValue(offset)}`, expected: 'a whole number' });
  if (x.rank < axes)
    throw new ShapeError(op, { received: `shape ${formatShape(x.shape)}`, expected: `at least ${axes} axes` });
  return offset;
}

const lengthOf = ([rows, columns]: readonly number[], offset: number) =>
  Math.max(0, offset >= 0 ? Math.min(rows!, columns! - offset) : Math.min(rows! + offset, columns!));

const diagonalOp = defineComposite<{ offset: number }>({
  name: 'diagonal',
  equation: 'y[…, i] = x[…, i, i + offset]',
  derivative: 'x̄ = ȳ on that diagonal, 0 elsewhere',
  shapes: '[…, m, n] → […, k]; k the length of the diagonal',
  shape: ([shape], { offset }) => [...shape!.slice(0, -2), lengthOf(shape!.slice(-2), offset)],
  compose([x], { offset }) {
    const lead = x!.shape.slice(0, -2);
    const [rows, columns] = x!.shape.slice(-2) as [number, number];
    const length = lengthOf([rows, columns], offset);
    const start = length === 0 ? 0 : offset >= 0 ? offset : -offset * columns;
    const end = length === 0 ? 0 : start + (length - 1) * (columns + 1) + 1;
    return x!.reshape([...lead, rows * columns]).slice([...wholeRanges(lead.length), [start, end, columns + 1]]);
  },
});

/** The diagonal of a matrix, or of each of [..., rows, columns]: [..., length]; empty where there is none. */
export function diagonal(x: Tensor, options?: OffsetOptions): Tensor {
  return diagonalOp([x], { offset: offsetOf('diagonal', x, options, 2) });
}

const diagOp = defineComposite<{ offset: number }>({
  name: 'diag',
  equation: 'y[i, i + offset] = x[i], 0 elsewhere',
  derivative: 'x̄ = that diagonal of ȳ',
  shapes: '[k] → [n, n]; n = k + |offset|',
  shape: ([[length]], { offset }) => [length! + Math.abs(offset), length! + Math.abs(offset)],
  compose([x], { offset }) {
    const { size } = x!;
    const side = size + Math.abs(offset);
    const start = offset >= 0 ? offset : -offset * side;
    // On a diagonal every (side + 1)-th element of the matrix, read row by row, is one of x; all others are 0.
    const spaced = x!
      .reshape([size, 1])
      .pad([[0, 0], [0, side]]) // biome-ignore format: pairs of an axis each
      .reshape([size * (side + 1)]);
    const rest = side * side - start;
    const fitted = rest < spaced.size ? spaced.slice([[0, rest]]) : spaced.pad([[0, rest - spaced.size]]);
    return fitted.pad([[start, 0]]).reshape([side, side]);
  },
});

/** Of a vector the square matrix that has it on its diagonal; of a matrix the diagonal, as a vector. As NumPy's diag. */
export function diag(x: Tensor, options?: OffsetOptions): Tensor {
  const offset = offsetOf('diag', x, options, 1);
  if (x.rank > 2)
    throw new ShapeError('diag', {
      received: `shape ${formatShape(x.shape)}`,
      expected: 'a vector or a matrix',
      hint: 'diagonal() takes batches of matrices.',
    });
  return x.rank === 1 ? diagOp([x], { offset }) : diagonalOp([x], { offset });
}

const traceOp = defineComposite<{ offset: number }>({
  name: 'trace',
  equation: 'y = Σ_i x[…, i, i + offset]',
  derivative: 'x̄ = ȳ on that diagonal, 0 elsewhere',
  shapes: '[…, m, n] → […]',
  shape: ([shape]) => shape!.slice(0, -2),
  compose: ([x], params) => diagonalOp([x!], params).sum({ axis: -1 }),
});

/** The sum of the diagonal of a matrix, or of each of [..., rows, columns]: [...]. */
export function trace(x: Tensor, options?: OffsetOptions): Tensor {
  return traceOp([x], { offset: offsetOf('trace', x, options, 2) });
}

const triangle = (name: string, symbol: string, keeps: (column: number, row: number, offset: number) => boolean) =>
  defineComposite<{ offset: number }>({
    name,
    equation: `y[…, i, j] = x[…, i, j] where j ${symbol} i + offset, 0 elsewhere`,
    derivative: `x̄ = ȳ where j ${symbol} i + offset, 0 elsewhere`,
    compose([x], { offset }) {
      const shape: Shape = x!.shape.slice(-2);
      const columns = shape[1]!;
      const mask = Int32Array.from({ length: shape[0]! * columns }, (_, at) =>
        Number(keeps(at % columns, Math.floor(at / columns), offset)),
      );
      return tensor(mask, { shape, device: x!.storage.device.name }).where(x!, 0); // chosen, not multiplied: 0 · ∞ is NaN
    },
  });

const trilOp = triangle('tril', '≤', (column, row, offset) => column <= row + offset);
const triuOp = triangle('triu', '≥', (column, row, offset) => column >= row + offset);

/** The lower triangle of a matrix, or of each of [..., rows, columns]: what is above the diagonal becomes 0. */
export function tril(x: Tensor, options?: OffsetOptions): Tensor {
  return trilOp([x], { offset: offsetOf('tril', x, options, 2) });
}

/** The upper triangle of a matrix, or of each of [..., rows, columns]: what is below the diagonal becomes 0. */
export function triu(x: Tensor, options?: OffsetOptions): Tensor {
  return triuOp([x], { offset: offsetOf('triu', x, options, 2) });
}
