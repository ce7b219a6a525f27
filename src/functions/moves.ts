/** Functions that move or repeat elements. Each is linear; each derivative is its adjoint. */
import { defineBuiltIn, defineComposite, type OpFunction } from '../autograd/op.js';
import { concat } from '../autograd/ops/join.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import type { Storage } from '../kernels/device.js';
import { DomainError, describeValue, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape, normalizeAxes, normalizeAxis, sizeOf } from '../tensor/shape.js';
import { copies, wholeRanges } from './common.js';

const flipOp: OpFunction<{ axes: number[] }> = defineBuiltIn<{ axes: number[] }>({
  name: 'flip',
  equation: 'y[…, i, …] = x[…, n − 1 − i, …]',
  derivative: 'x̄ = flip(ȳ)',
  saves: {},
  kernel: ([x], { device, shapes: [shape], params: { axes } }) => {
    let result = x as Storage;
    for (const axis of axes) {
      const size = shape![axis]!;
      const backward = device.upload(Int32Array.from({ length: size }, (_, i) => size - 1 - i));
      const next = device.gather(result, backward, sizeOf(shape!.slice(0, axis)), size, sizeOf(shape!.slice(axis + 1)));
      backward.free();
      if (result !== x) result.free();
      result = next;
    }
    return result;
  },
  vjp: [({ gradOutput, params }) => flipOp([gradOutput], params)],
});

/** x backward along `axis`, one or several (default all). */
export function flip(x: Tensor, options?: { axis?: number | readonly number[] }): Tensor {
  checkTensor('flip', 'x', x);
  const { axis } = checkOptions('flip', options, ['axis']);
  const axes = normalizeAxes('flip', axis, x.shape);
  return axes.length === 0 ? x.clone() : flipOp([x], { axes });
}

const rollOp = defineComposite<{ shift: number; axis: number }>({
  name: 'roll',
  equation: 'y[…, i, …] = x[…, (i − shift) mod n, …]',
  derivative: 'x̄ = roll(ȳ, −shift)',
  compose([x], { shift, axis }) {
    const size = x!.shape[axis]!;
    const cut = size === 0 ? 0 : (((-shift % size) + size) % size) % size;
    const before = wholeRanges(axis);
    return cut === 0
      ? x!.clone()
      : concat([x!.slice([...before, [cut, size]]), x!.slice([...before, [0, cut]])], { axis });
  },
});

/**
 * Moves elements `shift` places along `axis`; what leaves at the end comes in at the beginning. Without an axis: of the
 * flattened tensor. A negative shift moves toward the beginning. @throws DomainError when shift is no whole number
 */
export function roll(x: Tensor, shift: number, options?: { axis?: number }): Tensor {
  checkTensor('roll', 'x', x);
  const { axis } = checkOptions('roll', options, ['axis']);
  if (!Number.isSafeInteger(shift))
    throw new DomainError('roll', { received: `shift ${describeValue(shift)}`, expected: 'a whole number' });
  if (axis === undefined) return rollOp([x.reshape([x.size])], { shift, axis: 0 }).reshape(x.shape);
  return rollOp([x], { shift, axis: normalizeAxis('roll', axis, x.shape) });
}

const repeatOp = defineComposite<{ count: number; axis: number }>({
  name: 'repeat',
  equation: 'y[…, i, …] = x[…, ⌊i / count⌋, …]',
  derivative: 'x̄ = Σ ȳ over the copies of an element',
  shapes: 'as x, count · n along the axis',
  shape: ([shape], { count, axis }) => shape!.map((size, i) => (i === axis ? size * count : size)),
  compose([x], { count, axis }) {
    const before = x!.shape.slice(0, axis + 1);
    const after = x!.shape.slice(axis + 1);
    return x!
      .reshape([...before, 1, ...after])
      .expand([...before, count, ...after])
      .reshape([...before.slice(0, -1), before.at(-1)! * count, ...after]);
  },
});

/**
 * Each element along `axis` (default: of the flattened tensor) `count` times, one after the other: NumPy's repeat, PyTorch's
 * repeat_interleave. [1, 2] twice: [1, 1, 2, 2]. See {@link tile} for [1, 2, 1, 2]. @throws DomainError for a count below 0
 */
export function repeat(x: Tensor, count: number, options?: { axis?: number }): Tensor {
  checkTensor('repeat', 'x', x);
  const { axis } = checkOptions('repeat', options, ['axis']);
  copies('repeat', count);
  if (axis === undefined) return repeatOp([x.reshape([x.size])], { count, axis: 0 });
  return repeatOp([x], { count, axis: normalizeAxis('repeat', axis, x.shape) });
}

const tileOp = defineComposite<{ counts: readonly number[] }>({
  name: 'tile',
  equation: 'y[i, j, …] = x[i mod m, j mod n, …]',
  derivative: 'x̄ = Σ ȳ over the copies',
  shapes: 'as x, counts_i · n_i along axis i',
  shape: ([shape], { counts }) => counts.map((count, i) => count * shape![i]!),
  compose: ([x], { counts }) =>
    x!
      .reshape(x!.shape.flatMap((size) => [1, size]))
      .expand(x!.shape.flatMap((size, i) => [counts[i]!, size]))
      .reshape(x!.shape.map((size, i) => size * counts[i]!)),
});

/**
 * The whole tensor side by side, counts[i] times along axis i: NumPy's tile, PyTorch's repeat. Fewer counts than axes speak
 * of the last ones, more add leading axes. [1, 2] twice: [1, 2, 1, 2]. @throws DomainError for a count below 0
 */
export function tile(x: Tensor, counts: number | readonly number[]): Tensor {
  checkTensor('tile', 'x', x);
  const list = Array.isArray(counts) ? [...counts] : [counts as number];
  for (const count of list) copies('tile', count);
  while (list.length < x.rank) list.unshift(1);
  return tileOp([x.reshape([...list.slice(x.rank).fill(1), ...x.shape])], { counts: list });
}

/**
 * Coordinates of a grid: from vectors of n₁, n₂, … elements as many tensors of shape [n₁, n₂, …], the k-th of which is the
 * k-th vector along axis k and the same along all others. With `indexing` 'xy' the first two axes are exchanged, as on
 * paper: [n₂, n₁, …]. @throws ShapeError unless all are vectors
 */
export function meshgrid(vectors: readonly Tensor[], options?: { indexing?: 'ij' | 'xy' }): Tensor[] {
  const { indexing = 'ij' } = checkOptions('meshgrid', options, ['indexing']);
  if (!Array.isArray(vectors) || vectors.length === 0)
    throw new UsageError('meshgrid', { received: describeValue(vectors), expected: 'a list of tensors' });
  if (indexing !== 'ij' && indexing !== 'xy')
    throw new UsageError('meshgrid', { received: `indexing ${describeValue(indexing)}`, expected: "'ij' or 'xy'" });
  vectors.forEach((vector, i) => {
    checkTensor('meshgrid', `vector ${i}`, vector);
    if (vector.rank !== 1)
      throw new ShapeError('meshgrid', { received: `shape ${formatShape(vector.shape)}`, expected: 'one axis' });
  });
  const order = vectors.map((_, axis) => (indexing === 'xy' && vectors.length > 1 && axis < 2 ? 1 - axis : axis));
  const shape = order.map((k) => vectors[k]!.size);
  return vectors.map((vector, k) => vector.reshape(order.map((j) => (j === k ? vector.size : 1))).expand(shape));
}
