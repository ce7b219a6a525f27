/**
 * A checkpoint of a training: everything that continuing bit for bit needs, in a folder of two files. model.safetensors
 * has the weights, for everyone; training.safetensors has what else there is: the objective, the optimiser's moments, the
 * place in the data, the record of the run, and the checksum of the weights that it belongs to. With `--ema` there is a third,
 * averaged.safetensors, with the averages as weights, for everyone as well.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Tensor } from '../autograd/tensor.js';
import { parseJson } from '../formats/files.js';
import { openSafetensors, readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { ExponentialMovingAverage } from '../nn/average.js';
import { CheckpointError } from '../tensor/errors.js';
import type { Learner } from './learner.js';
import { checked, count, type RunRecord, recordSchema } from './record.js';
import type { Position, Trainer } from './trainer.js';

const version = 2; // 1 had no record, no checksums, and the weights in the same file

/** What training.safetensors says besides its tensors. Random numbers need no state: every batch has a stream of its own. */
export interface TrainingFacts {
  format: 'hopgrad training';
  version: typeof version;
  record: RunRecord;
  position: Position;
  /** Updates that the optimiser has made, and of each parameter; checkpoints without the latter had them all at every step. */
  updates: number;
  updatesOfEach?: number[] | undefined;
  /** Pairs in the queue of `--memory-size`. */
  patterns?: number | undefined;
  /** Checksum of model.safetensors. */
  weights: string;
  /** Of averaged.safetensors, and how many updates the average has had. */
  averaged?: { weights: string; updates: number } | undefined;
}

const factsSchema = v.strictObject({
  format: v.literal('hopgrad training'),
  version: v.literal(version),
  record: recordSchema,
  position: v.strictObject({ step: count, epoch: count, row: count, bad: count }),
  updates: count,
  updatesOfEach: v.optional(v.array(count)),
  patterns: v.optional(count),
  weights: v.string(),
  averaged: v.optional(v.strictObject({ weights: v.string(), updates: count })),
});

export const weightsOf = (checkpoint: string) => join(checkpoint, 'model.safetensors');
const averagedOf = (checkpoint: string) => join(checkpoint, 'averaged.safetensors');
/** The weights that count: the averages, where there are some. */
export const bestWeightsOf = (checkpoint: string) =>
  existsSync(averagedOf(checkpoint)) ? averagedOf(checkpoint) : weightsOf(checkpoint);
const restOf = (checkpoint: string) => join(checkpoint, 'training.safetensors');

const prefixed = (prefix: string, tensors: Record<string, Tensor> | readonly Tensor[]) =>
  Object.entries(tensors).map(([name, value]) => [`${prefix}.${name}`, value] as const);

/**
 * Writes both files into a folder that is there.
 * @throws DataError when a file cannot be written; DomainError for numbers that are not finite
 */
export async function saveTraining(checkpoint: string, trainer: Trainer<Learner>, record: RunRecord): Promise<void> {
  const { learner, objective, optimizer, position } = trainer;
  const metadata = { method: record.method, step: String(position.step) };
  await learner.save(weightsOf(checkpoint), metadata, { finite: true });
  const averaged = trainer.ema && {
    updates: trainer.ema.updates,
    weights: await trainer.ema.use(async () => {
      const path = averagedOf(checkpoint);
      await learner.save(path, { ...metadata, averaged: 'yes' }, { finite: true });
      return checksumOf(path);
    }),
  };
  const { step: updates, steps: updatesOfEach, m, v: squares } = optimizer.state();
  const weights = checksumOf(weightsOf(checkpoint));
  const facts: TrainingFacts = {
    format: 'hopgrad training',
    version,
    record,
    position,
    updates,
    updatesOfEach,
    ...(objective.queue && { patterns: objective.queue.filled }),
    weights,
    ...(averaged && { averaged }),
  };
  const tensors = Object.fromEntries([
    ...prefixed('objective', objective.stateDict()),
    ...prefixed('m', m),
    ...prefixed('v', squares),
  ]);
  await writeSafetensors(restOf(checkpoint), tensors, { training: JSON.stringify(facts) }, { finite: true });
}

function checksumOf(path: string): string {
  const file = openSafetensors(path);
  file.close();
  if (file.checksum !== undefined) return file.checksum;
  throw new CheckpointError('resume', { received: `${path} without checksums`, expected: 'what hopgrad train writes' });
}

/**
 * Reads both files to their ends and checks all that can be checked without a model.
 * @throws CheckpointError, DataError that name the file
 */
export function verifyTraining(checkpoint: string): TrainingFacts {
  for (const path of new Set([weightsOf(checkpoint), bestWeightsOf(checkpoint), restOf(checkpoint)])) {
    checksumOf(path);
    const file = openSafetensors(path);
    try {
      for (const [name, stored] of file.tensors) {
        const at = stored.read().findIndex((value) => !Number.isFinite(value));
        if (at >= 0)
          throw new CheckpointError('resume', {
            received: `${path}: ${name} with a number that is not finite, at position ${at}`,
            expected: 'finite numbers',
          });
      }
    } finally {
      file.close();
    }
  }
  const path = restOf(checkpoint);
  const { training = '' } = readSafetensors(path, { select: () => false }).metadata;
  const name = `the metadata of ${path}`;
  const facts = checked<TrainingFacts>(factsSchema, parseJson('resume', name, training), name, version);
  const belongs = (file: string, expected: string) => {
    const found = existsSync(file) ? `of checksum ${checksumOf(file)}` : 'missing';
    if (found !== `of checksum ${expected}`)
      throw new CheckpointError('resume', {
        received: `${file} ${found}`,
        expected: `${expected}, the weights that training.safetensors beside it belongs to`,
      });
  };
  belongs(weightsOf(checkpoint), facts.weights);
  if (facts.averaged) belongs(averagedOf(checkpoint), facts.averaged.weights);
  return facts;
}

/**
 * Puts a trainer, whose model has its weights already, where a checkpoint stands.
 * @throws CheckpointError when it belongs to another model or training
 */
export function restoreTraining(
  checkpoint: string,
  trainer: Trainer<Learner>,
  { position, updates, updatesOfEach, patterns = 0, averaged }: TrainingFacts,
): void {
  if (position.step > trainer.total)
    throw new CheckpointError('resume', {
      received: `${checkpoint} at step ${position.step}`,
      expected: `at most the ${trainer.total} steps of the training`,
    });
  const { tensors } = readSafetensors(restOf(checkpoint), { device: trainer.model.logit_inv_tau.device });
  const part = (prefix: string) =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, value]) =>
        name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), value]] : [],
      ),
    );
  const list = (prefix: string) => {
    const found = part(prefix);
    return Object.keys(found).flatMap((_, i) => found[i] ?? []);
  };
  trainer.objective.loadStateDict(part('objective'));
  if (trainer.objective.queue) trainer.objective.queue.filled = patterns;
  trainer.optimizer.loadState({
    step: updates,
    ...(updatesOfEach && { steps: updatesOfEach }),
    m: list('m'),
    v: list('v'),
  });
  if (trainer.ema) restoreAverage(checkpoint, trainer.ema, averaged);
  trainer.position = { ...position };
  for (const value of Object.values(tensors)) value.dispose();
}

/** @throws CheckpointError without averages */
function restoreAverage(checkpoint: string, ema: ExponentialMovingAverage, facts: TrainingFacts['averaged']): void {
  if (!facts)
    throw new CheckpointError('resume', {
      received: `${checkpoint} without averages`,
      expected: 'those of a run with --ema',
    });
  const own = ema.state().averages;
  const { tensors } = readSafetensors(averagedOf(checkpoint), {
    select: (name) => name in own,
    device: Object.values(own)[0]!.device,
  });
  ema.loadState({ updates: facts.updates, averages: tensors });
  for (const value of Object.values(tensors)) value.dispose();
}

/** Whether a folder is a checkpoint, whole or not. */
export const isCheckpoint = (path: string) => existsSync(restOf(path));
