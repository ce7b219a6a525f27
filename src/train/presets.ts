/** Options that belong together: methods, and presets for kinds of data. */
import type { TrainOptions } from './train-table.js';

/** What `--method` stands for: the loss, and whether memories are asked. */
export const methods = {
  cloob: { loss: 'infoloob', hopfield: true },
  clip: { loss: 'infonce', hopfield: false },
} as const satisfies Record<string, Pick<TrainOptions, 'loss' | 'hopfield'>>;

/** What runs had that were begun before an option existed: their records lack it. */
export const addedOptions = {
  pretrained: null,
  imageSize: null,
  contextLength: null,
  background: null,
  memorySize: 0,
  microBatch: null,
  gradCheckpointing: false,
  lockImage: false,
  lockText: false,
  unlockLast: 0,
  layerDecay: 1,
  ema: null,
  distillFrom: null,
  embedDim: null,
  cacheEmbeddings: false,
  syncBatchnorm: false,
} satisfies Partial<TrainOptions>;

const emoji: TrainOptions = {
  model: 'emoji-resnet',
  ...addedOptions,
  center: 'batch',
  ...methods.cloob,
  hopfieldFrom: 0.8,
  scaleHopfield: 8,
  learnableScaleHopfield: false,
  initInvTau: 30,
  learnableInvTau: false,
  batchSize: 128,
  epochs: 44,
  steps: null,
  lr: 2e-3,
  wd: 0.1,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  warmup: null,
  lrScheduler: 'cosine',
  restartCycles: 1,
  maxGradNorm: null,
  seed: 1,
  vocabSize: null,
};

/** Options that belong together. Flags that are given win over them. */
export const presets = {
  /** For the embedded data; the README says how they were found. */
  emoji,
  /** For pictures of one's own, as long as nothing better is known about them: the small model, batches that few pairs fill. */
  pairs: { ...emoji, center: 'off', batchSize: 64, epochs: 30 },
  /** For embeddings from elsewhere: heads are small, so batches may be large. */
  embeddings: { ...emoji, model: 'heads', batchSize: 256, epochs: 30, lr: 1e-3 },
  /** The command of the official code for Conceptual Captions; its batch of 512 was spread over four cards. */
  'conceptual-captions': {
    ...emoji,
    model: 'RN50',
    center: 'off',
    hopfieldFrom: 0,
    batchSize: 512,
    epochs: 70,
    lr: 1e-3,
    warmup: 20000,
    lrScheduler: 'cosine-restarts',
    restartCycles: 10,
  },
} satisfies Record<string, TrainOptions>;

export const presetTexts: Record<keyof typeof presets, string> = {
  emoji: 'the embedded data',
  pairs: 'pictures of your own',
  embeddings: 'embeddings of your own',
  'conceptual-captions': 'the official command',
};
