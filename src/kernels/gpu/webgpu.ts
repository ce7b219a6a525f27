/**
 * WebGPU through gpu.js. Its kernels are promises (compiling, and by contract every call), so operations queue: each
 * is started when those before it have been, in order, and the storage is there at once. Reads wait for the queue.
 */
import { DeviceError, type HopgradError, KernelError, MemoryLimitError } from '../../tensor/errors.js';
import { type Argument, flatten, GpuDevice } from './device.js';
import {
  type GpuContext,
  type GpuHandle,
  type GpuInstance,
  type GpuKernel,
  type GpuModule,
  loadGpuJs,
} from './module.js';
import { kernelSettings, type Program, ProgramCache } from './programs.js';
import { provideWebGpu } from './provide.js';

/** What a storage holds: a buffer once its command has run, or why there is none. */
interface Cell {
  handle: GpuHandle | null;
  error: HopgradError | null;
}

const usage = { storage: 0x80, copySource: 0x04, copyTarget: 0x08 };
/** Threads of a workgroup along x and y, as gpu.js sets them for grids of two and three dimensions. */
const workgroup = 8;
/** Most compiled kernels kept. */
const cacheLimit = 512;

export class WebGpuDevice extends GpuDevice<Cell> {
  readonly name = 'webgpu';
  readonly description: string;
  readonly synchronous = false;
  /** Whether the adapter is a program, not a card. */
  readonly software: boolean;
  protected readonly limits;
  readonly #gpu: GpuInstance;
  readonly #module: GpuModule;
  readonly #context: GpuContext;
  readonly #kernels = new ProgramCache<{ kernel: GpuKernel; ready: Promise<unknown> | null }>(cacheLimit, (entry) => {
    this.#enqueue(() => entry.kernel.destroy());
  });
  readonly #queue: (() => unknown)[] = [];
  #draining: Promise<void> | null = null;
  #finished: Promise<void> = Promise.resolve();
  #failure: HopgradError | null = null;
  /** The kernel whose pool of staging buffers all reads share. */
  #reader: GpuKernel;

  private constructor(module: GpuModule, context: GpuContext) {
    super();
    this.#module = module;
    this.#context = context;
    this.#gpu = new module.GPU({ mode: 'webgpu' });
    const { info } = context.adapter;
    const names = [info?.vendor, info?.architecture, info?.description || info?.device].filter(Boolean).join(', ');
    this.software = info?.isFallbackAdapter === true || /swiftshader|llvmpipe|lavapipe|software/i.test(names);
    this.description = `WebGPU through gpu.js on ${names || 'an unnamed adapter'}${this.software ? ' (in software)' : ''}, float32`;
    const most = context.device.limits.maxComputeWorkgroupsPerDimension;
    this.limits = { x: most * workgroup, y: most * workgroup, z: most, skipY: false };
    this.#reader = this.#gpu.createKernel('function (x) { return x[this.thread.x]; }', {
      output: [1],
      argumentTypes: ['WebGPUBuffer'],
    });
    this.#watch();
  }

  /** @throws DeviceError when there is no WebGPU here, saying what is missing */
  static async create(): Promise<WebGpuDevice> {
    const module = await loadGpuJs();
    await provideWebGpu();
    try {
      const device = new WebGpuDevice(module, await module.WebGPUContext.acquire());
      await device.#reader.build(device.put(new Float32Array(1)).handle);
      return device;
    } catch (error) {
      throw new DeviceError('init', {
        received: `webgpu, but ${(error as Error).message}`,
        expected: 'a WebGPU adapter',
        hint: "Use init({ device: 'auto' }) to take what there is.",
      });
    }
  }

  /** Errors that WebGPU reports beside the calls that caused them: loss, memory, validation. */
  #watch(): void {
    const { device } = this.#context;
    const report = device.onuncapturederror;
    device.onuncapturederror = (event) => {
      report?.call(device, event);
      const { message } = event.error;
      const Failure = event.error.constructor.name === 'GPUOutOfMemoryError' ? MemoryLimitError : KernelError;
      this.#failure ??= new Failure('webgpu', { received: message, expected: 'a call the device accepts' });
    };
    device.lost.then(({ reason, message }) => {
      const { storages, liveBytes } = this.memory();
      this.#failure = new DeviceError('webgpu', {
        received: `the device was lost (${reason || 'unknown'}: ${message}), and with it ${storages} tensors of ${liveBytes} bytes`,
        expected: 'a working device',
        hint: "Call init({ device: 'webgpu' }) for a new one and load your last checkpoint.",
      });
    });
  }

  /** Whether the device can still be used; a lost one cannot. */
  get lost(): boolean {
    return this.#context.isLost;
  }

  /** Compiled kernels held now. */
  get compiledKernels(): number {
    return this.#kernels.size;
  }

  #enqueue(command: () => unknown): void {
    this.#queue.push(command);
    this.#draining ??= this.#drain();
  }

  async #drain(): Promise<void> {
    await null; // the first command too runs after the caller's line
    for (let i = 0; i < this.#queue.length; i++) {
      try {
        await this.#queue[i]!();
      } catch (error) {
        this.#failure ??= this.#typed(error, 'bookkeeping');
      }
      if (i === 1024) i -= this.#queue.splice(0, 1024).length;
    }
    this.#queue.length = 0;
    this.#draining = null;
  }

  protected launch(program: Program, output: readonly number[], args: readonly Argument<Cell>[]): Cell {
    const cell: Cell = { handle: null, error: null };
    this.#enqueue(() => this.#run(cell, program, output, args));
    return cell;
  }

  async #run(cell: Cell, program: Program, output: readonly number[], args: readonly Argument<Cell>[]): Promise<void> {
    const views: GpuHandle[] = [];
    try {
      const values = args.map((arg) => {
        if (typeof arg === 'number') return arg;
        const view = this.#view(this.#live(arg.buffer).buffer, arg.grid);
        views.push(view);
        return view;
      });
      const entry = this.#kernels.get(program.key, () => ({
        kernel: this.#gpu.createKernel(program.text, {
          ...kernelSettings(program),
          argumentTypes: program.types.map((type) => (type === 'Array' ? 'WebGPUBuffer' : type)),
          output: [...output],
          dynamicOutput: true,
          dynamicArguments: true,
          pipeline: true,
          immutable: true,
        }),
        ready: null,
      }));
      entry.ready ??= Promise.resolve(entry.kernel.build(...values));
      await entry.ready;
      entry.kernel.setOutput([...output]);
      cell.handle = (await entry.kernel(...values)) as GpuHandle;
    } catch (error) {
      cell.error = this.#typed(error, program.text);
    } finally {
      for (const view of views) view.delete();
    }
  }

  #live(cell: Cell): GpuHandle {
    if (this.#failure) throw this.#failure;
    if (cell.error) throw cell.error;
    return cell.handle!;
  }

  #typed(error: unknown, text: string): HopgradError {
    const { message } = error as Error;
    if (this.#failure) return this.#failure;
    if ((error as HopgradError).op !== undefined) return error as HopgradError;
    const memory = /per storage buffer|out of memory/i.test(message);
    return new (memory ? MemoryLimitError : KernelError)('webgpu', {
      received: message,
      expected: memory ? "to stay within the adapter's limits" : 'a kernel that compiles and runs',
      hint: memory ? 'Use a smaller micro-batch, or checkpoint() parts of the model.' : `The kernel was: ${text}`,
    });
  }

  /** The bytes of one tensor that the adapter allows. */
  get #largest(): number {
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#context.device.limits;
    return Math.min(maxBufferSize, maxStorageBufferBindingSize);
  }

  protected putZeros(size: number): Cell {
    return { handle: this.#view(this.#buffer(size, false), [size]), error: null }; // new buffers are zero
  }

  protected put(data: Float32Array): Cell {
    const buffer = this.#buffer(data.length, true);
    new Float32Array(buffer.getMappedRange()).set(data);
    buffer.unmap();
    return { handle: this.#view(buffer, [data.length]), error: null };
  }

  #buffer(size: number, mappedAtCreation: boolean) {
    if (this.#failure) throw this.#failure;
    if (4 * size > this.#largest)
      throw new MemoryLimitError('webgpu', {
        received: `a tensor of ${4 * size} bytes`,
        expected: `at most ${this.#largest}, this adapter's limit for one buffer`,
        hint: 'Split the tensor.',
      });
    return this.#context.device.createBuffer({
      size: Math.max(4, 4 * size),
      usage: usage.storage | usage.copySource | usage.copyTarget,
      mappedAtCreation,
    });
  }

  /** Another counted handle on a buffer, seen in other dimensions: how a reshape costs nothing. */
  #view(buffer: unknown, grid: readonly number[]): GpuHandle {
    const { WebGPUBufferResult } = this.#module;
    return new WebGPUBufferResult({
      buffer,
      output: [...grid],
      context: this.#context,
      kernel: this.#reader.kernel,
    });
  }

  protected fetch(cell: Cell, size: number): Promise<Float32Array> {
    if (size === 0) return this.settle().then(() => new Float32Array(0));
    return new Promise((resolve, reject) => {
      this.#enqueue(() => {
        try {
          const view = this.#view(this.#live(cell).buffer, [size]);
          // The copy is submitted here; the queue goes on while it is mapped.
          const rows = Promise.resolve(view.toArray());
          rows.then(
            (value) => (this.#failure ? reject(this.#failure) : resolve(flatten(value, size))),
            (error) => reject(this.#typed(error, 'a read')),
          );
          view.delete();
        } catch (error) {
          reject(this.#typed(error, 'a read'));
        }
      });
    });
  }

  protected fetchSync(): Float32Array {
    throw new DeviceError('dataSync', {
      received: 'a tensor on webgpu, which answers asynchronously',
      expected: 'a synchronous device',
      hint: 'Use await t.data(), t.item() or t.array().',
    });
  }

  protected share(cell: Cell): Cell {
    const copy: Cell = { handle: null, error: null };
    this.#enqueue(() => {
      copy.handle = cell.handle?.clone() ?? null;
      copy.error = cell.error;
    });
    return copy;
  }

  protected discard(cell: Cell): void {
    this.#enqueue(() => {
      cell.handle?.delete();
      cell.handle = null;
    });
  }

  /**
   * Waits until everything so far is submitted, and until the work of the settle() before has been done: a training
   * loop stays at most one step ahead of the device.
   */
  override async settle(): Promise<void> {
    await new Promise<void>((resolve) => this.#enqueue(resolve));
    await this.turn();
    if (this.#failure) return;
    await this.#finished;
    this.#finished = this.#context.device.queue.onSubmittedWorkDone();
  }
}
