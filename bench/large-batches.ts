/**
 * `npm run bench:large-batches`: one real training step (the trainer of `hopgrad train`: CLOOB, AdamW) of the official models
 * with 32, 128 and 512 pairs within the 4 GiB of WebAssembly: peak memory and pairs a second. Pixels and words are random.
 * Options: --write; --steps MODEL:BATCH[:MICRO-BATCH][:checkpoint],… instead of the table's. Each runs in a process of its own, since memory
 * that was taken once stays.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { device, init, memory } from 'hopgrad';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import { PictureLearner } from '#src/train/learner.js';
import { presets, type TrainOptions } from '#src/train/options.js';
import { type StepReport, Trainer } from '#src/train/trainer.js';
import { noise } from './noise.js';
import { table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: {
    steps: {
      type: 'string',
      default: ['ViT-B-32', 'RN50']
        .flatMap((name) =>
          ['32:8', '32::checkpoint', '128:8', '128::checkpoint', '512:8'].map((how) => `${name}:${how}`),
        )
        .join(),
    },
    /** In a child: one step, told as JSON. */
    one: { type: 'string' },
    write: { type: 'boolean', default: false },
  },
});
const head = ['model', 'pairs', 'at a time', '`--grad-checkpointing`', 's', 'pairs/s', 'peak MiB', 'CPU s'];

async function oneStep(step: string): Promise<string[]> {
  const [name, batch, micro, checkpoint] = step.split(':') as [string, string, string?, string?];
  const batchSize = Number(batch);
  const settings: TrainOptions = {
    ...presets['conceptual-captions'],
    ...{ model: name, batchSize, microBatch: micro ? Number(micro) : null },
    gradCheckpointing: checkpoint === 'checkpoint',
    warmup: 0,
    steps: batchSize > 32 ? 1 : 2, // the first of two takes memory and compiles; of many pairs it hardly matters
  };
  await init({ device: 'wasm' });
  const model = createModel(name, { seed: 1 });
  const tokenizer = await ClipTokenizer.official();
  const loader = noise(batchSize, model.config.image_resolution);
  const learner = new PictureLearner({ model, tokenizer });
  const trainer = new Trainer({ learner, loader, options: settings });
  let last: StepReport | undefined;
  let before = process.cpuUsage();
  let used = before;
  await trainer.run({
    onStep(report) {
      last = report;
      used = process.cpuUsage(before);
      before = process.cpuUsage();
    },
  });
  const seconds = last!.seconds - last!.dataSeconds;
  return [
    ...[name, batch, micro || batch, checkpoint ? 'yes' : 'no'],
    ...[seconds.toFixed(0), (batchSize / seconds).toFixed(2), (memory().peakBytes / 2 ** 20).toFixed(0)],
    ((used.user + used.system) / 1e6).toFixed(0),
  ];
}

if (options.one !== undefined) {
  console.log(JSON.stringify({ row: await oneStep(options.one), description: device().description }));
  process.exit(0); // worker threads of the device would wait for more
}
const rows: string[][] = [];
let description = '';
for (const step of options.steps.split(',')) {
  const child = spawnSync(process.execPath, [fileURLToPath(import.meta.url), '--one', step], { encoding: 'utf8' });
  if (child.status === 0) {
    const told = JSON.parse(child.stdout) as { row: string[]; description: string };
    rows.push(told.row);
    description = told.description;
  } else {
    const [name, batch, micro, checkpoint] = step.split(':');
    const why = /error: .*/i.exec(child.stderr)?.[0] ?? `ended with ${child.status ?? child.signal}`;
    const limit = /expected to stay within (\d+) MiB/.exec(why)?.[1]; // the device's own words
    const [seconds, peak] = limit ? ['does not fit', `> ${limit}`] : [why, ''];
    rows.push([name!, batch!, micro || batch!, checkpoint ? 'yes' : 'no', seconds, '', peak, '']);
  }
  console.error(rows.at(-1)!.join(' '));
}
const text = `${description}, one process a row.\n\n${table(head, rows)}`;
console.log(text);
if (options.write) writeSection('largeBatches', text);
