/**
 * Convolution (cross-correlation) and its two gradients, and average pooling, all in gather form. Images are
 * viewed [batch · channels][height][width], weights [outChannels · inChannels][kernelHeight][kernelWidth].
 * `floor((z + 0.5) / n)` divides a whole float32 exactly, whatever the device's rounding of division.
 */

import type { KernelThis, Volume } from './kernel.js';
import { builtIn } from './own.js';

/** y[n,o,i,j] = Σ_{c,u,v} x[n, c, i·s + u − p, j·s + v − p] · w[o,c,u,v] */
export function conv2d(this: KernelThis, x: Volume, weight: Volume): number {
  const n = Math.floor((this.thread.z + 0.5) / this.constants.outChannels!);
  const o = this.thread.z - n * this.constants.outChannels!;
  let sum = 0;
  for (let c = 0; c < this.constants.inChannels!; c++) {
    for (let u = 0; u < this.constants.kernelHeight!; u++) {
      const i = this.thread.y * this.constants.strideY! + u - this.constants.paddingY!;
      if (i >= 0 && i < this.constants.height!) {
        for (let v = 0; v < this.constants.kernelWidth!; v++) {
          const j = this.thread.x * this.constants.strideX! + v - this.constants.paddingX!;
          if (j >= 0 && j < this.constants.width!) {
            sum += x[n * this.constants.inChannels! + c]![i]![j]! * weight[o * this.constants.inChannels! + c]![u]![v]!;
          }
        }
      }
    }
  }
  return sum;
}

/** ∂x[n,c,i,j] = Σ_{o,u,v} ȳ[n, o, (i + p − u)/s, (j + p − v)/s] · w[o,c,u,v] where the division is exact */
export function conv2dInputGrad(this: KernelThis, gradOutput: Volume, weight: Volume): number {
  const n = Math.floor((this.thread.z + 0.5) / this.constants.inChannels!);
  const c = this.thread.z - n * this.constants.inChannels!;
  let sum = 0;
  for (let u = 0; u < this.constants.kernelHeight!; u++) {
    const y = this.thread.y + this.constants.paddingY! - u;
    const i = Math.floor((y + 0.5) / this.constants.strideY!);
    if (i >= 0 && i < this.constants.outHeight! && i * this.constants.strideY! === y) {
      for (let v = 0; v < this.constants.kernelWidth!; v++) {
        const x = this.thread.x + this.constants.paddingX! - v;
        const j = Math.floor((x + 0.5) / this.constants.strideX!);
        if (j >= 0 && j < this.constants.outWidth! && j * this.constants.strideX! === x) {
          for (let o = 0; o < this.constants.outChannels!; o++) {
            sum +=
              gradOutput[n * this.constants.outChannels! + o]![i]![j]! *
              weight[o * this.constants.inChannels! + c]![u]![v]!;
          }
        }
      }
    }
  }
  return sum;
}

/** ∂w[o,c,u,v] = Σ_{n,i,j} ȳ[n,o,i,j] · x[n, c, i·s + u − p, j·s + v − p] */
export function conv2dWeightGrad(this: KernelThis, x: Volume, gradOutput: Volume): number {
  const o = Math.floor((this.thread.z + 0.5) / this.constants.inChannels!);
  const c = this.thread.z - o * this.constants.inChannels!;
  let sum = 0;
  for (let n = 0; n < this.constants.batch!; n++) {
    for (let i = 0; i < this.constants.outHeight!; i++) {
      const y = i * this.constants.strideY! + this.thread.y - this.constants.paddingY!;
      if (y >= 0 && y < this.constants.height!) {
        for (let j = 0; j < this.constants.outWidth!; j++) {
          const column = j * this.constants.strideX! + this.thread.x - this.constants.paddingX!;
          if (column >= 0 && column < this.constants.width!) {
            sum +=
              gradOutput[n * this.constants.outChannels! + o]![i]![j]! *
              x[n * this.constants.inChannels! + c]![y]![column]!;
          }
        }
      }
    }
  }
  return sum;
}

/** y[z,i,j] = mean of the window of x[z] that starts at (i·s, j·s) */
export function avgPool2d(this: KernelThis, x: Volume): number {
  let sum = 0;
  for (let u = 0; u < this.constants.kernelY!; u++) {
    for (let v = 0; v < this.constants.kernelX!; v++) {
      sum +=
        x[this.thread.z]![this.thread.y * this.constants.strideY! + u]![this.thread.x * this.constants.strideX! + v]!;
    }
  }
  return sum / (this.constants.kernelY! * this.constants.kernelX!);
}

/** ∂x[z,i,j] = Σ over the windows that contain (i, j) of ȳ / window size */
export function avgPool2dGrad(this: KernelThis, gradOutput: Volume): number {
  let sum = 0;
  for (let u = 0; u < this.constants.kernelY!; u++) {
    const y = this.thread.y - u;
    const i = Math.floor((y + 0.5) / this.constants.strideY!);
    if (i >= 0 && i < this.constants.outHeight! && i * this.constants.strideY! === y) {
      for (let v = 0; v < this.constants.kernelX!; v++) {
        const x = this.thread.x - v;
        const j = Math.floor((x + 0.5) / this.constants.strideX!);
        if (j >= 0 && j < this.constants.outWidth! && j * this.constants.strideX! === x) {
          sum += gradOutput[this.thread.z]![i]![j]!;
        }
      }
    }
  }
  return sum / (this.constants.kernelY! * this.constants.kernelX!);
}

builtIn({ conv2d, conv2dInputGrad, conv2dWeightGrad, avgPool2d, avgPool2dGrad });
