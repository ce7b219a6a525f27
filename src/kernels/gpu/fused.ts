/**
 * Fused kernels in gpu.js's language: each equation in as few launches as one result a thread allows. A row's sums are
 * launches of their own (f is summed as it is computed), everything elementwise around them is one more. Equations as
 * in ../fused.ts and derivatives as in the ops' vjp, against which they are tested.
 */
import type {
  AdamWSpec,
  FusedGradients,
  FusedKernels,
  KernelOperand,
  ReduceKind,
  ScalarKernel,
  Storage,
  Strided,
} from '../device.js';
import { mul, square } from '../scalar.js';
import * as scalar from './scalar.js';

/** Strides of an operand over the axes of a result, outermost first. */
type Strides = readonly number[];

/** What a gpu.js device does beside the core. */
export interface FusionTools {
  /** y_i = f(operands_i) over `shape` (three axes at most). */
  each(f: ScalarKernel, shape: readonly number[], ...operands: readonly KernelOperand[]): Storage;
  /** y[o][i] = Σ_l f(operands at [o][l][i]) for `shape` = [outer, length, inner]. */
  sum(f: ScalarKernel, shape: readonly [number, number, number], ...operands: KernelOperand[]): Storage;
  reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage;
  concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage;
  /** target ← f(target, operands), all of one size. @throws UsageError while a computation is captured */
  update(f: ScalarKernel, target: Storage, ...operands: (Storage | number)[]): void;
}

/** What the kernels of AdamW are given beside their storages: firstMoment, secondMoment and update of scalar.ts. */
export function adamWNumbers(s: AdamWSpec): Record<'first' | 'second' | 'last', number[]> {
  const rate = s.learningRate / (1 - s.beta1 ** s.step);
  const correction = 1 / Math.sqrt(1 - s.beta2 ** s.step);
  return {
    first: [s.beta1, 1 - s.beta1, s.gradScale],
    second: [s.beta2, 1 - s.beta2, s.gradScale],
    last: [1 - s.learningRate * s.weightDecay, rate, correction, s.eps],
  };
}

export function fusedKernels({
  each,
  sum,
  reduce,
  concat,
  update,
}: FusionTools): Partial<FusedKernels & FusedGradients> {
  const at = (storage: Storage, strides: Strides): Strided => ({ storage, strides });
  /** [rows, length] as it is stored, a value a row, a value a column. */
  const full = (length: number): Strides => [length, 1];
  const perRow: Strides = [1, 0];
  const perColumn: Strides = [0, 1];
  /** Σ over the rows of f, and over the columns. */
  const rowSum = (f: ScalarKernel, rows: number, length: number, ...operands: KernelOperand[]) =>
    sum(f, [rows, length, 1], ...operands.map((x) => (typeof x === 'number' ? x : at(x.storage, [...x.strides, 0]))));
  const columnSum = (f: ScalarKernel, rows: number, length: number, ...operands: KernelOperand[]) =>
    sum(f, [1, rows, length], ...operands.map((x) => (typeof x === 'number' ? x : at(x.storage, [0, ...x.strides]))));
  /** Frees what only led to the result. */
  const after = <T>(result: T, ...used: Storage[]): T => {
    for (const storage of used) storage.free();
    return result;
  };
  const rowMax = (x: Storage, rows: number, length: number) => reduce('max', x, rows, length, 1);

  const kernels: Partial<FusedKernels & FusedGradients> = {
    softmax(x, rows, length) {
      const max = rowMax(x, rows, length);
      const total = rowSum(scalar.expShifted, rows, length, at(x, full(length)), at(max, perRow));
      const result = each(scalar.softmaxOf, [rows, length], at(x, full(length)), at(max, perRow), at(total, perRow));
      return after(result, max, total);
    },
    softmaxGrad(g, p, rows, length) {
      const total = rowSum(mul, rows, length, at(g, full(length)), at(p, full(length)));
      const operands = [g, p].map((x) => at(x, full(length)));
      return after(each(scalar.centredTimes, [rows, length], ...operands, at(total, perRow)), total);
    },
    logSoftmax(x, rows, length) {
      const max = rowMax(x, rows, length);
      const total = rowSum(scalar.expShifted, rows, length, at(x, full(length)), at(max, perRow));
      const operands = [at(x, full(length)), at(max, perRow), at(total, perRow)];
      return after(each(scalar.logSoftmaxOf, [rows, length], ...operands), max, total);
    },
    logSoftmaxGrad(g, y, rows, length) {
      const total = reduce('sum', g, rows, length, 1);
      const operands = [g, y].map((x) => at(x, full(length)));
      return after(each(scalar.lessExpTimes, [rows, length], ...operands, at(total, perRow)), total);
    },
    logSumExp(x, rows, length) {
      const max = rowMax(x, rows, length);
      const shift = after(each(scalar.finite, [rows], at(max, [1])), max);
      const total = rowSum(scalar.expShifted, rows, length, at(x, full(length)), at(shift, perRow));
      return after(each(scalar.logPlus, [rows], at(total, [1]), at(shift, [1])), shift, total);
    },
    logSumExpGrad(g, x, lse, rows, length) {
      return each(scalar.expShiftedTimes, [rows, length], at(x, full(length)), at(lse, perRow), at(g, perRow));
    },
    layerNorm(x, weight, bias, eps, rows, length) {
      const mean = rowSum(scalar.share, rows, length, at(x, full(length)), length);
      const variance = rowSum(scalar.squareShare, rows, length, at(x, full(length)), at(mean, perRow), length);
      const rstd = each(scalar.rootInverse, [rows], at(variance, [1]), eps);
      const output = each(
        scalar.normalised,
        [rows, length],
        ...[x, mean, rstd].map((y, i) => at(y, i === 0 ? full(length) : perRow)),
        ...[weight, bias].map((y) => at(y, perColumn)),
      );
      return after({ output, mean, rstd }, variance);
    },
    layerNormGrad(g, x, weight, mean, rstd, rows, length) {
      const [gFull, xFull] = [at(g, full(length)), at(x, full(length))];
      const [w, m, r] = [at(weight, perColumn), at(mean, perRow), at(rstd, perRow)];
      const hMean = rowSum(scalar.productShare, rows, length, gFull, w, length);
      const hnMean = rowSum(scalar.normalShare, rows, length, gFull, w, xFull, m, r, length);
      const shape = [rows, length];
      const dx = each(scalar.layerNormGrad, shape, gFull, w, xFull, m, r, at(hMean, perRow), at(hnMean, perRow));
      const weightGrad = columnSum(scalar.timesNormal, rows, length, gFull, xFull, m, r);
      const biasGrad = reduce('sum', g, 1, rows, length);
      return after({ x: dx, weight: weightGrad, bias: biasGrad }, hMean, hnMean);
    },
    batchNorm(x, weight, bias, { batch, channels, inner, eps }) {
      const shape = [batch, channels, inner];
      const whole: Strides = [channels * inner, inner, 1];
      const perChannel: Strides = [0, 1, 0];
      const count = batch * inner;
      const rows = [batch * channels, inner, 1] as const;
      const flat = [inner, 1, 0];
      const meanParts = sum(scalar.share, rows, at(x, flat), count);
      const mean = after(reduce('sum', meanParts, 1, batch, channels), meanParts);
      const centred = each(scalar.squaredDistance, shape, at(x, whole), at(mean, perChannel));
      const varianceParts = after(sum(scalar.share, rows, at(centred, flat), count), centred);
      const variance = after(reduce('sum', varianceParts, 1, batch, channels), varianceParts);
      const rstd = each(scalar.rootInverse, [channels], at(variance, [1]), eps);
      const output = each(
        scalar.normalised,
        shape,
        at(x, whole),
        ...[mean, rstd, weight, bias].map((y) => at(y, perChannel)),
      );
      return after({ output, mean, variance }, rstd);
    },
    batchNormGrad(g, x, weight, mean, variance, { batch, channels, inner, eps }) {
      const shape = [batch, channels, inner];
      const whole: Strides = [channels * inner, inner, 1];
      const perChannel: Strides = [0, 1, 0];
      const total = (value: Storage) => {
        const parts = reduce('sum', value, batch * channels, inner, 1);
        return after(reduce('sum', parts, 1, batch, channels), parts);
      };
      const rstd = each(scalar.rootInverse, [channels], at(variance, [1]), eps);
      const biasGrad = total(g);
      const products = each(
        scalar.timesNormal,
        shape,
        at(g, whole),
        at(x, whole),
        at(mean, perChannel),
        at(rstd, perChannel),
      );
      const weightGrad = after(total(products), products);
      const dx = each(
        scalar.batchNormGrad,
        shape,
        at(g, whole),
        at(x, whole),
        ...[mean, rstd, weight, biasGrad, weightGrad].map((y) => at(y, perChannel)),
        batch * inner,
      );
      return after({ x: dx, weight: weightGrad, bias: biasGrad }, rstd);
    },
    sumSquares(xs) {
      const sums = xs.map((x) => sum(square, [1, x.size, 1], at(x, [0, 1, 0])));
      const ones = sums.map(() => 1);
      return after(concat(sums, 1, ones), ...sums);
    },
    adamW(all, s) {
      const { first, second, last } = adamWNumbers(s);
      for (const { parameter, grad, m, v } of all) {
        if (parameter.size === 0) continue;
        update(scalar.firstMoment, m, grad, ...first);
        update(scalar.secondMoment, v, grad, ...second);
        update(scalar.update, parameter, m, v, ...last);
      }
    },
  };
  return kernels;
}
