/** Batch norm: the arguments of assembly/norm.ts. */
import type { DType } from '../../tensor/dtype.js';
import type { BatchNormSpec, FusedGradients, FusedKernels } from '../device.js';
import { at, type Context } from './context.js';
import * as kernel from './generated/calls.js';

export function batchNorms({
  engine,
  allocate,
}: Context): Pick<FusedKernels & FusedGradients, 'batchNorm' | 'batchNormGrad'> {
  type Kernel<A> = (list: Float64Array, args: A) => number;
  /** By channels, or float32 by strips of columns, which want `bytes` of scratch a thread. */
  const run = <A extends { dtype: DType; scratch: number; scratchBytes: number }>(
    s: BatchNormSpec,
    channels: Kernel<A>,
    columns: Kernel<A>,
    bytes: number,
    all: A,
  ) => {
    if (all.dtype === 'float64' || !byColumns(s)) engine.call(channels, s.channels, all);
    else
      engine.withScratch(bytes, (scratch, scratchBytes) => {
        all.scratch = scratch;
        all.scratchBytes = scratchBytes;
        engine.call(columns, strips(s), all);
      });
  };
  return {
    batchNorm(x, weight, bias, s) {
      const vector = (size: number) => allocate(x.dtype, size);
      const [output, mean, variance] = [vector(x.size), vector(s.channels), vector(s.channels)];
      const all = {
        dtype: x.dtype,
        x: at(x),
        weight: at(weight),
        bias: at(bias),
        y: at(output),
        mean: at(mean),
        variance: at(variance),
        batch: s.batch,
        channels: s.channels,
        inner: s.inner,
        eps: s.eps,
        scratch: 0,
        scratchBytes: 0,
      };
      run(s, kernel.batchNorm, kernel.batchNormColumns, 320, all);
      return { output, mean, variance };
    },
    batchNormGrad(g, x, weight, mean, variance, s) {
      const vector = (size: number) => allocate(x.dtype, size);
      const grads = { x: vector(x.size), weight: vector(s.channels), bias: vector(s.channels) };
      const all = {
        dtype: x.dtype,
        gradOutput: at(g),
        x: at(x),
        weight: at(weight),
        mean: at(mean),
        variance: at(variance),
        gradX: at(grads.x),
        gradWeight: at(grads.weight),
        gradBias: at(grads.bias),
        batch: s.batch,
        channels: s.channels,
        inner: s.inner,
        eps: s.eps,
        scratch: 0,
        scratchBytes: 0,
      };
      run(s, kernel.batchNormGrad, kernel.batchNormColumnsGrad, 512, all);
      return grads;
    },
  };
}

/** Whether batch norm reads images as rows: a channel's few elements would be less than the loop around them. */
function byColumns({ channels, inner }: BatchNormSpec): boolean {
  return (inner === 1 || inner === 2 || inner === 4 || inner === 8) && (channels * inner) % 4 === 0;
}

/** Strips of 16 columns. */
function strips({ channels, inner }: BatchNormSpec): number {
  return Math.ceil((channels * inner) / 16);
}
