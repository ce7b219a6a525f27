/** Averages of weights over the steps of a training. */
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { keep, withScope } from '../kernels/scope.js';
import { CheckpointError, DomainError, UsageError } from '../tensor/errors.js';
import { assign, checkState, type Module, type Parameter } from './module.js';

/** How slowly an average follows. */
export interface AverageOptions {
  /** d, the share of the average that stays at each update, in [0, 1). Default 0.999. */
  decay?: number;
  /** Begin with a smaller d, (1 + t)/(10 + t) at update t = 1, 2, …, until that passes `decay`. Default true. */
  warmup?: boolean;
}

/**
 * An exponential moving average of a model's parameters: what the weights have been lately, with the noise of single
 * steps averaged out.
 *
 * $$ \bar\theta \leftarrow d\,\bar\theta + (1 - d)\,\theta $$
 *
 * Call `update()` after every step of the optimiser, and `use()` to evaluate or save with the averages in the model's place.
 * Buffers (running statistics) are not averaged: they are averages already.
 * @source Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the warm-up is TensorFlow's
 */
export class ExponentialMovingAverage {
  readonly model: Module;
  readonly decay: number;
  readonly warmup: boolean;
  /** Updates so far. */
  updates = 0;
  readonly #averages: Map<string, { parameter: Parameter; average: Tensor }>;
  #inUse = false;

  /** The average begins with the weights as they are. @throws DomainError for a decay outside [0, 1) */
  constructor(model: Module, { decay = 0.999, warmup = true }: AverageOptions = {}) {
    if (!(decay >= 0 && decay < 1))
      throw new DomainError('ExponentialMovingAverage', { received: `decay ${decay}`, expected: 'a number in [0, 1)' });
    this.model = model;
    this.decay = decay;
    this.warmup = warmup;
    this.#averages = new Map(
      model.namedParameters().map(([name, parameter]) => {
        const average = parameter.detach().clone();
        keep(average.storage);
        return [name, { parameter, average }];
      }),
    );
  }

  /** What is averaged, how often so far, and how slowly. */
  toString(): string {
    const { updates, decay, model } = this;
    return `ExponentialMovingAverage of ${model.constructor.name}: ${updates} ${updates === 1 ? 'update' : 'updates'}, decay ${decay}`;
  }

  /**
   * Moves the averages towards the weights as they are now.
   * @throws UsageError inside use(), where the weights are the averages
   */
  update(): void {
    if (this.#inUse)
      throw new UsageError('ExponentialMovingAverage.update', {
        received: 'a call inside use()',
        expected: 'the trained weights in the model',
        hint: 'Train outside of use(), evaluate inside.',
      });
    this.updates++;
    const t = this.updates;
    const decay = this.warmup ? Math.min(this.decay, (1 + t) / (10 + t)) : this.decay;
    const freeAll = () => false;
    const move = () => {
      // θ̄ + (1 − d)(θ − θ̄): what is equal, such as frozen weights, stays equal to the bit.
      for (const { parameter, average } of this.#averages.values())
        assign(average, average.add(parameter.sub(average).mul(1 - decay)));
    };
    withScope(() => noGrad(move), freeAll, 'ExponentialMovingAverage.update');
  }

  /**
   * Runs `body` with the averages as the model's weights; those of the training are back afterwards, also when it fails.
   * @example await ema.use(() => evaluate(model))
   * @throws UsageError inside another use()
   */
  async use<T>(body: () => T | Promise<T>): Promise<T> {
    if (this.#inUse)
      throw new UsageError('ExponentialMovingAverage.use', {
        received: 'use() inside use()',
        expected: 'one at a time',
      });
    this.#inUse = true;
    this.#exchange();
    try {
      return await body();
    } finally {
      this.#exchange();
      this.#inUse = false;
    }
  }

  #exchange(): void {
    for (const { parameter, average } of this.#averages.values()) {
      const trained = parameter.detach().clone();
      assign(parameter, average);
      assign(average, trained);
      trained.dispose();
    }
  }

  /**
   * What continuing exactly needs: the number of updates, and the averages by the names of the parameters. The tensors
   * share memory with this object.
   * @throws UsageError inside use()
   */
  state(): { updates: number; averages: Record<string, Tensor> } {
    if (this.#inUse)
      throw new UsageError('ExponentialMovingAverage.state', {
        received: 'a call inside use()',
        expected: 'the averages in their own place',
      });
    const entries = [...this.#averages].map(([name, { average }]) => [name, average]);
    return { updates: this.updates, averages: Object.fromEntries(entries) };
  }

  /** Continues from a saved state. @throws CheckpointError when it belongs to another model; nothing is changed then */
  loadState({ updates, averages }: { updates: number; averages: Record<string, Tensor> }): void {
    const op = 'ExponentialMovingAverage.loadState';
    const shapes = (entries: Iterable<[string, Tensor]>) => new Map([...entries].map(([name, t]) => [name, t.shape]));
    const own = [...this.#averages].map(([name, { average }]): [string, Tensor] => [name, average]);
    checkState(op, shapes(own), shapes(Object.entries(averages)), { strict: true });
    if (!(Number.isSafeInteger(updates) && updates >= 0))
      throw new CheckpointError(op, { received: `${updates} updates`, expected: 'a whole number ≥ 0' });
    this.updates = updates;
    for (const [name, average] of own) assign(average, averages[name]!);
  }
}
