/**
 * The fused kernels written in core kernels: what a device without its own fused version runs, and what fused
 * versions are tested against. Each equation stands here once; its derivative is the vjp of the op that uses it.
 */
import { largestOf } from '../tensor/dtype.js';
import {
  type AdamWSpec,
  type AdamWStorages,
  type BatchNormSpec,
  type Device,
  type FusedKernels,
  type ScalarKernel,
  Storage,
} from './device.js';
import * as f from './scalar.js';
import { withScope } from './scope.js';
import { zipFlat } from './walk.js';

/** The storages in a kernel's result: one, several by name, or none. */
function storagesOf(result: unknown): Storage[] {
  if (result instanceof Storage) return [result];
  return result ? Object.values(result as Record<string, Storage>) : [];
}

/** Frees every temporary of a decomposition as soon as its result is known. */
function tidy<A extends unknown[], R>(kernel: (...args: A) => R): (...args: A) => R {
  return (...args) =>
    withScope(
      () => kernel(...args),
      (storage, result) => storagesOf(result).includes(storage),
    );
}

/** The decompositions, for any device with the core. */
export function decomposed(device: Device): FusedKernels {
  const zip = (kernel: ScalarKernel, a: Storage | number, b: Storage | number) => zipFlat(device, kernel, a, b);
  /** Of [rows, length] and a value a row; and of a value a column. */
  const perRow = (kernel: ScalarKernel, x: Storage, value: Storage, rows: number, length: number) =>
    device.zip(kernel, [rows, length], { storage: x, strides: [length, 1] }, { storage: value, strides: [1, 0] });
  const perColumn = (kernel: ScalarKernel, x: Storage, value: Storage, rows: number, length: number) =>
    device.zip(kernel, [rows, length], { storage: x, strides: [length, 1] }, { storage: value, strides: [0, 1] });
  /** Of [batch, channels, inner] and a value a channel. */
  const byChannel =
    ({ batch, channels, inner }: BatchNormSpec) =>
    (kernel: ScalarKernel, x: Storage, value: Storage) =>
      device.zip(
        kernel,
        [batch, channels, inner],
        { storage: x, strides: [channels * inner, inner, 1] },
        { storage: value, strides: [0, 1, 0] },
      );
  const sum = (x: Storage, rows: number, length: number) => device.reduce('sum', x, rows, length, 1);
  /** x − max(x) per row, with max clipped to finite values so that a row of −∞ stays −∞ and not NaN. */
  const shifted = (x: Storage, rows: number, length: number) => {
    const max = device.reduce('max', x, rows, length, 1);
    const clipped = zip(f.maximum, max, -largestOf[max.dtype]);
    return { max: clipped, x: perRow(f.sub, x, clipped, rows, length) };
  };
  /**
   * ln Σ e^x of rows whose largest is 0. The largest, each exactly 1, are counted and not added: in a sum near 1 the others would be
   * lost, and with them all digits of a logarithm near 0.
   */
  const logSumExpShifted = (x: Storage, rows: number, length: number) => {
    const largest = zip(f.equal, x, 0);
    const others = sum(zip(f.sub, device.map(f.exp, x), largest), rows, length);
    return device.map(f.log1p, zip(f.add, others, zip(f.sub, sum(largest, rows, length), 1)));
  };

  const adamW = tidy(({ parameter, grad, m, v }: AdamWStorages, s: AdamWSpec): void => {
    const g = s.gradScale === 1 ? grad : zip(f.mul, grad, s.gradScale);
    const nextM = zip(f.add, zip(f.mul, m, s.beta1), zip(f.mul, g, 1 - s.beta1));
    const nextV = zip(f.add, zip(f.mul, v, s.beta2), zip(f.mul, device.map(f.square, g), 1 - s.beta2));
    const mHat = zip(f.div, nextM, 1 - s.beta1 ** s.step);
    const vHat = zip(f.div, nextV, 1 - s.beta2 ** s.step);
    const update = zip(f.div, mHat, zip(f.add, device.map(f.sqrt, vHat), s.eps));
    const decayed = zip(f.mul, parameter, 1 - s.learningRate * s.weightDecay);
    device.copyInto(parameter, zip(f.sub, decayed, zip(f.mul, update, s.learningRate)));
    device.copyInto(m, nextM);
    device.copyInto(v, nextV);
  });
  const kernels: FusedKernels = {
    softmax(x, rows, length) {
      const e = device.map(f.exp, shifted(x, rows, length).x);
      return perRow(f.div, e, sum(e, rows, length), rows, length);
    },
    logSoftmax(x, rows, length) {
      // The maximum first: x − ln Σ eˣ in one step would round to the digits of x.
      const centred = shifted(x, rows, length).x;
      return perRow(f.sub, centred, logSumExpShifted(centred, rows, length), rows, length);
    },
    logSumExp(x, rows, length) {
      // The shift is finite on both sides, so that a row with an ∞ gives ∞ and not ∞ − ∞.
      const { max } = shifted(x, rows, length);
      const shift = zip(f.minimum, max, largestOf[max.dtype]);
      return zip(f.add, logSumExpShifted(perRow(f.sub, x, shift, rows, length), rows, length), shift);
    },
    layerNorm(x, weight, bias, eps, rows, length) {
      const total = sum(x, rows, length);
      const mean = zip(f.div, total, length);
      const centred = perRow(f.sub, x, mean, rows, length);
      const squares = sum(device.map(f.square, centred), rows, length);
      const variance = zip(f.div, squares, length);
      const rstd = device.map(f.rsqrt, zip(f.add, variance, eps));
      const normal = perRow(f.mul, centred, rstd, rows, length);
      const scaled = perColumn(f.mul, normal, weight, rows, length);
      return { output: perColumn(f.add, scaled, bias, rows, length), mean, rstd };
    },
    batchNorm(x, weight, bias, spec) {
      const { batch, channels, inner, eps } = spec;
      const perChannel = byChannel(spec);
      const channelMean = (value: Storage) => {
        const rows = device.reduce('sum', value, batch * channels, inner, 1);
        const total = device.reduce('sum', rows, 1, batch, channels);
        return zip(f.div, total, batch * inner);
      };
      const mean = channelMean(x);
      const centred = perChannel(f.sub, x, mean);
      const variance = channelMean(device.map(f.square, centred));
      const rstd = device.map(f.rsqrt, zip(f.add, variance, eps));
      const scale = zip(f.mul, rstd, weight);
      return { output: perChannel(f.add, perChannel(f.mul, centred, scale), bias), mean, variance };
    },
    attention(q, k, v, s) {
      const split = (x: Storage, tokens: number) =>
        device.permute(x, [s.batch, tokens, s.heads, s.headDim], [0, 2, 1, 3]);
      const matrices = { batch: s.batch * s.heads, broadcastA: false, broadcastB: false };
      const products = device.matmul(split(q, s.queries), split(k, s.keys), {
        ...matrices,
        m: s.queries,
        n: s.keys,
        k: s.headDim,
        transposeA: false,
        transposeB: true,
      });
      let logits = zip(f.mul, products, s.scale);
      if (s.causal) {
        const future = Float32Array.from({ length: s.queries * s.keys }, (_, i) =>
          Number(i % s.keys > Math.floor(i / s.keys)),
        );
        const shape = [s.batch * s.heads, s.queries * s.keys];
        const mask = { storage: device.upload(future), strides: [0, 1] };
        logits = device.where(shape, mask, -Infinity, { storage: logits, strides: [shape[1]!, 1] }, logits.dtype);
      }
      const { softmax = kernels.softmax } = device.fused;
      const probabilities = softmax(logits, s.batch * s.heads * s.queries, s.keys);
      const output = device.matmul(probabilities, split(v, s.keys), {
        ...matrices,
        m: s.queries,
        n: s.headDim,
        k: s.keys,
        transposeA: false,
        transposeB: false,
      });
      return { output: device.permute(output, [s.batch, s.heads, s.queries, s.headDim], [0, 2, 1, 3]), probabilities };
    },
    sumSquares(xs) {
      const sums = xs.map((x) => sum(device.map(f.square, x), 1, x.size));
      return device.concat(
        sums,
        1,
        sums.map(() => 1),
      );
    },
    adamW(all, s) {
      for (const one of all) adamW(one, s);
    },
  };
  return Object.fromEntries(
    // biome-ignore lint/suspicious/noExplicitAny: each kernel keeps its own type, which a mapped object cannot express
    Object.entries(kernels).map(([name, kernel]) => [name, tidy(kernel as (...args: any[]) => any)]),
  ) as unknown as FusedKernels;
}
