import type { KernelThis, Vector } from './kernel.js';
import { builtIn } from './own.js';

/**
 * C[z][y][x] = Σ_i A[z][y][i] · B[z][i][x]. Both factors are flat and walked by integer steps, so either may be stored
 * transposed (its steps exchanged) or be one matrix for the whole batch (batch step 0).
 */
export function matmul(this: KernelThis, a: Vector, b: Vector): number {
  let sum = 0;
  for (let i = 0; i < this.constants.k!; i++) {
    sum +=
      a[this.thread.z * this.constants.batchA! + this.thread.y * this.constants.rowA! + i * this.constants.stepA!]! *
      b[this.thread.z * this.constants.batchB! + this.thread.x * this.constants.columnB! + i * this.constants.stepB!]!;
  }
  return sum;
}

builtIn({ matmul });
