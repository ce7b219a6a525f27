/**
 * What a rank of the tests of the whole trainer does: short trainings of a tiny model with each option that ranks must agree about, of
 * which rank 0 writes down losses, norms and weights. Its arguments: device, dtype, file of results, and which cases.
 */
import { writeFileSync } from 'node:fs';
import { init, randn } from 'hopgrad';
import { type Group, joinGroup } from 'hopgrad/distributed';
import { ClipTokenizer, createModel, saveCheckpoint } from 'hopgrad/models/cloob';
import type { Batch } from '#src/data/loader.js';
import { PictureLearner } from '#src/train/learner.js';
import { checkTrainOptions, type TrainOptions } from '#src/train/options.js';
import { Teacher } from '#src/train/teacher.js';
import { type Batches, type StepReport, Trainer } from '#src/train/trainer.js';
import { defaults } from '../train/helpers.js';

const [device = 'reference', dtype = 'float64', file = '', names = ''] = process.argv.slice(2);
await init({ device: device as 'reference', threads: 1 });
const group = await joinGroup({ timeout: 60 });

const words = ['red', 'green', 'blue', 'yellow', 'black', 'white', 'pink', 'brown'];
const tokenizer = ClipTokenizer.train(words, { vocabSize: 516 });
const transformer = {
  ...{ embed_dim: 4, image_resolution: 4, vision_layers: 1, vision_width: 4, vision_patch_size: 2, vision_heads: 2 },
  ...{ context_length: 4, vocab_size: 516, transformer_width: 4, transformer_heads: 2, transformer_layers: 1 },
};
const residual = {
  ...transformer,
  image_resolution: 8,
  vision_width: 2,
  vision_layers: [1, 1, 1, 1],
  stem_reduction: 1,
} as const;

/** Steps of eight pairs, of which a rank has every n-th, as the loader deals them out; in `overflow`, one rank has a pixel too large. */
function dealt({ rank, size }: Group, side: number, overflow: number | null): Batches {
  const make = (epoch: number, index: number): Batch => {
    const places = Array.from({ length: 8 / size }, (_, i) => i * size + rank);
    const length = 3 * side * side;
    const pixels = randn([8, length], { seed: 10 * epoch + index, device: 'reference' }).dataSync();
    if (index === overflow) pixels[length] = Infinity; // of the pair at place 1
    return {
      count: places.length,
      of: 8,
      places,
      images: Float32Array.from(places.flatMap((p) => [...pixels.slice(p * length, (p + 1) * length)])),
      captions: places.map((p) => words[(p + index) % 8]!),
      names: places.map(String),
      labels: new Int32Array(places.length).fill(-1),
      indices: places,
      next: { epoch, row: 8 * (index + 1), bad: 0 },
    };
  };
  return {
    source: { name: 'words', size: 32 },
    batchesPerEpoch: 4,
    async *batches({ epoch, row = 0 }) {
      for (let index = row / 8; index < 4; index++) yield make(epoch, index);
    },
  };
}

const teacherFile = `${file}.teacher.safetensors`;
const hopfield = { hopfieldFrom: 0 };
// By name: what is chosen, and whether the encoder has batch norm.
const cases: Record<string, Partial<TrainOptions>> = {
  cloob: { ...hopfield, learnableInvTau: true, learnableScaleHopfield: true },
  plain: { hopfield: false },
  dcl: { loss: 'dcl', hopfieldFrom: 1 },
  siglip: { loss: 'siglip', hopfieldFrom: 1, learnableInvTau: true },
  distil: { loss: 'infonce', hopfield: false, distillFrom: teacherFile },
  pieces: { ...hopfield, loss: 'dcl', microBatch: 1, gradCheckpointing: true, memorySize: 12 },
  locked: { ...hopfield, lockImage: true, unlockLast: 1, ema: 0.9, maxGradNorm: 0.05 },
  batchNorm: { ...hopfield, syncBatchnorm: true, center: 'batch' },
  frozenNorm: { hopfield: false, lockImage: true, layerDecay: 0.5 },
  overflow: { ...hopfield, center: 'batch' },
};

interface Found {
  losses: number[];
  norms: number[];
  faults: string[];
  weights: Record<string, number[]>;
  /** Of each step. */
  received: number[];
}

async function train(name: string): Promise<Found> {
  // ε so large that Adam does not divide by what is rounding; temperature and rate so that rounding does not grow from step to step.
  const steady = { initInvTau: 5, lr: 2e-3, eps: 1e-3, warmup: 0 };
  const chosen = { ...defaults, ...steady, batchSize: 8, steps: 3, ...cases[name] };
  const options = checkTrainOptions(chosen);
  const config = { ...(/norm/i.test(name) ? residual : transformer), center: options.center };
  const model = createModel(config, { seed: 5, device, dtype: dtype as 'float64' });
  const teacher = options.distillFrom === null ? null : await Teacher.load(options.distillFrom, { model, tokenizer });
  const loader = dealt(group, config.image_resolution, name === 'overflow' ? 1 : null);
  const learner = new PictureLearner({ model, tokenizer });
  const trainer = new Trainer({ learner, loader, options, teacher, group });
  const reports: StepReport[] = [];
  const faults: string[] = [];
  const received = [group.received];
  await trainer.run({
    onStep: (report) => {
      reports.push(report);
      received.push(group.received);
    },
    onFault: async ({ step, error }) => {
      faults.push(`step ${step}: ${error.received.replace(/;.*/, '')}`);
      return true;
    },
  });
  trainer.averageStatistics();
  return {
    losses: reports.map(({ loss }) => loss),
    norms: reports.map(({ gradNorm }) => gradNorm!),
    faults,
    weights: Object.fromEntries(
      [
        ...Object.entries(model.stateDict()),
        ...Object.entries(trainer.objective.stateDict()),
        ...Object.entries(trainer.ema?.state().averages ?? {}).map(
          ([key, value]) => [`average ${key}`, value] as const,
        ),
      ].map(([key, value]) => [key, Array.from(value.dataSync(), Number)]),
    ),
    received: received.slice(1).map((bytes, i) => bytes - received[i]!),
  };
}

if (group.rank === 0)
  await saveCheckpoint(teacherFile, { model: createModel({ ...transformer, embed_dim: 6 }, { seed: 8 }), tokenizer });
group.barrier();
const found: Record<string, Found> = {};
for (const name of names === '' ? Object.keys(cases) : names.split(',')) found[name] = await train(name);
// What is compared with one process must be the same bits on all ranks.
group.agree('trainings', JSON.stringify(found));
if (group.rank === 0) writeFileSync(file, JSON.stringify({ name: group.transport.name, cases: found }));
