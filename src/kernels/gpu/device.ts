/**
 * Kernels through gpu.js. This version runs its `cpu` mode: the kernel texts go through gpu.js's transpiler, which
 * proves that they are in its language; the results are float32.
 */
import type { GPU as GpuClass, IKernelRunShortcut } from 'gpu.js';
import { allocate, type DType, dtypeOf, type TypedArray } from '../../tensor/dtype.js';
import { DeviceError, KernelError } from '../../tensor/errors.js';
import { type BroadcastPlan, sizeOf } from '../../tensor/shape.js';
import { type KernelOperand, type MemoryInfo, type ScalarKernel, Storage } from '../device.js';
import type { SourceKernel } from '../source/kernel.js';
import { type Grid, SourceDevice, type View } from '../source-device.js';

/** gpu.js's types leave `input` out. */
type GpuModule = typeof import('gpu.js') & { input(data: Float32Array, size: readonly number[]): unknown };

/** Most compiled kernels kept; the least recently used go first. */
const cacheLimit = 256;

export class GpuJsDevice extends SourceDevice {
  readonly name = 'gpujs-cpu';
  readonly description = 'gpu.js in its cpu mode, float32, one thread';
  readonly dtypes = ['float32', 'int32'] as const;
  readonly synchronous = true;
  readonly #gpu: GpuClass;
  readonly #input: GpuModule['input'];
  readonly #kernels = new Map<string, IKernelRunShortcut>();
  #liveBytes = 0;
  #peakBytes = 0;
  #count = 0;
  readonly #registry = new FinalizationRegistry<{ bytes: number }>((token) => this.#forget(token));
  readonly #tokens = new WeakMap<Storage, { bytes: number }>();

  private constructor(module: GpuModule) {
    super();
    this.#gpu = new module.GPU({ mode: 'cpu' });
    this.#input = module.input;
  }

  /** @throws DeviceError for modes that this version does not have */
  static async create(mode: 'cpu' | 'webgpu' | 'webgl2'): Promise<GpuJsDevice> {
    if (mode !== 'cpu')
      throw new DeviceError('init', { received: mode, expected: 'cpu', hint: 'This version has no GPU device yet.' });
    const imported = (await import('gpu.js')) as GpuModule & { default?: GpuModule };
    return new GpuJsDevice(imported.default ?? imported);
  }

  #wrap(array: TypedArray, dtype: DType): Storage {
    const storage = new Storage(this, dtype, array.length, array);
    const token = { bytes: array.byteLength };
    this.#tokens.set(storage, token);
    this.#registry.register(storage, token);
    this.#liveBytes += token.bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#liveBytes);
    this.#count++;
    return storage;
  }

  #forget(token: { bytes: number }): void {
    if (token.bytes < 0) return;
    this.#liveBytes -= token.bytes;
    this.#count--;
    token.bytes = -1;
  }

  upload(data: TypedArray): Storage {
    return this.#wrap(data.slice(), dtypeOf(data));
  }

  async read(x: Storage): Promise<TypedArray> {
    const copy = this.readSync(x);
    await this.settle();
    return copy;
  }

  readSync(x: Storage): TypedArray {
    return array(x).slice();
  }

  copyInto(target: Storage, source: Storage): void {
    array(target).set(array(source));
  }

  release(x: Storage): void {
    this.#forget(this.#tokens.get(x)!);
  }

  memory(): MemoryInfo {
    return {
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
      storages: this.#count,
      reservedBytes: this.#liveBytes,
    };
  }

  settle(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }

  fill(size: number, value: number, dtype: DType): Storage {
    return this.#wrap(allocate(dtype, size).fill(value), dtype);
  }

  cast(x: Storage, dtype: DType): Storage {
    const result = allocate(dtype, x.size);
    result.set(array(x));
    return this.#wrap(result, dtype);
  }

  protected run(
    kernel: SourceKernel,
    grid: Grid,
    inputs: View[],
    constants: Record<string, number>,
    dtype: DType,
  ): Storage {
    if (sizeOf(grid) === 0) return this.#wrap(allocate(dtype, 0), dtype);
    const views = inputs.map((view) =>
      typeof view === 'number'
        ? view
        : this.#input(Float32Array.from(array(view.storage)), [...view.grid] as [number, number, number]),
    );
    // An empty sum: gpu.js cannot see an empty input, and no element of it is read.
    inputs.forEach((view, i) => {
      if (typeof view !== 'number' && view.storage.size === 0) views[i] = this.#input(new Float32Array(1), [1, 1, 1]);
    });
    const shapes = inputs.map((view) => (typeof view === 'number' ? 'n' : view.grid.length)).join();
    const key = `${kernel.name}:${grid.join()}:${shapes}:${JSON.stringify(constants)}:${inputs.map((v) => (typeof v === 'number' ? '' : v.grid.join())).join(';')}`;
    const compiled = this.#compiled(key, () =>
      this.#gpu.createKernel(kernel as never, {
        output: [...grid] as [number, number, number],
        constants,
        constantTypes: Object.fromEntries(Object.keys(constants).map((name) => [name, 'Integer'])) as never,
      }),
    );
    return this.#wrap(flatten(compiled(...(views as never[])), grid, dtype), dtype);
  }

  protected runElementwise(f: ScalarKernel, operands: KernelOperand[], { shape, strides }: BroadcastPlan): Storage {
    const typed = operands.filter((operand) => typeof operand !== 'number');
    const { dtype } = typed[operands.length === 3 && typed.length > 1 ? 1 : 0]!;
    const size = sizeOf(shape);
    if (size === 0) return this.#wrap(allocate(dtype, 0), dtype);
    const grid = [...shape].reverse() as unknown as Grid;
    const names = ['a', 'b', 'c'];
    const axes = ['x', 'y', 'z'];
    const constants: Record<string, number> = {};
    const reads = operands.map((operand, k) => {
      if (typeof operand === 'number') return names[k]!;
      const steps = [...strides[k]!].reverse();
      const terms = steps.map((step, axis) => {
        constants[`${names[k]}${axes[axis]}`] = step;
        return `this.thread.${axes[axis]} * this.constants.${names[k]}${axes[axis]}`;
      });
      return `${names[k]}[${terms.join(' + ')}]`;
    });
    // gpu.js takes a kernel as text; the scalar kernel itself is handed over as a function it may call.
    const source = `function (${names.slice(0, operands.length).join(', ')}) { return ${f.name}(${reads.join(', ')}); }`;
    const kinds = operands.map((operand) => (typeof operand === 'number' ? 'n' : operand.size)).join();
    const compiled = this.#compiled(`${f.name}:${grid.join()}:${kinds}:${JSON.stringify(constants)}`, () =>
      this.#gpu.createKernel(source as never, {
        output: [...grid] as [number, number, number],
        functions: [f] as never,
        constants,
        constantTypes: Object.fromEntries(Object.keys(constants).map((name) => [name, 'Integer'])) as never,
      }),
    );
    const views = operands.map((operand) =>
      typeof operand === 'number' ? operand : this.#input(Float32Array.from(array(operand)), [operand.size]),
    );
    return this.#wrap(flatten(compiled(...(views as never[])), grid, dtype), dtype);
  }

  #compiled(key: string, create: () => IKernelRunShortcut): IKernelRunShortcut {
    const known = this.#kernels.get(key);
    this.#kernels.delete(key);
    const kernel = known ?? create();
    this.#kernels.set(key, kernel);
    if (this.#kernels.size > cacheLimit) {
      const [oldest, unused] = this.#kernels.entries().next().value!;
      unused.destroy();
      this.#kernels.delete(oldest);
    }
    return kernel;
  }
}

function array(x: Storage): TypedArray {
  return x.handle as TypedArray;
}

/** gpu.js returns rows (and planes of rows); storage is flat. */
function flatten(result: unknown, grid: Grid, dtype: DType): TypedArray {
  const flat = allocate(dtype, sizeOf(grid));
  const copy = (part: unknown, offset: number): number => {
    if (ArrayBuffer.isView(part)) {
      flat.set(part as TypedArray, offset);
      return offset + (part as TypedArray).length;
    }
    if (!Array.isArray(part)) throw new KernelError('gpu.js', { received: typeof part, expected: 'arrays of numbers' });
    return part.reduce((at: number, row) => copy(row, at), offset);
  };
  copy(result, 0);
  return flat;
}
