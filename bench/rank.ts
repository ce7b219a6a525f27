/** A rank of `npm run bench:ranks`: told as JSON what to measure, rank 0 says as JSON what it came to. */
import { writeSync } from 'node:fs';
import { init, tensor } from 'hopgrad';
import { Group, isRank, joinGroup, startRanks } from 'hopgrad/distributed';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import { PictureLearner } from '#src/train/learner.js';
import { presets } from '#src/train/options.js';
import { Trainer } from '#src/train/trainer.js';
import { noise } from './noise.js';

/** Collectives over buffers of these many bytes. */
export interface CollectivesTask {
  kind: 'collectives';
  sizes: number[];
  repeats: number;
}
/** Steps of a model's training. */
export interface StepsTask {
  kind: 'steps';
  model: string;
  pairs: number;
  threads: number;
  /** Measured, after two that warm up. */
  steps: number;
  deterministic: boolean;
}
export type Task = CollectivesTask | StepsTask;

/** Seconds, of each repetition; of collectives over threads the processor's are those of all ranks. */
export type Samples = Record<string, number[]>;

function collectives(group: Group, { sizes, repeats }: CollectivesTask): Samples {
  const unordered = new Group(group.transport, { deterministic: false });
  const samples: Samples = {};
  for (let round = -1; round < repeats; round++)
    for (const bytes of sizes) {
      const whole = tensor(new Float32Array(bytes / 4).fill(1));
      const part = tensor(new Float32Array(bytes / 4 / group.size).fill(1));
      for (const [name, run] of [
        ['sum', () => group.allReduce(whole)],
        ['unordered', () => unordered.allReduce(whole)],
        ['gather', () => group.allGather(part)],
      ] as const) {
        group.barrier();
        const [start, before] = [performance.now(), process.cpuUsage()];
        run().dispose();
        const { user, system } = process.cpuUsage(before);
        if (round < 0) continue;
        (samples[`${name} ${bytes}`] ??= []).push((performance.now() - start) / 1000);
        (samples[`${name} ${bytes} processor`] ??= []).push((user + system) / 1e6);
      }
      whole.dispose();
      part.dispose();
    }
  return samples;
}

async function steps(group: Group, { model: name, pairs, steps: measured }: StepsTask): Promise<Samples> {
  const model = createModel(name, { seed: 1 });
  const tokenizer = ClipTokenizer.train(['a vocabulary of bytes'], {
    vocabSize: Math.min(520, model.config.vocab_size),
  });
  const learner = new PictureLearner({ model, tokenizer });
  const options = { ...presets.emoji, model: name, batchSize: pairs, hopfieldFrom: 0, steps: measured + 2 };
  const loader = noise(pairs, model.config.image_resolution, group);
  const samples: Samples = {};
  const add = (what: string, seconds: number) => {
    (samples[what] ??= []).push(seconds);
  };
  // What ranks spend on one another: in the transport, and in adding up around it.
  let [carried, summed] = [0, 0];
  const timed = <A extends unknown[], R>(f: (...args: A) => R, tell: (seconds: number) => void) =>
    function (this: unknown, ...args: A): R {
      const start = performance.now();
      const result = f.apply(this, args);
      tell((performance.now() - start) / 1000);
      return result;
    };
  for (const call of ['allGather', 'allToAll', 'sum'] as const)
    group.transport[call] = timed(group.transport[call] as never, (seconds) => {
      carried += seconds;
    }) as never;
  group.sumGradients = timed(group.sumGradients, (seconds) => {
    summed += seconds;
  });
  const trainer = new Trainer({ learner, loader, options, group });
  let used = process.cpuUsage();
  await trainer.run({
    measureEvery: 1e9,
    onStep: (report) => {
      const { user, system } = process.cpuUsage(used);
      used = process.cpuUsage();
      if (report.step > 2) {
        add('processor', (user + system) / 1e6); // of all threads, drawing the batch included
        add('step', report.seconds - report.dataSeconds);
        add('forward', report.forwardSeconds!);
        add('backward', report.backwardSeconds!);
        add('update', report.updateSeconds!);
        add('sumGradients', summed);
        add('transport', carried);
      }
      [carried, summed] = [0, 0];
    },
  });
  return samples;
}

async function measure(task: Task): Promise<void> {
  const group = await joinGroup(task.kind === 'steps' ? { deterministic: task.deterministic } : {});
  await init({ device: 'wasm', threads: task.kind === 'steps' ? task.threads : 1 });
  const samples = task.kind === 'steps' ? await steps(group, task) : collectives(group, task);
  if (group.rank === 0) writeSync(1, `\n${JSON.stringify({ name: group.transport.name, samples })}\n`);
  process.exit(0);
}

// With a number of ranks behind the task they are threads of this process.
const [text, threads] = process.argv.slice(2);
if (threads === undefined || isRank()) await measure(JSON.parse(text!));
else await startRanks(new URL(import.meta.url), Number(threads), { argv: [text!] });
