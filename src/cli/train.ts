/** `hopgrad train`: data, training, evaluation, and a table of what came out. */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import type { Command } from 'commander';
import { isDrawn } from '../data/open.js';
import type { InitResult } from '../kernels/init.js';
import { describeCheckpoint } from '../models/cloob/checkpoint.js';
import { writeReport } from '../report/write.js';
import { DataError, HopgradError, UsageError } from '../tensor/errors.js';
import { findResumePoint, openCheckpoint, removeLeftovers } from '../train/checkpoints.js';
import type { Corpus } from '../train/corpus.js';
import { debugOptions, debugRows, debugSettings, debugSteps } from '../train/debug-run.js';
import { dryRun } from '../train/dry-run.js';
import { lockFolder } from '../train/lock.js';
import { checkTrainOptions, flagOf, type TrainOptions } from '../train/options.js';
import { clock, type Output, say } from '../train/progress.js';
import { prolong } from '../train/prolong.js';
import { newRecord, type Session } from '../train/record.js';
import { type RunOptions, runTraining } from '../train/run.js';
import { heldOutFile, newestRun, newRunName, RunFolder, resultsFile } from '../train/run-folder.js';
import { learningRate } from '../train/schedule.js';
import { shellWord } from '../train/shell-word.js';
import { startConfig } from '../train/start.js';
import { isCheckpoint, weightsOf } from '../train/state.js';
import { applyConfig, isGiven } from './config-file.js';
import { columnFlags } from './data.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';
import { listenForInterrupt, quitOnSignal } from './interrupt.js';
import { addRankFlags, ranks } from './ranks.js';
import {
  addDataFlags,
  type DataFlags,
  kindOfData,
  movedRequest,
  openRun,
  refuseUnusedValidation,
  requestOf,
} from './train-data.js';
import {
  addTrainFlags,
  methodName,
  resolveSettings,
  resolveTrainOptions,
  type TrainFlags,
  trainingFlags,
} from './train-flags.js';
import { version } from './version.js';

type RunFlags = DeviceFlags &
  TrainFlags &
  DataFlags & {
    config?: string;
    dryRun?: boolean;
    debugRun?: boolean;
    resume?: string;
    overwrite?: boolean;
    report?: boolean;
    logs: string;
    name?: string;
  };

/** Enters `hopgrad train`. */
export function addTrainCommand(program: Command): void {
  const command = program.command('train').description('train a model, on the embedded emoji unless told otherwise');
  addDataFlags(command);
  addTrainFlags(command)
    .option('--config <file>', 'options from a file (.json, .yaml), by the names of the flags, which win over it')
    .option('--dry-run', 'do five steps, tell sizes, memory and time of the whole, and write nothing')
    .option(
      '--debug-run',
      `try everything a run does, validation, checkpoints and evaluation, in ${debugSteps} steps on little of the data; in the folder debug of --logs`,
    )
    .option('--logs <folder>', 'folder of all runs', 'runs')
    .option('--name <name>', 'name of the run (default: time, method and seed)')
    .option('--overwrite', 'replace the run that has the name')
    .option('--report', 'write the run’s page, report.html, at the end (default)')
    .option('--no-report', 'neither look at held-out pairs closely at the end, nor write the page')
    .option('--resume <run>', 'go on with a run: latest, its folder, or one of its checkpoints');
  addRankFlags(addDeviceFlags(command)).action((flags: RunFlags) => train(flags, command));
}

/**
 * What of flags can be refused without looking at the data.
 * @throws UsageError also where there would be nothing to measure a run by
 */
export function checkTrainFlags(flags: RunFlags): void {
  const { train, val } = requestOf(flags);
  resolveTrainOptions(flags, kindOfData(flags));
  resolveSettings(flags);
  if (!isDrawn(train.path) && val === null)
    throw new UsageError('experiment', {
      received: `--train-data ${train.path} without --val-data`,
      expected: 'pairs to measure every run by',
    });
}

async function train(flags: RunFlags, command: Command): Promise<void> {
  if (flags.config !== undefined) applyConfig(command, flags.config); // changes flags
  const group = ranks();
  const open = () => (flags.resume === undefined ? freshFolder(flags) : runToResume(flags, command));
  const own = group.rank === 0 ? open() : null;
  const release = own ? await lockFolder(own.path) : () => {};
  if (own) removeLeftovers(own);
  const path = group.fromFirst(() => own!.path);
  const folder = own ?? new RunFolder(path, { writes: false });
  // Where something was wrong, or somebody stopped it, before the first step.
  const tidy = () => flags.resume === undefined && folder.removeUnlessBegun();
  process.prependOnceListener('exit', tidy); // before MPI ends all ranks
  const opened = quitOnSignal();
  try {
    await (flags.resume === undefined ? begin(flags, folder) : goOn(flags, folder, command));
  } finally {
    opened();
    release();
    process.off('exit', tidy);
    tidy();
  }
}

async function begin(flags: RunFlags, folder: RunFolder): Promise<void> {
  const resolved = resolveTrainOptions(flags, kindOfData(flags));
  const options = flags.debugRun ? debugOptions(resolved) : resolved;
  if (options.model === 'pretrained' && !flags.center)
    options.center = (await describeCheckpoint(options.pretrained!)).config.center ?? 'off'; // as its weights are used to
  const settings = flags.debugRun ? debugSettings(resolveSettings(flags)) : resolveSettings(flags);
  const request = requestOf(flags, flags.debugRun ? debugRows(options) : undefined);
  const device = await startDevice(flags);
  const method = methodName(options);
  console.log(`hopgrad train: ${describe(options, method)}, on ${device.description}`);
  const corpus = await openRun(request, options.model === 'heads' ? null : await startConfig(options), settings);
  refuseUnusedValidation(flags, corpus);
  const sessions = [sessionOf(device, 0)];
  const record = newRecord({ hopgrad: version, method, options, data: corpus.spec, settings, sessions });
  if (flags.dryRun) return tellWork({ record, corpus, folder, checkpoint: null });
  await run({ record, corpus, folder, checkpoint: null, overwrite: flags.overwrite, figures: flags.report ?? true });
}

async function goOn(flags: RunFlags, folder: RunFolder, command: Command): Promise<void> {
  // What a run goes on with is where rank 0 found it.
  const asked = resolve(flags.resume === 'latest' ? folder.path : flags.resume!);
  const {
    record: before,
    checkpoint,
    passedOver,
  } = isCheckpoint(asked) ? openCheckpoint(asked, folder) : findResumePoint(folder);
  for (const why of passedOver) say(`Passed over, as it is damaged: ${why}`);
  const settings = resolveSettings(flags, before.settings);
  const last = before.sessions.at(-1)!;
  const chosen = isGiven(command, 'device') ? flags.device : last.device;
  const device = await startDevice({ ...flags, device: chosen as DeviceFlags['device'] });
  const { method } = before;
  console.log(`hopgrad train: ${describe(before.options, method)}, on ${device.description}`);
  if (device.device !== last.device)
    say(`The run was on ${last.device} before: numbers agree with an unbroken one to rounding only.`);
  // The checkpoint has the sizes: a file that they came from may be gone.
  const sizes = () =>
    checkpoint
      ? describeCheckpoint(weightsOf(checkpoint.path)).then((found) => found.config)
      : startConfig(before.options);
  const config = before.options.model === 'heads' ? null : await sizes();
  const corpus = await openRun(movedRequest(flags, before.data), config, settings);
  refuseUnusedValidation(flags, corpus);
  if (settings.bestMetric !== before.settings.bestMetric && existsSync(folder.best))
    throw new UsageError('train', {
      received: `--best-metric ${settings.bestMetric} for a run that keeps its best by ${before.settings.bestMetric}`,
      expected: 'the same: weights that another metric would have chosen are gone',
    });
  const done = checkpoint?.facts.position.step ?? 0;
  const options = longerOptions(flags, before.options, corpus, done);
  const session = sessionOf(device, done);
  const record = { ...before, options, data: corpus.spec, settings, sessions: [...before.sessions, session] };
  await (flags.dryRun ? tellWork : run)({ record, corpus, folder, checkpoint, figures: flags.report ?? true });
}

/** The options of a run that goes on, with more epochs or steps where the flags ask for them. */
function longerOptions({ epochs, steps }: RunFlags, before: TrainOptions, corpus: Corpus, done: number): TrainOptions {
  if (epochs === undefined && steps === undefined) return before;
  const loader = corpus.loader(before); // nothing is read
  const longer = prolong(before, { epochs, steps }, loader);
  if (longer.after > longer.before) {
    const rate = learningRate(longer.options, longer.after)(done);
    say(
      `Prolonged from ${longer.before} to ${longer.after} steps: the learning rate goes on at ${Number(rate.toPrecision(3))}, ` +
        `as the schedule over ${longer.after} steps has it after ${done}`,
    );
  }
  return checkTrainOptions(longer.options);
}

type RunParts = Pick<RunOptions, 'record' | 'corpus' | 'folder' | 'checkpoint' | 'overwrite' | 'figures'>;

/** The terminal, for the rank that speaks. */
const speaker = (): Output => (ranks().rank === 0 ? process.stderr : { write() {} });

async function tellWork(parts: RunParts): Promise<void> {
  console.log(`Data: ${parts.corpus.description}`);
  console.log(await dryRun({ ...parts, output: speaker(), group: ranks() }));
}

/** Trains, with the signals heard, and tells what came out. */
async function run(parts: RunParts): Promise<void> {
  const { record, corpus, folder } = parts;
  console.log(`Data: ${corpus.description}`);
  const interrupt = listenForInterrupt('Stopping after this step and writing a checkpoint; once more to quit at once.');
  const { signal } = interrupt;
  const command = `npx hopgrad train --resume ${shellWord(folder.path)}`;
  const onTrained = () => interrupt.quitAtOnce(`Stopped. The training is saved; evaluate it with: ${command}`);
  try {
    const group = ranks();
    const result = await runTraining({ ...parts, output: speaker(), group, signal, onTrained });
    const report = parts.figures && folder.writes ? await tryReport(folder) : null;
    if (!result.complete) {
      if (report) console.log(report);
      if (existsSync(folder.record)) console.log(`Stopped at step ${result.steps}. Go on with: ${command}`);
      else console.log(`Stopped before the first step. What was embedded is kept: the same command goes on.`);
      process.exitCode = interrupt.exitCode;
      group.leave();
      return;
    }
    console.log(`\n${record.method} after ${result.steps} steps, ${clock(result.seconds)} of training\n`);
    const { evaluation, best, stoppedEarly } = result;
    if (stoppedEarly)
      console.log(`Stopped early: ${record.settings.patience} validations without a better one (--patience).\n`);
    if (evaluation) console.log(`${evaluation.text}\n`);
    if (best)
      console.log(
        `Best by ${best.metric}: step ${best.step}, after epoch ${best.epoch}. Evaluate it with --checkpoint ${shellWord(folder.best)}\n`,
      );
    const written = ['model.safetensors', 'checkpoints', 'log.jsonl', 'manifest.json'];
    if (best) written.push('evaluations.jsonl');
    if (evaluation) written.push(resultsFile);
    if (existsSync(join(folder.path, heldOutFile))) written.push(heldOutFile);
    console.log(`Written to ${folder.path}: ${written.join(', ')}`);
    if (report) console.log(report);
  } finally {
    interrupt.release();
  }
}

/** Writes the page of a run. The training is saved: a page that cannot be made is told, and fails nothing. */
async function tryReport(folder: RunFolder): Promise<string> {
  try {
    return `Report: ${await writeReport([folder.path], null, version)}`;
  } catch (error) {
    if (!(error instanceof HopgradError)) throw error;
    return `No report: ${error.message}`;
  }
}

/** The folder that a new run gets. @throws UsageError for a name that leaves `logs`, or that a run has */
function freshFolder(flags: RunFlags): RunFolder {
  const { name, overwrite } = flags;
  const logs = flags.debugRun ? join(flags.logs, 'debug') : flags.logs; // not taken for the newest run
  const options = resolveTrainOptions(flags, kindOfData(flags));
  if (name === undefined) {
    return new RunFolder(
      join(logs, newRunName(logs, `${methodName(options).replaceAll(/\W+/g, '-')}-seed${options.seed}`)),
    );
  }
  if (!/^[^\s\-.\\/:][^\\/:]*$/.test(name))
    throw new UsageError('train', {
      received: `--name ${name}`,
      expected: 'the name of a folder inside --logs: without / \\ and :, not beginning with . or -',
    });
  const path = join(logs, name);
  const folder = existsSync(path) ? new RunFolder(path) : null;
  if (folder?.used && !overwrite)
    throw new UsageError('train', {
      received: `--name ${name}, and there is a run in ${path}`,
      expected: 'a new name',
      hint: `Go on with it by --resume ${shellWord(path)}, or replace it by --overwrite.`,
    });
  return folder ?? new RunFolder(path);
}

/** @throws DataError when there is nothing to resume; ends with a usage error when training flags are given too */
function runToResume({ resume, logs }: RunFlags, command: Command): RunFolder {
  const data = ['validation', 'trainNumSamples', 'trainDataUpsamplingFactors', ...columnFlags()];
  const free = ['epochs', 'steps', 'imgFolder']; // it may be prolonged, and its pictures moved
  const fixed = [...trainingFlags, ...data, 'name', 'overwrite', 'debugRun'].filter((name) => !free.includes(name));
  const given = fixed.filter((name) => isGiven(command, name));
  if (given.length > 0)
    command.error(
      `error: ${given.map(flagOf).join(', ')} cannot be changed by --resume: a run goes on with the options it began with`,
    );
  if (resume === 'latest') return newestRun(logs, 'record');
  const path = resume!;
  if (existsSync(path) && statSync(path).isDirectory()) {
    const parent = dirname(resolve(path));
    if (basename(parent) === 'checkpoints' && basename(path) === 'best')
      throw new UsageError('train', {
        received: `--resume ${path}, which has weights only, to evaluate`,
        expected: `the run, ${relative('.', dirname(parent)) || '.'}, or another of its checkpoints`,
      });
    if (!isCheckpoint(path)) return new RunFolder(path);
    if (basename(parent) === 'checkpoints') return new RunFolder(relative('.', dirname(parent)) || '.');
  }
  throw new DataError('train', {
    received: `--resume ${path}: no such ${/\.safetensors$/.test(path) ? 'run; a file alone cannot be resumed' : 'folder'}`,
    expected: 'latest, the folder of a run, or one of its checkpoints',
  });
}

const sessionOf = ({ device, description }: InitResult, step: number): Session => ({
  date: new Date().toISOString(),
  command: ['npx hopgrad', ...process.argv.slice(2).map(shellWord)].join(' '),
  step,
  device,
  description,
  node: process.version,
  platform: process.platform,
});

/** "CLOOB, InfoLOOB, τ⁻¹ 30, Hopfield β 8 from 80 %, batch 128, seed 1" */
function describe(options: TrainOptions, label: string): string {
  const { hopfield, hopfieldFrom, scaleHopfield, initInvTau, batchSize, seed } = options;
  const isShare = typeof hopfieldFrom === 'number' && hopfieldFrom < 1;
  const from = isShare
    ? `${Math.round(100 * hopfieldFrom)}%`
    : typeof hopfieldFrom === 'number'
      ? `step ${hopfieldFrom}`
      : hopfieldFrom;
  const memory = hopfield ? `Hopfield β ${scaleHopfield} from ${from} on, ` : '';
  return `${label}, τ⁻¹ ${initInvTau}, ${memory}batch ${batchSize}, seed ${seed}`;
}
