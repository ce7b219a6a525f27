/** Softmax, normalisation, and the optimiser: the arguments of assembly/rows.ts, norm.ts, adamw.ts. */
import type { AdamWSpec, BatchNormSpec, FusedKernels, Storage } from '../device.js';
import { at, type Context, grain, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import { kernel } from './kernels.js';
import { attention, attentionGrad } from './products.js';
import { reduceRows } from './reductions.js';

export function fusedKernels(context: Context): FusedKernels {
  const { engine, allocate } = context;
  const vector = (size: number) => allocate('float32', size);

  /** The softmax family: kind and addresses in the order of assembly/rows.ts. */
  const softmaxes = (kind: number, rows: number, length: number, output: Storage, ...addresses: number[]): Storage => {
    const perChunk = rowGrain(length * 2);
    const [a = 0, b = 0, c = 0, d = 0] = addresses;
    engine.call(kernel.softmaxes, chunksOf(rows, perChunk), kind, a, b, c, d, rows, length, perChunk);
    return output;
  };

  return {
    softmax(x, rows, length) {
      const y = vector(x.size);
      return softmaxes(0, rows, length, y, at(x), at(y));
    },
    softmaxGrad(g, p, rows, length) {
      const x = vector(p.size);
      return softmaxes(1, rows, length, x, at(g), at(p), at(x));
    },
    logSoftmax(x, rows, length) {
      const y = vector(x.size);
      return softmaxes(2, rows, length, y, at(x), at(y));
    },
    logSoftmaxGrad(g, y, rows, length) {
      const x = vector(y.size);
      return softmaxes(3, rows, length, x, at(g), at(y), at(x));
    },
    logSumExp(x, rows, length) {
      const y = vector(rows);
      return softmaxes(4, rows, length, y, at(x), at(y));
    },
    logSumExpGrad(g, x, lse, rows, length) {
      const dx = vector(x.size);
      return softmaxes(5, rows, length, dx, at(g), at(x), at(dx), at(lse));
    },
    layerNorm(x, weight, bias, eps, rows, length) {
      const [output, mean, rstd] = [vector(x.size), vector(rows), vector(rows)];
      const perChunk = rowGrain(length);
      const outputs = [at(output), at(mean), at(rstd)];
      engine.call(
        kernel.layerNorm,
        chunksOf(rows, perChunk),
        at(x),
        at(weight),
        at(bias),
        ...outputs,
        rows,
        length,
        eps,
        perChunk,
      );
      return { output, mean, rstd };
    },
    layerNormGrad(g, x, weight, mean, rstd, rows, length) {
      const grads = { x: vector(x.size), weight: vector(length), bias: vector(length) };
      const perChunk = Math.min(64, rowGrain(length));
      const chunks = chunksOf(rows, perChunk);
      const bytes = Math.ceil(length / 4) * 16;
      const parts = engine.block(2 * bytes * chunks);
      const inputs = [at(g), at(x), at(weight), at(mean), at(rstd), at(grads.x)];
      engine.call(kernel.layerNormGrad, chunks, ...inputs, parts.address, rows, length, perChunk);
      engine.call(kernel.sumParts, 1, parts.address, at(grads.weight), chunks, 2 * bytes, length);
      engine.call(kernel.sumParts, 1, parts.address + bytes, at(grads.bias), chunks, 2 * bytes, length);
      engine.heap.release(parts);
      return grads;
    },
    batchNorm(x, weight, bias, s: BatchNormSpec) {
      const [output, mean, variance] = [vector(x.size), vector(s.channels), vector(s.channels)];
      const addresses = [x, weight, bias, output, mean, variance].map(at);
      const sizes = [s.batch, s.channels, s.inner, s.eps];
      if (byColumns(s))
        engine.withScratch(320, (scratch, part) =>
          engine.call(kernel.batchNormColumns, strips(s), ...addresses, ...sizes, scratch, part),
        );
      else engine.call(kernel.batchNorm, s.channels, ...addresses, ...sizes);
      return { output, mean, variance };
    },
    batchNormGrad(g, x, weight, mean, variance, s: BatchNormSpec) {
      const grads = { x: vector(x.size), weight: vector(s.channels), bias: vector(s.channels) };
      const addresses = [g, x, weight, mean, variance, grads.x, grads.weight, grads.bias].map(at);
      const sizes = [s.batch, s.channels, s.inner, s.eps];
      if (byColumns(s))
        engine.withScratch(512, (scratch, part) =>
          engine.call(kernel.batchNormColumnsGrad, strips(s), ...addresses, ...sizes, scratch, part),
        );
      else engine.call(kernel.batchNormGrad, s.channels, ...addresses, ...sizes);
      return grads;
    },
    attention: (q, k, v, s) => attention(context, q, k, v, s),
    attentionGrad: (g, q, k, v, p, s) => attentionGrad(context, g, q, k, v, p, s),
    sumSquares: (x) => reduceRows(context, 'squares', x, 1, x.size),
    adamW(parameter, grad, m, v, s: AdamWSpec) {
      engine.call(
        kernel.adamW,
        chunksOf(parameter.size, grain),
        ...[parameter, grad, m, v].map(at),
        parameter.size,
        s.learningRate,
        s.beta1,
        s.beta2,
        s.eps,
        1 - s.learningRate * s.weightDecay,
        1 / (1 - s.beta1 ** s.step),
        1 / (1 - s.beta2 ** s.step),
        s.gradScale,
        grain,
      );
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
