/**
 * The wasm device: the fast CPU. Products, convolutions, normalisations and the optimiser are SIMD WebAssembly
 * (assembly/); elementwise loops are compiled from their kernels' text (loops.ts); both work in one linear memory.
 */
import { bytesPerElement, type DType, dtypeOf, type TypedArray } from '../../tensor/dtype.js';
import { DTypeError } from '../../tensor/errors.js';
import { type BroadcastPlan, sizeOf } from '../../tensor/shape.js';
import {
  type AdamWSpec,
  type BatchNormSpec,
  type Conv2dSpec,
  type FusedKernels,
  type KernelOperand,
  type MatmulSpec,
  type MemoryInfo,
  type ReduceKind,
  type ScalarKernel,
  Storage,
} from '../device.js';
import type { SourceKernel } from '../source/kernel.js';
import { type Grid, SourceDevice, type View } from '../source-device.js';
import { type Block, Heap } from './heap.js';
import { runLoop } from './loops.js';
import * as move from './move.js';

/** The functions of assembly/index.ts: addresses, sizes and numbers in, nothing out. */
type WasmExports = Record<string, (...args: number[]) => number>;

/** SIMD loops by kernel name, for operands of one size. */
const simdBinary = new Set(['add', 'sub', 'mul', 'reluGrad']);
const KC = 256;

export class WasmDevice extends SourceDevice {
  readonly name = 'wasm';
  readonly description = 'SIMD WebAssembly, float32, one thread';
  readonly dtypes = ['float32', 'int32'] as const;
  readonly synchronous = true;
  readonly #heap: Heap;
  readonly #wasm: WasmExports;
  readonly #registry = new FinalizationRegistry<Block>((block) => this.#heap.release(block));
  readonly #turn: () => Promise<void>;

  /** @param module the compiled hopgrad.wasm; @param turn resolves in a later turn of the event loop */
  constructor(module: WebAssembly.Module, turn: () => Promise<void>) {
    super();
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 65536 });
    this.#wasm = new WebAssembly.Instance(module, { env: { memory } }).exports as WasmExports;
    this.#heap = new Heap(memory, this.#wasm.heapBase!());
    this.#turn = turn;
    Object.assign(this.fused, this.#fusedKernels());
  }

  /** Uninitialised storage. */
  #allocate(dtype: DType, size: number): Storage {
    if (dtype === 'float64')
      throw new DTypeError('wasm', {
        received: 'float64',
        expected: 'float32 or int32',
        hint: 'Double precision lives on the reference device.',
      });
    const block = this.#heap.allocate(size * bytesPerElement[dtype]);
    const storage = new Storage(this, dtype, size, block);
    this.#registry.register(storage, block);
    return storage;
  }

  #address(x: Storage): number {
    return (x.handle as Block).address;
  }

  /** The elements in place; valid until memory grows, so never kept across an allocation. */
  #view(x: Storage): TypedArray {
    const { buffer } = this.#heap.memory;
    const { address } = x.handle as Block;
    return x.dtype === 'int32' ? new Int32Array(buffer, address, x.size) : new Float32Array(buffer, address, x.size);
  }

  /** Memory for the duration of one kernel. */
  #withScratch<T>(bytes: number, body: (address: number) => T): T {
    const block = this.#heap.allocate(bytes);
    try {
      return body(block.address);
    } finally {
      this.#heap.release(block);
    }
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

  readSync(x: Storage): TypedArray {
    return this.#view(x).slice();
  }

  copyInto(target: Storage, source: Storage): void {
    this.#view(target).set(this.#view(source));
  }

  release(x: Storage): void {
    this.#heap.release(x.handle as Block);
  }

  memory(): MemoryInfo {
    return this.#heap.info();
  }

  async settle(): Promise<void> {
    await this.#turn();
    if (!this.#heap.collectionPending) return;
    await this.#turn(); // finalizers are queued behind the first
    this.#heap.settled();
  }

  fill(size: number, value: number, dtype: DType): Storage {
    const storage = this.#allocate(dtype, size);
    this.#view(storage).fill(value);
    return storage;
  }

  cast(x: Storage, dtype: DType): Storage {
    const storage = this.#allocate(dtype, x.size);
    this.#view(storage).set(this.#view(x));
    return storage;
  }

  override map(f: ScalarKernel, x: Storage): Storage {
    if (f.name !== 'relu' || x.dtype !== 'float32') return super.map(f, x);
    const y = this.#allocate(x.dtype, x.size);
    this.#wasm.relu!(this.#address(x), this.#address(y), x.size);
    return y;
  }

  override zip(f: ScalarKernel, a: KernelOperand, b: KernelOperand, plan: BroadcastPlan): Storage {
    const same =
      plan.shape.length === 1 &&
      typeof a !== 'number' &&
      typeof b !== 'number' &&
      plan.strides[0]![0] === 1 &&
      plan.strides[1]![0] === 1;
    if (!same || a.dtype !== 'float32' || !simdBinary.has(f.name)) return super.zip(f, a, b, plan);
    const y = this.#allocate('float32', a.size);
    this.#wasm[f.name]!(this.#address(a), this.#address(b), this.#address(y), a.size);
    return y;
  }

  protected runElementwise(f: ScalarKernel, operands: KernelOperand[], plan: BroadcastPlan): Storage {
    const typed = operands.filter((operand) => typeof operand !== 'number');
    const { dtype } = typed[operands.length === 3 && typed.length > 1 ? 1 : 0]!;
    const y = this.#allocate(dtype, sizeOf(plan.shape));
    const sources = operands.map((operand) => (typeof operand === 'number' ? operand : this.#view(operand)));
    if (y.size > 0) runLoop(f, this.#view(y), sources, plan);
    return y;
  }

  override expand(x: Storage, plan: BroadcastPlan): Storage {
    if (plan.shape.length > 3) return super.expand(x, plan);
    return this.runElementwise(same, [x], plan);
  }

  /** What has no kernel of its own here runs its source text over this memory, as on the reference device. */
  protected run(
    kernel: SourceKernel,
    grid: Grid,
    inputs: View[],
    constants: Record<string, number>,
    dtype: DType,
  ): Storage {
    const y = this.#allocate(dtype, sizeOf(grid));
    const arrays = inputs.map((input) =>
      typeof input === 'number' ? input : { data: this.#view(input.storage), grid: input.grid },
    );
    move.runSource(kernel, grid, arrays, constants, this.#view(y));
    return y;
  }

  override reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage {
    const y = this.#allocate(x.dtype, outer * inner);
    if (kind === 'sum' && inner === 1 && x.dtype === 'float32')
      this.#wasm.sumRows!(this.#address(x), this.#address(y), outer, length);
    else move.reduce(kind, this.#view(x), this.#view(y), outer, length, inner);
    return y;
  }

  override permute(x: Storage, shape: readonly number[], axes: readonly number[]): Storage {
    const y = this.#allocate(x.dtype, x.size);
    move.permute(this.#view(x), this.#view(y), shape, axes);
    return y;
  }

  override slice(x: Storage, shape: readonly number[], starts: readonly number[], sizes: readonly number[]): Storage {
    const y = this.#allocate(x.dtype, sizeOf(sizes));
    move.copyBlock(
      this.#view(x),
      shape,
      starts,
      this.#view(y),
      sizes,
      sizes.map(() => 0),
      sizes,
    );
    return y;
  }

  override pad(
    x: Storage,
    shape: readonly number[],
    before: readonly number[],
    outShape: readonly number[],
    value: number,
  ): Storage {
    const y = this.fill(sizeOf(outShape), value, x.dtype);
    move.copyBlock(
      this.#view(x),
      shape,
      shape.map(() => 0),
      this.#view(y),
      outShape,
      before,
      shape,
    );
    return y;
  }

  override concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const y = this.#allocate(parts[0]!.dtype, outer * total);
    const target = this.#view(y);
    let column = 0;
    parts.forEach((part, k) => {
      const source = this.#view(part);
      const length = lengths[k]!;
      for (let row = 0; row < outer; row++)
        target.set(source.subarray(row * length, (row + 1) * length), row * total + column);
      column += length;
    });
    return y;
  }

  override gather(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const y = this.#allocate(x.dtype, outer * indices.size * inner);
    const [source, index, target] = [this.#view(x), this.#view(indices), this.#view(y)];
    for (let o = 0, to = 0; o < outer; o++)
      for (let i = 0; i < index.length; i++, to += inner) {
        const from = (o * rows + index[i]!) * inner;
        target.set(source.subarray(from, from + inner), to);
      }
    return y;
  }

  override scatterAdd(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const y = this.fill(outer * rows * inner, 0, x.dtype);
    const [source, index, target] = [this.#view(x), this.#view(indices), this.#view(y)];
    for (let o = 0, from = 0; o < outer; o++)
      for (let i = 0; i < index.length; i++) {
        const to = (o * rows + index[i]!) * inner;
        for (let k = 0; k < inner; k++) target[to + k]! += source[from++]!;
      }
    return y;
  }

  /** Bytes that gemm needs for its packed blocks. */
  #gemmScratch(m: number, n: number): number {
    return 128 + 4 * KC * (m + 4 + n + 8);
  }

  override matmul(a: Storage, b: Storage, s: MatmulSpec): Storage {
    const y = this.#allocate('float32', s.batch * s.m * s.n);
    const [aRow, aColumn] = s.transposeA ? [1, s.m] : [s.k, 1];
    const [bRow, bColumn] = s.transposeB ? [1, s.k] : [s.n, 1];
    this.#withScratch(this.#gemmScratch(s.m, s.n), (scratch) => {
      for (let i = 0; i < s.batch; i++) {
        const fromA = this.#address(a) + (s.broadcastA ? 0 : 4 * i * s.m * s.k);
        const fromB = this.#address(b) + (s.broadcastB ? 0 : 4 * i * s.k * s.n);
        this.#wasm.gemm!(
          fromA,
          aRow,
          aColumn,
          fromB,
          bRow,
          bColumn,
          this.#address(y) + 4 * i * s.m * s.n,
          s.m,
          s.n,
          s.k,
          0,
          scratch,
        );
      }
    });
    return y;
  }

  /** The images of a convolution one by one: `body` gets the byte offsets of image and output, and the patch matrix. */
  #eachImage(s: Conv2dSpec, body: (image: number, output: number, columns: number, scratch: number) => void): void {
    const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
    const positions = s.outHeight * s.outWidth;
    const columnBytes = Math.ceil((4 * depth * positions) / 64) * 64;
    const largest = Math.max(depth, s.outChannels, positions);
    this.#withScratch(columnBytes + this.#gemmScratch(largest, largest), (columns) => {
      for (let n = 0; n < s.batch; n++)
        body(
          4 * n * s.inChannels * s.height * s.width,
          4 * n * s.outChannels * positions,
          columns,
          columns + columnBytes,
        );
    });
  }

  #patchSizes(s: Conv2dSpec): number[] {
    return [
      s.inChannels,
      s.height,
      s.width,
      s.kernelHeight,
      s.kernelWidth,
      s.strideY,
      s.strideX,
      s.paddingY,
      s.paddingX,
      s.outHeight,
      s.outWidth,
    ];
  }

  /** A 1×1 convolution's patches are the image itself. */
  #isPointwise(s: Conv2dSpec): boolean {
    return s.kernelHeight * s.kernelWidth === 1 && s.strideY * s.strideX === 1 && s.paddingY + s.paddingX === 0;
  }

  override conv2d(x: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const positions = s.outHeight * s.outWidth;
    const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
    const y = this.#allocate('float32', s.batch * s.outChannels * positions);
    const pointwise = this.#isPointwise(s);
    this.#eachImage(s, (image, output, columns, scratch) => {
      const source = this.#address(x) + image;
      if (!pointwise) this.#wasm.patches!(source, columns, ...this.#patchSizes(s));
      this.#wasm.gemm!(
        this.#address(weight),
        depth,
        1,
        pointwise ? source : columns,
        positions,
        1,
        this.#address(y) + output,
        s.outChannels,
        positions,
        depth,
        0,
        scratch,
      );
    });
    return y;
  }

  override conv2dInputGrad(gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
    const positions = s.outHeight * s.outWidth;
    const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
    const y = this.fill(s.batch * s.inChannels * s.height * s.width, 0, 'float32');
    const pointwise = this.#isPointwise(s);
    this.#eachImage(s, (image, output, columns, scratch) => {
      const target = this.#address(y) + image;
      const grad = this.#address(gradOutput) + output;
      this.#wasm.gemm!(
        this.#address(weight),
        1,
        depth,
        grad,
        positions,
        1,
        pointwise ? target : columns,
        depth,
        positions,
        s.outChannels,
        0,
        scratch,
      );
      if (!pointwise) this.#wasm.unpatch!(columns, target, ...this.#patchSizes(s));
    });
    return y;
  }

  override conv2dWeightGrad(x: Storage, gradOutput: Storage, s: Conv2dSpec): Storage {
    const positions = s.outHeight * s.outWidth;
    const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
    const y = this.fill(s.outChannels * depth, 0, 'float32');
    const pointwise = this.#isPointwise(s);
    this.#eachImage(s, (image, output, columns, scratch) => {
      const source = this.#address(x) + image;
      if (!pointwise) this.#wasm.patches!(source, columns, ...this.#patchSizes(s));
      this.#wasm.gemm!(
        this.#address(gradOutput) + output,
        positions,
        1,
        pointwise ? source : columns,
        1,
        positions,
        this.#address(y),
        s.outChannels,
        depth,
        positions,
        1,
        scratch,
      );
    });
    return y;
  }

  #fusedKernels(): Partial<FusedKernels> {
    const at = (x: Storage) => this.#address(x);
    const like = (x: Storage) => this.#allocate('float32', x.size);
    const vector = (size: number) => this.#allocate('float32', size);
    return {
      layerNorm: (x, weight, bias, eps, rows, length) => {
        const [output, mean, rstd] = [like(x), vector(rows), vector(rows)];
        this.#wasm.layerNorm!(at(x), at(weight), at(bias), at(output), at(mean), at(rstd), rows, length, eps);
        return { output, mean, rstd };
      },
      layerNormGrad: (g, x, weight, mean, rstd, rows, length) => {
        const grads = { x: like(x), weight: vector(length), bias: vector(length) };
        this.#withScratch(16 * length, (sums) =>
          this.#wasm.layerNormGrad!(
            at(g),
            at(x),
            at(weight),
            at(mean),
            at(rstd),
            at(grads.x),
            at(grads.weight),
            at(grads.bias),
            rows,
            length,
            sums,
          ),
        );
        return grads;
      },
      batchNorm: (x, weight, bias, s: BatchNormSpec) => {
        const [output, mean, variance] = [like(x), vector(s.channels), vector(s.channels)];
        this.#wasm.batchNorm!(
          at(x),
          at(weight),
          at(bias),
          at(output),
          at(mean),
          at(variance),
          s.batch,
          s.channels,
          s.inner,
          s.eps,
        );
        return { output, mean, variance };
      },
      batchNormGrad: (g, x, weight, mean, variance, s: BatchNormSpec) => {
        const grads = { x: like(x), weight: vector(s.channels), bias: vector(s.channels) };
        this.#wasm.batchNormGrad!(
          at(g),
          at(x),
          at(weight),
          at(mean),
          at(variance),
          at(grads.x),
          at(grads.weight),
          at(grads.bias),
          s.batch,
          s.channels,
          s.inner,
          s.eps,
        );
        return grads;
      },
      sumSquares: (x) => {
        const y = vector(1);
        this.#wasm.sumSquares!(at(x), at(y), x.size);
        return y;
      },
      adamW: (p, g, m, v, s: AdamWSpec) => {
        const corrections = [1 - s.beta1 ** s.step, 1 - s.beta2 ** s.step] as const;
        this.#wasm.adamW!(
          at(p),
          at(g),
          at(m),
          at(v),
          p.size,
          s.learningRate,
          s.beta1,
          s.beta2,
          s.eps,
          s.weightDecay,
          ...corrections,
          s.gradScale,
        );
      },
    };
  }
}

function same(x: number): number {
  return x;
}
