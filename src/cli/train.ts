/** `hopgrad train`: data, training, evaluation, and a table of what came out. */
import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { type Preprocessing, preprocessing, resolveConfig } from '../models/cloob/config.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { type Corpus, openCorpus } from '../train/corpus.js';
import type { TrainOptions } from '../train/options.js';
import { clock, say } from '../train/progress.js';
import { runTraining } from '../train/run.js';
import { newRunName, RunFolder } from '../train/run-folder.js';
import { readTrainingFacts } from '../train/state.js';
import { addTableFlags, dataRequest, type TableFlags } from './data.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';
import { listenForInterrupt } from './interrupt.js';
import { parseWhole } from './parse.js';
import { addTrainFlags, methodName, resolveTrainOptions, type TrainFlags, trainingFlags } from './train-flags.js';

interface RunFlags extends DeviceFlags, TrainFlags, TableFlags {
  trainData?: string;
  valData?: string;
  trainNumSamples?: number;
  workers?: number;
  validation?: boolean;
  resume?: string;
  logs: string;
  name?: string;
  saveFrequency: number;
  cache: string;
}

export function addTrainCommand(program: Command): void {
  const command = program.command('train').description('train a model, on the embedded emoji unless told otherwise');
  command
    .optionsGroup('Data:')
    .option(
      '--train-data <path>',
      'table (.tsv, .csv) or shards (.tar) of captioned pictures (default: the embedded emoji)',
    )
    .option('--val-data <path>', 'the same, to evaluate on')
    .option('--train-num-samples <n>', 'pairs in the shards, when not given by --steps', parseWhole)
    .option('--workers <n>', 'threads that read pictures', parseWhole)
    .option('--validation', 'of the emoji, a split inside the training data instead of the test sets: tune with this')
    .option('--cache <folder>', 'folder for prepared data', '.cache');
  addTableFlags(command);
  addTrainFlags(command);
  command
    .optionsGroup('Run:')
    .option('--logs <folder>', 'folder of all runs', 'runs')
    .option('--name <name>', 'name of the run (default: time, method and seed)')
    .option('--save-frequency <epochs>', 'epochs between checkpoints, 0: only at the end', parseWhole, 5)
    .option('--resume <path>', 'go on with a run: its folder or its training.safetensors');
  addDeviceFlags(command).action((flags: RunFlags) => train(flags, command));
}

async function train(flags: RunFlags, command: Command): Promise<void> {
  const resume = flags.resume === undefined ? null : checkpointToResume(flags.resume, command);
  const options = resume === null ? resolveTrainOptions(flags) : readTrainingFacts(resume).facts.options;
  const label = methodName(options);
  const output = process.stderr;
  const device = await startDevice(flags);
  console.log(`hopgrad train: ${describe(options, label)}, on ${device.description}`);
  const corpus = await open(flags, preprocessing(resolveConfig(options.model)));
  console.log(`Data: ${corpus.description}`);
  const name = flags.name ?? newRunName(flags.logs, `${label.replaceAll(/\W+/g, '-')}-seed${options.seed}`);
  const folder = new RunFolder(resume === null ? join(flags.logs, name) : dirname(resume));
  const interrupt = listenForInterrupt('Stopping after this step and writing a checkpoint; once more to quit at once.');
  const { signal } = interrupt;
  const goOn = `npx hopgrad train --resume ${shellWord(folder.path)}`;
  const onTrained = () => interrupt.quitAtOnce(`Stopped. The training is saved; evaluate it with: ${goOn}`);
  const environment = { device: device.description, node: process.version, platform: process.platform };
  const { saveFrequency } = flags;
  const run = { options, corpus, folder, label, resume, saveFrequency, environment, output, signal, onTrained };
  const { complete, steps, seconds, evaluation } = await runTraining(run).finally(() => interrupt.release());
  if (!complete) {
    console.log(`Stopped at step ${steps}. Go on with: ${goOn}`);
    process.exitCode = interrupt.exitCode;
    return;
  }
  console.log(`\n${label} after ${steps} steps, ${clock(seconds)} of training\n`);
  if (evaluation) console.log(`${evaluation.text}\n`);
  console.log(
    `Written to ${folder.path}: model.safetensors, training.safetensors, log.jsonl${evaluation ? ', results.json' : ''}`,
  );
}

function open(flags: RunFlags, preprocessing: Preprocessing): Promise<Corpus> {
  const { trainData = 'emoji', valData, cache: cacheFolder, validation, workers, maxBadShare } = flags;
  if (flags.trainData === undefined && valData !== undefined)
    throw new UsageError('train', { received: '--val-data without --train-data', expected: 'both, or none' });
  const samples = flags.trainNumSamples;
  const train = {
    ...dataRequest(trainData, flags),
    ...(validation && { validation }),
    ...(samples !== undefined && { samples }),
  };
  const val = valData === undefined ? null : dataRequest(valData, flags);
  return openCorpus(
    { train, val },
    {
      preprocessing,
      cacheFolder,
      log: say,
      ...(workers !== undefined && { workers }),
      ...(maxBadShare !== undefined && { maxBadShare }),
    },
  );
}

/** @throws DataError when there is nothing to resume; ends with a usage error when training flags are given too */
function checkpointToResume(path: string, command: Command): string {
  const given = trainingFlags.filter((name) => command.getOptionValueSource(name) === 'cli');
  if (given.length > 0) {
    const flag = given[0]!.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    command.error(`error: --${flag} cannot be changed by --resume: a run goes on with the options it began with`);
  }
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, 'training.safetensors') : path;
  if (existsSync(file)) return file;
  throw new DataError('train', {
    received: `--resume ${path}: no such file`,
    expected: 'the folder of a run, or its training.safetensors',
  });
}

/** A path as a shell takes it: in quotes where it has more than plain letters. */
function shellWord(text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** "CLOOB, InfoLOOB, τ⁻¹ 30, Hopfield β 8 from 80 %, batch 128, seed 1" */
function describe(options: TrainOptions, label: string): string {
  const { hopfield, hopfieldFrom, scaleHopfield, initInvTau, batchSize, seed } = options;
  const from = hopfieldFrom < 1 ? `${Math.round(100 * hopfieldFrom)} % on` : `step ${hopfieldFrom} on`;
  const memory = hopfield ? `Hopfield β ${scaleHopfield} from ${from}, ` : '';
  return `${label}, τ⁻¹ ${initInvTau}, ${memory}batch ${batchSize}, seed ${seed}`;
}
