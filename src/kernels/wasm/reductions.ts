/** Reductions along an axis: the arguments of assembly/reduce.ts. */
import type { ReduceKind, Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import { kernel } from './kernels.js';

/** The part length of assembly/reduce.ts. */
const partLength = 32768;
const kinds = { sum: 0, max: 1, min: 2, squares: 3 };

/** [rows, length] → [rows]; long rows in parts, so that all threads share even one row. */
export function reduceRows(
  { engine, allocate }: Context,
  kind: ReduceKind | 'squares',
  x: Storage,
  rows: number,
  length: number,
): Storage {
  const y = allocate('float32', rows);
  if (length <= 2 * partLength) {
    const perChunk = rowGrain(length);
    engine.call(kernel.reduceRows, chunksOf(rows, perChunk), kinds[kind], at(x), at(y), rows, length, perChunk);
    return y;
  }
  const parts = chunksOf(length, partLength);
  const block = engine.block(8 * rows * parts);
  engine.call(kernel.reducePart, rows * parts, kinds[kind], at(x), block.address, 0, length, parts);
  engine.call(kernel.joinParts, 1, kinds[kind], block.address, at(y), rows, parts);
  engine.heap.release(block);
  return y;
}

/** [outer, length, inner] → [outer, inner] */
export function reduceColumns(
  { engine, allocate }: Context,
  kind: ReduceKind,
  x: Storage,
  outer: number,
  length: number,
  inner: number,
): Storage {
  const y = allocate('float32', outer * inner);
  // Sixteen columns are a line of the cache.
  const columns = Math.min(Math.ceil(inner / 4) * 4, Math.max(16, Math.ceil(rowGrain(length) / 16) * 16));
  const chunks = chunksOf(inner, columns);
  engine.call(kernel.reduceColumns, outer * chunks, kinds[kind], at(x), at(y), length, inner, columns, chunks);
  return y;
}
