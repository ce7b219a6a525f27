/** The softmax family and layer norm: the arguments of assembly/rows.ts. */
import type { FusedKernels } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

type Softmaxes = 'softmax' | 'softmaxGrad' | 'logSoftmax' | 'logSoftmaxGrad' | 'logSumExp' | 'logSumExpGrad';

export function softmaxes({ engine, allocate }: Context): Pick<FusedKernels, Softmaxes> {
  /** Chunks, and the sizes that all of the family are told. */
  const sized = (rows: number, length: number) => {
    const grain = rowGrain(length * 2);
    return [chunksOf(rows, grain), { rows, length, grain }] as const;
  };
  return {
    softmax(x, rows, length) {
      const y = allocate('float32', x.size);
      const [chunks, sizes] = sized(rows, length);
      engine.call(kernel.softmax, chunks, { x: at(x), y: at(y), ...sizes });
      return y;
    },
    softmaxGrad(g, p, rows, length) {
      const x = allocate('float32', p.size);
      const [chunks, sizes] = sized(rows, length);
      engine.call(kernel.softmaxGrad, chunks, { gradOutput: at(g), p: at(p), gradX: at(x), ...sizes });
      return x;
    },
    logSoftmax(x, rows, length) {
      const y = allocate('float32', x.size);
      const [chunks, sizes] = sized(rows, length);
      engine.call(kernel.logSoftmax, chunks, { x: at(x), y: at(y), ...sizes });
      return y;
    },
    logSoftmaxGrad(g, y, rows, length) {
      const x = allocate('float32', y.size);
      const [chunks, sizes] = sized(rows, length);
      engine.call(kernel.logSoftmaxGrad, chunks, { gradOutput: at(g), y: at(y), gradX: at(x), ...sizes });
      return x;
    },
    logSumExp(x, rows, length) {
      const y = allocate('float32', rows);
      const [chunks, sizes] = sized(rows, length);
      engine.call(kernel.logSumExp, chunks, { x: at(x), y: at(y), ...sizes });
      return y;
    },
    logSumExpGrad(g, x, lse, rows, length) {
      const gradX = allocate('float32', x.size);
      const [chunks, sizes] = sized(rows, length);
      const addresses = { gradOutput: at(g), x: at(x), y: at(lse), gradX: at(gradX) };
      engine.call(kernel.logSumExpGrad, chunks, { ...addresses, ...sizes });
      return gradX;
    },
  };
}

export function layerNorms({ engine, allocate }: Context): Pick<FusedKernels, 'layerNorm' | 'layerNormGrad'> {
  const vector = (size: number) => allocate('float32', size);
  return {
    layerNorm(x, weight, bias, eps, rows, length) {
      const [output, mean, rstd] = [vector(x.size), vector(rows), vector(rows)];
      const grain = rowGrain(length);
      const inputs = { x: at(x), weight: at(weight), bias: at(bias) };
      const outputs = { y: at(output), mean: at(mean), rstd: at(rstd) };
      engine.call(kernel.layerNorm, chunksOf(rows, grain), { ...inputs, ...outputs, rows, length, eps, grain });
      return { output, mean, rstd };
    },
    layerNormGrad(g, x, weight, mean, rstd, rows, length) {
      const grads = { x: vector(x.size), weight: vector(length), bias: vector(length) };
      const grain = Math.min(64, rowGrain(length));
      const chunks = chunksOf(rows, grain);
      // Of every chunk its parts of both gradients, one after the other.
      const bytes = Math.ceil(length / 4) * 16;
      const block = engine.block(2 * bytes * chunks);
      const parts = block.address;
      const inputs = { gradOutput: at(g), x: at(x), weight: at(weight), mean: at(mean), rstd: at(rstd) };
      engine.call(kernel.layerNormGrad, chunks, { ...inputs, gradX: at(grads.x), parts, rows, length, grain });
      const joined = { count: chunks, stride: 2 * bytes, length };
      engine.call(kernel.sumParts, 1, { parts, y: at(grads.weight), ...joined });
      engine.call(kernel.sumParts, 1, { parts: parts + bytes, y: at(grads.bias), ...joined });
      engine.heap.release(block);
      return grads;
    },
  };
}
