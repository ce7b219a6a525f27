/**
 * The kernel vocabulary: everything a device must be able to do, and nothing else. Gradients, shape rules and
 * broadcasting are decided above; a device sees flat row-major storage and plain sizes.
 *
 * Every kernel returns at once with a new Storage (a device whose kernels are promises chains them behind the
 * handle); only `read` waits. Inputs are never modified, except by `adamW` and `copyInto`, which say so.
 */
import type { DType, TypedArray } from '../tensor/dtype.js';
import { DeviceError } from '../tensor/errors.js';
import { track } from './scope.js';

/**
 * A handle on `size` elements that live on a device. What `handle` is, only the device knows: a typed array,
 * an address, a texture, or a promise of one. It is null once the storage has been freed.
 */
export class Storage {
  /** Time of the last in-place update (see {@link touch}); 0 when there was none. */
  updatedAt = 0;

  constructor(
    readonly device: Device,
    readonly dtype: DType,
    readonly size: number,
    public handle: unknown,
  ) {
    track(this);
  }

  get freed(): boolean {
    return this.handle === null;
  }

  /** Returns the memory to the device now. Using the storage afterwards is a typed error. */
  free(): void {
    if (this.handle === null) return;
    this.device.release(this);
    this.handle = null;
  }
}

let updates = 0;

/** The number of in-place updates so far, a clock: what was saved now must not be updated later. */
export function updateClock(): number {
  return updates;
}

/** Notes that a storage was updated in place, so that backward can tell that a saved value has changed since. */
export function touch(storage: Storage): void {
  storage.updatedAt = ++updates;
}

/**
 * An elementwise kernel: a function of numbers that sees its parameters, its own variables and Math, and nothing else:
 * source/language.ts is its language, which every device checks. Each device supplies the loop around it;
 * source/identity.ts says who a kernel is.
 */
export type ScalarKernel = (...args: number[]) => number;

/** A storage walked along the axes of a shape: its stride along each, 0 where it repeats. */
export interface Strided {
  readonly storage: Storage;
  readonly strides: readonly number[];
}

/** An elementwise operand: a walked storage, or one number for all elements, which has no strides. */
export type KernelOperand = Strided | number;

export type ReduceKind = 'sum' | 'max' | 'min';

/** C[b] = op(A[b]) · op(B[b]), op transposing where flagged. Stored shapes follow the flags. */
export interface MatmulSpec {
  batch: number;
  /** Rows of C. */
  m: number;
  /** Columns of C. */
  n: number;
  /** The summed size. */
  k: number;
  /** A is stored [k, m] instead of [m, k]. */
  transposeA: boolean;
  /** B is stored [n, k] instead of [k, n]. */
  transposeB: boolean;
  /** A has no batch axis: one matrix for all. */
  broadcastA: boolean;
  /** B has no batch axis: one matrix for all. */
  broadcastB: boolean;
}

/** Cross-correlation of [batch, inChannels, height, width] with [outChannels, inChannels, kernelHeight, kernelWidth]. */
export interface Conv2dSpec {
  batch: number;
  inChannels: number;
  height: number;
  width: number;
  outChannels: number;
  kernelHeight: number;
  kernelWidth: number;
  strideY: number;
  strideX: number;
  paddingY: number;
  paddingX: number;
  outHeight: number;
  outWidth: number;
}

/** Mean over windows without padding; `planes` = batch · channels. */
export interface Pool2dSpec {
  planes: number;
  height: number;
  width: number;
  kernelY: number;
  kernelX: number;
  strideY: number;
  strideX: number;
  outHeight: number;
  outWidth: number;
}

/** Multi-head attention over [batch, queries|keys, heads · headDim]. */
export interface AttentionSpec {
  batch: number;
  heads: number;
  queries: number;
  keys: number;
  headDim: number;
  /** Factor on the logits, usually 1/√headDim. */
  scale: number;
  /** Query i sees keys 0…i only (requires queries = keys). */
  causal: boolean;
}

/** Normalisation over `inner` and `batch` for each of `channels`: x is [batch, channels, inner]. */
export interface BatchNormSpec {
  batch: number;
  channels: number;
  inner: number;
  eps: number;
}

export interface AdamWSpec {
  learningRate: number;
  beta1: number;
  beta2: number;
  eps: number;
  weightDecay: number;
  /** 1, 2, 3 …: the number of this update, for bias correction. */
  step: number;
  /** Factor on the gradient, for clipping; 1 leaves it. */
  gradScale: number;
}

/** A parameter, its gradient, and the means of that and of its square; all of one size and dtype. */
export interface AdamWStorages {
  parameter: Storage;
  grad: Storage;
  m: Storage;
  v: Storage;
}

/** The core: all a new device needs. */
export interface CoreKernels {
  fill(size: number, value: number, dtype: DType): Storage;
  /** Rounds toward zero when going to int32. */
  cast(x: Storage, dtype: DType): Storage;
  /** y_i = f(x_i) */
  map(f: ScalarKernel, x: Storage): Storage;
  /** y_i = f(a_i, b_i) over `shape`, in the dtype of the storages, of which there is at least one (see walk.ts). */
  zip(f: ScalarKernel, shape: readonly number[], a: KernelOperand, b: KernelOperand): Storage;
  /** y_i = condition_i ≠ 0 ? a_i : b_i over `shape`; a and b are of `dtype`, or numbers. */
  where(shape: readonly number[], condition: Strided, a: KernelOperand, b: KernelOperand, dtype: DType): Storage;
  /** x written out over `shape`, repeated along the axes where its stride is 0. */
  expand(shape: readonly number[], x: Strided): Storage;
  /** [outer, length, inner] → [outer, inner]. An empty sum is 0, an empty max −∞, an empty min +∞; NaN spreads. */
  reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage;
  /** Index of the first extreme element along `length`, as int32; a NaN counts as the extreme. length ≥ 1. */
  argReduce(kind: 'max' | 'min', x: Storage, outer: number, length: number, inner: number): Storage;
  /**
   * The order of [outer, length, inner] along `length`, as int32 places of the same shape; NaN is the largest number, and
   * equal elements keep their order.
   */
  argSort(x: Storage, outer: number, length: number, inner: number, descending: boolean): Storage;
  matmul(a: Storage, b: Storage, spec: MatmulSpec): Storage;
  conv2d(x: Storage, weight: Storage, spec: Conv2dSpec): Storage;
  /** ∂/∂x of Σ gradOutput · conv2d(x, weight). */
  conv2dInputGrad(gradOutput: Storage, weight: Storage, spec: Conv2dSpec): Storage;
  /** ∂/∂weight of Σ gradOutput · conv2d(x, weight). */
  conv2dWeightGrad(x: Storage, gradOutput: Storage, spec: Conv2dSpec): Storage;
  avgPool2d(x: Storage, spec: Pool2dSpec): Storage;
  avgPool2dGrad(gradOutput: Storage, spec: Pool2dSpec): Storage;
  /** Axis i of the result is axis axes[i] of x. */
  permute(x: Storage, shape: readonly number[], axes: readonly number[]): Storage;
  /** The block of `sizes` that begins at `starts`. */
  slice(x: Storage, shape: readonly number[], starts: readonly number[], sizes: readonly number[]): Storage;
  /** x placed at `before` in a block of `outShape` filled with `value`. */
  pad(
    x: Storage,
    shape: readonly number[],
    before: readonly number[],
    outShape: readonly number[],
    value: number,
  ): Storage;
  /** Joins [outer, lengths[i]] blocks side by side into [outer, Σ lengths]. */
  concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage;
  /** [outer, rows, inner] and int32 indices [count] → [outer, count, inner]. Indices must lie in [0, rows). */
  gather(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage;
  /** The transpose of gather: [outer, count, inner] summed into [outer, rows, inner]. */
  scatterAdd(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage;
}

/** Fused kernels: optional, each with a decomposition into the core in fused.ts. */
export interface FusedKernels {
  /** Softmax over the last axis of [rows, length]. */
  softmax(x: Storage, rows: number, length: number): Storage;
  logSoftmax(x: Storage, rows: number, length: number): Storage;
  /** [rows, length] → [rows]; a row of −∞ gives −∞. */
  logSumExp(x: Storage, rows: number, length: number): Storage;
  /** (x − mean) · rstd · weight + bias over the last axis of [rows, length]; also [rows] mean and rstd. */
  layerNorm(
    x: Storage,
    weight: Storage,
    bias: Storage,
    eps: number,
    rows: number,
    length: number,
  ): { output: Storage; mean: Storage; rstd: Storage };
  /** Batch statistics (biased variance) per channel and the normalised, scaled output. */
  batchNorm(
    x: Storage,
    weight: Storage,
    bias: Storage,
    spec: BatchNormSpec,
  ): { output: Storage; mean: Storage; variance: Storage };
  /** softmax(scale · Q Kᵀ) V per head; probabilities [batch, heads, queries, keys] are saved for the gradient. */
  attention(q: Storage, k: Storage, v: Storage, spec: AttentionSpec): { output: Storage; probabilities: Storage };
  /** Σ x² of each of several: as many elements. */
  sumSquares(xs: readonly Storage[]): Storage;
  /** Updates parameters that share the numbers of `spec`, and their m and v, in place. */
  adamW(all: readonly AdamWStorages[], spec: AdamWSpec): void;
}

/**
 * Derivatives of the fused kernels, fused as well: each the `vjp` of the op of that name, which is what runs on a device
 * that has none, and what these are tested against.
 */
export interface FusedGradients {
  softmaxGrad(gradOutput: Storage, output: Storage, rows: number, length: number): Storage;
  logSoftmaxGrad(gradOutput: Storage, output: Storage, rows: number, length: number): Storage;
  logSumExpGrad(gradOutput: Storage, x: Storage, output: Storage, rows: number, length: number): Storage;
  layerNormGrad(
    gradOutput: Storage,
    x: Storage,
    weight: Storage,
    mean: Storage,
    rstd: Storage,
    rows: number,
    length: number,
  ): { x: Storage; weight: Storage; bias: Storage };
  batchNormGrad(
    gradOutput: Storage,
    x: Storage,
    weight: Storage,
    mean: Storage,
    variance: Storage,
    spec: BatchNormSpec,
  ): { x: Storage; weight: Storage; bias: Storage };
  attentionGrad(
    gradOutput: Storage,
    q: Storage,
    k: Storage,
    v: Storage,
    probabilities: Storage,
    spec: AttentionSpec,
  ): { q: Storage; k: Storage; v: Storage };
}

/** What a device holds. */
export interface MemoryInfo {
  /** Bytes in storages that are still reachable or not yet collected. */
  liveBytes: number;
  /** Most bytes live at any time. */
  peakBytes: number;
  /** Number of live storages. */
  storages: number;
  /** Bytes that the device has taken from the system, live or pooled. */
  reservedBytes: number;
}

/** A computation that was written down while it ran. */
export interface Recording<T> {
  /** What the computation gave. */
  value: T;
  /** Starts its kernels again on other inputs of the same sizes; gives the new results. */
  replay(inputs: readonly Storage[]): Storage[];
}

/**
 * A device: the kernels, and what every device can do besides. Members that are optional are abilities that some have.
 * Options and tensors have a `device` as they have a `dtype`, by name; devices.ts finds the object.
 */
export interface Device extends CoreKernels {
  readonly name: string;
  /** One line for a person: threads, adapter, precision … */
  readonly description: string;
  readonly dtypes: readonly DType[];
  /** Whether readSync works. */
  readonly synchronous: boolean;
  readonly fused: Partial<FusedKernels & FusedGradients>;
  /** Copies `data` to the device. */
  upload(data: TypedArray): Storage;
  /** Copies out. */
  read(x: Storage): Promise<TypedArray>;
  /** Copies out at once, into an array of its dtype and size if one is given. @throws DeviceError where the device is asynchronous */
  readSync(x: Storage, into?: TypedArray): TypedArray;
  /** Overwrites `target` with `source` (same dtype and size), in place: optimisers and loadStateDict. */
  copyInto(target: Storage, source: Storage): void;
  /** Frees the memory behind a storage; called by Storage.free only. */
  release(x: Storage): void;
  /** What the device holds now. */
  memory(): MemoryInfo;
  /** Resolves in a later turn of the event loop, after pending frees; the place where collection happens. */
  settle(): Promise<void>;
  /** Number of threads, the calling one included, where a device has them; setting it takes effect with the next kernel. */
  threads?: number;
  /** Whether the hardware is gone for good, so that the device must be made again. */
  readonly lost?: boolean;
  /** Whether a graphics device is only imitated by the processor. */
  readonly software?: boolean;
  /**
   * Runs `body` on `inputs` and writes down the kernels that it starts; `results` picks the storages to give on replay.
   * @throws UsageError when `body` reads a tensor, updates parameters or records itself
   */
  record?<T>(inputs: readonly Storage[], body: () => T, results: (value: T) => readonly Storage[]): Recording<T>;
}

/** Devices of this package, as {@link init} and `device` options name them. */
export type DeviceName = 'reference' | 'wasm' | 'webgpu' | 'webgl2' | 'gpujs-cpu';

/** @throws DeviceError naming both devices when storages of two devices meet in one operation. */
export function sameDevice(op: string, a: Device, b: Device): void {
  if (a !== b)
    throw new DeviceError(op, {
      received: `tensors on two devices, ${a.name} and ${b.name}`,
      expected: 'all tensors of one operation on one device',
      hint: `Move one with .to('${a.name}').`,
    });
}
