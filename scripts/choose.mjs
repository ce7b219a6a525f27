// npm run choose -- [--epochs 4,8] [--widths 16,24,32] [--seeds 1,2,3] [--logs runs/choose] [-- flags of hopgrad train]
// Trains the model of the embedded data in several widths of its image encoder, for several numbers of epochs, each with
// several seeds, and shows what the validation split says of them: mean ± deviation over seeds. The test sets have no part in it.
// It can be stopped and started again: runs that are finished are not trained anew, others go on.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import { configs } from '../dist/models/cloob/index.js';

const { values, positionals } = parseArgs({
  options: {
    epochs: { type: 'string', default: '4,8' },
    widths: { type: 'string', default: '16,24,32' },
    seeds: { type: 'string', default: '1,2,3' },
    logs: { type: 'string', default: 'runs/choose' },
  },
  allowPositionals: true,
});
const { logs } = values;
const list = (name) =>
  values[name].split(',').map((text) => {
    if (/^\d+$/.test(text)) return Number(text);
    throw new RangeError(`--${name} ${values[name]}: expected whole numbers with commas between`);
  });
const [epochs, widths, seeds] = ['epochs', 'widths', 'seeds'].map(list);
const main = join(import.meta.dirname, '..', 'dist', 'cli', 'main.js');

/** @returns what it printed, where that is captured */
function hopgrad(args, stdout) {
  const {
    status,
    signal,
    stdout: text,
  } = spawnSync(process.execPath, [main, ...args], {
    stdio: ['ignore', stdout, 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) process.exit(status ?? (signal === 'SIGINT' ? 130 : 1));
  return text;
}

const nameOf = (width, length, seed) => `width${width}-epochs${length}-seed${seed}`;
mkdirSync(logs, { recursive: true });
for (const seed of seeds)
  for (const length of epochs)
    for (const width of widths) {
      const run = join(logs, nameOf(width, length, seed));
      if (existsSync(join(run, 'results.json'))) continue;
      if (existsSync(join(run, 'manifest.json'))) {
        hopgrad(['train', '--resume', run], 'inherit');
        continue;
      }
      const model = join(logs, `width${width}.json`);
      writeFileSync(model, `${JSON.stringify({ ...configs['emoji-resnet'], vision_width: width }, null, 2)}\n`);
      const name = ['--logs', logs, '--name', nameOf(width, length, seed)];
      const own = ['--epochs', String(length), '--seed', String(seed), '--model', model];
      const watch = ['--validation', '--val-frequency', String(length)]; // at the end only
      hopgrad(['train', ...name, ...own, ...watch, ...positionals], 'inherit');
    }

const { runs, groups } = JSON.parse(hopgrad(['runs', '--logs', logs, '--json'], 'pipe'));
const head = ['width', 'epochs', 'seeds', 'mean recall %', 'recall@1 %', 'zero-shot %', 'val loss'];
const table = new Table({ head, style: { head: [], border: [] } });
for (const width of widths)
  for (const length of epochs) {
    const name = nameOf(width, length, seeds[0]);
    const one = runs.find(({ run }) => run === name); // alone, where there is one seed
    const { mean, sd, seeds: found } = groups.find((group) => group.runs.includes(name)) ?? { mean: one, seeds };
    const cell = (key, times) => `${(times * mean[key]).toFixed(2)}${sd ? ` ± ${(times * sd[key]).toFixed(2)}` : ''}`;
    const percent = ['meanRecall', 'recallAt1', 'zeroShot'].map((key) => cell(key, 100));
    table.push([width, length, found.length, ...percent, cell('valLoss', 1)]);
  }
console.log(table.toString());
