/**
 * What can be chosen about a training: one table, from which come the flags, `--help`, the checks, what a run record may
 * hold, and docs/training.md.
 */
import { existsSync } from 'node:fs';
import { readJson } from '../formats/files.js';
import { type CloobConfig, resolveConfig } from '../models/cloob/config.js';
import { UsageError } from '../tensor/errors.js';
import {
  choice,
  colour,
  decay,
  model,
  modelNames,
  notNegative,
  type Option,
  onOff,
  percent,
  positive,
  shareOrSteps,
  unit,
  weights,
  whole,
} from './option-kinds.js';
import { type RunSettings, settingsTable } from './settings.js';

export const lossNames = ['infoloob', 'infonce', 'dcl', 'siglip'] as const;
export type LossName = (typeof lossNames)[number];
export const schedulers = ['cosine', 'cosine-restarts', 'const'] as const;
export type SchedulerName = (typeof schedulers)[number];

/** What a run is: it can be chosen at the beginning only, and decides every number that comes out. */
export interface TrainOptions {
  /** A model preset of hopgrad/models/cloob, the path of a configuration (.json), `pretrained`: as that file says, or `heads`. */
  model: string;
  /** Weights to start from, a path or an address; null: none. */
  pretrained: string | null;
  /** Pixels a side, and longest caption in tokens, start and end included; null: the model's. */
  imageSize: number | null;
  contextLength: number | null;
  /** Colour under transparent parts of pictures, `none` to drop their opacity; null: the model's. */
  background: string | null;
  /** Whether the batch's mean is taken off the embeddings. */
  center: 'batch' | 'off';
  /** Numbers of an embedding; null: the model's, of heads at most {@link headsDim}. */
  embedDim: number | null;
  loss: LossName;
  /** Whether Hopfield memories of the batch answer for the embeddings before the loss. */
  hopfield: boolean;
  /** Steps (≥ 1) or share of the training (< 1, or a text with %) on raw embeddings before retrieval is switched on. */
  hopfieldFrom: number | `${number}%`;
  /** β. */
  scaleHopfield: number;
  learnableScaleHopfield: boolean;
  /** Pairs of earlier steps that the memories hold beside those of the batch. */
  memorySize: number;
  /** τ⁻¹. */
  initInvTau: number;
  /** Learn τ⁻¹, kept in [1, 100]. */
  learnableInvTau: boolean;
  batchSize: number;
  /** Pairs encoded at a time; null: all of the batch. */
  microBatch: number | null;
  /** Batch norm by the whole batch where ranks have parts of it. */
  syncBatchnorm: boolean;
  /** Compute blocks again in backward instead of keeping what is inside them. */
  gradCheckpointing: boolean;
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
  /** Whether a tower keeps its weights, all but its last groups. */
  lockImage: boolean;
  lockText: boolean;
  /** Groups of a locked tower, counted from its end, that are trained all the same. */
  unlockLast: number;
  /** Whether what a locked tower gives is computed once, without augmentation, and kept on disk. */
  cacheEmbeddings: boolean;
  /** Factor on the rate from one group of a tower to the one before it; 1: all have the same. */
  layerDecay: number;
  /** A trained model whose similarities the model is to learn as well: a run, or a file of weights; null: none. */
  distillFrom: string | null;
  /** Decay of an average of the weights, which is what is evaluated then; null: none. */
  ema: number | null;
  seed: number;
  /** Tokens of a vocabulary trained on the captions; null: the model's. */
  vocabSize: number | null;
}

const [objective, optimisation] = ['Objective', 'Model and optimisation'] as const;

export const trainTable: Record<keyof TrainOptions, Option> = {
  loss: { group: objective, kind: choice(lossNames), mark: 'name', help: 'loss, instead of the method’s' },
  hopfield: {
    group: objective,
    kind: onOff,
    help: 'let Hopfield memories answer for the embeddings, whatever the method',
  },
  hopfieldFrom: {
    group: objective,
    kind: shareOrSteps,
    mark: 'n',
    help: 'compare embeddings as they are at first, ask the memories from this step on; below 1 or with %: a share of the training',
  },
  scaleHopfield: {
    group: objective,
    kind: positive,
    mark: 'beta',
    help: 'β, the memories’ inverse temperature',
  },
  learnableScaleHopfield: { group: objective, kind: onOff, help: 'learn β' },
  memorySize: {
    group: objective,
    kind: whole(0, 1e7),
    mark: 'n',
    help: 'pairs of earlier steps that the memories hold beside those of the batch (an experiment)',
  },
  initInvTau: { group: objective, kind: positive, mark: 'n', help: 'τ⁻¹, the inverse temperature of the loss' },
  learnableInvTau: { group: objective, kind: onOff, help: 'learn τ⁻¹, kept in [1, 100]' },
  model: {
    group: optimisation,
    kind: model,
    mark: 'name',
    help: `${modelNames.join(', ')}, a configuration (.json), or pretrained: as that file says`,
  },
  pretrained: {
    group: optimisation,
    kind: weights,
    mark: 'path',
    help: 'start from these weights, and without --model with their sizes; whatever eval reads',
    whenNull: 'none',
  },
  imageSize: {
    group: optimisation,
    kind: whole(1, 4096),
    mark: 'pixels',
    help: 'height and width of pictures',
    whenNull: 'the model’s',
  },
  contextLength: {
    group: optimisation,
    kind: whole(3, 4096),
    mark: 'tokens',
    help: 'longest caption, start and end included; longer ones are cut',
    whenNull: 'the model’s',
  },
  background: {
    group: optimisation,
    kind: colour,
    mark: 'colour',
    help: 'what transparent pictures are laid on, none to drop their opacity as the official code does; later commands do the same',
    whenNull: 'the model’s, else white',
  },
  center: {
    group: optimisation,
    kind: choice(['batch', 'off']),
    mark: 'how',
    help: 'take the batch’s mean off the embeddings',
  },
  embedDim: {
    group: optimisation,
    kind: whole(1, 65536),
    mark: 'n',
    help: 'numbers of an embedding, in the space that both sides share',
    whenNull: 'the model’s; of heads 256, or as many as they are given',
  },
  vocabSize: {
    group: optimisation,
    kind: whole(514, 1e6),
    mark: 'n',
    help: 'tokens of the vocabulary: 49408 is the published one, others are trained on the captions',
    whenNull: 'the model’s',
  },
  batchSize: { group: optimisation, kind: whole(1, 1e6), mark: 'n', help: 'pairs a step' },
  microBatch: {
    group: optimisation,
    kind: whole(1, 1e6),
    mark: 'n',
    help: 'pairs encoded at a time: the same step in less memory',
    whenNull: 'the whole batch',
  },
  syncBatchnorm: {
    group: optimisation,
    kind: onOff,
    help: 'batch norm by the whole batch where ranks have parts of it, each by its own otherwise; not with --micro-batch',
  },
  gradCheckpointing: {
    group: optimisation,
    kind: onOff,
    help: 'compute blocks again in backward instead of keeping what is inside: less memory, more time',
  },
  epochs: { group: optimisation, kind: whole(1, 1e6), mark: 'n', help: 'times that every pair is seen' },
  steps: {
    group: optimisation,
    kind: whole(1),
    mark: 'n',
    help: 'steps in all, instead of --epochs',
    whenNull: 'as the epochs have',
  },
  lr: { group: optimisation, kind: notNegative, mark: 'n', help: 'highest learning rate' },
  wd: { group: optimisation, kind: notNegative, mark: 'n', help: 'weight decay' },
  beta1: { group: optimisation, kind: decay, mark: 'n', help: 'Adam’s decay of the mean' },
  beta2: { group: optimisation, kind: decay, mark: 'n', help: 'Adam’s decay of the square' },
  eps: { group: optimisation, kind: positive, mark: 'n', help: 'Adam’s ε' },
  warmup: {
    group: optimisation,
    kind: whole(0),
    mark: 'steps',
    help: 'steps in which the rate grows',
    whenNull: 'a twentieth of all',
  },
  lrScheduler: { group: optimisation, kind: choice(schedulers), mark: 'name', help: 'how the rate goes on' },
  restartCycles: { group: optimisation, kind: whole(1, 1e6), mark: 'n', help: 'cycles of cosine-restarts' },
  maxGradNorm: {
    group: optimisation,
    kind: positive,
    mark: 'n',
    help: 'scale larger gradients down to this norm',
    whenNull: 'never',
  },
  lockImage: { group: optimisation, kind: onOff, help: 'keep the image encoder as it is: only the other is trained' },
  lockText: { group: optimisation, kind: onOff, help: 'keep the text encoder as it is' },
  unlockLast: {
    group: optimisation,
    kind: whole(0, 1000),
    mark: 'groups',
    help: 'of a locked encoder, train the last groups: projection or pooling, then block by block or stage by stage',
  },
  cacheEmbeddings: {
    group: optimisation,
    kind: onOff,
    help: 'embed each picture (or caption) of a locked encoder once, without augmentation, and keep that in --cache',
  },
  layerDecay: {
    group: optimisation,
    kind: unit,
    mark: 'n',
    help: 'factor on the learning rate with each group of an encoder from its end to its beginning',
  },
  distillFrom: {
    group: objective,
    kind: weights,
    mark: 'path',
    help: 'learn what this trained model thinks of which caption belongs to which picture, besides',
    whenNull: 'none',
  },
  ema: {
    group: optimisation,
    kind: decay,
    mark: 'decay',
    help: 'keep a moving average of the weights; it is what is validated, evaluated and kept as the best',
    whenNull: 'none',
  },
  seed: { group: optimisation, kind: whole(0, Number.MAX_SAFE_INTEGER), mark: 'n', help: 'same seed, same numbers' },
};

export { addedOptions, methods, presets, presetTexts } from './presets.js';
export { defaultSettings, type RunSettings, settingsTable } from './settings.js';

/** "--batch-size" of batchSize. */
export const flagOf = (key: string) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** A value that an option cannot have. */
export interface Mistake {
  received: string;
  expected: string;
  hint?: string;
}

/** Every value of a table that is missing, unknown or out of range. */
export function tableMistakes(table: Record<string, Option>, values: Record<string, unknown>): Mistake[] {
  const wrong = Object.entries(table)
    .filter(([key, { kind, whenNull }]) => !(kind.ok(values[key]) || (values[key] === null && whenNull)))
    .map(([key, { kind }]) => ({ received: `${flagOf(key)} ${values[key]}`, expected: kind.range }));
  const unknown = Object.keys(values).filter((key) => !Object.hasOwn(table, key));
  return [...wrong, ...unknown.map((key) => ({ received: flagOf(key), expected: 'no such option' }))];
}

/** Every mistake in the options of a training, those of values that do not fit each other included. */
export function optionMistakes(options: Record<string, unknown>): Mistake[] {
  const mistakes = tableMistakes(trainTable, options);
  const { loss, batchSize, learnableInvTau, initInvTau, model, pretrained, memorySize, hopfield } =
    options as unknown as TrainOptions;
  const { lockImage, lockText, unlockLast, cacheEmbeddings, distillFrom = null } = options as unknown as TrainOptions;
  if (model === 'pretrained' && pretrained === null)
    mistakes.push({ received: '--model pretrained', expected: '--pretrained with it, which has the sizes' });
  if (batchSize === 1 && loss !== 'siglip')
    mistakes.push({
      received: '--batch-size 1',
      expected: 'at least 2',
      hint: 'It must be: the other pairs of the batch are the negatives of these losses.',
    });
  if (unlockLast > 0 && !lockImage && !lockText)
    mistakes.push({ received: `--unlock-last ${unlockLast}`, expected: '--lock-image or --lock-text with it' });
  const { syncBatchnorm, microBatch } = options as unknown as TrainOptions;
  if (syncBatchnorm && microBatch !== null && microBatch < batchSize)
    mistakes.push({
      received: `--sync-batchnorm with pieces of ${microBatch} of ${batchSize} pairs`,
      expected: 'no pieces, whose statistics are their own',
      hint: '--grad-checkpointing saves memory and is exact for batch norm; vision transformers have none, and need no such flag.',
    });
  if (lockImage && lockText && unlockLast === 0)
    mistakes.push({
      received: '--lock-image with --lock-text',
      expected: 'one of them, or --unlock-last with them: nothing is trained otherwise',
    });
  if (cacheEmbeddings && ((!lockImage && !lockText) || unlockLast > 0))
    mistakes.push({
      received: `--cache-embeddings${unlockLast > 0 ? ` with --unlock-last ${unlockLast}` : ''}`,
      expected: '--lock-image or --lock-text with it, and nothing of the encoder unlocked: its embeddings must stay',
    });
  if (cacheEmbeddings && distillFrom !== null)
    mistakes.push({
      received: '--cache-embeddings with --distill-from',
      expected: 'one of the two: the teacher looks at every picture again',
    });
  if (memorySize > 0 && hopfield === false)
    mistakes.push({
      received: `--memory-size ${memorySize} without Hopfield memories`,
      expected: '--hopfield with it',
    });
  if (learnableInvTau === true && (initInvTau < 1 || initInvTau > 100))
    mistakes.push({ received: `--init-inv-tau ${initInvTau}`, expected: 'a number in [1, 100] when it is learnt' });
  return mistakes;
}

/** @throws UsageError that lists every mistake with its flag */
export function checkTrainOptions(options: TrainOptions): TrainOptions {
  failOn(optionMistakes(options as unknown as Record<string, unknown>));
  return options;
}

/** @throws UsageError that lists every mistake with its flag */
export function checkSettings(settings: RunSettings): RunSettings {
  failOn(tableMistakes(settingsTable, settings as unknown as Record<string, unknown>));
  return settings;
}

/** @throws UsageError that lists all mistakes, if there are any */
export function failOn(mistakes: readonly Mistake[], op = 'train'): void {
  const [first, ...others] = mistakes;
  if (!first) return;
  if (others.length === 0) throw new UsageError(op, first);
  const all = mistakes.map(({ received, expected }) => `${received} (expected ${expected})`);
  throw new UsageError(op, { received: all.join(', ') });
}

/** The step at which Hopfield retrieval begins, of `total`; never when it is off. */
export function firstHopfieldStep({ hopfield, hopfieldFrom: from }: TrainOptions, total: number): number {
  if (!hopfield) return Infinity;
  if (typeof from === 'string') return Math.round(percent(from) * total);
  return from < 1 ? Math.round(from * total) : from;
}

/** Sizes of the model that the options name. @throws UsageError, DataError, DomainError for a file that describes none */
export function modelConfig({ model, center }: Pick<TrainOptions, 'model' | 'center'>): CloobConfig {
  if (!model.endsWith('.json')) return { ...resolveConfig(model), center };
  if (!existsSync(model))
    throw new UsageError('train', { received: `--model ${model}`, expected: 'a file that exists' });
  return { ...resolveConfig(readJson('train', model, 2 ** 20) as CloobConfig), center };
}
