/** Moving and reducing elements in plain loops over typed arrays, and running source kernels over them. */
import type { TypedArray } from '../../tensor/dtype.js';
import { sizeOf, stridesOf } from '../../tensor/shape.js';
import type { ReduceKind } from '../device.js';
import { nest } from '../reference/device.js';
import type { KernelThis, SourceKernel } from '../source/kernel.js';
import type { Grid } from '../source-device.js';

/** Runs a source kernel once per point of the grid. */
export function runSource(
  kernel: SourceKernel,
  [nx, ny = 1, nz = 1]: Grid,
  inputs: ({ data: TypedArray; grid: Grid } | number)[],
  constants: Record<string, number>,
  out: TypedArray,
): void {
  const self: KernelThis = { thread: { x: 0, y: 0, z: 0 }, constants };
  const { thread } = self;
  const [a, b] = inputs.map((input) => (typeof input === 'number' ? input : nest(input.data, input.grid)));
  let i = 0;
  for (thread.z = 0; thread.z < nz; thread.z++)
    for (thread.y = 0; thread.y < ny; thread.y++)
      for (thread.x = 0; thread.x < nx; thread.x++) out[i++] = kernel.call(self, a, b);
}

/** [outer, length, inner] → [outer, inner]; sums in float64. */
export function reduce(
  kind: ReduceKind,
  x: TypedArray,
  y: TypedArray,
  outer: number,
  length: number,
  inner: number,
): void {
  const start = kind === 'sum' ? 0 : kind === 'max' ? -Infinity : Infinity;
  const row = new Float64Array(inner);
  for (let o = 0; o < outer; o++) {
    row.fill(start);
    for (let l = 0, at = o * length * inner; l < length; l++)
      if (kind === 'sum') for (let i = 0; i < inner; i++) row[i]! += x[at++]!;
      else if (kind === 'max') for (let i = 0; i < inner; i++) row[i] = Math.max(row[i]!, x[at++]!);
      else for (let i = 0; i < inner; i++) row[i] = Math.min(row[i]!, x[at++]!);
    y.set(row, o * inner);
  }
}

/** y[…] = x permuted: axis i of y is axis axes[i] of x. */
export function permute(x: TypedArray, y: TypedArray, shape: readonly number[], axes: readonly number[]): void {
  const own = stridesOf(shape);
  // Four axes, outer ones of size 1 added: enough after neighbours that stay together are merged.
  const sizes: number[] = [];
  const steps: number[] = [];
  axes.forEach((axis, i) => {
    if (i > 0 && axes[i - 1] === axis - 1) {
      sizes[sizes.length - 1]! *= shape[axis]!;
      steps[steps.length - 1] = own[axis]!;
    } else {
      sizes.push(shape[axis]!);
      steps.push(own[axis]!);
    }
  });
  const walk = (axis: number, from: number, to: number): number => {
    const size = sizes[axis]!;
    const step = steps[axis]!;
    if (axis === sizes.length - 1) {
      if (step === 1) y.set(x.subarray(from, from + size), to);
      else for (let i = 0; i < size; i++) y[to + i] = x[from + i * step]!;
      return to + size;
    }
    let next = to;
    for (let i = 0; i < size; i++) next = walk(axis + 1, from + i * step, next);
    return next;
  };
  if (y.length > 0) walk(0, 0, 0);
}

/** Copies a block of `sizes` from one row-major array to another. */
export function copyBlock(
  from: TypedArray,
  fromShape: readonly number[],
  fromStart: readonly number[],
  to: TypedArray,
  toShape: readonly number[],
  toStart: readonly number[],
  sizes: readonly number[],
): void {
  if (sizeOf(sizes) === 0) return;
  const [a, b] = [stridesOf(fromShape), stridesOf(toShape)];
  // The longest run that is contiguous on both sides: whole inner axes, and one partial axis before them.
  let axis = sizes.length;
  while (axis > 0 && sizes[axis - 1] === fromShape[axis - 1] && sizes[axis - 1] === toShape[axis - 1]) axis--;
  const partial = Math.max(0, axis - 1);
  const run = sizeOf(sizes.slice(partial));
  const walk = (level: number, source: number, target: number): void => {
    if (level === partial) {
      const [s, t] =
        sizes.length === 0
          ? [source, target]
          : [source + fromStart[level]! * a[level]!, target + toStart[level]! * b[level]!];
      to.set(from.subarray(s, s + run), t);
      return;
    }
    for (let i = 0; i < sizes[level]!; i++)
      walk(level + 1, source + (fromStart[level]! + i) * a[level]!, target + (toStart[level]! + i) * b[level]!);
  };
  walk(0, 0, 0);
}
