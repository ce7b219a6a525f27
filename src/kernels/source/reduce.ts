/** Reductions over the middle axis of [outer, length, inner]; thread = (inner, outer). */

import type { KernelThis, Volume } from './kernel.js';
import { builtIn } from './own.js';

/** y = Σ_i x_i */
export function reduceSum(this: KernelThis, x: Volume): number {
  let sum = 0;
  for (let i = 0; i < this.constants.length!; i++) sum += x[this.thread.y]![i]![this.thread.x]!;
  return sum;
}

/** y = Σ_i x_i of int32, modulo 2³²: for devices that have whole numbers */
export function reduceSumInt32(this: KernelThis, x: Volume): number {
  let sum = 0;
  for (let i = 0; i < this.constants.length!; i++) sum = (sum + x[this.thread.y]![i]![this.thread.x]!) | 0;
  return sum;
}

/** y = max_i x_i, NaN when any is NaN; at least one element (gpu.js has no infinite literal to begin with) */
export function reduceMax(this: KernelThis, x: Volume): number {
  let best = x[this.thread.y]![0]![this.thread.x]!;
  for (let i = 1; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (best === best && (value > best || value !== value)) best = value;
  }
  return best;
}

/** y = min_i x_i, NaN when any is NaN; at least one element */
export function reduceMin(this: KernelThis, x: Volume): number {
  let best = x[this.thread.y]![0]![this.thread.x]!;
  for (let i = 1; i < this.constants.length!; i++) {
    const value = x[this.thread.y]![i]![this.thread.x]!;
    if (best === best && (value < best || value !== value)) best = value;
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

/** The sums of `chunk` neighbours each; thread = (inner, chunk, outer). The last chunk may be shorter. */
export function reducePartSum(this: KernelThis, x: Volume): number {
  let sum = 0;
  for (let i = 0; i < this.constants.chunk!; i++) {
    if (this.thread.y * this.constants.chunk! + i < this.constants.length!)
      sum += x[this.thread.z]![this.thread.y * this.constants.chunk! + i]![this.thread.x]!;
  }
  return sum;
}

/** The maxima of `chunk` neighbours each */
export function reducePartMax(this: KernelThis, x: Volume): number {
  let best = x[this.thread.z]![this.thread.y * this.constants.chunk!]![this.thread.x]!;
  for (let i = 1; i < this.constants.chunk!; i++) {
    if (this.thread.y * this.constants.chunk! + i < this.constants.length!) {
      const value = x[this.thread.z]![this.thread.y * this.constants.chunk! + i]![this.thread.x]!;
      if (best === best && (value > best || value !== value)) best = value;
    }
  }
  return best;
}

/** The minima of `chunk` neighbours each */
export function reducePartMin(this: KernelThis, x: Volume): number {
  let best = x[this.thread.z]![this.thread.y * this.constants.chunk!]![this.thread.x]!;
  for (let i = 1; i < this.constants.chunk!; i++) {
    if (this.thread.y * this.constants.chunk! + i < this.constants.length!) {
      const value = x[this.thread.z]![this.thread.y * this.constants.chunk! + i]![this.thread.x]!;
      if (best === best && (value < best || value !== value)) best = value;
    }
  }
  return best;
}

builtIn({
  reduceSum,
  reduceSumInt32,
  reduceMax,
  reduceMin,
  argMax,
  argMin,
  reducePartSum,
  reducePartMax,
  reducePartMin,
});
