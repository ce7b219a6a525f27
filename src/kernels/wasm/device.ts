/**
 * The wasm device: the fast CPU. Kernels are SIMD WebAssembly on all cores (assembly/), over one linear memory. What
 * they do not know (elementwise kernels of users, int32 arithmetic) runs as loops compiled from the kernel's own text.
 */
import { allocate, bytesPerElement, type DType, dtypeOf, type TypedArray, viewOf } from '../../tensor/dtype.js';
import { sizeOf, stridesOf } from '../../tensor/shape.js';
import {
  type Conv2dSpec,
  type Device,
  type FusedGradients,
  type FusedKernels,
  type KernelOperand,
  type MatmulSpec,
  type MemoryInfo,
  type Pool2dSpec,
  type ReduceKind,
  type ScalarKernel,
  Storage,
  type Strided,
} from '../device.js';
import { select } from '../scalar.js';
import { kernelOf } from '../source/identity.js';
import { flat, flatOperands } from '../walk.js';
import { boundProducts, type CodedQuery, type CodedVectors } from './codes.js';
import { at, type Context } from './context.js';
import * as conv from './conv.js';
import { applyOperation, fill } from './elementwise.js';
import type { Engine } from './engine.js';
import { fusedKernels } from './fused.js';
import { matmul } from './gemm.js';
import type { Block } from './heap.js';
import { operationNumber, selectFloat, selectInt } from './kernels.js';
import { argReduceLoop, argSortLoop, reduceLoop, runLoop, scatterAddLoop } from './loops.js';
import { gather, moveBlock, scatterAdd } from './move.js';
import { avgPool2d, avgPool2dGrad } from './pooling.js';
import { argReduce, reduceColumns, reduceRows } from './reduce.js';

export class WasmDevice implements Device {
  readonly name = 'wasm';
  readonly dtypes = ['float32', 'float64', 'int32'] as const;
  readonly synchronous = true;
  readonly fused: FusedKernels & FusedGradients;
  readonly #engine: Engine;
  readonly #label: string;
  readonly #context: Context;
  readonly #operations = new WeakMap<ScalarKernel, number>();

  constructor(engine: Engine, label: string) {
    this.#engine = engine;
    this.#label = label;
    this.#context = { engine, allocate: (dtype, size) => this.#allocate(dtype, size) };
    this.fused = fusedKernels(this.#context);
  }

  get description(): string {
    return `WebAssembly with ${this.#label}, ${this.threads} thread${this.threads === 1 ? '' : 's'}`;
  }

  toString(): string {
    return `${this.name}: ${this.description}`;
  }

  /** Number of threads, the calling one included. Results do not depend on it. */
  get threads(): number {
    return this.#engine.threads;
  }

  set threads(count: number) {
    this.#engine.threads = count;
  }

  /** Uninitialised storage. */
  #allocate(dtype: DType, size: number): Storage {
    const block = this.#engine.heap.allocate(size * bytesPerElement[dtype]);
    const storage = new Storage(this, dtype, size, block);
    this.#engine.heap.collector.watch(storage, block);
    return storage;
  }

  /** The elements in place; valid until memory grows, so never kept across an allocation. */
  #view(x: Storage): TypedArray {
    const { buffer } = this.#engine.heap.memory;
    return viewOf(x.dtype, buffer, at(x), x.size);
  }

  upload(data: TypedArray): Storage {
    const storage = this.#allocate(dtypeOf(data), data.length);
    this.#view(storage).set(data);
    return storage;
  }

  async read(x: Storage): Promise<TypedArray> {
    const copy = this.readSync(x);
    await this.settle();
    return copy;
  }

  readSync(x: Storage, into: TypedArray = allocate(x.dtype, x.size)): TypedArray {
    // set() copies memory at once; making an array from a view of shared memory goes element by element, 20 times as slow.
    into.set(this.#view(x));
    return into;
  }

  copyInto(target: Storage, source: Storage): void {
    this.#view(target).set(this.#view(source));
  }

  release(x: Storage): void {
    this.#engine.heap.release(x.handle as Block);
  }

  memory(): MemoryInfo {
    return this.#engine.heap.info();
  }

  settle(): Promise<void> {
    return this.#engine.heap.collector.settle();
  }

  fill(size: number, value: number, dtype: DType): Storage {
    return fill(this.#context, size, value, dtype);
  }

  cast(x: Storage, dtype: DType): Storage {
    const storage = this.#allocate(dtype, x.size);
    this.#view(storage).set(this.#view(x));
    return storage;
  }

  map(f: ScalarKernel, x: Storage): Storage {
    return this.#elementwise(f, [x.size], [flat(x)], x.dtype);
  }

  zip(f: ScalarKernel, shape: readonly number[], a: KernelOperand, b: KernelOperand): Storage {
    const { storage } = typeof a === 'number' ? (b as Strided) : a;
    return this.#elementwise(f, shape, [a, b], storage.dtype);
  }

  where(shape: readonly number[], condition: Strided, a: KernelOperand, b: KernelOperand, dtype: DType): Storage {
    return this.#elementwise(select, shape, [condition, a, b], dtype);
  }

  #elementwise(f: ScalarKernel, shape: readonly number[], operands: readonly KernelOperand[], dtype: DType): Storage {
    if (shape.length > 3)
      return flatOperands(this, shape, operands, (size, flat) => this.#elementwise(f, size, flat, dtype));
    const y = this.#allocate(dtype, sizeOf(shape));
    if (y.size === 0) return y;
    const operation = this.#operation(f, operands, dtype);
    if (operation >= 0) applyOperation(this.#context, operation, y, shape, operands);
    else {
      const sources = operands.map((x) => (typeof x === 'number' ? x : this.#view(x.storage)));
      runLoop(f, this.#view(y), shape, operands, sources);
    }
    return y;
  }

  /** The number of the operation that computes f on these operands, −1 for none. */
  #operation(f: ScalarKernel, operands: readonly KernelOperand[], dtype: DType): number {
    if (dtype === 'int32') return -1;
    if (f === select) {
      const condition = (operands[0] as Strided).storage.dtype;
      if (condition === dtype) return selectFloat;
      return condition === 'int32' && dtype === 'float32' ? selectInt : -1;
    }
    let number = this.#operations.get(f);
    if (number === undefined) {
      number = operationNumber(kernelOf(f, operands.length));
      if (number >= 0) this.#operations.set(f, number);
    }
    return number;
  }

  expand(shape: readonly number[], { storage: x, strides }: Strided): Storage {
    const y = this.#allocate(x.dtype, sizeOf(shape));
    moveBlock(
      this.#context,
      shape,
      { storage: x, offset: 0, strides },
      { storage: y, offset: 0, strides: stridesOf(shape) },
    );
    return y;
  }

  reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage {
    if (x.dtype !== 'int32')
      return inner === 1
        ? reduceRows(this.#context, kind, x, outer, length)
        : reduceColumns(this.#context, kind, x, outer, length, inner);
    const y = this.#allocate(x.dtype, outer * inner);
    reduceLoop(kind, this.#view(x), this.#view(y), outer, length, inner);
    return y;
  }

  argReduce(kind: 'max' | 'min', x: Storage, outer: number, length: number, inner: number): Storage {
    if (x.dtype !== 'int32') return argReduce(this.#context, kind, x, outer, length, inner);
    const y = this.#allocate('int32', outer * inner);
    argReduceLoop(kind, this.#view(x), this.#view(y), outer, length, inner);
    return y;
  }

  argSort(x: Storage, outer: number, length: number, inner: number, descending: boolean): Storage {
    const y = this.#allocate('int32', x.size);
    argSortLoop(this.#view(x), this.#view(y), outer, length, inner, descending);
    return y;
  }

  matmul(a: Storage, b: Storage, spec: MatmulSpec): Storage {
    return matmul(this.#context, a, b, spec);
  }

  conv2d(x: Storage, weight: Storage, spec: Conv2dSpec): Storage {
    return conv.conv2d(this.#context, x, weight, spec);
  }

  conv2dInputGrad(gradOutput: Storage, weight: Storage, spec: Conv2dSpec): Storage {
    return conv.conv2dInputGrad(this.#context, gradOutput, weight, spec);
  }

  conv2dWeightGrad(x: Storage, gradOutput: Storage, spec: Conv2dSpec): Storage {
    return conv.conv2dWeightGrad(this.#context, x, gradOutput, spec);
  }

  avgPool2d(x: Storage, spec: Pool2dSpec): Storage {
    return avgPool2d(this.#context, x, spec);
  }

  avgPool2dGrad(gradOutput: Storage, spec: Pool2dSpec): Storage {
    return avgPool2dGrad(this.#context, gradOutput, spec);
  }

  permute(x: Storage, shape: readonly number[], axes: readonly number[]): Storage {
    const own = stridesOf(shape);
    const sizes = axes.map((axis) => shape[axis]!);
    const y = this.#allocate(x.dtype, x.size);
    moveBlock(
      this.#context,
      sizes,
      { storage: x, offset: 0, strides: axes.map((axis) => own[axis]!) },
      { storage: y, offset: 0, strides: stridesOf(sizes) },
    );
    return y;
  }

  slice(x: Storage, shape: readonly number[], starts: readonly number[], sizes: readonly number[]): Storage {
    const strides = stridesOf(shape);
    const y = this.#allocate(x.dtype, sizeOf(sizes));
    moveBlock(
      this.#context,
      sizes,
      { storage: x, offset: offsetOf(starts, strides), strides },
      { storage: y, offset: 0, strides: stridesOf(sizes) },
    );
    return y;
  }

  pad(
    x: Storage,
    shape: readonly number[],
    before: readonly number[],
    outShape: readonly number[],
    value: number,
  ): Storage {
    const strides = stridesOf(outShape);
    const y = this.fill(sizeOf(outShape), value, x.dtype);
    moveBlock(
      this.#context,
      shape,
      { storage: x, offset: 0, strides: stridesOf(shape) },
      { storage: y, offset: offsetOf(before, strides), strides },
    );
    return y;
  }

  concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const y = this.#allocate(parts[0]!.dtype, outer * total);
    let column = 0;
    parts.forEach((part, k) => {
      const length = lengths[k]!;
      moveBlock(
        this.#context,
        [outer, length],
        { storage: part, offset: 0, strides: [length, 1] },
        { storage: y, offset: column, strides: [total, 1] },
      );
      column += length;
    });
    return y;
  }

  gather(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    return gather(this.#context, x, indices, outer, rows, inner);
  }

  scatterAdd(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const y = this.fill(outer * rows * inner, 0, x.dtype);
    if (y.size === 0) return y;
    if (x.dtype !== 'int32') scatterAdd(this.#context, x, indices, y, outer, rows, inner);
    else scatterAddLoop(this.#view(x), this.#view(indices), this.#view(y), outer, rows, inner);
    return y;
  }

  /** Bounds of the products of coded vectors with one, for searching: see {@link boundProducts}. */
  boundProducts(vectors: CodedVectors, query: CodedQuery): Storage {
    return boundProducts(this.#context, vectors, query);
  }
}

function offsetOf(index: readonly number[], strides: readonly number[]): number {
  return index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0);
}
