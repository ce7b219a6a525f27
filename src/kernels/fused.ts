/**
 * The fused kernels written in core kernels: what a device without its own fused version runs, and what fused
 * versions are tested against. Each equation stands here once; derivations are beside the ops that use them.
 */

import { broadcastPlan } from '../tensor/shape.js';
import { type Device, type FusedKernels, Storage } from './device.js';
import * as f from './scalar.js';
import { withScope } from './scope.js';

/** All fused kernels of `device`: its own where it has them, decompositions elsewhere. */
export function fused(device: Device): FusedKernels {
  let kernels = cache.get(device);
  if (!kernels) {
    kernels = { ...decomposed(device), ...device.fused };
    cache.set(device, kernels);
  }
  return kernels;
}
const cache = new WeakMap<Device, FusedKernels>();

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
  const full = (rows: number, length: number) =>
    broadcastPlan(
      [rows, length],
      [
        [rows, length],
        [rows, length],
      ],
    );
  const column = (rows: number, length: number) =>
    broadcastPlan(
      [rows, length],
      [
        [rows, length],
        [rows, 1],
      ],
    );
  const row = (rows: number, length: number) => broadcastPlan([rows, length], [[rows, length], [length]]);
  const flat = (x: Storage) => full(1, x.size);
  const sum = (x: Storage, rows: number, length: number) => device.reduce('sum', x, rows, length, 1);
  /** x − max(x) per row, with max clipped to finite values so that a row of −∞ stays −∞ and not NaN. */
  const shifted = (x: Storage, rows: number, length: number) => {
    const max = device.reduce('max', x, rows, length, 1);
    const clipped = device.zip(f.maximum, max, -3.4028234663852886e38, flat(max));
    return { max: clipped, x: device.zip(f.sub, x, clipped, column(rows, length)) };
  };

  const kernels: FusedKernels = {
    softmax(x, rows, length) {
      const e = device.map(f.exp, shifted(x, rows, length).x);
      return device.zip(f.div, e, sum(e, rows, length), column(rows, length));
    },
    softmaxGrad(g, p, rows, length) {
      const gp = device.zip(f.mul, g, p, full(rows, length));
      const centred = device.zip(f.sub, g, sum(gp, rows, length), column(rows, length));
      return device.zip(f.mul, centred, p, full(rows, length));
    },
    logSoftmax(x, rows, length) {
      return device.zip(f.sub, x, kernels.logSumExp(x, rows, length), column(rows, length));
    },
    logSoftmaxGrad(g, y, rows, length) {
      const p = device.map(f.exp, y);
      const scaled = device.zip(f.mul, p, sum(g, rows, length), column(rows, length));
      return device.zip(f.sub, g, scaled, full(rows, length));
    },
    logSumExp(x, rows, length) {
      const { max, x: centred } = shifted(x, rows, length);
      const total = sum(device.map(f.exp, centred), rows, length);
      return device.zip(f.add, device.map(f.log, total), max, flat(max));
    },
    logSumExpGrad(g, x, lse, rows, length) {
      const finite = device.zip(f.maximum, lse, -3.4028234663852886e38, flat(lse));
      const p = device.map(f.exp, device.zip(f.sub, x, finite, column(rows, length)));
      return device.zip(f.mul, p, g, column(rows, length));
    },
    layerNorm(x, weight, bias, eps, rows, length) {
      const total = sum(x, rows, length);
      const mean = device.zip(f.div, total, length, flat(total));
      const centred = device.zip(f.sub, x, mean, column(rows, length));
      const squares = sum(device.map(f.square, centred), rows, length);
      const variance = device.zip(f.div, squares, length, flat(squares));
      const rstd = device.map(f.rsqrt, device.zip(f.add, variance, eps, flat(variance)));
      const normal = device.zip(f.mul, centred, rstd, column(rows, length));
      const scaled = device.zip(f.mul, normal, weight, row(rows, length));
      return { output: device.zip(f.add, scaled, bias, row(rows, length)), mean, rstd };
    },
    layerNormGrad(g, x, weight, mean, rstd, rows, length) {
      const centred = device.zip(f.sub, x, mean, column(rows, length));
      const normal = device.zip(f.mul, centred, rstd, column(rows, length));
      const h = device.zip(f.mul, g, weight, row(rows, length));
      const hSum = sum(h, rows, length);
      const hMean = device.zip(f.div, hSum, length, flat(hSum));
      const hnSum = sum(device.zip(f.mul, h, normal, full(rows, length)), rows, length);
      const hnMean = device.zip(f.div, hnSum, length, flat(hnSum));
      const projected = device.zip(f.mul, normal, hnMean, column(rows, length));
      const difference = device.zip(
        f.sub,
        device.zip(f.sub, h, hMean, column(rows, length)),
        projected,
        full(rows, length),
      );
      return {
        x: device.zip(f.mul, difference, rstd, column(rows, length)),
        weight: device.reduce('sum', device.zip(f.mul, g, normal, full(rows, length)), 1, rows, length),
        bias: device.reduce('sum', g, 1, rows, length),
      };
    },
    batchNorm(x, weight, bias, { batch, channels, inner, eps }) {
      const shape = [batch, channels, inner];
      const channel = broadcastPlan(shape, [shape, [channels, 1]]);
      const perChannel = (value: Storage) => {
        const rows = device.reduce('sum', value, batch * channels, inner, 1);
        const total = device.reduce('sum', rows, 1, batch, channels);
        return device.zip(f.div, total, batch * inner, flat(total));
      };
      const mean = perChannel(x);
      const centred = device.zip(f.sub, x, mean, channel);
      const variance = perChannel(device.map(f.square, centred));
      const rstd = device.map(f.rsqrt, device.zip(f.add, variance, eps, flat(variance)));
      const scale = device.zip(f.mul, rstd, weight, flat(rstd));
      return { output: device.zip(f.add, device.zip(f.mul, centred, scale, channel), bias, channel), mean, variance };
    },
    batchNormGrad(g, x, weight, mean, variance, { batch, channels, inner, eps }) {
      const shape = [batch, channels, inner];
      const channel = broadcastPlan(shape, [shape, [channels, 1]]);
      const perChannel = (value: Storage) =>
        device.reduce('sum', device.reduce('sum', value, batch * channels, inner, 1), 1, batch, channels);
      const rstd = device.map(f.rsqrt, device.zip(f.add, variance, eps, flat(variance)));
      const normal = device.zip(f.mul, device.zip(f.sub, x, mean, channel), rstd, channel);
      const biasGrad = perChannel(g);
      const weightGrad = perChannel(device.zip(f.mul, g, normal, flat(g)));
      const count = batch * inner;
      const gCentred = device.zip(f.sub, g, device.zip(f.div, biasGrad, count, flat(biasGrad)), channel);
      const projected = device.zip(f.mul, normal, device.zip(f.div, weightGrad, count, flat(weightGrad)), channel);
      const scale = device.zip(f.mul, rstd, weight, flat(rstd));
      return {
        x: device.zip(f.mul, device.zip(f.sub, gCentred, projected, flat(g)), scale, channel),
        weight: weightGrad,
        bias: biasGrad,
      };
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
      let logits = device.zip(f.mul, products, s.scale, flat(products));
      if (s.causal) {
        const future = Float32Array.from({ length: s.queries * s.keys }, (_, i) =>
          Number(i % s.keys > Math.floor(i / s.keys)),
        );
        const shape = [s.batch * s.heads, s.queries * s.keys];
        logits = device.where(
          device.upload(future),
          -Infinity,
          logits,
          broadcastPlan(shape, [[s.queries * s.keys], [], shape]),
        );
      }
      const probabilities = kernels.softmax(logits, s.batch * s.heads * s.queries, s.keys);
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
    attentionGrad(g, q, k, v, p, s) {
      const split = (x: Storage, tokens: number) =>
        device.permute(x, [s.batch, tokens, s.heads, s.headDim], [0, 2, 1, 3]);
      const join = (x: Storage, tokens: number) =>
        device.permute(x, [s.batch, s.heads, tokens, s.headDim], [0, 2, 1, 3]);
      const common = { batch: s.batch * s.heads, broadcastA: false, broadcastB: false };
      const g4 = split(g, s.queries);
      const probabilityGrad = device.matmul(g4, split(v, s.keys), {
        ...common,
        m: s.queries,
        n: s.keys,
        k: s.headDim,
        transposeA: false,
        transposeB: true,
      });
      const raw = kernels.softmaxGrad(probabilityGrad, p, s.batch * s.heads * s.queries, s.keys);
      const logitGrad = device.zip(f.mul, raw, s.scale, flat(raw));
      const toQuery = { ...common, m: s.queries, n: s.headDim, k: s.keys, transposeA: false, transposeB: false };
      const toKey = { ...common, m: s.keys, n: s.headDim, k: s.queries, transposeA: true, transposeB: false };
      return {
        q: join(device.matmul(logitGrad, split(k, s.keys), toQuery), s.queries),
        k: join(device.matmul(logitGrad, split(q, s.queries), toKey), s.keys),
        v: join(device.matmul(p, g4, toKey), s.keys),
      };
    },
    sumSquares(x) {
      return device.reduce('sum', device.map(f.square, x), 1, x.size, 1);
    },
    adamW(parameter, grad, m, v, s) {
      const z = (kernel: typeof f.add, a: Storage | number, b: Storage | number) =>
        device.zip(kernel, a, b, flat(parameter));
      const g = s.gradScale === 1 ? grad : z(f.mul, grad, s.gradScale);
      const nextM = z(f.add, z(f.mul, m, s.beta1), z(f.mul, g, 1 - s.beta1));
      const nextV = z(f.add, z(f.mul, v, s.beta2), z(f.mul, device.map(f.square, g), 1 - s.beta2));
      const mHat = z(f.div, nextM, 1 - s.beta1 ** s.step);
      const vHat = z(f.div, nextV, 1 - s.beta2 ** s.step);
      const update = z(f.div, mHat, z(f.add, device.map(sqrt, vHat), s.eps));
      const decayed = z(f.mul, parameter, 1 - s.learningRate * s.weightDecay);
      device.copyInto(parameter, z(f.sub, decayed, z(f.mul, update, s.learningRate)));
      device.copyInto(m, nextM);
      device.copyInto(v, nextV);
    },
  };
  return Object.fromEntries(
    // biome-ignore lint/suspicious/noExplicitAny: each kernel keeps its own type, which a mapped object cannot express
    Object.entries(kernels).map(([name, kernel]) => [name, tidy(kernel as (...args: any[]) => any)]),
  ) as unknown as FusedKernels;
}

function sqrt(x: number): number {
  return Math.sqrt(x);
}
