/** Checkpoints of a training: everything that continuing bit for bit needs, in one file. */
import type { Tensor } from '../autograd/tensor.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import type { CloobConfig } from '../models/cloob/config.js';
import { ClipTokenizer } from '../models/cloob/tokenizer.js';
import { CheckpointError } from '../tensor/errors.js';
import type { TrainOptions } from './options.js';
import type { Position, Trainer } from './trainer.js';

/** What a checkpoint says besides its tensors. Random numbers need no state: every batch has a stream of its own. */
export interface TrainingFacts {
  options: TrainOptions;
  position: Position;
  /** Updates that the optimiser has made. */
  updates: number;
  /** What the data was: continuing with other data is refused. */
  data: unknown;
  config: CloobConfig;
}

const prefixed = (prefix: string, tensors: Record<string, Tensor> | readonly Tensor[]) =>
  Object.entries(tensors).map(([name, value]) => [`${prefix}.${name}`, value] as const);

/**
 * Writes weights, objective, moments and position.
 * @param data any description of the data, compared on resuming
 * @throws DataError when the file cannot be written
 */
export async function saveTraining(path: string, trainer: Trainer, data: unknown): Promise<void> {
  const { model, objective, optimizer, options, position, tokenizer } = trainer;
  const { step: updates, m, v } = optimizer.state();
  const facts: TrainingFacts = { options, position, updates, data, config: model.config };
  const tensors = Object.fromEntries([
    ...prefixed('model', model.stateDict()),
    ...prefixed('objective', objective.stateDict()),
    ...prefixed('m', m),
    ...prefixed('v', v),
  ]);
  await writeSafetensors(path, tensors, {
    training: JSON.stringify(facts),
    tokenizer: JSON.stringify(tokenizer.toJSON()),
  });
}

/** The facts and the tokenizer of a training checkpoint, without reading tensors. @throws CheckpointError, DataError */
export function readTrainingFacts(path: string): { facts: TrainingFacts; tokenizer: ClipTokenizer } {
  const { metadata } = readSafetensors(path, { select: () => false });
  if (!metadata.training || !metadata.tokenizer)
    throw new CheckpointError('resume', {
      received: `${path} without the state of a training`,
      expected: 'the file training.safetensors of a run, or its folder',
      hint: 'Weights alone, such as model.safetensors, cannot be resumed.',
    });
  return {
    facts: JSON.parse(metadata.training) as TrainingFacts,
    tokenizer: ClipTokenizer.fromJSON(JSON.parse(metadata.tokenizer)),
  };
}

/** Puts a trainer where the checkpoint stands. @throws CheckpointError when it belongs to another model */
export function restoreTraining(path: string, trainer: Trainer): void {
  const { facts } = readTrainingFacts(path);
  const { tensors } = readSafetensors(path, { device: trainer.model.logit_inv_tau.device });
  const part = (prefix: string) =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, value]) =>
        name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), value]] : [],
      ),
    );
  const list = (prefix: string) => {
    const found = part(prefix);
    return Object.keys(found).map((_, i) => found[i]!);
  };
  trainer.model.loadStateDict(part('model'));
  trainer.objective.loadStateDict(part('objective'));
  trainer.optimizer.loadState({ step: facts.updates, m: list('m'), v: list('v') });
  trainer.position = { ...facts.position };
  for (const value of Object.values(tensors)) value.dispose();
}
