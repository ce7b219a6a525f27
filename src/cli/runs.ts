/** `hopgrad runs`: a table of all runs, and mean ± deviation over seeds. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import Table from 'cli-table3';
import { type Command, Option } from 'commander';
import { DataError, printable, UsageError } from '../tensor/errors.js';
import { say } from '../train/progress.js';
import { newestRun } from '../train/run-folder.js';
import { listEpochs, listRuns, numberKeys, type RunNumbers, type RunRow, seedGroups } from '../train/runs.js';

interface RunsFlags {
  logs: string;
  sort?: keyof RunRow;
  json?: boolean;
}

const titles: Record<keyof RunRow, string> = {
  run: 'run',
  began: 'began',
  method: 'method',
  model: 'model',
  seed: 'seed',
  step: 'step',
  loss: 'loss',
  valLoss: 'val loss',
  meanRecall: 'mean recall %',
  recallAt1: 'recall@1 %',
  zeroShot: 'zero-shot %',
};
const columns = Object.keys(titles) as (keyof RunRow)[];
/** Where less is better, or text. */
const ascending: ReadonlySet<keyof RunRow> = new Set(['run', 'method', 'model', 'seed', 'loss', 'valLoss']);

/** Enters `hopgrad runs`. */
export function addRunsCommand(program: Command): void {
  program
    .command('runs')
    .description(
      'list the runs, the newest first, and mean ± deviation of those that differ by their seed; or the epochs of one run',
    )
    .argument('[run]', 'a run whose epochs to list: its name, its folder, or latest')
    .option('--logs <folder>', 'folder of all runs', 'runs')
    .addOption(new Option('--sort <column>', 'the best first by this column').choices(columns))
    .option('--json', 'print the table as JSON')
    .action(runs);
}

async function runs(run: string | undefined, { logs, sort, json }: RunsFlags): Promise<void> {
  if (run !== undefined) {
    if (sort) throw new UsageError('runs', { received: `--sort of ${run}`, expected: 'epochs in their order' });
    return showEpochs(folderOf(run, logs), json);
  }
  const found = listRuns(logs, (why) => say(`Passed over: ${why}`));
  if (sort) found.sort((a, b) => compare(a.row, b.row, sort));
  const groups = seedGroups(found);
  if (json) console.log(JSON.stringify({ runs: found.map(({ row }) => row), groups }, null, 2));
  else if (found.length === 0) console.log(`No runs in ${logs}. Begin one: npx hopgrad train`);
  else show(found, groups);
}

/** The folder of a run, by its name, its folder, or `latest`. @throws DataError when there is none */
export function folderOf(run: string, logs: string): string {
  if (run === 'latest') return newestRun(logs, 'record').path;
  const path = [join(logs, run), run].find((one) => existsSync(join(one, 'manifest.json')));
  if (path !== undefined) return path;
  throw new DataError('runs', { received: `no run ${run} in ${logs}`, expected: 'the name of one, or its folder' });
}

const epochTitles = {
  epoch: 'epoch',
  step: 'step',
  lr: 'learning rate',
  loss: 'loss',
  seconds: 'seconds',
  valLoss: titles.valLoss,
  meanRecall: titles.meanRecall,
  recallAt1: titles.recallAt1,
  zeroShot: titles.zeroShot,
} as const;

async function showEpochs(path: string, json?: boolean): Promise<void> {
  const { record, epochs } = await listEpochs(path);
  if (json) {
    console.log(JSON.stringify({ run: path, method: record.method, options: record.options, epochs }, null, 2));
    return;
  }
  const keys = Object.keys(epochTitles) as (keyof typeof epochTitles)[];
  const table = new Table({ head: keys.map((key) => epochTitles[key]), style: { head: [], border: [] } });
  for (const row of epochs)
    table.push(
      keys.map((key) => {
        const value = row[key];
        if (value === null) return '';
        if (key === 'epoch') return `${value}${row.best ? ' (best)' : ''}`;
        if (key === 'lr') return String(Number(value.toPrecision(3)));
        return key === 'seconds' ? value.toFixed(1) : shownNumber(key, value);
      }),
    );
  console.log(`${record.method}, ${printable(path)}`);
  console.log(epochs.length > 0 ? table.toString() : 'No step has been taken.');
}

function show(found: ReturnType<typeof listRuns>, groups: ReturnType<typeof seedGroups>): void {
  const table = new Table({ head: columns.map((key) => titles[key]), style: { head: [], border: [] } });
  for (const { row } of found) table.push(columns.map((key) => cell(row, key)));
  console.log(table.toString());
  for (const { method, seeds, mean, sd } of groups) {
    const shown = numberKeys
      .filter((key) => key !== 'step' && mean[key] !== null)
      .map((key) => `${titles[key]} ${shownNumber(key, mean[key]!)} ± ${shownNumber(key, sd[key]!)}`);
    console.log(
      `${method}, step ${shownNumber('step', mean.step ?? 0)}, seeds ${seeds.join(', ')}: ${shown.join(', ')}`,
    );
  }
}

/** What is missing comes last. */
function compare(a: RunRow, b: RunRow, key: keyof RunRow): number {
  const [x, y] = [a[key], b[key]];
  if (x === null || y === null) return Number(x === null) - Number(y === null);
  return (x < y ? -1 : x > y ? 1 : 0) * (ascending.has(key) ? 1 : -1);
}

function shownNumber(key: keyof RunNumbers, value: number): string {
  if (key === 'step') return String(Math.round(value));
  return key === 'loss' || key === 'valLoss' ? value.toFixed(3) : (100 * value).toFixed(1);
}

function cell(row: RunRow, key: keyof RunRow): string {
  if (key === 'began') return row.began.slice(0, 16).replace('T', ' ');
  if (key === 'run' || key === 'method' || key === 'model') return printable(row[key], 60);
  if (key === 'seed') return String(row.seed);
  return row[key] === null ? '' : shownNumber(key, row[key]);
}
