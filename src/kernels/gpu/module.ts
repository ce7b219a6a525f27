/** gpu.js as this library sees it: the few names it uses. */

/** A kernel made by createKernel: call it with its arguments. */
export interface GpuKernel {
  (...args: unknown[]): unknown;
  /** Compiles for arguments like these; a promise on WebGPU. */
  build(...args: unknown[]): unknown;
  setOutput(output: readonly number[]): GpuKernel;
  destroy(): void;
  /** The kernel object behind the function. */
  kernel: unknown;
}

/** A result that stays on the device: a WebGL texture, counted. */
export interface GpuHandle {
  output: number[];
  /** Sizes of a texture; what a kernel that takes it as an argument sees. */
  dimensions?: ArrayLike<number>;
  clone(): GpuHandle;
  delete(): void;
  toArray(): unknown;
}

/** gpu.js's shared WebGPU device. */
export interface GpuContext {
  adapter: GPUAdapterLike;
  device: GPUDeviceLike;
  isLost: boolean;
}

/** The parts of the WebGPU interface used here (its types come with the browser, not with TypeScript's DOM). */
export interface GPUAdapterLike {
  info?: { vendor?: string; architecture?: string; device?: string; description?: string; isFallbackAdapter?: boolean };
}
export interface GPUBufferLike {
  mapAsync(mode: number, offset: number, size: number): Promise<void>;
  getMappedRange(offset: number, size: number): ArrayBuffer;
  unmap(): void;
  destroy(): void;
}
export interface GPUPassLike {
  setPipeline(pipeline: unknown): void;
  setBindGroup(index: number, group: unknown): void;
  dispatchWorkgroups(x: number, y: number, z: number): void;
  end(): void;
}
export interface GPUEncoderLike {
  beginComputePass(): GPUPassLike;
  copyBufferToBuffer(from: GPUBufferLike, fromOffset: number, to: GPUBufferLike, toOffset: number, size: number): void;
  finish(): unknown;
}
export interface GPUDeviceLike {
  limits: {
    maxBufferSize: number;
    maxStorageBufferBindingSize: number;
    maxComputeWorkgroupsPerDimension: number;
    minUniformBufferOffsetAlignment: number;
  };
  lost: Promise<{ reason: string; message: string }>;
  onuncapturederror: ((event: { error: Error }) => void) | null;
  queue: {
    onSubmittedWorkDone(): Promise<void>;
    submit(commands: unknown[]): void;
    /** `dataOffset` and `size` count elements of `data`. */
    writeBuffer(
      buffer: GPUBufferLike,
      offset: number,
      data: Float32Array | Uint32Array,
      dataOffset?: number,
      size?: number,
    ): void;
  };
  createBuffer(settings: { size: number; usage: number }): GPUBufferLike;
  createBindGroup(settings: {
    layout: unknown;
    entries: { binding: number; resource: { buffer: GPUBufferLike; offset?: number; size?: number } }[];
  }): unknown;
  createCommandEncoder(): GPUEncoderLike;
  destroy(): void;
}

export interface GpuInstance {
  createKernel(source: string, settings: object): GpuKernel;
  context: unknown;
}

export interface GpuModule {
  GPU: new (settings: { mode: string }) => GpuInstance;
  input(data: Float32Array, size: readonly number[]): unknown;
  WebGPUContext: { acquire(): Promise<GpuContext> };
}

/** gpu.js, loaded when a device first needs it. */
export async function loadGpuJs(): Promise<GpuModule> {
  return (await import('./gpujs.js')).default as GpuModule;
}
