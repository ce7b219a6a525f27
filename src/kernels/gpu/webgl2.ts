/**
 * WebGL2 through gpu.js, in browsers: a storage is a texture, a kernel a drawing. Calls return at once, and reads wait
 * for the card.
 *
 * GL tells of errors (no memory, above all) beside the calls that caused them, when asked, and asking waits for the
 * card. So large results are asked about at once, which fails that call alone; the rest at every read, where what
 * cannot be pinned on a call ends the device: some result since the last read is wrong.
 */
import { DeviceError, type HopgradError, KernelError, MemoryLimitError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import { RecentlyUsed } from '../recent.js';
import type { Grid } from '../source-device.js';
import { turn } from '../turn.js';
import { GpuDevice } from './device.js';
import type { Argument } from './launch.js';
import { type GpuHandle, type GpuInstance, type GpuKernel, type GpuModule, loadGpuJs } from './module.js';
import { kernelSettings, type Program } from './programs.js';
import { isSoftware } from './provide.js';

/** A counted handle on a texture. */
interface Texture extends GpuHandle {
  texture: WebGLTexture;
  /** Width and height. */
  size: readonly [width: number, height: number];
  /** Who deletes the texture with its last handle. */
  kernel: object;
}

/** Most compiled kernels kept. */
const cacheLimit = 512;
/** Elements from which on a result is asked about at once. */
const large = 2 ** 22;

const copy: Program = {
  key: 'copy',
  text: 'function (x) { return x[this.thread.x]; }',
  functions: [],
  types: ['Array'],
  constants: {},
  components: 1,
};

export class WebGl2Device extends GpuDevice<Texture> {
  readonly name = 'webgl2';
  readonly description: string;
  /** Whether the renderer is a program, not a card. */
  override readonly software: boolean;
  readonly synchronous = true;
  protected readonly limits = { x: Infinity, y: Infinity, z: Infinity, skipY: true };
  readonly #gpu: GpuInstance;
  readonly #gl: WebGL2RenderingContext;
  readonly #kernels = new RecentlyUsed<GpuKernel>(cacheLimit, (kernel) => kernel.destroy());
  /** Longest side of a texture that can be drawn to. */
  readonly #side: number;
  /** What a texture is read through, its elements one by one or (all that GL promises) padded to four. */
  readonly #reader: WebGLFramebuffer;
  readonly #channels: 1 | 4;
  /** gpu.js's class of one-dimensional float textures. */
  readonly #Texture: new (
    settings: object,
  ) => Texture;
  /** A kernel that is never destroyed: gpu.js does not delete the textures of those that are. */
  readonly #keeper: object;
  #failure: HopgradError | null = null;

  private constructor(module: GpuModule) {
    super();
    const gl = createContext();
    this.#gl = gl;
    // gpu.js makes the canvas as large as the largest texture; drawing to textures needs none of it.
    const settings = { mode: 'webgl2', context: gl, canvas: { width: 1, height: 1 } };
    this.#gpu = new module.GPU(settings);
    this.#side = Math.min(gl.getParameter(gl.MAX_TEXTURE_SIZE), ...gl.getParameter(gl.MAX_VIEWPORT_DIMS));
    const first = this.#create(copy).setOutput([1]);
    const texture = first(module.input(new Float32Array(1), [1])) as Texture;
    this.#keeper = first.kernel as object;
    this.#Texture = texture.constructor as new (settings: object) => Texture;
    this.#reader = gl.createFramebuffer();
    this.#attach(texture);
    const tight =
      gl.getParameter(gl.IMPLEMENTATION_COLOR_READ_FORMAT) === gl.RED &&
      gl.getParameter(gl.IMPLEMENTATION_COLOR_READ_TYPE) === gl.FLOAT;
    this.#channels = tight ? 1 : 4;
    this.#attach(null);
    texture.delete();
    const info = gl.getExtension('WEBGL_debug_renderer_info');
    const renderer = info ? (gl.getParameter(info.UNMASKED_RENDERER_WEBGL) as string) : 'an unnamed renderer';
    this.software = isSoftware(renderer);
    this.description = `WebGL2 through gpu.js on ${renderer}, textures up to ${this.#side}², float32`;
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
    return this.#failure !== null || this.#gl.isContextLost();
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

  /** Makes a texture of `size` elements, or says why there is none. */
  #allocate(size: number, make: () => Texture): Texture {
    if (this.lost) throw this.#lostError();
    const most = this.#side * (this.#side - 1); // gpu.js's textures of more are longer than they are wide
    if (size > most)
      throw new MemoryLimitError('webgl2', {
        received: `a tensor of ${size} elements`,
        expected: `at most ${this.#side} × ${this.#side - 1} = ${most}, the largest texture here`,
        hint: 'Split the tensor, or use webgpu or wasm.',
      });
    if (size < large) return make();
    this.#assertSound();
    const texture = make();
    try {
      this.#blame(`a tensor of ${4 * size} bytes`);
    } catch (error) {
      texture.delete();
      throw error;
    }
    return texture;
  }

  /** @throws when there was an error since all was sound: it is this call's */
  #blame(what: string): void {
    const code = this.#error();
    if (code !== 0) throw this.#errorOf(code, what);
  }

  /** The first error since this was asked last, 0 for none. @throws when the context is lost */
  #error(): number {
    const gl = this.#gl;
    const code = gl.getError();
    for (let i = 0; code !== 0 && i < 8 && gl.getError() !== 0; i++); // one flag for each kind of error
    // A card that has just died answers everything with 0, pixels too, until the browser hears of it in a later turn.
    if (!gl.isFramebuffer(this.#reader)) this.#failure ??= this.#lostError();
    if (this.lost) throw this.#lostError();
    return code;
  }

  /** @throws when something went wrong that no call can be blamed for; the device is given up then */
  #assertSound(): void {
    const code = this.#error();
    if (code === 0) return;
    this.#failure = this.#errorOf(
      code,
      'some result since the last read',
      "Call init({ device: 'webgl2' }) for a new device.",
    );
    this.#gl.getExtension('WEBGL_lose_context')?.loseContext();
    throw this.#failure;
  }

  #errorOf(code: number, what: string, hint?: string): HopgradError {
    const { OUT_OF_MEMORY, INVALID_FRAMEBUFFER_OPERATION } = this.#gl;
    const memory = code === OUT_OF_MEMORY || code === INVALID_FRAMEBUFFER_OPERATION; // drawing to a texture that is not there
    const { storages, liveBytes } = this.memory();
    return new (memory ? MemoryLimitError : KernelError)('webgl2', {
      received: `${what}, for which the driver reports error ${code} beside ${storages} tensors of ${liveBytes} bytes`,
      expected: memory ? 'to stay within the memory of the card' : 'calls that the driver accepts',
      hint: hint ?? 'Use a smaller micro-batch, or checkpoint() parts of the model.',
    });
  }

  #lostError(): HopgradError {
    if (this.#failure) return this.#failure;
    const { storages, liveBytes } = this.memory();
    return new DeviceError('webgl2', {
      received: `the context was lost, and with it ${storages} tensors of ${liveBytes} bytes`,
      expected: 'a working device',
      hint: "Call init({ device: 'webgl2' }) for a new one and load your last checkpoint.",
    });
  }

  protected launch(program: Program, output: readonly number[], args: readonly Argument<Texture>[]): Texture {
    return this.#allocate(sizeOf(output), () => this.#draw(program, output, args));
  }

  #draw(program: Program, output: readonly number[], args: readonly Argument<Texture>[]): Texture {
    const views: Texture[] = [];
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
      const texture = kernel(...values) as Texture;
      this.#forget(kernel.kernel as { texture: Texture | null });
      texture.kernel = this.#keeper;
      return texture;
    } catch (error) {
      throw this.#typed(error, program.text);
    } finally {
      for (const view of views) view.delete();
    }
  }

  /** Takes its last result from a kernel, whose framebuffer would keep it however dead it is. setOutput() makes another. */
  #forget(kernel: { texture: Texture | null }): void {
    const gl = this.#gl;
    kernel.texture?.delete();
    kernel.texture = null;
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, null, 0);
  }

  /**
   * Another counted handle on a texture, seen in other dimensions: how a reshape costs nothing. Always of the class of
   * one-dimensional results, since gpu.js recompiles a kernel for each class of argument that it meets.
   */
  #view(texture: Texture, grid: Grid): Texture {
    const [x, y = 1, z = 1] = grid;
    const view = new this.#Texture(texture);
    view.output = [...grid];
    view.dimensions = Int32Array.of(x, y, z);
    return view;
  }

  #typed(error: unknown, text: string): HopgradError {
    try {
      this.#assertSound();
    } catch (deeper) {
      return deeper as HopgradError;
    }
    return new KernelError('webgl2', {
      received: (error as Error).message,
      expected: 'a kernel that compiles and runs',
      hint: `The kernel was: ${text}`,
    });
  }

  protected put(data: Float32Array): Texture {
    return this.#allocate(data.length, () => this.#upload(data));
  }

  #upload(data: Float32Array): Texture {
    const gl = this.#gl;
    const width = Math.max(1, Math.ceil(Math.sqrt(data.length))); // there is no empty texture
    const rows = Math.floor(data.length / width);
    const rest = data.length - rows * width;
    const height = Math.max(1, rows + Math.sign(rest));
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.R32F, width, height);
    if (rows > 0) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, width, rows, gl.RED, gl.FLOAT, data, 0);
    if (rest > 0) gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, rows, rest, 1, gl.RED, gl.FLOAT, data, rows * width);
    return new this.#Texture({
      ...{ texture, context: gl, kernel: this.#keeper, internalFormat: gl.R32F, textureFormat: gl.RED },
      ...{ size: Int32Array.of(width, height), output: [data.length], dimensions: Int32Array.of(data.length, 1, 1) },
    });
  }

  /** Puts a texture where reads look, or takes it away: attached, its memory would stay. */
  #attach(texture: Texture | null): void {
    const gl = this.#gl;
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.#reader);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture?.texture ?? null, 0);
  }

  /** Through a buffer that the card fills when it gets there; meanwhile the page goes on. */
  protected async fetch(texture: Texture, size: number): Promise<Float32Array> {
    if (size === 0) return new Float32Array(0);
    const gl = this.#gl;
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
    try {
      this.#read(texture, size, null);
    } finally {
      gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    }
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0)!;
    gl.flush();
    do await turn();
    while (!this.lost && gl.clientWaitSync(fence, 0, 0) === gl.TIMEOUT_EXPIRED);
    const values = new Float32Array(this.#channels * size);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, buffer);
    gl.getBufferSubData(gl.PIXEL_PACK_BUFFER, 0, values);
    gl.bindBuffer(gl.PIXEL_PACK_BUFFER, null);
    gl.deleteSync(fence);
    gl.deleteBuffer(buffer);
    this.#assertSound();
    return this.#elements(values, size);
  }

  protected fetchSync(texture: Texture, size: number): Float32Array {
    if (size === 0) return new Float32Array(0);
    const [width, height] = span(texture, size);
    const values = new Float32Array(this.#channels * width * height);
    this.#read(texture, size, values);
    this.#assertSound();
    return this.#elements(values, size);
  }

  /** Starts to read into `values`, or into the buffer that is bound. */
  #read(texture: Texture, size: number, values: Float32Array | null): void {
    if (this.lost) throw this.#lostError();
    if (size >= large) this.#assertSound();
    const gl = this.#gl;
    const [width, height] = span(texture, size);
    const format = this.#channels === 1 ? gl.RED : gl.RGBA;
    this.#attach(texture);
    if (values) gl.readPixels(0, 0, width, height, format, gl.FLOAT, values);
    else {
      gl.bufferData(gl.PIXEL_PACK_BUFFER, 4 * this.#channels * width * height, gl.STREAM_READ);
      gl.readPixels(0, 0, width, height, format, gl.FLOAT, 0);
    }
    this.#attach(null);
    if (size >= large) this.#blame(`a read of ${4 * size} bytes`);
  }

  #elements(values: Float32Array, size: number): Float32Array {
    if (this.#channels === 1) return values.length === size ? values : values.slice(0, size);
    const elements = new Float32Array(size);
    for (let i = 0; i < size; i++) elements[i] = values[4 * i]!;
    return elements;
  }

  protected share(texture: Texture): Texture {
    return texture.clone() as Texture;
  }

  protected discard(texture: Texture): void {
    texture.delete();
  }
}

/** Width and height of the part of a texture that holds its first `size` elements. */
function span({ size: [width] }: Texture, size: number): [number, number] {
  return [width, Math.ceil(size / width)];
}

/** @throws when there is none */
function createContext(): WebGL2RenderingContext {
  const canvas = typeof document === 'undefined' ? new OffscreenCanvas(1, 1) : document.createElement('canvas');
  [canvas.width, canvas.height] = [1, 1];
  const settings = { alpha: false, depth: false, antialias: false, powerPreference: 'high-performance' } as const;
  const context = canvas.getContext('webgl2', settings) as WebGL2RenderingContext | null;
  if (!context) throw new Error('this browser gives no WebGL2 context');
  return context;
}
