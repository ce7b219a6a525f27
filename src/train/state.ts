/**
 * A checkpoint of a training: everything that continuing bit for bit needs, in a folder of two files. model.safetensors
 * has the weights, for everyone; training.safetensors has what else there is: the objective, the optimiser's moments, the
 * place in the data, the record of the run, and the checksum of the weights that it belongs to.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as v from 'valibot';
import type { Tensor } from '../autograd/tensor.js';
import { parseJson } from '../formats/files.js';
import { openSafetensors, readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { saveCheckpoint } from '../models/cloob/checkpoint.js';
import { CheckpointError } from '../tensor/errors.js';
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
});

export const weightsOf = (checkpoint: string) => join(checkpoint, 'model.safetensors');
const restOf = (checkpoint: string) => join(checkpoint, 'training.safetensors');

const prefixed = (prefix: string, tensors: Record<string, Tensor> | readonly Tensor[]) =>
  Object.entries(tensors).map(([name, value]) => [`${prefix}.${name}`, value] as const);

/**
 * Writes both files into a folder that is there.
 * @throws DataError when a file cannot be written; DomainError for numbers that are not finite
 */
export async function saveTraining(checkpoint: string, trainer: Trainer, record: RunRecord): Promise<void> {
  const { model, tokenizer, objective, optimizer, position } = trainer;
  const metadata = { method: record.method, step: String(position.step) };
  await saveCheckpoint(weightsOf(checkpoint), { model, tokenizer, metadata, finite: true });
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
  for (const path of [weightsOf(checkpoint), restOf(checkpoint)]) {
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
  const weights = checksumOf(weightsOf(checkpoint));
  if (facts.weights !== weights)
    throw new CheckpointError('resume', {
      received: `${weightsOf(checkpoint)} of checksum ${weights}`,
      expected: `${facts.weights}, the weights that training.safetensors beside it belongs to`,
    });
  return facts;
}

/**
 * Puts a trainer, whose model has its weights already, where a checkpoint stands.
 * @throws CheckpointError when it belongs to another model or training
 */
export function restoreTraining(
  checkpoint: string,
  trainer: Trainer,
  { position, updates, updatesOfEach, patterns = 0 }: TrainingFacts,
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
  trainer.position = { ...position };
  for (const value of Object.values(tensors)) value.dispose();
}

/** Whether a folder is a checkpoint, whole or not. */
export const isCheckpoint = (path: string) => existsSync(restOf(path));
