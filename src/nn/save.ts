/** A training in one file: the model, and all that going on with it needs. */
import type { Tensor } from '../autograd/tensor.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { context } from '../kernels/context.js';
import { CheckpointError, DomainError } from '../tensor/errors.js';
import { Random, type RandomState } from '../tensor/random.js';
import type { ExponentialMovingAverage } from './average.js';
import { checkState, type Module } from './module.js';
import type { Optimizer, OptimizerState } from './optim/optimizer.js';

/** What {@link save} and {@link load} take: a model, and what else there is of a training. */
export interface Training {
  model: Module;
  optimizer?: Optimizer;
  average?: ExponentialMovingAverage;
}

/** What a file says besides its tensors. */
interface Facts {
  version: 1;
  step: number;
  /** Of the stream that manualSeed() restarts. */
  random: RandomState;
  optimizer?: { step: number; steps: number[] };
  average?: { updates: number };
}

const key = 'hopgrad save';

/**
 * Writes a model, its optimiser, an average of its weights and the number of the step into one safetensors file, whole or
 * not at all. Weights are `model.NAME`, what the optimiser remembers `optimizer.SLOT.PLACE`, averages `average.NAME`. In the
 * metadata: the step, counts of updates, and where the stream of random numbers stands.
 *
 * The learning rate and other options are not in it: they are the program's.
 * @example await save('run.safetensors', { model, optimizer, step })
 * @throws DataError when the file cannot be written; DomainError for a step that is no whole number ≥ 0
 */
export async function save(
  path: string,
  { model, optimizer, average, step = 0 }: Training & { step?: number },
): Promise<void> {
  if (!(Number.isSafeInteger(step) && step >= 0))
    throw new DomainError('save', { received: `step ${step}`, expected: 'a whole number ≥ 0' });
  const facts: Facts = { version: 1, step, random: context.random.state };
  const tensors: Record<string, Tensor> = {};
  const put = (prefix: string, values: Record<string, Tensor> | readonly Tensor[]) => {
    for (const [name, value] of Object.entries(values)) tensors[`${prefix}.${name}`] = value;
  };
  put('model', model.stateDict());
  if (optimizer) {
    const { step, steps, ...slots } = optimizer.state();
    facts.optimizer = { step, steps };
    for (const [slot, values] of Object.entries(slots as Record<string, Tensor[]>)) put(`optimizer.${slot}`, values);
  }
  if (average) {
    const { updates, averages } = average.state();
    facts.average = { updates };
    put('average', averages);
  }
  await writeSafetensors(path, tensors, { [key]: JSON.stringify(facts) });
}

/**
 * Reads what {@link save} wrote into a model, and into an optimiser and an average where these are given. With an optimiser,
 * the training goes on as if it had never stopped, to the bit: random numbers continue where they stood as well.
 *
 * @param source a path, or the bytes of a file
 * @returns the number of the step
 * @throws DataError for a file that cannot be read; CheckpointError for one that is not of this model, or does not have
 *   what is asked for. Nothing is changed then
 */
export function load(
  source: string | URL | Uint8Array | ArrayBuffer,
  { model, optimizer, average }: Training,
): { step: number } {
  const { tensors, metadata } = readSafetensors(source, { device: 'reference' });
  const facts = factsOf(metadata[key]);
  const part = (prefix: string) =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, value]) =>
        name.startsWith(`${prefix}.`) ? [[name.slice(prefix.length + 1), value]] : [],
      ),
    );
  const weights = part('model');
  // All that can be refused first: a file that fits in part must not be loaded in part.
  checkState('load', shapes(model.stateDict()), shapes(weights), { strict: true });
  const averages = part('average');
  if (average) {
    if (!facts.average) throw lacks('average of weights');
    checkState('load', shapes(average.state().averages), shapes(averages), { strict: true });
  }
  if (optimizer) {
    if (!facts.optimizer) throw lacks('optimiser');
    const { step: _, steps: __, ...slots } = optimizer.state();
    const lists = Object.keys(slots).map((slot) => [slot, listOf(part(`optimizer.${slot}`))]);
    optimizer.loadState({ ...facts.optimizer, ...Object.fromEntries(lists) } as OptimizerState);
    context.random = Random.fromState(facts.random);
  }
  if (average && facts.average) average.loadState({ ...facts.average, averages });
  model.loadStateDict(weights);
  for (const value of Object.values(tensors)) value.dispose();
  return { step: facts.step };
}

const shapes = (tensors: Record<string, Tensor>) =>
  new Map(Object.entries(tensors).map(([name, { shape }]) => [name, shape]));

const listOf = (byPlace: Record<string, Tensor>) => Object.keys(byPlace).flatMap((_, i) => byPlace[i] ?? []);

function factsOf(text: string | undefined): Facts {
  const facts = parsed(text) as Partial<Facts> | null;
  const count = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 0;
  if (
    facts?.version === 1 &&
    count(facts.step) &&
    facts.random &&
    [facts.random.seed, facts.random.stream, facts.random.position].every(count)
  )
    return facts as Facts;
  throw new CheckpointError('load', {
    received:
      text === undefined
        ? 'a file that save() did not write'
        : 'a file whose metadata are damaged or of another version',
    expected: 'what save() writes',
    hint: 'For weights alone use loadStateDict(readSafetensors(path).tensors).',
  });
}

function parsed(text = 'null'): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function lacks(what: string): CheckpointError {
  return new CheckpointError('load', {
    received: `a file without an ${what}`,
    expected: 'one that was saved with it',
    hint: 'Leave it out here, or start anew from the weights.',
  });
}
