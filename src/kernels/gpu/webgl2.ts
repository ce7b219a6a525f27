/**
 * WebGL2 through gpu.js, in browsers: a storage is a texture, a kernel a drawing. Calls return at once, and reads wait
 * for the card.
 */
import { DeviceError, type HopgradError, KernelError, MemoryLimitError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import type { Grid } from '../source-device.js';
import { type Argument, GpuDevice } from './device.js';
import { flatten, type GpuHandle, type GpuInstance, type GpuKernel, type GpuModule, loadGpuJs } from './module.js';
import { kernelSettings, type Program, ProgramCache } from './programs.js';

/** Most compiled kernels kept. */
const cacheLimit = 512;

export class WebGl2Device extends GpuDevice<GpuHandle> {
  readonly name = 'webgl2';
  readonly description: string;
  readonly synchronous = true;
  protected readonly limits = { x: Infinity, y: Infinity, z: Infinity, skipY: true };
  readonly #gpu: GpuInstance;
  readonly #input: GpuModule['input'];
  readonly #kernels = new ProgramCache<GpuKernel>(cacheLimit, (kernel) => kernel.destroy());
  readonly #upload: GpuKernel;
  readonly #gl: WebGL2RenderingContext;
  readonly #largest: number;
  /** gpu.js's class of one-dimensional float textures. */
  readonly #Texture: new (
    settings: GpuHandle,
  ) => GpuHandle;

  private constructor(module: GpuModule) {
    super();
    this.#gpu = new module.GPU({ mode: 'webgl2' });
    this.#input = module.input;
    this.#upload = this.#create({
      text: 'function (x) { return x[this.thread.x]; }',
      types: ['Array'],
      key: 'upload',
      functions: [],
      constants: {},
      components: 1,
    });
    this.#upload.setOutput([1]);
    const first = this.#upload(this.#input(new Float32Array(1), [1])) as GpuHandle & {
      context: WebGL2RenderingContext;
    };
    this.#gl = first.context;
    this.#Texture = first.constructor as new (settings: GpuHandle) => GpuHandle;
    first.delete();
    this.#largest = this.#gl.getParameter(this.#gl.MAX_TEXTURE_SIZE) as number;
    const info = this.#gl.getExtension('WEBGL_debug_renderer_info');
    const renderer = info ? (this.#gl.getParameter(info.UNMASKED_RENDERER_WEBGL) as string) : 'an unnamed renderer';
    this.description = `WebGL2 through gpu.js on ${renderer}, textures up to ${this.#largest}², float32`;
  }

  /** @throws DeviceError when there is no WebGL2 here, or it cannot draw to float textures */
  static async create(): Promise<WebGl2Device> {
    const module = await loadGpuJs();
    try {
      return new WebGl2Device(module);
    } catch (error) {
      throw new DeviceError('init', {
        received: `webgl2, but ${(error as Error).message}`,
        expected: 'a browser with WebGL2 and float textures',
        hint: "Use init({ device: 'auto' }) to take what there is.",
      });
    }
  }

  get lost(): boolean {
    return this.#gl.isContextLost();
  }

  /** Compiled kernels held now. */
  get compiledKernels(): number {
    return this.#kernels.size;
  }

  #create(program: Program): GpuKernel {
    return this.#gpu.createKernel(program.text, {
      ...kernelSettings(program),
      dynamicOutput: true,
      dynamicArguments: true,
      pipeline: true,
      immutable: true,
    });
  }

  #check(size: number): void {
    if (this.lost) throw this.#lostError();
    if (size > this.#largest ** 2)
      throw new MemoryLimitError('webgl2', {
        received: `a tensor of ${size} elements`,
        expected: `at most ${this.#largest}², the largest texture here (MAX_TEXTURE_SIZE ${this.#largest})`,
        hint: 'Split the tensor, or use webgpu or wasm.',
      });
  }

  #lostError(): DeviceError {
    const { storages, liveBytes } = this.memory();
    return new DeviceError('webgl2', {
      received: `the context was lost, and with it ${storages} tensors of ${liveBytes} bytes`,
      expected: 'a working device',
      hint: "Call init({ device: 'webgl2' }) for a new one and load your last checkpoint.",
    });
  }

  protected launch(program: Program, output: readonly number[], args: readonly Argument<GpuHandle>[]): GpuHandle {
    this.#check(sizeOf(output));
    const views: GpuHandle[] = [];
    try {
      const values = args.map((arg) => {
        if (typeof arg === 'number') return arg;
        const view = this.#view(arg.buffer, arg.grid);
        views.push(view);
        return view;
      });
      // gpu.js keeps the rank of a kernel's output with the kernel.
      const kernel = this.#kernels.get(`${program.key}|${output.length}`, () => this.#create(program));
      kernel.setOutput([...output]);
      return kernel(...values) as GpuHandle;
    } catch (error) {
      throw this.#typed(error, program.text);
    } finally {
      for (const view of views) view.delete();
    }
  }

  /**
   * Another counted handle on a texture, seen in other dimensions: how a reshape costs nothing. Always of the class of
   * one-dimensional results, since gpu.js recompiles a kernel for each class of argument that it meets.
   */
  #view(texture: GpuHandle, grid: Grid): GpuHandle {
    const [x, y = 1, z = 1] = grid;
    const view = new this.#Texture(texture);
    view.output = [...grid];
    view.dimensions = Int32Array.of(x, y, z);
    return view;
  }

  #typed(error: unknown, text: string): HopgradError {
    if (this.lost) return this.#lostError();
    return new KernelError('webgl2', {
      received: (error as Error).message,
      expected: 'a kernel that compiles and runs',
      hint: `The kernel was: ${text}`,
    });
  }

  protected put(data: Float32Array): GpuHandle {
    this.#check(data.length);
    const elements = data.length === 0 ? new Float32Array(1) : data; // there is no empty texture
    this.#upload.setOutput([elements.length]);
    return this.#upload(this.#input(elements, [elements.length])) as GpuHandle;
  }

  protected async fetch(texture: GpuHandle, size: number): Promise<Float32Array> {
    return this.fetchSync(texture, size);
  }

  protected fetchSync(texture: GpuHandle, size: number): Float32Array {
    if (this.lost) throw this.#lostError();
    if (size === 0) return new Float32Array(0);
    const view = this.#view(texture, [size]);
    const elements = flatten(view.toArray(), size);
    view.delete();
    return elements;
  }

  protected share(texture: GpuHandle): GpuHandle {
    return texture.clone();
  }

  protected discard(texture: GpuHandle): void {
    texture.delete();
  }
}
