/**
 * The linear probe: how much of a labelled task can be read off frozen features by a linear classifier, the usual
 * measure of a representation.
 */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { type LbfgsOptions, minimizeLbfgs } from '../nn/optim/lbfgs.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { formatShape } from '../tensor/shape.js';
import { rankOf } from './ranks.js';

/** Features with the class of every row. */
export interface LabelledFeatures {
  /** [n, dim], as the image encoder gives them. */
  features: Tensor;
  /** n class numbers from 0. */
  labels: ArrayLike<number>;
}

/** Class scores as W x + b. */
export interface LinearClassifier {
  /** [classes, dim] */
  weight: Tensor;
  /** [classes] */
  bias: Tensor;
}

export interface LogisticOptions extends LbfgsOptions {
  /** λ ≥ 0. In scikit-learn's terms C = 1/λ. */
  l2: number;
  /** Number of classes. Default: the largest label, plus 1. */
  classes?: number;
  /** Where to start; a solution for a similar λ saves most of the work. Default: zeros. */
  from?: LinearClassifier;
  /** Rows worked on at a time: memory is chunk × classes. Default 4096. */
  chunk?: number;
}

const defaultChunk = 4096;

/** @throws ShapeError, DomainError */
function checkLabelled(op: string, { features, labels }: LabelledFeatures, classes: number): void {
  if (features.rank !== 2 || features.shape[0] !== labels.length)
    throw new ShapeError(op, {
      received: `features ${formatShape(features.shape)} and ${labels.length} labels`,
      expected: '[n, dim] and n labels',
    });
  if (labels.length === 0) throw new DomainError(op, { received: 'no samples', expected: 'at least one' });
  for (let i = 0; i < labels.length; i++)
    if (!Number.isInteger(labels[i]) || labels[i]! < 0 || labels[i]! >= classes)
      throw new DomainError(op, {
        received: `label ${labels[i]} of sample ${i}`,
        expected: `whole numbers in [0, ${classes})`,
      });
}

function countClasses(...sets: LabelledFeatures[]): number {
  let largest = -1;
  for (const { labels } of sets) for (let i = 0; i < labels.length; i++) largest = Math.max(largest, labels[i]!);
  return largest + 1;
}

const chunksOf = (n: number, chunk: number) =>
  Array.from({ length: Math.ceil(n / chunk) }, (_, i): [number, number] => [i * chunk, Math.min(n, (i + 1) * chunk)]);

/** Σ of the features of each class, [classes, dim], and how many there are, in float64. */
async function classSums({ features, labels }: LabelledFeatures, classes: number, chunk: number) {
  const dim = features.shape[1]!;
  const sums = new Float64Array(classes * dim);
  const counts = new Float64Array(classes);
  for (const [start, end] of chunksOf(labels.length, chunk)) {
    const rows = await noGrad(() => features.slice([[start, end]])).data();
    for (let i = start; i < end; i++) {
      const label = labels[i]!;
      counts[label]!++;
      for (let d = 0; d < dim; d++) sums[label * dim + d]! += rows[(i - start) * dim + d]!;
    }
  }
  return { sums, counts };
}

/**
 * Multinomial logistic regression with a ridge on the weights, not on the bias. Minimises
 *
 * $$ \sum_i\Big[\ln\sum_c e^{w_c^\top x_i+b_c} - w_{y_i}^\top x_i-b_{y_i}\Big] + \tfrac{\lambda}{2}\lVert W\rVert^2 $$
 *
 * | symbol | code     | shape          |
 * |--------|----------|----------------|
 * | x      | features | [n, dim]       |
 * | y      | labels   | [n]            |
 * | W, b   | return   | [classes, dim], [classes] |
 * | λ      | l2       | ≥ 0            |
 *
 * The second term is linear in W and b: only sums of features by class are needed for it. The first runs on the
 * device of the features, in their dtype, and its gradient is autograd's. L-BFGS works on the objective divided by n.
 *
 * @throws ShapeError, DomainError
 */
export async function logisticRegression(
  data: LabelledFeatures,
  { l2, classes = countClasses(data), from, chunk = defaultChunk, ...lbfgs }: LogisticOptions,
): Promise<LinearClassifier & { loss: number; iterations: number }> {
  checkLabelled('logisticRegression', data, classes);
  if (!(l2 >= 0)) throw new DomainError('logisticRegression', { received: `l2 ${l2}`, expected: 'a number ≥ 0' });
  const { dtype, device, shape } = data.features;
  const [n, dim] = shape as [number, number];
  const weights = classes * dim;
  const { sums, counts } = await classSums(data, classes, chunk);
  const unpack = (x: Float64Array, requiresGrad: boolean) => ({
    weight: tensor(x.subarray(0, weights), { shape: [classes, dim], dtype, device, requiresGrad }),
    bias: tensor(x.subarray(weights), { dtype, device, requiresGrad }),
  });

  async function objective(x: Float64Array) {
    const gradient = new Float64Array(x.length);
    let value = 0;
    for (const [start, end] of chunksOf(n, chunk)) {
      const [rows, weightGrad, biasGrad] = scoped(() => {
        const { weight, bias } = unpack(x, true);
        const logits = data.features
          .slice([[start, end]])
          .detach()
          .matmul(weight, { transposeB: true })
          .add(bias); // [rows, classes]
        const logSums = logits.logSumExp({ axis: 1 });
        logSums.sum().backward();
        return [logSums.detach(), weight.grad!, bias.grad!] as [Tensor, Tensor, Tensor];
      });
      for (const row of await rows.data()) value += row;
      (await weightGrad.data()).forEach((g, i) => {
        gradient[i]! += g;
      });
      (await biasGrad.data()).forEach((g, i) => {
        gradient[weights + i]! += g;
      });
      for (const t of [rows, weightGrad, biasGrad]) t.dispose();
    }
    for (let i = 0; i < weights; i++) {
      value += (l2 / 2) * x[i]! ** 2 - x[i]! * sums[i]!;
      gradient[i]! += l2 * x[i]! - sums[i]!;
    }
    for (let c = 0; c < classes; c++) {
      value -= x[weights + c]! * counts[c]!;
      gradient[weights + c]! -= counts[c]!;
    }
    return { value: value / n, gradient: gradient.map((g) => g / n) };
  }

  const start = new Float64Array(weights + classes);
  if (from) {
    start.set(await from.weight.data());
    start.set(await from.bias.data(), weights);
  }
  const { x, value, iterations } = await minimizeLbfgs(objective, start, lbfgs);
  return { ...unpack(x, false), loss: value, iterations };
}

export interface ProbeAccuracy {
  /** Share of samples whose class is among the k best, by k. Ties count against the classifier. */
  accuracy: Record<number, number>;
  /** Top-1 accuracy and number of samples of every class; accuracy is NaN for a class without samples. */
  perClass: { count: number; accuracy: number }[];
}

/** Accuracy of a linear classifier. @throws ShapeError, DomainError */
export async function probeAccuracy(
  data: LabelledFeatures,
  { weight, bias }: LinearClassifier,
  { ks = [1, 5], chunk = defaultChunk }: { ks?: readonly number[]; chunk?: number } = {},
): Promise<ProbeAccuracy> {
  const classes = bias.size;
  checkLabelled('probeAccuracy', data, classes);
  const hits = ks.map(() => 0);
  const counts = new Array<number>(classes).fill(0);
  const right = new Array<number>(classes).fill(0);
  for (const [start, end] of chunksOf(data.labels.length, chunk)) {
    const scores = noGrad(() =>
      scoped(() =>
        data.features
          .slice([[start, end]])
          .matmul(weight, { transposeB: true })
          .add(bias),
      ),
    );
    const values = await scores.data();
    scores.dispose();
    for (let i = start; i < end; i++) {
      const label = data.labels[i]!;
      const rank = rankOf(values.subarray((i - start) * classes, (i - start + 1) * classes), [label]);
      counts[label]!++;
      if (rank === 0) right[label]!++;
      ks.forEach((k, at) => {
        if (rank < k) hits[at]!++;
      });
    }
  }
  return {
    accuracy: Object.fromEntries(ks.map((k, at) => [k, hits[at]! / data.labels.length])),
    perClass: counts.map((count, c) => ({ count, accuracy: right[c]! / count })),
  };
}

/** How the strength of the penalty is chosen, and when the fit is done. */
export interface LinearProbeOptions extends LbfgsOptions {
  /** Chooses λ. Default: a random fifth of `train`, by `seed`. */
  validation?: LabelledFeatures;
  /** A fixed λ: no sweep. */
  l2?: number;
  /** Bounds of the sweep. Default [1e-6, 1e6]. */
  range?: readonly [number, number];
  /** Finest step of the sweep, points a decade. Default 8. */
  pointsPerDecade?: number;
  /** Default: the largest label, plus 1. */
  classes?: number;
  /** Cut-offs of the accuracy. Default 1 and 5. */
  ks?: readonly number[];
  /** Default 0. */
  seed?: number;
  chunk?: number;
}

/** A fitted linear probe and its accuracy. */
export interface LinearProbeResult extends ProbeAccuracy {
  /** λ, chosen or given. */
  l2: number;
  /** Top-1 accuracy on the validation split by λ, in order of λ; empty without a sweep. */
  sweep: { l2: number; accuracy: number }[];
  classifier: LinearClassifier;
}

/**
 * Linear probe with CLIP's protocol: logistic regression on frozen features, λ chosen by top-1 accuracy on a validation
 * split, then trained again on both splits and measured on `test`.
 *
 * The sweep starts with every second decade of the range and narrows around the best point, halving the step, down to
 * `pointsPerDecade`: CLIP's parametric binary search. Of equally good points the largest λ wins. Each fit starts from
 * the solution of the λ nearest to it.
 *
 * @example const { accuracy, l2 } = await linearProbe({ features, labels }, { features: testFeatures, labels: testLabels })
 * @throws ShapeError, DomainError
 * @source Radford et al. 2021, arXiv 2103.00020, appendix A.3
 */
export async function linearProbe(
  train: LabelledFeatures,
  test: LabelledFeatures,
  options: LinearProbeOptions = {},
): Promise<LinearProbeResult> {
  const { range = [1e-6, 1e6], pointsPerDecade = 8, seed = 0, ks = [1, 5], chunk = defaultChunk } = options;
  const { history, maxIterations, gradientTolerance } = options;
  const classes = options.classes ?? countClasses(train, test, ...(options.validation ? [options.validation] : []));
  checkLabelled('linearProbe', train, classes);
  checkLabelled('linearProbe', test, classes);
  if (!(range[0] > 0 && range[1] >= range[0] && pointsPerDecade >= 0.5))
    throw new DomainError('linearProbe', {
      received: `range ${range.join(' … ')}, ${pointsPerDecade} points a decade`,
      expected: '0 < least ≤ largest and at least half a point a decade',
    });
  const solve = (data: LabelledFeatures, l2: number, from?: LinearClassifier) =>
    logisticRegression(data, { l2, classes, chunk, from, history, maxIterations, gradientTolerance });

  const finish = async (
    data: LabelledFeatures,
    l2: number,
    sweep: LinearProbeResult['sweep'],
    near?: LinearClassifier,
  ) => {
    const { weight, bias } = await solve(data, l2, near);
    const classifier = { weight, bias };
    return { ...(await probeAccuracy(test, classifier, { ks, chunk })), l2, sweep, classifier };
  };
  if (options.l2 !== undefined)
    return finish(options.validation ? joined(train, options.validation) : train, options.l2, []);

  const [fitted, validation] = options.validation ? [train, options.validation] : split(train, seed);
  checkLabelled('linearProbe', validation, classes);
  const tried = new Map<number, { accuracy: number; classifier: LinearClassifier }>(); // by log₁₀ λ
  async function accuracyAt(exponent: number): Promise<void> {
    if (tried.has(exponent)) return;
    const nearest = [...tried].sort(([a], [b]) => Math.abs(a - exponent) - Math.abs(b - exponent))[0];
    const { weight, bias } = await solve(fitted, 10 ** exponent, nearest?.[1].classifier);
    const { accuracy } = await probeAccuracy(validation, { weight, bias }, { ks: [1], chunk });
    tried.set(exponent, { accuracy: accuracy[1]!, classifier: { weight, bias } });
  }
  const best = await narrow(Math.log10(range[0]), Math.log10(range[1]), pointsPerDecade, accuracyAt, tried);
  const sweep = [...tried]
    .sort(([a], [b]) => a - b)
    .map(([exponent, { accuracy }]) => ({ l2: 10 ** exponent, accuracy }));
  const whole = options.validation ? joined(train, validation) : train;
  return finish(whole, 10 ** best, sweep, tried.get(best)!.classifier);
}

/** The best exponent: tries from the largest down in steps of two, then halves the step around the best so far. */
async function narrow(
  low: number,
  high: number,
  pointsPerDecade: number,
  tryAt: (exponent: number) => Promise<void>,
  tried: ReadonlyMap<number, { accuracy: number }>,
): Promise<number> {
  const best = () => [...tried].sort(([a, { accuracy: one }], [b, { accuracy: other }]) => other - one || b - a)[0]![0];
  let step = 2;
  for (let exponent = high; exponent >= low - 1e-9; exponent -= step) await tryAt(exponent);
  for (step /= 2; step >= (1 - 1e-9) / pointsPerDecade; step /= 2) {
    const centre = best();
    for (const exponent of [centre + step, centre - step])
      if (exponent <= high + 1e-9 && exponent >= low - 1e-9) await tryAt(exponent);
  }
  return best();
}

/** A random fifth of the samples, at least one, for validation, and the others. */
function split({ features, labels }: LabelledFeatures, seed: number): [LabelledFeatures, LabelledFeatures] {
  if (labels.length < 2)
    throw new DomainError('linearProbe', {
      received: 'a single sample to train on',
      expected: 'at least two, or `validation` or `l2`',
    });
  const order = new Random(seed).fork('linear probe').shuffle(Array.from(labels).keys());
  const held = Math.max(1, Math.round(labels.length / 5));
  const part = (rows: number[]): LabelledFeatures => ({
    features: noGrad(() => features.gather(tensor(Int32Array.from(rows), { device: features.device }))),
    labels: rows.map((row) => labels[row]!),
  });
  return [part(order.slice(held)), part(order.slice(0, held))];
}

function joined(a: LabelledFeatures, b: LabelledFeatures): LabelledFeatures {
  return {
    features: noGrad(() => concat([a.features, b.features])),
    labels: [...Array.from(a.labels), ...Array.from(b.labels)],
  };
}
