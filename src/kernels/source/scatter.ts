/**
 * scatterAdd by sorting: positions are counted instead of compared with every row, which pays when there are many
 * rows. The terms of a row are added in the order of the indices, as scatterAdd of move.ts does.
 */
import type { KernelThis, Vector, Volume } from './kernel.js';

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
