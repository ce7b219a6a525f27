/** The flags that name a trained model, shared by the commands that use one. */
import { existsSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { loadCheckpoint } from '../models/cloob/checkpoint.js';
import type { CloobModel } from '../models/cloob/model.js';
import { ClipTokenizer } from '../models/cloob/tokenizer.js';
import type { Module } from '../nn/module.js';
import { CheckpointError, DataError } from '../tensor/errors.js';
import { newestRun } from '../train/run-folder.js';
import { weightsOf } from '../train/state.js';
import { addDeviceFlags, type DeviceFlags, startDevice } from './device.js';

export interface ModelFlags extends DeviceFlags {
  checkpoint?: string;
  logs: string;
}

/** The flags that name a trained model, and where to compute with it. */
export function addModelFlags(command: Command): Command {
  command
    .optionsGroup('Model:')
    .option(
      '--checkpoint <path>',
      'folder of a run or a checkpoint, .safetensors or .pt; best: the newest run’s by validation (default: the newest run)',
    )
    .option('--logs <folder>', 'folder of all runs', 'runs');
  return addDeviceFlags(command);
}

/** Path of the weights that `--checkpoint` names. @throws DataError when there are none */
export function checkpointPath({ checkpoint, logs }: Pick<ModelFlags, 'checkpoint' | 'logs'>): string {
  if (checkpoint === undefined) return newestRun(logs).model;
  if (checkpoint === 'best' && !existsSync(checkpoint)) {
    const run = newestRun(logs);
    if (existsSync(weightsOf(run.best))) return weightsOf(run.best);
    throw new DataError('--checkpoint', {
      received: `best: ${run.path} was not validated`,
      expected: 'a run with --val-data or --validation',
    });
  }
  const isFolder = existsSync(checkpoint) && statSync(checkpoint).isDirectory();
  const path = isFolder ? weightsOf(checkpoint) : checkpoint;
  if (existsSync(path)) return path;
  throw new DataError('--checkpoint', {
    received: `${checkpoint}: no file ${path}`,
    expected: 'the folder of a run, or a file of weights',
  });
}

export interface ReadyModel {
  path: string;
  model: CloobModel;
  tokenizer: ClipTokenizer;
  /** The training method that the file tells, else "model". */
  label: string;
  /** Steps of training behind it; null where the file does not tell. */
  step: number | null;
}

/**
 * Starts the device and loads the model, in evaluation mode, with its tokenizer: the one in the file, else the
 * published one when the vocabulary has its size.
 * @throws DataError, CheckpointError, DeviceError
 */
export async function loadModel(flags: ModelFlags): Promise<ReadyModel> {
  const path = checkpointPath(flags);
  await startDevice(flags);
  const { model, tokenizer, metadata } = await loadCheckpoint(path);
  await checkFinite(path, model);
  model.eval();
  const label = metadata.method ?? 'model';
  const step = /^\d+$/.test(metadata.step ?? '') ? Number(metadata.step) : null;
  if (tokenizer) return { path, model, tokenizer, label, step };
  if (model.config.vocab_size === ClipTokenizer.officialSize)
    return { path, model, tokenizer: await ClipTokenizer.official(), label, step };
  throw new CheckpointError('--checkpoint', {
    received: `${path}: ${model.config.vocab_size} tokens and no tokenizer`,
    expected: 'a checkpoint of hopgrad train, or one with the published vocabulary',
  });
}

/** @throws CheckpointError for weights that nothing can be computed with */
export async function checkFinite(path: string, model: Module): Promise<void> {
  for (const [name, value] of Object.entries(model.stateDict()))
    if (!(await value.data()).every((x) => Number.isFinite(x)))
      throw new CheckpointError('--checkpoint', {
        received: `${path}: ${name} with numbers that are not finite`,
        expected: 'the weights of a training that went well',
        hint: 'An earlier checkpoint of the run may have them.',
      });
}
