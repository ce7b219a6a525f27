/** Kernels that move elements without changing them. */

import type { KernelThis, Matrix, Vector, Volume } from './kernel.js';
import { builtIn } from './own.js';

/** Repeats along the axes whose stride is 0: a flat source walked by integer steps. */
export function expand(this: KernelThis, x: Vector): number {
  return x[
    this.thread.z * this.constants.stepZ! +
      this.thread.y * this.constants.stepY! +
      this.thread.x * this.constants.stepX!
  ]!;
}

/**
 * [outer, a, b, inner] → [outer, b, a, inner], exchanging two neighbouring axes; thread = (inner, a, outer · b). The
 * quotient is corrected by its remainder, so that the rounding of the device's division does not matter.
 */
export function swapAxes(this: KernelThis, x: Volume): number {
  let outer = Math.floor((this.thread.z + 0.5) / this.constants.b!);
  let b = this.thread.z - outer * this.constants.b!;
  if (b < 0) {
    outer = outer - 1;
    b = b + this.constants.b!;
  }
  if (b >= this.constants.b!) {
    outer = outer + 1;
    b = b - this.constants.b!;
  }
  return x[outer * this.constants.a! + this.thread.y]![b]![this.thread.x]!;
}

/** [outer, length, inner] → [outer, size, inner] from `start` */
export function sliceAxis(this: KernelThis, x: Volume): number {
  return x[this.thread.z]![this.thread.y + this.constants.start!]![this.thread.x]!;
}

/** [outer, length, inner] → [outer, before + length + after, inner], `value` around */
export function padAxis(this: KernelThis, x: Volume, value: number): number {
  const y = this.thread.y - this.constants.before!;
  let result = value;
  if (y >= 0 && y < this.constants.length!) result = x[this.thread.z]![y]![this.thread.x]!;
  return result;
}

/** [outer, lengthA] beside [outer, lengthB] */
export function concatPair(this: KernelThis, a: Matrix, b: Matrix): number {
  let result = 0;
  if (this.thread.x < this.constants.lengthA!) result = a[this.thread.y]![this.thread.x]!;
  else result = b[this.thread.y]![this.thread.x - this.constants.lengthA!]!;
  return result;
}

/** y[z][i] = x[z][indices[i]] */
export function gather(this: KernelThis, x: Volume, indices: Vector): number {
  return x[this.thread.z]![indices[this.thread.y]!]![this.thread.x]!;
}

/** y[z][row] = Σ_{i: indices[i] = row} x[z][i] */
export function scatterAdd(this: KernelThis, x: Volume, indices: Vector): number {
  let sum = 0;
  for (let i = 0; i < this.constants.count!; i++) {
    if (indices[i]! === this.thread.y) sum += x[this.thread.z]![i]![this.thread.x]!;
  }
  return sum;
}

builtIn({ expand, swapAxes, sliceAxis, padAxis, concatPair, gather, scatterAdd });
