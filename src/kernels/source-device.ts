/**
 * The whole core vocabulary in terms of one ability: running a source kernel over a grid of up to three
 * dimensions. The reference and the gpu.js devices are this class with their own `run`.
 */
import type { DType, TypedArray } from '../tensor/dtype.js';
import { sizeOf } from '../tensor/shape.js';
import type {
  Conv2dSpec,
  CoreKernels,
  Device,
  FusedKernels,
  KernelOperand,
  MatmulSpec,
  MemoryInfo,
  Pool2dSpec,
  ReduceKind,
  ScalarKernel,
  Storage,
  Strided,
} from './device.js';
import { select } from './scalar.js';
import * as conv from './source/conv.js';
import { kernelOf } from './source/identity.js';
import type { SourceKernel } from './source/kernel.js';
import { matmul } from './source/matmul.js';
import * as move from './source/move.js';
import * as reduce from './source/reduce.js';
import * as sort from './source/sort.js';
import { flat, flatOperands } from './walk.js';

/** Sizes of a grid or a view, innermost first: [x], [x, y] or [x, y, z]. */
export type Grid = readonly [number] | readonly [number, number] | readonly [number, number, number];

/** A kernel input: a storage seen in one to three dimensions (innermost first), or a number. */
export type View = { storage: Storage; grid: Grid } | number;

const reducers = { sum: reduce.reduceSum, max: reduce.reduceMax, min: reduce.reduceMin };

/** What a reduction over nothing gives. */
export const emptyReduction = { sum: 0, max: -Infinity, min: Infinity };

/** A device whose kernels are the texts of source/: a subclass says how to run one. */
export abstract class SourceDevice implements Device, CoreKernels {
  abstract readonly name: string;
  abstract readonly description: string;
  abstract readonly dtypes: readonly DType[];
  abstract readonly synchronous: boolean;
  readonly fused: Partial<FusedKernels> = {};

  toString(): string {
    return `${this.name}: ${this.description}`;
  }

  abstract upload(data: TypedArray): Storage;
  abstract read(x: Storage): Promise<TypedArray>;
  abstract readSync(x: Storage, into?: TypedArray): TypedArray;
  abstract copyInto(target: Storage, source: Storage): void;
  abstract release(x: Storage): void;
  abstract memory(): MemoryInfo;
  abstract settle(): Promise<void>;
  abstract fill(size: number, value: number, dtype: DType): Storage;
  abstract cast(x: Storage, dtype: DType): Storage;

  /** Runs `kernel` once per point of `grid`; the result has one element per point, x fastest. */
  protected abstract run(
    kernel: SourceKernel,
    grid: Grid,
    inputs: View[],
    constants: Record<string, number>,
    dtype: DType,
  ): Storage;

  /** y_i = f(operands_i) over a shape of at most three axes. */
  protected abstract runElementwise(
    f: ScalarKernel,
    shape: readonly number[],
    operands: readonly KernelOperand[],
    dtype: DType,
  ): Storage;

  map(f: ScalarKernel, x: Storage): Storage {
    kernelOf(f, 1);
    return this.runElementwise(f, [x.size], [flat(x)], x.dtype);
  }

  zip(f: ScalarKernel, shape: readonly number[], a: KernelOperand, b: KernelOperand): Storage {
    kernelOf(f, 2);
    const { storage } = typeof a === 'number' ? (b as Strided) : a;
    return this.#elementwise(f, shape, [a, b], storage.dtype);
  }

  where(shape: readonly number[], condition: Strided, a: KernelOperand, b: KernelOperand, dtype: DType): Storage {
    return this.#elementwise(select, shape, [condition, a, b], dtype);
  }

  #elementwise(f: ScalarKernel, shape: readonly number[], operands: readonly KernelOperand[], dtype: DType): Storage {
    if (shape.length <= 3) return this.runElementwise(f, shape, operands, dtype);
    return flatOperands(this, shape, operands, (size, flat) => this.runElementwise(f, size, flat, dtype));
  }

  expand(shape: readonly number[], { storage: x, strides }: Strided): Storage {
    const size = sizeOf(shape);
    if (size === 0 || shape.length <= 3) {
      const [sx, sy, sz] = [...strides].reverse();
      const [nx, ny, nz] = [...shape].reverse();
      return this.run(
        move.expand,
        size === 0 ? [0] : [nx!, ny ?? 1, nz ?? 1],
        [{ storage: x, grid: [x.size] }],
        { stepX: sx!, stepY: sy ?? 0, stepZ: sz ?? 0 },
        x.dtype,
      );
    }
    // One repeated axis at a time, innermost last, so that each step is [outer, 1, inner] → [outer, n, inner].
    let result = x;
    const sizes = shape.map((n, i) => (strides[i] === 0 ? 1 : n));
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (sizes[axis] === shape[axis]) continue;
      const inner = sizeOf(sizes.slice(axis + 1));
      const outer = sizeOf(sizes.slice(0, axis));
      const next = this.expand([outer, shape[axis]!, inner], { storage: result, strides: [inner, 0, 1] });
      if (result !== x) result.free();
      result = next;
      sizes[axis] = shape[axis]!;
    }
    return result === x ? this.copy(x) : result;
  }

  reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage {
    if (length === 0) return this.fill(outer * inner, emptyReduction[kind], x.dtype);
    return this.run(
      this.reducer(kind, x.dtype),
      [inner, outer],
      [{ storage: x, grid: [inner, length, outer] }],
      { length },
      x.dtype,
    );
  }

  /** The kernel of a reduction. */
  protected reducer(kind: ReduceKind, _dtype: DType): SourceKernel {
    return reducers[kind];
  }

  argReduce(kind: 'max' | 'min', x: Storage, outer: number, length: number, inner: number): Storage {
    const kernel = kind === 'max' ? reduce.argMax : reduce.argMin;
    return this.run(kernel, [inner, outer], [{ storage: x, grid: [inner, length, outer] }], { length }, 'int32');
  }

  argSort(x: Storage, outer: number, length: number, inner: number, descending: boolean): Storage {
    const grid = [inner, length, outer] as const;
    const constants = { length, descending: Number(descending) };
    const ranks = this.run(sort.sortRank, grid, [{ storage: x, grid }], constants, 'int32');
    const order = this.run(sort.sortOrder, grid, [{ storage: ranks, grid }], { length }, 'int32');
    ranks.free();
    return order;
  }

  matmul(a: Storage, b: Storage, spec: MatmulSpec): Storage {
    const { batch, m, n, k, transposeA, transposeB, broadcastA, broadcastB } = spec;
    const constants = {
      k,
      ...{ batchA: broadcastA ? 0 : m * k, rowA: transposeA ? 1 : k, stepA: transposeA ? m : 1 },
      ...{ batchB: broadcastB ? 0 : k * n, columnB: transposeB ? k : 1, stepB: transposeB ? 1 : n },
    };
    const views: View[] = [
      { storage: a, grid: [a.size] },
      { storage: b, grid: [b.size] },
    ];
    return this.run(matmul, [n, m, batch], views, constants, a.dtype);
  }

  conv2d(x: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const views = [imageView(x, s.width, s.height, s.batch * s.inChannels), weightView(weight, s)];
    return this.run(conv.conv2d, [s.outWidth, s.outHeight, s.batch * s.outChannels], views, { ...s }, x.dtype);
  }

  conv2dInputGrad(gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const views = [imageView(gradOutput, s.outWidth, s.outHeight, s.batch * s.outChannels), weightView(weight, s)];
    const grid: Grid = [s.width, s.height, s.batch * s.inChannels];
    return this.run(conv.conv2dInputGrad, grid, views, { ...s }, gradOutput.dtype);
  }

  conv2dWeightGrad(x: Storage, gradOutput: Storage, s: Conv2dSpec): Storage {
    const views = [
      imageView(x, s.width, s.height, s.batch * s.inChannels),
      imageView(gradOutput, s.outWidth, s.outHeight, s.batch * s.outChannels),
    ];
    const grid: Grid = [s.kernelWidth, s.kernelHeight, s.outChannels * s.inChannels];
    return this.run(conv.conv2dWeightGrad, grid, views, { ...s }, x.dtype);
  }

  avgPool2d(x: Storage, s: Pool2dSpec): Storage {
    const view = imageView(x, s.width, s.height, s.planes);
    return this.run(conv.avgPool2d, [s.outWidth, s.outHeight, s.planes], [view], { ...s }, x.dtype);
  }

  avgPool2dGrad(gradOutput: Storage, s: Pool2dSpec): Storage {
    const view = imageView(gradOutput, s.outWidth, s.outHeight, s.planes);
    return this.run(conv.avgPool2dGrad, [s.width, s.height, s.planes], [view], { ...s }, gradOutput.dtype);
  }

  permute(x: Storage, shape: readonly number[], axes: readonly number[]): Storage {
    // Bring each wanted axis to the front of those not yet placed: at most rank − 1 exchanges of two blocks.
    const order = shape.map((_, i) => i);
    let result = x;
    axes.forEach((axis, place) => {
      const from = order.indexOf(axis);
      if (from === place) return;
      const sizes = order.map((i) => shape[i]!);
      const outer = sizeOf(sizes.slice(0, place));
      const a = sizeOf(sizes.slice(place, from));
      const b = sizes[from]!;
      const inner = sizeOf(sizes.slice(from + 1));
      result = this.#swap(result, outer, a, b, inner);
      order.splice(from, 1);
      order.splice(place, 0, axis);
    });
    return result === x ? this.copy(x) : result;
  }

  /** [outer, a, b, inner] → [outer, b, a, inner]; a strided copy where one of the four is 1, as it mostly is. */
  #swap(x: Storage, outer: number, a: number, b: number, inner: number): Storage {
    if (a === 1 || b === 1) return x;
    const view = { storage: x, grid: [x.size] as const };
    if (inner === 1) return this.run(move.expand, [a, b, outer], [view], { stepX: b, stepY: 1, stepZ: a * b }, x.dtype);
    if (outer === 1)
      return this.run(move.expand, [inner, a, b], [view], { stepX: 1, stepY: b * inner, stepZ: inner }, x.dtype);
    const matrices = { storage: x, grid: [inner, b, outer * a] as const };
    return this.run(move.swapAxes, [inner, a, outer * b], [matrices], { a, b }, x.dtype);
  }

  /** A new storage with the same elements. */
  protected copy(x: Storage): Storage {
    return this.expand([x.size], flat(x));
  }

  slice(x: Storage, shape: readonly number[], starts: readonly number[], sizes: readonly number[]): Storage {
    const current = [...shape];
    let result = x;
    sizes.forEach((size, axis) => {
      const length = current[axis]!;
      if (size === length) return;
      const outer = sizeOf(current.slice(0, axis));
      const inner = sizeOf(current.slice(axis + 1));
      const view = { storage: result, grid: [inner, length, outer] as const };
      result = this.run(move.sliceAxis, [inner, size, outer], [view], { start: starts[axis]! }, x.dtype);
      current[axis] = size;
    });
    return result === x ? this.copy(x) : result;
  }

  pad(
    x: Storage,
    shape: readonly number[],
    before: readonly number[],
    outShape: readonly number[],
    value: number,
  ): Storage {
    const current = [...shape];
    let result = x;
    outShape.forEach((size, axis) => {
      const length = current[axis]!;
      if (size === length) return;
      const outer = sizeOf(current.slice(0, axis));
      const inner = sizeOf(current.slice(axis + 1));
      const view = { storage: result, grid: [inner, length, outer] as const };
      const constants = { before: before[axis]!, length };
      result = this.run(move.padAxis, [inner, size, outer], [view, value], constants, x.dtype);
      current[axis] = size;
    });
    return result === x ? this.copy(x) : result;
  }

  concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage {
    let result = parts[0]!;
    let lengthA = lengths[0]!;
    for (let i = 1; i < parts.length; i++) {
      const lengthB = lengths[i]!;
      const views = [
        { storage: result, grid: [lengthA, outer] as const },
        { storage: parts[i]!, grid: [lengthB, outer] as const },
      ];
      result = this.run(move.concatPair, [lengthA + lengthB, outer], views, { lengthA }, result.dtype);
      lengthA += lengthB;
    }
    return result === parts[0] ? this.copy(result) : result;
  }

  gather(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const views = [
      { storage: x, grid: [inner, rows, outer] as const },
      { storage: indices, grid: [indices.size] as const },
    ];
    return this.run(move.gather, [inner, indices.size, outer], views, {}, x.dtype);
  }

  scatterAdd(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const count = indices.size;
    const views = [
      { storage: x, grid: [inner, count, outer] as const },
      { storage: indices, grid: [count] as const },
    ];
    return this.run(move.scatterAdd, [inner, rows, outer], views, { count }, x.dtype);
  }
}

function imageView(storage: Storage, width: number, height: number, planes: number): View {
  return { storage, grid: [width, height, planes] };
}

function weightView(weight: Storage, s: Conv2dSpec): View {
  return { storage: weight, grid: [s.kernelWidth, s.kernelHeight, s.outChannels * s.inChannels] };
}
