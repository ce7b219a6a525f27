/** Reductions over the middle axis of [outer, length, inner]; thread = (inner, outer). */
import type { KernelThis, Volume } from './kernel.js';

/** y = Σ_i x_i */
export function reduceSum(this: KernelThis, x: Volume): number {
  let sum = 0;
  for (let i = 0; i < this.constants.length!; i++) sum += x[this.thread.y]![i]![this.thread.x]!;
  return sum;
}

/** y = max_i x_i; −∞ when empty, NaN when any is NaN */
export function reduceMax(this: KernelThis, x: Volume): number {
  let best = -Infinity;
  for (let i = 0; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (value > best || value !== value) best = value;
    if (best !== best) break;
  }
  return best;
}

/** y = min_i x_i; +∞ when empty, NaN when any is NaN */
export function reduceMin(this: KernelThis, x: Volume): number {
  let best = Infinity;
  for (let i = 0; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (value < best || value !== value) best = value;
    if (best !== best) break;
  }
  return best;
}

/** Index of the first maximum (the first NaN, if any) */
export function argMax(this: KernelThis, x: Volume): number {
  let best = x[this.thread.y]![0]![this.thread.x]!;
  let index = 0;
  for (let i = 1; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (best === best && (value > best || value !== value)) {
      best = value;
      index = i;
    }
  }
  return index;
}

/** Index of the first minimum (the first NaN, if any) */
export function argMin(this: KernelThis, x: Volume): number {
  let best = x[this.thread.y]![0]![this.thread.x]!;
  let index = 0;
  for (let i = 1; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (best === best && (value < best || value !== value)) {
      best = value;
      index = i;
    }
  }
  return index;
}
