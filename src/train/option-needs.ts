/** Options that have an effect only together with others: what is typed and would do nothing is refused. */
import { flagOf, type Mistake, type RunSettings, type TrainOptions } from './options.js';

type All = TrainOptions & RunSettings;

/** When an option has an effect, and what it takes, in words. */
interface Need {
  when(all: All): boolean;
  expected: string;
}

const memories: Need = {
  when: ({ hopfield }) => hopfield,
  expected: 'a method with Hopfield memories: --method cloob, or --hopfield',
};
const encoders: Need = {
  when: ({ model }) => model !== 'heads',
  expected: 'encoders: heads on given embeddings see neither pictures nor words, and are one layer each',
};
const validations: Need = { when: ({ valFrequency }) => valFrequency > 0, expected: '--val-frequency above 0' };

const needs: Partial<Record<keyof All, Need>> = {
  hopfieldFrom: memories,
  scaleHopfield: memories,
  learnableScaleHopfield: memories,
  memorySize: memories,
  restartCycles: {
    when: ({ lrScheduler }) => lrScheduler === 'cosine-restarts',
    expected: '--lr-scheduler cosine-restarts',
  },
  epochs: { when: ({ steps }) => steps === null, expected: 'no --steps, which say how long a training is' },
  patience: validations,
  bestMetric: validations,
  ...Object.fromEntries(
    (
      [
        ...(['pretrained', 'imageSize', 'contextLength', 'background', 'vocabSize', 'distillFrom'] as const),
        ...(['microBatch', 'gradCheckpointing', 'lockImage', 'lockText', 'unlockLast', 'layerDecay'] as const),
        ...(['cacheEmbeddings', 'syncBatchnorm', 'workers', 'maxBadShare', 'cache'] as const),
      ] satisfies (keyof All)[]
    ).map((key) => [key, encoders]),
  ),
};

/** Options among those that were typed, or stand in a file, that would do nothing; what switches something off may. */
export function withoutEffect(given: Readonly<Record<string, unknown>>, all: All): Mistake[] {
  const idle = new Map<Need, string[]>();
  for (const [key, need] of Object.entries(needs)) {
    const value = given[key];
    const off = value === undefined || value === null || value === false || value === 0;
    if (off || need.when(all)) continue;
    idle.set(need, [...(idle.get(need) ?? []), value === true ? flagOf(key) : `${flagOf(key)} ${value}`]);
  }
  return [...idle].map(([{ expected }, flags]) => ({ received: `${flags.join(', ')} without effect`, expected }));
}
