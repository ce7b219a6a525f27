/**
 * WebGPU: gpu.js translates and compiles the kernel texts, which takes a moment the first time; a launch whose kernel
 * is still being compiled waits in a queue, and those behind it too. Everything else is started at once. A storage has
 * its buffer from the beginning, so only reads wait.
 */
import { DeviceError, type HopgradError, KernelError, MemoryLimitError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import type { MemoryInfo } from '../device.js';
import { RecentlyUsed } from '../recent.js';
import { type CompiledKernel, compile } from './compile.js';
import type { Again, Argument, Part } from './launch.js';
import { type GpuContext, type GpuInstance, type GpuModule, loadGpuJs } from './module.js';
import type { PackLayout } from './packing.js';
import { type Block, BlockPool, type Claim, errorOf } from './pool.js';
import { ProductDevice, workgroup } from './products.js';
import type { Program } from './programs.js';
import { isSoftware, provideWebGpu, whyNoWebGpu } from './provide.js';
import { CommandStream } from './stream.js';

/** A kernel, as soon as it is compiled; or why it cannot be. */
interface Entry {
  kernel: CompiledKernel | null;
  error: HopgradError | null;
  /** Settled when one of the two is there. */
  ready: Promise<void>;
}

/** Most compiled kernels kept. */
const cacheLimit = 512;

export class WebGpuDevice extends ProductDevice<Block> {
  readonly name = 'webgpu';
  readonly description: string;
  readonly synchronous = false;
  /** Whether the adapter is a program, not a card. */
  override readonly software: boolean;
  protected readonly limits;
  readonly #gpu: GpuInstance;
  readonly #context: GpuContext;
  readonly #kernels = new RecentlyUsed<Entry>(cacheLimit);
  readonly #pool: BlockPool;
  readonly #stream: CommandStream;
  /** What waits for a kernel, or for something that does. */
  readonly #queue: { entry: Entry | null; command: () => void }[] = [];
  #finished: Promise<void> = Promise.resolve();
  #failure: HopgradError | null = null;

  private constructor(module: GpuModule, context: GpuContext) {
    super();
    const { adapter, device } = context;
    this.#context = context;
    this.#gpu = new module.GPU({ mode: 'webgpu' });
    const { info } = adapter;
    const names = [info?.vendor, info?.architecture, info?.description || info?.device].filter(Boolean).join(', ');
    this.software = info?.isFallbackAdapter === true || isSoftware(names);
    this.description = `WebGPU through gpu.js on ${names || 'an unnamed adapter'}${this.software ? ' (in software)' : ''}, float32`;
    const most = device.limits.maxComputeWorkgroupsPerDimension;
    this.limits = { x: most * workgroup, y: most * workgroup, z: most, skipY: false };
    this.#stream = new CommandStream(device);
    const largest = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
    this.#pool = new BlockPool(device, largest, (buffer) => this.#order(null, () => this.#stream.destroy(buffer)));
    this.#watch();
  }

  /** @throws DeviceError when there is no WebGPU here, saying what is missing */
  static async create(): Promise<WebGpuDevice> {
    const module = await loadGpuJs();
    await provideWebGpu();
    try {
      const device = new WebGpuDevice(module, await module.WebGPUContext.acquire());
      await device.tryTiles();
      return device;
    } catch (error) {
      const reason = (error as Error).message;
      throw new DeviceError('init', {
        received: `webgpu, but ${/no adapter is available|is not supported/.test(reason) ? whyNoWebGpu() : reason}`,
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

  override memory(): MemoryInfo {
    return { ...super.memory(), reservedBytes: this.#pool.bytes };
  }

  /** Runs a command now, or after those that wait and the kernel that it needs. */
  #order(entry: Entry | null, command: () => void): void {
    if (this.#queue.length === 0 && (entry === null || entry.kernel || entry.error)) {
      command();
      return;
    }
    this.#queue.push({ entry, command });
    if (this.#queue.length === 1) void this.#drain();
  }

  async #drain(): Promise<void> {
    for (let i = 0; i < this.#queue.length; i++) {
      const { entry, command } = this.#queue[i]!;
      if (entry && !entry.kernel && !entry.error) await entry.ready;
      try {
        command();
      } catch (error) {
        this.#failure ??= this.#typed(error, 'bookkeeping');
      }
    }
    this.#queue.length = 0;
  }

  #compile(program: Program, rank: number): Entry {
    const entry: Entry = { kernel: null, error: null, ready: Promise.resolve() };
    const settled = async () => {
      try {
        entry.kernel = await compile(this.#gpu, program, rank);
      } catch (error) {
        entry.error = this.#typed(error, program.text);
      }
    };
    entry.ready = settled();
    return entry;
  }

  protected override prepare(program: Program, rank: number): void {
    this.#kernels.get(program.key, () => this.#compile(program, rank));
  }

  protected launch(
    program: Program,
    output: readonly number[],
    args: readonly Argument<Block>[],
    { site, claim = site }: Again = {},
  ): Block {
    const result = this.#take(program.components * sizeOf(output), claim);
    const entry = this.#kernels.get(program.key, () => this.#compile(program, output.length));
    this.#order(entry, () => {
      result.error = this.#failure ?? entry.error ?? inherited(args);
      if (!result.error) this.#stream.dispatch(entry.kernel!, output, args, result, site);
    });
    return result;
  }

  /** A buffer for `size` elements. @throws MemoryLimitError, and what has made the device useless */
  #take(size: number, claim?: Claim): Block {
    if (this.#failure) throw this.#failure;
    if (4 * size > this.#pool.most)
      throw new MemoryLimitError('webgpu', {
        received: `a tensor of ${4 * size} bytes`,
        expected: `at most ${this.#pool.most}, this adapter's limit for one buffer`,
        hint: 'Split the tensor, use a smaller micro-batch, or checkpoint() parts of the model.',
      });
    return this.#pool.take(4 * size, claim);
  }

  #typed(error: unknown, text: string): HopgradError {
    if (this.#failure) return this.#failure;
    if ((error as HopgradError).op !== undefined) return error as HopgradError;
    return new KernelError('webgpu', {
      received: (error as Error).message,
      expected: 'a kernel that compiles and runs',
      hint: `The kernel was: ${text}`,
    });
  }

  protected put(data: Float32Array): Block {
    const block = this.#take(data.length);
    this.#order(null, () => {
      block.error = null;
      this.#stream.write(block, data);
    });
    return block;
  }

  protected fetch(block: Block, size: number): Promise<Float32Array> {
    return new Promise((resolve, reject) => {
      this.#order(null, () => {
        const error = this.#failure ?? errorOf(block);
        if (error) reject(error);
        else if (size === 0) resolve(new Float32Array(0));
        else
          this.#stream.read(block, size).then(
            (elements) => (this.#failure ? reject(this.#failure) : resolve(elements)),
            (problem) => reject(this.#typed(problem, 'a read')),
          );
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

  protected join(parts: readonly Part<Block>[], claim?: Claim): Block {
    let size = 0;
    const places = parts.map((part) => {
      size += part.size;
      return size - part.size;
    });
    return this.#copy(parts, places, size, claim);
  }

  #copy(parts: readonly Part<Block>[], places: readonly number[], size: number, claim?: Claim): Block {
    const result = this.#take(size, claim);
    this.#order(null, () => {
      result.error = this.#failure ?? inherited(parts);
      if (!result.error) this.#stream.join(parts, places, result);
    });
    return result;
  }

  protected pack(blocks: readonly Block[], sizes: readonly number[], { starts, size }: PackLayout): Block {
    const { whole } = blocks[0]!;
    const still = blocks.every((block, i) => block.whole === whole && block.offset === 4 * starts[i]!);
    if (whole && still) return this.share(whole);
    const parts = blocks.map((buffer, i) => ({ buffer, from: 0, size: sizes[i]! }));
    return this.#copy(parts, starts, size);
  }

  protected unpack(pack: Block, sizes: readonly number[], { starts }: PackLayout): Block[] {
    return this.#pool.parts(
      pack,
      sizes.map((size, i) => ({ offset: 4 * starts[i]!, bytes: 4 * size })),
    );
  }

  protected share(block: Block): Block {
    block.holders++;
    return block;
  }

  protected discard(block: Block): void {
    this.#pool.release(block);
  }

  /**
   * Waits until everything so far is submitted, and until the work of the settle() before has been done: a training
   * loop stays at most one step ahead of the device.
   */
  override async settle(): Promise<void> {
    await new Promise<void>((resolve) => this.#order(null, resolve));
    this.#stream.submit();
    await super.settle();
    if (this.#failure) return;
    await this.#finished;
    this.#finished = this.#context.device.queue.onSubmittedWorkDone();
  }
}

/** What is wrong with the first operand that has no contents. */
function inherited(args: readonly ({ buffer: Block } | number)[]): HopgradError | null {
  for (const arg of args) {
    const error = typeof arg === 'number' ? null : errorOf(arg.buffer);
    if (error) return error;
  }
  return null;
}
