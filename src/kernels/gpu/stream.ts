/**
 * Commands for a WebGPU queue, gathered: kernels go one after the other into a compute pass, and are submitted by the
 * score. WebGPU itself lets each see what those before it wrote.
 */
import type { CompiledKernel } from './compile.js';
import type { Argument, Part } from './launch.js';
import type { GPUBufferLike, GPUDeviceLike, GPUEncoderLike, GPUPassLike } from './module.js';
import type { Block, Claim } from './pool.js';

const usage = { mapRead: 0x01, copyTarget: 0x08, uniform: 0x40 };

/** Kernels in one submission: few enough that the device does not wait for them. */
const batch = 64;

/** Where a recorded launch keeps what it can use again: its numbers, on the device, and its bindings. */
interface Replayed {
  uniforms: GPUBufferLike;
  groups: Map<string, unknown>;
}

/** A launch that will be repeated with the same sizes and numbers. */
export interface Site extends Claim {
  cache?: unknown;
}

/** Sets of buffers for which a repeated launch keeps its bindings. */
const groupLimit = 4;

export class CommandStream {
  readonly #device: GPUDeviceLike;
  /** Bytes between the uniform blocks of two kernels. */
  readonly #stride: number;
  readonly #uniforms: GPUBufferLike;
  readonly #words: { u32: Uint32Array; i32: Int32Array; f32: Float32Array };
  readonly #mostGroups: number;
  #encoder: GPUEncoderLike | null = null;
  #pass: GPUPassLike | null = null;
  /** Kernels gathered, and bytes of their uniform blocks. */
  #kernels = 0;
  #filled = 0;
  #doomed: GPUBufferLike[] = [];
  readonly #staging: { buffer: GPUBufferLike; bytes: number }[] = [];

  constructor(device: GPUDeviceLike) {
    this.#device = device;
    this.#stride = device.limits.minUniformBufferOffsetAlignment;
    this.#mostGroups = device.limits.maxComputeWorkgroupsPerDimension;
    const bytes = 2 * batch * this.#stride;
    this.#uniforms = device.createBuffer({ size: bytes, usage: usage.uniform | usage.copyTarget });
    const words = new ArrayBuffer(bytes);
    this.#words = { u32: new Uint32Array(words), i32: new Int32Array(words), f32: new Float32Array(words) };
  }

  /** Starts a kernel: one thread (of `componentCount` elements) for each point of `output`, or for each tile of them. */
  dispatch(
    kernel: CompiledKernel,
    output: readonly number[],
    args: readonly Argument<Block>[],
    result: Block,
    site?: Site,
  ): void {
    const { groups, width } = this.#workgroups(kernel, output);
    const { byteLength } = kernel.paramsLayout;
    const group = site
      ? this.#repeatedGroup(kernel, output, width, args, result, site)
      : this.#group(kernel, args, result, {
          buffer: this.#uniforms,
          offset: this.#uniformBlock(kernel, output, width, args),
          size: byteLength,
        });
    const pass = this.#computePass();
    pass.setPipeline(kernel.computePipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(groups[0], groups[1], groups[2]);
    if (++this.#kernels === batch) this.submit();
  }

  /** A long axis goes over the rows of a two-dimensional dispatch, `width` threads each, as gpu.js's text expects. */
  #workgroups(
    { workgroupSize: [x, y, z], tile }: CompiledKernel,
    output: readonly number[],
  ): { groups: [number, number, number]; width: number } {
    const [nx, ny = 1, nz = 1] = output as [number, number?, number?];
    const groups: [number, number, number] = [
      Math.ceil(nx / tile[0] / x),
      Math.ceil(ny / tile[1] / y),
      Math.ceil(nz / z),
    ];
    if (output.length > 1) return { groups, width: 0 };
    if (groups[0] > this.#mostGroups) {
      groups[1] = Math.ceil(groups[0] / this.#mostGroups);
      groups[0] = Math.ceil(groups[0] / groups[1]);
    }
    return { groups, width: groups[0] * x };
  }

  /** Writes a kernel's uniform block. @returns its offset */
  #uniformBlock(
    { paramsLayout: { arrayArgs, scalarArgs, byteLength } }: CompiledKernel,
    output: readonly number[],
    width: number,
    args: readonly Argument<Block>[],
  ): number {
    const { u32, i32, f32 } = this.#words;
    const bytes = Math.ceil(byteLength / this.#stride) * this.#stride;
    if (this.#filled + bytes > u32.byteLength) this.submit();
    const offset = this.#filled;
    this.#filled += bytes;
    const at = offset / 4;
    u32[at] = output[0]!;
    u32[at + 1] = output[1] ?? 1;
    u32[at + 2] = output[2] ?? 1;
    u32[at + 3] = width;
    for (const { index, dimsOffset } of arrayArgs) {
      const [x, y = 1, z = 1] = (args[index] as { grid: readonly number[] }).grid as [number, number?, number?];
      const dims = at + dimsOffset / 4;
      u32[dims] = x;
      u32[dims + 1] = y;
      u32[dims + 2] = z;
      u32[dims + 3] = x * y * z;
    }
    for (const { index, offset: place, type } of scalarArgs)
      (type === 'Integer' ? i32 : f32)[at + place / 4] = args[index] as number;
    return offset;
  }

  #group(
    { bindGroupLayout, paramsLayout }: CompiledKernel,
    args: readonly Argument<Block>[],
    result: Block,
    uniforms: { buffer: GPUBufferLike; offset?: number; size?: number },
  ): unknown {
    const { arrayArgs } = paramsLayout;
    const buffers = arrayArgs.map(({ index }) => (args[index] as { buffer: Block }).buffer);
    const entries = [uniforms, ...buffers, result].map((resource, binding) => ({
      binding,
      resource:
        'holders' in resource ? { buffer: resource.buffer, offset: resource.offset, size: resource.bytes } : resource,
    }));
    return this.#device.createBindGroup({ layout: bindGroupLayout, entries });
  }

  /** The numbers of a repeated launch are written once, and its bindings made once for each set of buffers. */
  #repeatedGroup(
    kernel: CompiledKernel,
    output: readonly number[],
    width: number,
    args: readonly Argument<Block>[],
    result: Block,
    site: Site,
  ): unknown {
    const { byteLength } = kernel.paramsLayout;
    let known = site.cache as Replayed | undefined;
    if (!known) {
      const at = this.#uniformBlock(kernel, output, width, args);
      this.#filled = at; // only borrowed
      const uniforms = this.#device.createBuffer({ size: byteLength, usage: usage.uniform | usage.copyTarget });
      this.#device.queue.writeBuffer(uniforms, 0, this.#words.u32.slice(at / 4, (at + byteLength) / 4));
      known = { uniforms, groups: new Map() };
      site.cache = known;
    }
    let key = `${result.id}`;
    for (const { index } of kernel.paramsLayout.arrayArgs) key += `,${(args[index] as { buffer: Block }).buffer.id}`;
    let group = known.groups.get(key);
    if (!group) {
      group = this.#group(kernel, args, result, { buffer: known.uniforms });
      if (known.groups.size === groupLimit) known.groups.delete(known.groups.keys().next().value!);
      known.groups.set(key, group);
    }
    return group;
  }

  #computePass(): GPUPassLike {
    this.#pass ??= this.#commands().beginComputePass();
    return this.#pass;
  }

  #commands(): GPUEncoderLike {
    this.#encoder ??= this.#device.createCommandEncoder();
    return this.#encoder;
  }

  /** The encoder outside of a pass. */
  #outside(): GPUEncoderLike {
    this.#pass?.end();
    this.#pass = null;
    return this.#commands();
  }

  /** Data is written when it is handed over, so what was gathered goes first. */
  write(block: Block, data: Float32Array): void {
    this.submit();
    this.#device.queue.writeBuffer(block.buffer, 0, data);
  }

  /** Copies parts of blocks into another, each to its place there (in elements). */
  join(parts: readonly Part<Block>[], places: readonly number[], result: Block): void {
    const encoder = this.#outside();
    parts.forEach(({ buffer: { buffer, offset }, from, size }, i) => {
      encoder.copyBufferToBuffer(buffer, offset + 4 * from, result.buffer, 4 * places[i]!, 4 * size);
    });
  }

  /** Destroys a buffer when what was gathered with it has been submitted. */
  destroy(buffer: GPUBufferLike): void {
    if (this.#encoder) this.#doomed.push(buffer);
    else buffer.destroy();
  }

  submit(): void {
    if (this.#encoder) {
      const commands = this.#outside().finish();
      this.#encoder = null;
      if (this.#filled > 0) this.#device.queue.writeBuffer(this.#uniforms, 0, this.#words.u32, 0, this.#filled / 4);
      this.#device.queue.submit([commands]);
      this.#kernels = 0;
      this.#filled = 0;
    }
    for (const buffer of this.#doomed) buffer.destroy();
    this.#doomed = [];
  }

  /** The first `size` elements of a block as they are now: the copy is submitted before this returns. */
  async read(block: Block, size: number): Promise<Float32Array> {
    const staging = this.#takeStaging(4 * size);
    this.#outside().copyBufferToBuffer(block.buffer, block.offset, staging.buffer, 0, 4 * size);
    this.submit();
    await staging.buffer.mapAsync(usage.mapRead, 0, 4 * size);
    const elements = new Float32Array(staging.buffer.getMappedRange(0, 4 * size).slice(0));
    staging.buffer.unmap();
    if (this.#staging.length < 4) this.#staging.push(staging);
    else staging.buffer.destroy();
    return elements;
  }

  #takeStaging(bytes: number): { buffer: GPUBufferLike; bytes: number } {
    const found = this.#staging.findIndex((entry) => entry.bytes >= bytes && entry.bytes <= 16 * Math.max(bytes, 4096));
    if (found >= 0) return this.#staging.splice(found, 1)[0]!;
    if (this.#staging.length === 4) this.#staging.shift()!.buffer.destroy();
    return { buffer: this.#device.createBuffer({ size: bytes, usage: usage.mapRead | usage.copyTarget }), bytes };
  }
}
