/** What the tests of training share: a tiny model, colours to train it on. */
import { Random } from 'hopgrad';
import { ClipTokenizer, createModel, loadCheckpoint } from 'hopgrad/models/cloob';
import type { Batch } from '#src/data/loader.js';
import { PictureLearner } from '#src/train/learner.js';
import { addedOptions, checkTrainOptions, defaultSettings, type TrainOptions } from '#src/train/options.js';
import { newRecord, type RunRecord } from '#src/train/record.js';
import { weightsOf } from '#src/train/state.js';
import { type Batches, type StepReport, Trainer } from '#src/train/trainer.js';
import { tinyConfig } from '../cli/helpers.js';
import { values } from '../helpers.js';

export const defaults: TrainOptions = {
  ...addedOptions,
  model: 'emoji-resnet', // for the record; the trainer below has a smaller one
  center: 'off',
  loss: 'infoloob',
  hopfield: true,
  hopfieldFrom: 0.5,
  scaleHopfield: 8,
  learnableScaleHopfield: false,
  initInvTau: 30,
  learnableInvTau: false,
  batchSize: 4,
  epochs: 2,
  steps: null,
  lr: 1e-2,
  wd: 0.1,
  beta1: 0.9,
  beta2: 0.999,
  eps: 1e-8,
  warmup: 2,
  lrScheduler: 'cosine',
  restartCycles: 1,
  maxGradNorm: null,
  seed: 3,
  vocabSize: null,
};

export const colours = ['red', 'green', 'blue', 'yellow'];

/** Noise around a colour for each caption; three batches of four an epoch. */
export function colourBatches(seed: number): Batches {
  const make = (epoch: number, index: number): Batch => {
    const random = new Random(seed).fork(`${epoch} ${index}`);
    const order = random.shuffle(colours.keys());
    const images = Float32Array.from({ length: 4 * 3 * 64 }, (_, i) => {
      const [row, channel] = [Math.floor(i / 192), Math.floor(i / 64) % 3];
      const colour = order[row]!;
      return (colour === 3 ? channel < 2 : channel === colour) ? 1 + 0.1 * random.normal() : 0.1 * random.normal();
    });
    const captions = order.map((c) => colours[c]!);
    const next = { epoch, row: 4 * (index + 1), bad: 0 };
    const places = [0, 1, 2, 3];
    return {
      count: 4,
      of: 4,
      places,
      images,
      captions,
      names: captions,
      labels: Int32Array.from(order),
      indices: order,
      next,
    };
  };
  return {
    source: { name: 'colours', size: 12 },
    batchesPerEpoch: 3,
    async *batches({ epoch, row = 0 }) {
      for (let index = row / 4; index < 3; index++) yield make(epoch, index);
    },
  };
}

export function makeTrainer(options: Partial<TrainOptions> = {}): Trainer {
  const all = checkTrainOptions({ ...defaults, ...options });
  return new Trainer({
    learner: new PictureLearner({
      model: createModel(tinyConfig, { seed: all.seed }),
      tokenizer: ClipTokenizer.train(colours, { vocabSize: 520 }),
    }),
    loader: colourBatches(all.seed),
    options: all,
  });
}

/** A trainer whose third batch has pixels that are infinite. */
export function overflowing(): Trainer {
  const trainer = makeTrainer();
  const { batches } = trainer.loader;
  trainer.loader.batches = async function* (place) {
    for await (const batch of batches(place)) {
      if (place.epoch === 0 && batch.next.row === 12) batch.images.fill(Infinity);
      yield batch;
    }
  };
  return trainer;
}

export async function losses(trainer: Trainer, stopAfter = Infinity): Promise<number[]> {
  const found: number[] = [];
  const controller = new AbortController();
  const onStep = ({ loss, step }: StepReport) => {
    found.push(loss);
    if (step >= stopAfter) controller.abort();
  };
  await trainer.run({ onStep, signal: controller.signal });
  return found;
}

export const weights = ({ model }: Trainer) => Object.values(model.stateDict()).map(values);

/** The record of a run with such a trainer. */
export function record({ options }: Trainer): RunRecord {
  const session = { command: 'npx hopgrad train', step: 0, device: 'wasm', description: '', node: '', platform: '' };
  return newRecord({
    hopgrad: '0.1.0',
    method: 'CLOOB',
    options,
    data: { train: { path: 'colours', digest: 'a'.repeat(64), rows: 12 }, val: null },
    settings: defaultSettings,
    sessions: [{ date: '2026-01-02T03:04:05.000Z', ...session }],
  });
}

/** Puts the weights of a checkpoint into a trainer's model. */
export const loadInto = ({ model }: Trainer, checkpoint: string) => loadCheckpoint(weightsOf(checkpoint), { model });
