/** The knobs of training, their defaults, and the check that they make sense together. */
import { UsageError } from '../tensor/errors.js';

export const lossNames = ['infoloob', 'infonce', 'dcl', 'siglip'] as const;
export type LossName = (typeof lossNames)[number];
export const schedulers = ['cosine', 'cosine-restarts', 'const'] as const;
export type SchedulerName = (typeof schedulers)[number];

export interface TrainOptions {
  /** A model preset; see hopgrad/models/cloob. */
  model: string;
  /** Whether the batch's mean is taken off the embeddings. */
  center: 'batch' | 'off';
  loss: LossName;
  /** Whether Hopfield memories of the batch answer for the embeddings before the loss. */
  hopfield: boolean;
  /** Steps (≥ 1) or share of the training (< 1) on raw embeddings before retrieval is switched on. */
  hopfieldFrom: number;
  /** β. */
  scaleHopfield: number;
  learnableScaleHopfield: boolean;
  /** τ⁻¹. */
  initInvTau: number;
  /** Learn τ⁻¹, kept in [1, 100]. */
  learnableInvTau: boolean;
  batchSize: number;
  epochs: number;
  /** Steps in all; null: as the epochs have. */
  steps: number | null;
  lr: number;
  /** Weight decay. */
  wd: number;
  beta1: number;
  beta2: number;
  eps: number;
  /** Steps of linear growth of the rate; null: a twentieth of all. */
  warmup: number | null;
  lrScheduler: SchedulerName;
  restartCycles: number;
  /** Largest gradient norm; null: unlimited. */
  maxGradNorm: number | null;
  seed: number;
  /** Tokens of a vocabulary trained on the captions; null: the model's. */
  vocabSize: number | null;
}

/** What `--method` stands for: the loss, and whether memories are asked. */
export const methods = {
  cloob: { loss: 'infoloob', hopfield: true },
  clip: { loss: 'infonce', hopfield: false },
} as const satisfies Record<string, Pick<TrainOptions, 'loss' | 'hopfield'>>;

/** @throws UsageError that names the flag */
export function checkTrainOptions(options: TrainOptions): TrainOptions {
  const check = (flag: string, value: unknown, ok: boolean, expected: string, hint?: string) => {
    if (!ok) throw new UsageError('train', { received: `--${flag} ${value}`, expected, ...(hint && { hint }) });
  };
  const whole = (flag: string, value: number, least: number) =>
    check(flag, value, Number.isSafeInteger(value) && value >= least, `a whole number ≥ ${least}`);
  const positive = (flag: string, value: number) =>
    check(flag, value, Number.isFinite(value) && value > 0, 'a positive number');
  const notNegative = (flag: string, value: number) =>
    check(flag, value, Number.isFinite(value) && value >= 0, 'a number ≥ 0');
  const rate = (flag: string, value: number) => check(flag, value, value >= 0 && value < 1, 'a number in [0, 1)');
  const { loss, batchSize, hopfieldFrom } = options;
  check('loss', loss, lossNames.includes(loss), lossNames.join(', '));
  check('lr-scheduler', options.lrScheduler, schedulers.includes(options.lrScheduler), schedulers.join(', '));
  whole('batch-size', batchSize, 1);
  const others = 'the other pairs of the batch are the negatives of these losses';
  check('batch-size', batchSize, batchSize > 1 || loss === 'siglip', 'at least 2', `It must be: ${others}.`);
  whole('epochs', options.epochs, 1);
  if (options.steps !== null) whole('steps', options.steps, 1);
  if (options.warmup !== null) whole('warmup', options.warmup, 0);
  whole('restart-cycles', options.restartCycles, 1);
  whole('seed', options.seed, 0);
  positive('init-inv-tau', options.initInvTau);
  const limits = 'a number in [1, 100] when it is learnt';
  const { learnableInvTau, initInvTau } = options;
  check('init-inv-tau', initInvTau, !learnableInvTau || (initInvTau >= 1 && initInvTau <= 100), limits);
  positive('scale-hopfield', options.scaleHopfield);
  const from = 'a share of the training below 1, or a whole number of steps';
  check('hopfield-from', hopfieldFrom, hopfieldFrom >= 0 && (hopfieldFrom < 1 || Number.isInteger(hopfieldFrom)), from);
  notNegative('lr', options.lr);
  notNegative('wd', options.wd);
  rate('beta1', options.beta1);
  rate('beta2', options.beta2);
  positive('eps', options.eps);
  if (options.maxGradNorm !== null) positive('max-grad-norm', options.maxGradNorm);
  if (options.vocabSize !== null) whole('vocab-size', options.vocabSize, 514);
  return options;
}

/** The step at which Hopfield retrieval begins, of `total`; never when it is off. */
export function firstHopfieldStep({ hopfield, hopfieldFrom }: TrainOptions, total: number): number {
  if (!hopfield) return Infinity;
  return hopfieldFrom < 1 ? Math.round(hopfieldFrom * total) : hopfieldFrom;
}
