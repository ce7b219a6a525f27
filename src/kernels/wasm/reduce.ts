/** Reductions along an axis: the arguments of assembly/reduce.ts. */
import { bytesPerElement } from '../../tensor/dtype.js';
import type { ReduceKind, Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

/** [rows, length] → [rows] */
export function reduceRows(context: Context, reduction: ReduceKind, x: Storage, rows: number, length: number): Storage {
  const result = context.allocate(x.dtype, rows);
  reduceRowsInto(context, reduction, x, rows, length, at(result));
  return result;
}

/** Σ x² of each. */
export function sumSquares(context: Context, xs: readonly Storage[]): Storage {
  const { dtype } = xs[0]!;
  const result = context.allocate(dtype, xs.length);
  xs.forEach((x, i) => {
    reduceRowsInto(context, 'squares', x, 1, x.size, at(result) + i * bytesPerElement[dtype]);
  });
  return result;
}

/** Long rows in parts, so that all threads share even one row. @param y address of the result, [rows] */
function reduceRowsInto(
  { engine }: Context,
  reduction: ReduceKind | 'squares',
  x: Storage,
  rows: number,
  length: number,
  y: number,
): void {
  const { dtype } = x;
  const kind = kernel.Reduction[reduction];
  if (length <= 2 * kernel.PART) {
    const grain = rowGrain(length);
    engine.call(kernel.reduceRows, chunksOf(rows, grain), { dtype, kind, x: at(x), y, rows, length, grain });
    return;
  }
  const partsPerRow = chunksOf(length, kernel.PART);
  const block = engine.block(8 * rows * partsPerRow);
  const parts = block.address;
  engine.call(kernel.reducePart, rows * partsPerRow, { dtype, kind, x: at(x), parts, length, partsPerRow });
  engine.call(kernel.joinParts, 1, { dtype, kind, parts, y, rows, partsPerRow });
  engine.heap.release(block);
}

/** [outer, length, inner] → [outer, inner] */
export function reduceColumns(
  { engine, allocate }: Context,
  reduction: ReduceKind,
  x: Storage,
  outer: number,
  length: number,
  inner: number,
): Storage {
  const { dtype } = x;
  const y = allocate(dtype, outer * inner);
  // Sixteen columns are a line of the cache.
  const columns = Math.min(Math.ceil(inner / 4) * 4, Math.max(16, Math.ceil(rowGrain(length) / 16) * 16));
  const chunksAlongInner = chunksOf(inner, columns);
  const kind = kernel.Reduction[reduction];
  engine.call(kernel.reduceColumns, outer * chunksAlongInner, {
    dtype,
    kind,
    x: at(x),
    y: at(y),
    length,
    inner,
    columns,
    chunksAlongInner,
  });
  return y;
}

/** Index of the first extreme along the middle axis of [outer, length, inner]. */
export function argReduce(
  { engine, allocate }: Context,
  kind: 'max' | 'min',
  x: Storage,
  outers: number,
  length: number,
  inner: number,
): Storage {
  const y = allocate('int32', outers * inner);
  const grain = rowGrain(length * inner);
  const sign = kind === 'max' ? 1 : -1;
  engine.call(kernel.argReduce, chunksOf(outers, grain), {
    dtype: x.dtype,
    sign,
    x: at(x),
    y: at(y),
    length,
    inner,
    outers,
    grain,
  });
  return y;
}
