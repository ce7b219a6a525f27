/** `hopgrad experiment`: a grid of runs, compared: means, paired differences, figures. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { execute, fixOptions, type Place, resultOf } from '../experiment/execute.js';
import { resultFigures } from '../experiment/figure.js';
import {
  type Cell,
  checkExperiment,
  type ExperimentFile,
  experimentName,
  mainRuns,
  type PlannedRun,
  settingsOf,
  tuningRuns,
  valuesText,
} from '../experiment/plan.js';
import { type Choice, choices, newResults, type Results, type RunResult, readResults } from '../experiment/results.js';
import { resultsText } from '../experiment/tables.js';
import { ownProgram, trainProgram } from '../experiment/train-program.js';
import { configs, resolveConfig } from '../models/cloob/config.js';
import { printable, UsageError } from '../tensor/errors.js';
import { lockFolder } from '../train/lock.js';
import { say } from '../train/progress.js';
import { writeWhole } from '../train/run-folder.js';
import { applyValues, readValues } from './config-file.js';
import { listenForInterrupt } from './interrupt.js';
import { parseCount } from './parse.js';
import { addTrainCommand, checkTrainFlags } from './train.js';

interface ExperimentFlags {
  logs: string;
  name?: string;
  processes: number;
  threads?: number;
  dryRun?: boolean;
}

const resultsName = 'experiment.json';

/** Enters `hopgrad experiment`. */
export function addExperimentCommand(program: Command): void {
  program
    .command('experiment')
    .description(
      'carry out a grid of runs over methods, settings and seeds, the learning rate tuned for each; it can be stopped and started again',
    )
    .argument('<file>', 'the experiment (.yaml, .json), or its results (experiment.json), for tables and figures alone')
    .option('--logs <folder>', 'folder of all experiments; one has a folder of its own in it', 'runs')
    .option('--name <name>', 'name of that folder (default: that of the file)')
    .option('--processes <n>', 'runs at the same time', parseCount, 1)
    .option('--threads <n>', 'threads of each run (default: the cores, shared out)', parseCount)
    .option('--dry-run', 'list the runs and how they stand, and begin none')
    .action((path: string, flags: ExperimentFlags) => experiment(path, flags));
}

async function experiment(path: string, flags: ExperimentFlags): Promise<void> {
  const values = readValues('experiment', path);
  if (values.format !== undefined) {
    const results = readResults(path);
    write(join(path, '..'), results);
    console.log(resultsText(results));
    return;
  }
  const file = checkExperiment(values, path);
  const name = flags.name ?? experimentName(path);
  const logs = join(flags.logs, name);
  if (flags.dryRun) return list(file, placeOf(file, logs, flags));
  mkdirSync(logs, { recursive: true });
  const release = await lockFolder(logs);
  const interrupt = listenForInterrupt('Stopping the runs in progress; once more to quit at once.');
  try {
    const results = await carryOut(file, { name, logs, flags, signal: interrupt.signal });
    console.log(`${resultsText(results)}\nWritten to ${logs}: ${resultsName}, results.md, figures`);
    if (interrupt.signal.aborted) {
      console.log('Stopped. Go on with the same command.');
      process.exitCode = interrupt.exitCode;
    } else if (results.runs.some(({ outcome: { status } }) => status === 'failed' || status === 'to do'))
      process.exitCode = 1;
  } finally {
    interrupt.release();
    release();
  }
}

function placeOf({ command, options }: ExperimentFile, logs: string, flags: ExperimentFlags): Place {
  if (command) return { logs, program: ownProgram(command) };
  const threads = flags.threads ?? Math.max(1, Math.floor(availableParallelism() / flags.processes));
  const quiet = 'report' in options ? [] : ['--no-report'];
  const words = ['--threads', String(threads), ...quiet];
  return { logs, program: trainProgram(process.argv[1]!, checkTrainValues, logs, words) };
}

/** @throws UsageError for options that no training could have, as far as that is known without the data */
function checkTrainValues(values: Record<string, unknown>): void {
  const program = new Command();
  addTrainCommand(program);
  const command = program.commands[0]!;
  applyValues(command, values, 'experiment');
  checkTrainFlags(command.opts());
}

interface Carried {
  name: string;
  logs: string;
  flags: ExperimentFlags;
  signal: AbortSignal;
}

async function carryOut(file: ExperimentFile, { name, logs, flags, signal }: Carried): Promise<Results> {
  const place = placeOf(file, logs, flags);
  const settings = Object.keys(settingsOf(file));
  let [tuned, main]: [RunResult[], RunResult[]] = [[], []];
  const current = () => {
    const { tune } = file;
    const tuning = tune ? { metric: tune.metric, least: tune.least, choices: choices(file, tuned) } : null;
    return newResults(file, { name, settings, tuning, runs: [...tuned, ...main] });
  };
  const stage = async (runs: PlannedRun[], keep: (results: RunResult[]) => void) => {
    const all = runs.map((run) => withModelFile(run, logs));
    fixOptions(place, all);
    const known = all.map((run) => resultOf(place, run));
    keep(known);
    const onEnd = (result: RunResult) => {
      known[known.findIndex((other) => other.name === result.name)] = result;
      write(logs, current());
    };
    keep(await execute(all, { ...place, processes: flags.processes, signal, say, onEnd }));
  };
  await stage(tuningRuns(file), (results) => {
    tuned = results;
  });
  const found = choices(file, tuned);
  for (const { method, setting, chosen } of found)
    say(`Chosen for ${[method, setting].filter(Boolean).join(', ')}: ${valuesText(chosen)}`);
  if (!signal.aborted)
    await stage(mainRuns(file, chosenBy(file, found)), (results) => {
      main = results;
    });
  main = [...main, ...waiting(file, main)];
  const results = current();
  write(logs, results);
  return results;
}

/** The values for a cell: those of its own setting, or of the one that was tuned. */
const chosenBy = ({ tune }: ExperimentFile, found: readonly Choice[]) =>
  tune
    ? ({ method, setting }: Cell) =>
        found.find((choice) => choice.method === method && choice.setting === (tune.setting ?? setting))?.chosen ?? null
    : () => ({});

/** Runs whose values could not be chosen: none is left out of the list. */
function waiting(file: ExperimentFile, main: readonly RunResult[]): RunResult[] {
  const known = new Set(main.map(({ name }) => name));
  return mainRuns(file, () => ({}))
    .filter(({ name }) => !known.has(name))
    .map(({ name, method, setting, seed }) => ({
      ...{ name, stage: 'main', method, setting, seed, tuned: {} },
      outcome: { status: 'to do' },
    }));
}

/** A run whose model is described in the experiment gets a file with that description. */
function withModelFile(run: PlannedRun, logs: string): PlannedRun {
  const { model } = run.options;
  if (typeof model !== 'object' || model === null) return run;
  const { from = 'emoji-resnet', ...own } = model as { from?: string };
  const base = configs[from as keyof typeof configs];
  if (!base)
    throw new UsageError('experiment', {
      received: `a model from ${printable(from)}`,
      expected: Object.keys(configs).join(', '),
    });
  const text = `${JSON.stringify(resolveConfig({ ...base, ...own }), null, 2)}\n`;
  const path = join(logs, `model-${createHash('sha256').update(text).digest('hex').slice(0, 8)}.json`);
  mkdirSync(logs, { recursive: true });
  if (!existsSync(path)) writeWhole(path, text);
  return { ...run, options: { ...run.options, model: path } };
}

/** Writes results, tables and figures. */
function write(folder: string, results: Results): void {
  writeWhole(join(folder, resultsName), `${JSON.stringify(results, null, 2)}\n`);
  writeWhole(join(folder, 'results.md'), resultsText(results));
  const figures = resultFigures(results);
  if (figures.size > 0) mkdirSync(join(folder, 'figures'), { recursive: true });
  for (const [name, svg] of figures) writeWhole(join(folder, 'figures', name), svg);
}

/** Tells how every run stands. */
function list(file: ExperimentFile, place: Place): void {
  const tuned = tuningRuns(file).map((run) => resultOf(place, run));
  const main = mainRuns(file, () => ({})).map((run) => resultOf(place, run));
  const all = [...tuned, ...main];
  for (const { name, outcome } of all) console.log(`${outcome.status.padEnd(8)}  ${name}`);
  console.log(`${all.filter(({ outcome }) => outcome.status === 'to do').length} of ${all.length} runs are to do.`);
}
