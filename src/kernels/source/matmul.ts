import type { KernelThis, Volume } from './kernel.js';

/** C[z][y][x] = Σ_i A[z][y][i] · B[z][i][x], either factor stored transposed; batchA/B are 0 for a shared matrix. */
export function matmul(this: KernelThis, a: Volume, b: Volume): number {
  let sum = 0;
  for (let i = 0; i < this.constants.k!; i++) {
    let left = 0;
    let right = 0;
    if (this.constants.transposeA === 1) left = a[this.thread.z * this.constants.batchA!]![i]![this.thread.y]!;
    else left = a[this.thread.z * this.constants.batchA!]![this.thread.y]![i]!;
    if (this.constants.transposeB === 1) right = b[this.thread.z * this.constants.batchB!]![this.thread.x]![i]!;
    else right = b[this.thread.z * this.constants.batchB!]![i]![this.thread.x]!;
    sum += left * right;
  }
  return sum;
}
