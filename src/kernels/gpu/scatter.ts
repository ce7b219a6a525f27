/**
 * scatterAdd by sorting: positions are counted instead of compared with every row, which pays when there are many
 * rows. The terms of a row are added in the order of the indices, as scatterAdd of source/move.ts does.
 */
import type { DType } from '../../tensor/dtype.js';
import type { Storage } from '../device.js';
import type { KernelThis, SourceKernel, Vector, Volume } from '../source/kernel.js';
import { gather } from '../source/move.js';
import { builtIn } from '../source/own.js';
import type { Grid, View } from '../source-device.js';

/** What runs a kernel text over a grid. */
export type Run = (
  kernel: SourceKernel,
  grid: Grid,
  inputs: View[],
  constants: Record<string, number>,
  dtype: DType,
) => Storage;

/** y[z][row] = Σ_{i: indices[i] = row} x[z][i] for x of [outer, count, inner] */
export function sortedScatterAdd(
  run: Run,
  x: Storage,
  indices: Storage,
  { outer, rows, inner }: { outer: number; rows: number; inner: number },
): Storage {
  const count = indices.size;
  const list = (storage: Storage): View => ({ storage, grid: [storage.size] });
  const ranks = run(rank, [count], [list(indices)], { count }, 'int32');
  const order = run(invert, [count], [list(ranks)], { count }, 'int32');
  const sorted = run(gather, [1, count], [{ storage: indices, grid: [1, count, 1] }, list(order)], {}, 'int32');
  const steps = Math.ceil(Math.log2(count + 1));
  const first = run(lowerBound, [rows + 1], [list(sorted)], { count, steps }, 'int32');
  const views: View[] = [{ storage: x, grid: [inner, count, outer] }, list(order), list(first)];
  const result = run(sumRanges, [inner, rows, outer], views, {}, x.dtype);
  for (const storage of [ranks, order, sorted, first]) storage.free();
  return result;
}

/** rank[i] = #{j : indices[j] < indices[i], or equal and j < i}: where i comes when sorted */
export function rank(this: KernelThis, indices: Vector): number {
  const own = indices[this.thread.x]!;
  let before = 0;
  for (let j = 0; j < this.constants.count!; j++) {
    if (indices[j]! < own) before = before + 1;
    if (indices[j]! === own && j < this.thread.x) before = before + 1;
  }
  return before;
}

/** order[p] = the i with rank[i] = p */
export function invert(this: KernelThis, ranks: Vector): number {
  let at = 0;
  for (let j = 0; j < this.constants.count!; j++) {
    if (ranks[j]! === this.thread.x) at = j;
  }
  return at;
}

/** first[row] = #{p : sorted[p] < row}, by halving `steps` ≥ log₂(count + 1) times */
export function lowerBound(this: KernelThis, sorted: Vector): number {
  let low = 0;
  let high = this.constants.count!;
  for (let s = 0; s < this.constants.steps!; s++) {
    const middle = Math.floor((low + high) * 0.5);
    if (low < high) {
      if (sorted[middle]! < this.thread.x) low = middle + 1;
      else high = middle;
    }
  }
  return low;
}

/** y[z][row] = Σ_p x[z][order[p]] over first[row] ≤ p < first[row + 1] */
export function sumRanges(this: KernelThis, x: Volume, order: Vector, first: Vector): number {
  const from = first[this.thread.y]!;
  const length = first[this.thread.y + 1]! - from;
  let sum = 0;
  for (let t = 0; t < length; t++) {
    sum += x[this.thread.z]![order[from + t]!]![this.thread.x]!;
  }
  return sum;
}

builtIn({ rank, invert, lowerBound, sumRanges });
