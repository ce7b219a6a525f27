/** The softmax family and layer norm: the arguments of assembly/rows.ts. */
import { bytesPerElement } from '../../tensor/dtype.js';
import type { FusedGradients, FusedKernels, Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

type Softmaxes = 'softmax' | 'softmaxGrad' | 'logSoftmax' | 'logSoftmaxGrad' | 'logSumExp' | 'logSumExpGrad';

export function softmaxes({ engine, allocate }: Context): Pick<FusedKernels & FusedGradients, Softmaxes> {
  /** y of `size` elements by a kernel that takes each row of x once. */
  const byRows = (call: typeof kernel.softmax, x: Storage, size: number, rows: number, length: number) => {
    const y = allocate(x.dtype, size);
    const grain = rowGrain(length * 2);
    engine.call(call, chunksOf(rows, grain), { dtype: x.dtype, x: at(x), y: at(y), rows, length, grain });
    return y;
  };
  return {
    softmax: (x, rows, length) => byRows(kernel.softmax, x, x.size, rows, length),
    softmaxGrad(g, p, rows, length) {
      const x = allocate(p.dtype, p.size);
      const grain = rowGrain(length * 2);
      engine.call(kernel.softmaxGrad, chunksOf(rows, grain), {
        dtype: g.dtype,
        gradOutput: at(g),
        p: at(p),
        gradX: at(x),
        rows,
        length,
        grain,
      });
      return x;
    },
    logSoftmax: (x, rows, length) => byRows(kernel.logSoftmax, x, x.size, rows, length),
    logSoftmaxGrad(g, y, rows, length) {
      const x = allocate(y.dtype, y.size);
      const grain = rowGrain(length * 2);
      engine.call(kernel.logSoftmaxGrad, chunksOf(rows, grain), {
        dtype: g.dtype,
        gradOutput: at(g),
        y: at(y),
        gradX: at(x),
        rows,
        length,
        grain,
      });
      return x;
    },
    logSumExp: (x, rows, length) => byRows(kernel.logSumExp, x, rows, rows, length),
    logSumExpGrad(g, x, lse, rows, length) {
      const gradX = allocate(x.dtype, x.size);
      const grain = rowGrain(length * 2);
      engine.call(kernel.logSumExpGrad, chunksOf(rows, grain), {
        dtype: g.dtype,
        gradOutput: at(g),
        x: at(x),
        y: at(lse),
        gradX: at(gradX),
        rows,
        length,
        grain,
      });
      return gradX;
    },
  };
}

export function layerNorms({
  engine,
  allocate,
}: Context): Pick<FusedKernels & FusedGradients, 'layerNorm' | 'layerNormGrad'> {
  return {
    layerNorm(x, weight, bias, eps, rows, length) {
      const { dtype } = x;
      const vector = (size: number) => allocate(dtype, size);
      const [output, mean, rstd] = [vector(x.size), vector(rows), vector(rows)];
      const grain = rowGrain(length);
      engine.call(kernel.layerNorm, chunksOf(rows, grain), {
        dtype,
        x: at(x),
        weight: at(weight),
        bias: at(bias),
        y: at(output),
        mean: at(mean),
        rstd: at(rstd),
        rows,
        length,
        eps,
        grain,
      });
      return { output, mean, rstd };
    },
    layerNormGrad(g, x, weight, mean, rstd, rows, length) {
      const { dtype } = x;
      const vector = (size: number) => allocate(dtype, size);
      const grads = { x: vector(x.size), weight: vector(length), bias: vector(length) };
      const grain = Math.min(64, rowGrain(length));
      const chunks = chunksOf(rows, grain);
      // Of every chunk its parts of both gradients, one after the other.
      const bytes = Math.ceil(length / 4) * 4 * bytesPerElement[dtype];
      const block = engine.block(2 * bytes * chunks);
      const parts = block.address;
      engine.call(kernel.layerNormGrad, chunks, {
        dtype: g.dtype,
        gradOutput: at(g),
        x: at(x),
        weight: at(weight),
        mean: at(mean),
        rstd: at(rstd),
        gradX: at(grads.x),
        parts,
        rows,
        length,
        grain,
      });
      const stride = 2 * bytes;
      engine.call(kernel.sumParts, 1, { dtype, parts, y: at(grads.weight), count: chunks, stride, length });
      engine.call(kernel.sumParts, 1, {
        dtype,
        parts: parts + bytes,
        y: at(grads.bias),
        count: chunks,
        stride,
        length,
      });
      engine.heap.release(block);
      return grads;
    },
  };
}
