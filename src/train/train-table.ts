/**
 * What can be chosen about a training: one table, from which come the flags, `--help`, the checks (options.ts), what a run
 * record may hold, and docs/training.md.
 */
import {
  choice,
  colour,
  decay,
  model,
  modelNames,
  notNegative,
  type Option,
  onOff,
  positive,
  shareOrSteps,
  unit,
  weights,
  whole,
} from './option-kinds.js';

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
