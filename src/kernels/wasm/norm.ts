/** Batch norm: the arguments of assembly/norm.ts. */
import type { BatchNormSpec, FusedKernels } from '../device.js';
import { at, type Context } from './context.js';
import * as kernel from './generated/calls.js';

export function batchNorms({ engine, allocate }: Context): Pick<FusedKernels, 'batchNorm' | 'batchNormGrad'> {
  const vector = (size: number) => allocate('float32', size);
  return {
    batchNorm(x, weight, bias, s) {
      const [output, mean, variance] = [vector(x.size), vector(s.channels), vector(s.channels)];
      const all = {
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
      if (byColumns(s))
        engine.withScratch(320, (scratch, scratchBytes) => {
          all.scratch = scratch;
          all.scratchBytes = scratchBytes;
          engine.call(kernel.batchNormColumns, strips(s), all);
        });
      else engine.call(kernel.batchNorm, s.channels, all);
      return { output, mean, variance };
    },
    batchNormGrad(g, x, weight, mean, variance, s) {
      const grads = { x: vector(x.size), weight: vector(s.channels), bias: vector(s.channels) };
      const all = {
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
      if (byColumns(s))
        engine.withScratch(512, (scratch, scratchBytes) => {
          all.scratch = scratch;
          all.scratchBytes = scratchBytes;
          engine.call(kernel.batchNormColumnsGrad, strips(s), all);
        });
      else engine.call(kernel.batchNormGrad, s.channels, all);
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
