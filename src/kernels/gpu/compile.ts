/**
 * What gpu.js makes of a program for WebGPU: it translates the text to WGSL and compiles it. Its kernels then start
 * one submission a call, with a buffer of its own for each result; here they are started in passes of many instead
 * (stream.ts), so only what was compiled is kept, with where gpu.js's text expects what.
 */
import { KernelError } from '../../tensor/errors.js';
import type { GpuInstance } from './module.js';
import { kernelSettings, type Program } from './programs.js';

/** A compiled kernel and the layout of its uniform block. */
export interface CompiledKernel {
  computePipeline: unknown;
  bindGroupLayout: unknown;
  workgroupSize: readonly [number, number, number];
  /** Elements that one thread returns. */
  componentCount: number;
  /** Points of the grid along x and y that one thread computes. */
  tile: readonly [number, number];
  paramsLayout: {
    /** Which arguments are arrays, and where their sizes go (bytes). */
    arrayArgs: readonly { index: number; dimsOffset: number }[];
    scalarArgs: readonly { index: number; offset: number; type: string }[];
    byteLength: number;
  };
}

/** @throws KernelError when gpu.js cannot translate or the device not compile it */
export async function compile(gpu: GpuInstance, program: Program, rank: number): Promise<CompiledKernel> {
  const { kernel } = gpu.createKernel(program.text, {
    ...kernelSettings(program),
    argumentTypes: program.types.map((type) => (type === 'Array' ? 'WebGPUBuffer' : type)),
    output: new Array(rank).fill(1),
    dynamicOutput: true,
    dynamicArguments: true,
    pipeline: true,
    immutable: true,
  }) as unknown as {
    kernel: Omit<CompiledKernel, 'tile'> & { build(...args: unknown[]): Promise<void>; destroy(): void };
  };
  // What each argument is has been said; gpu.js only counts them.
  await kernel.build(...program.types.map((type) => (type === 'Array' ? { type: 'WebGPUBuffer', output: [1] } : 0)));
  const { computePipeline, bindGroupLayout, workgroupSize, componentCount, paramsLayout } = kernel;
  kernel.destroy();
  if (!computePipeline || !bindGroupLayout || !workgroupSize || !paramsLayout?.arrayArgs)
    throw new KernelError('webgpu', {
      received: 'a version of gpu.js whose kernels do not show their compute pipeline',
      expected: 'gpu.js 2.24',
    });
  const tile = program.native?.tile ?? [1, 1];
  return { computePipeline, bindGroupLayout, workgroupSize, componentCount, tile, paramsLayout };
}
