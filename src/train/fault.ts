/** Steps that come to numbers that are not finite: what they have moved is put back, and where it began is told. */
import { join } from 'node:path';
import { detectAnomaly } from '../autograd/anomaly.js';
import { scoped } from '../autograd/functional.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Batch } from '../data/loader.js';
import { writeSafetensors } from '../formats/safetensors.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { assign } from '../nn/module.js';
import { DomainError } from '../tensor/errors.js';
import type { Learner } from './learner.js';
import type { Objective } from './objective.js';
import type { PatternQueue } from './pattern-queue.js';
import type { RunFolder } from './run-folder.js';
import { weightsOf } from './state.js';
import type { Trainer } from './trainer.js';

/** A step that came to numbers that are not finite. Nothing has been changed by it. */
export interface Fault {
  /** Number of the step, from 1. */
  step: number;
  epoch: number;
  batch: Batch;
  /** Says where: the loss or the parameter, and the op where it began, as far as can be told. */
  error: DomainError;
}

/** What a step moves besides parameters: running statistics, of the model and of centring, and stored patterns. */
export class Statistics {
  readonly #buffers: Tensor[];
  readonly #queue: PatternQueue | null;

  constructor(model: TwoTowers, objective: Objective) {
    const modules = [model, objective];
    const trained = new Set(modules.flatMap((module) => module.parameters()).map(({ storage }) => storage));
    const all = modules.flatMap((module) => Object.values(module.stateDict()));
    this.#buffers = all.filter(({ storage }) => !trained.has(storage));
    this.#queue = objective.queue;
  }

  /** Copies of them as they are now. */
  hold(): { restore(): void; dispose(): void } {
    const before = this.#buffers.map((buffer) => buffer.clone());
    const filled = this.#queue?.filled ?? 0;
    return {
      restore: () => {
        for (const [i, buffer] of this.#buffers.entries()) assign(buffer, before[i]!);
        if (this.#queue) this.#queue.filled = filled;
      },
      dispose: () => {
        for (const held of before) held.dispose();
      },
    };
  }
}

/**
 * Writes what doing the step again needs into the run's folder not-finite: batch.safetensors with `images` and `tokens` of all ranks as the
 * model takes them, model.safetensors with the weights before the step. Those of an earlier fault are replaced.
 * @throws DataError when they cannot be written
 */
export async function writeFault(
  folder: RunFolder,
  { learner, group }: Pick<Trainer<Learner>, 'learner' | 'group'>,
  { step, batch, error }: Fault,
): Promise<void> {
  const path = folder.notFinite;
  const { image, text } = learner.inputs(batch, 'reference');
  const [images, tokens] = [group.joinRows(image), group.joinRows(text)];
  const [captions, names] = [group.gatherJson(batch.captions).flat(), group.gatherJson(batch.names).flat()];
  if (!folder.writes) return;
  folder.make(path);
  const metadata = { step: String(step), error: error.received };
  await learner.save(weightsOf(path), metadata);
  const words = { captions: JSON.stringify(captions), names: JSON.stringify(names) };
  await writeSafetensors(join(path, 'batch.safetensors'), { images, tokens }, { ...metadata, ...words });
}

/**
 * Says what is not finite, and where it began.
 * @param refusal of the optimiser, which names the parameter
 * @param again   does the step again, without the update; null where a device cannot tell op by op
 */
export function faultError(
  { loss, refusal, step }: { loss: number; refusal: DomainError | null; step: number },
  again: (() => void) | null,
): DomainError {
  const isLoss = !Number.isFinite(loss);
  const what = isLoss ? `a loss of ${loss} at step ${step}` : `${refusal!.received} at step ${step}`;
  const origin = again && originOf(again);
  return new DomainError('train', {
    received: origin ? `${what}; it began in ${origin.op}: ${origin.received}` : what,
    expected: isLoss ? 'a finite loss' : 'finite gradients',
    hint: 'Lower --lr, lengthen --warmup, or limit gradients with --max-grad-norm 1.',
    ...(refusal && { cause: refusal }),
  });
}

/** The first op that comes to something that is not finite; null when no op alone does. */
function originOf(again: () => void): DomainError | null {
  try {
    detectAnomaly(() => scoped(again));
    return null;
  } catch (error) {
    if (error instanceof DomainError) return error;
    throw error;
  }
}
