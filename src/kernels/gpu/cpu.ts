/**
 * gpu.js in its `cpu` mode: the kernel texts go through gpu.js's transpiler and run as JavaScript. It needs no adapter,
 * so every test run proves that the texts, and what programs.ts makes of them, are in gpu.js's language.
 */
import { allocate } from '../../tensor/dtype.js';
import { KernelError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import { RecentlyUsed } from '../recent.js';
import { GpuDevice } from './device.js';
import type { Argument } from './launch.js';
import { type GpuInstance, type GpuKernel, type GpuModule, loadGpuJs } from './module.js';
import { kernelSettings, type Program } from './programs.js';

export class GpuJsDevice extends GpuDevice<Float32Array> {
  readonly name = 'gpujs-cpu';
  readonly description = 'gpu.js in its cpu mode, float32, one thread';
  readonly synchronous = true;
  /** Numbers are doubles in it until they are stored. */
  protected override readonly putsTogether = false;
  protected readonly limits = { x: Infinity, y: Infinity, z: Infinity, skipY: false };
  readonly #gpu: GpuInstance;
  readonly #input: GpuModule['input'];
  /** Many, since each size has kernels of its own: a step of a small CLOOB takes 500, and compiling takes longer than running. */
  readonly #kernels = new RecentlyUsed<GpuKernel>(2048, (kernel) => kernel.destroy());

  private constructor(module: GpuModule) {
    super();
    this.#gpu = new module.GPU({ mode: 'cpu' });
    this.#input = module.input;
  }

  /** @throws DeviceError when gpu.js is not there */
  static async create(): Promise<GpuJsDevice> {
    return new GpuJsDevice(await loadGpuJs());
  }

  protected launch(program: Program, output: readonly number[], args: readonly Argument<Float32Array>[]): Float32Array {
    // This mode compiles sizes in, so they are part of the key.
    const sizes = args.map((arg) => (typeof arg === 'number' ? '' : arg.grid.join('x'))).join();
    const kernel = this.#kernels.get(`${program.key}|${output.join()}|${sizes}`, () =>
      this.#gpu.createKernel(program.text, { ...kernelSettings(program), output: [...output] }),
    );
    const values = args.map((arg) => {
      if (typeof arg === 'number') return arg;
      // An empty input: gpu.js cannot see one, and no element of it is read.
      if (sizeOf(arg.grid) === 0) return this.#input(new Float32Array(1), [1, 1, 1]);
      return this.#input(arg.buffer, arg.grid);
    });
    return flatten(kernel(...values), sizeOf(output));
  }

  protected put(data: Float32Array): Float32Array {
    return data;
  }

  protected async fetch(buffer: Float32Array): Promise<Float32Array> {
    return buffer.slice();
  }

  protected fetchSync(buffer: Float32Array): Float32Array {
    return buffer.slice();
  }

  protected share(buffer: Float32Array): Float32Array {
    return buffer;
  }

  protected discard(): void {} // the collector's business
}

/** gpu.js returns rows (and planes of rows); storage is flat. */
function flatten(result: unknown, size: number): Float32Array {
  if (result instanceof Float32Array && result.length === size) return result;
  const flat = allocate('float32', size) as Float32Array;
  const copy = (part: unknown, offset: number): number => {
    if (ArrayBuffer.isView(part)) {
      flat.set(part as Float32Array, offset);
      return offset + (part as Float32Array).length;
    }
    if (!Array.isArray(part)) throw new KernelError('gpu.js', { received: typeof part, expected: 'arrays of numbers' });
    return part.reduce((at: number, row) => copy(row, at), offset);
  };
  copy(result, 0);
  return flat;
}
