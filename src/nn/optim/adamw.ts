/** AdamW: Adam with decoupled weight decay. */

import { zeros } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import { type Storage, touch } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { add, mul } from '../../kernels/scalar.js';
import { keep } from '../../kernels/scope.js';
import { builtIn } from '../../kernels/source/identity.js';
import { flat, zipFlat } from '../../kernels/walk.js';
import { CheckpointError, DomainError, GraphError, UsageError } from '../../tensor/errors.js';
import { Parameter } from '../module.js';

/** What scales a gradient of squared norm `total` down to `most`; 1 when it is shorter. */
function clipFactor(total: number, most: number): number {
  const norm = Math.sqrt(total);
  return norm > most ? most / norm : 1;
}
builtIn({ clipFactor });

export interface AdamWOptions {
  /** Learning rate, ≥ 0. Default 1e-3. May be changed between steps (`optimizer.lr = …`). */
  lr?: number;
  /** Decay rates of the moment estimates, each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to √v̂. Default 1e-8. */
  eps?: number;
  /** λ, for parameters that want decay (see Parameter.decay; other tensors all do). Default 0.01. */
  weightDecay?: number;
  /** Scale gradients down to this L2 norm, over all parameters together, when it is larger. Default: never. */
  maxGradNorm?: number | null;
}

/** Moment estimates and the number of updates, by position: all that continuing exactly needs. */
export interface AdamWState {
  step: number;
  m: Tensor[];
  v: Tensor[];
}

/**
 * AdamW over a list of parameters. Per parameter θ with gradient g, at update t = 1, 2, …:
 *
 * m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
 * θ ← θ − η λ θ − η · m̂ / (√v̂ + ε),  m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
 *
 * | symbol | code        | range  |
 * |--------|-------------|--------|
 * | η      | lr          | ≥ 0    |
 * | β₁, β₂ | betas       | [0, 1) |
 * | ε      | eps         | ≥ 0    |
 * | λ      | weightDecay | ≥ 0    |
 *
 * Parameters are updated in place; parameters without a gradient are left alone.
 * @source Loshchilov & Hutter 2019, arXiv 1711.05101
 */
export class AdamW {
  lr: number;
  readonly parameters: readonly Tensor[];
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly maxGradNorm: number | null;
  #step = 0;
  #m: Tensor[];
  #v: Tensor[];

  /** @throws UsageError for what is no list of tracked tensors; DomainError for numbers out of range */
  constructor(
    parameters: Iterable<Tensor>,
    { lr = 1e-3, betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0.01, maxGradNorm = null }: AdamWOptions = {},
  ) {
    this.parameters = [...parameters];
    if (this.parameters.length === 0 || this.parameters.some((p) => !p?.requiresGrad))
      throw new UsageError('AdamW', {
        received: this.parameters.length === 0 ? 'no parameters' : 'a tensor without requiresGrad',
        expected: 'tensors with requiresGrad, such as model.parameters()',
      });
    const range = (name: string, value: number, ok: boolean, expected: string) => {
      if (!ok) throw new DomainError('AdamW', { received: `${name} ${value}`, expected });
    };
    range('lr', lr, lr >= 0 && Number.isFinite(lr), 'a finite number ≥ 0');
    for (const beta of betas) range('betas', beta, beta >= 0 && beta < 1, 'numbers in [0, 1)');
    range('eps', eps, eps >= 0, 'a number ≥ 0');
    range('weightDecay', weightDecay, weightDecay >= 0, 'a number ≥ 0');
    if (maxGradNorm !== null) range('maxGradNorm', maxGradNorm, maxGradNorm > 0, 'a number > 0, or null');
    this.lr = lr;
    this.betas = betas;
    this.eps = eps;
    this.weightDecay = weightDecay;
    this.maxGradNorm = maxGradNorm;
    this.#m = this.#zeros();
    this.#v = this.#zeros();
  }

  #zeros(): Tensor[] {
    return this.parameters.map(({ shape, dtype, device }) => {
      const zero = zeros(shape, { dtype, device });
      keep(zero.storage);
      return zero;
    });
  }

  /**
   * Updates every parameter that has a gradient. The update is made at once; the promise gives the event loop a
   * turn in which unused memory is returned, so await it in loops that do not use scoped().
   */
  step(): Promise<void> {
    this.#step++;
    const { device } = this.parameters[0]!.storage;
    const scale = device.synchronous ? this.#gradScale() : 1;
    const clip = device.synchronous || this.maxGradNorm === null ? null : this.#clipOnDevice(this.maxGradNorm);
    this.parameters.forEach((parameter, i) => {
      if (parameter.grad === null) return;
      const { storage } = parameter;
      const grad = clip ? clip(parameter.grad.storage) : parameter.grad.storage;
      fused(storage.device).adamW(storage, grad, this.#m[i]!.storage, this.#v[i]!.storage, {
        learningRate: this.lr,
        beta1: this.betas[0],
        beta2: this.betas[1],
        eps: this.eps,
        weightDecay: !(parameter instanceof Parameter) || parameter.decay ? this.weightDecay : 0,
        step: this.#step,
        gradScale: scale,
      });
      if (clip) grad.free();
      touch(storage);
    });
    return device.settle();
  }

  /** The global gradient norm, √Σ‖g‖²; 0 without gradients. */
  gradNorm(): number {
    const squares = this.parameters.flatMap(({ grad }): Storage[] =>
      grad ? [fused(grad.storage.device).sumSquares(grad.storage)] : [],
    );
    return Math.sqrt(squares.reduce((sum, storage) => sum + storage.device.readSync(storage)[0]!, 0));
  }

  #gradScale(): number {
    if (this.maxGradNorm === null) return 1;
    const norm = this.gradNorm();
    if (!Number.isFinite(norm))
      throw new GraphError('AdamW.step', {
        received: `a gradient norm of ${norm}`,
        expected: 'a finite gradient',
        hint: 'Find its origin with detectAnomaly(), or lower the learning rate.',
      });
    return norm > this.maxGradNorm ? this.maxGradNorm / norm : 1;
  }

  /**
   * Clipping without waiting for the norm, for devices that answer asynchronously: the factor stays on the device. What
   * is not finite then shows in the parameters, and so in the next loss, instead of an error here.
   */
  #clipOnDevice(maxNorm: number): (grad: Storage) => Storage {
    const grads = this.parameters.flatMap(({ grad }) => (grad ? [grad.storage] : []));
    const { device } = grads[0]!;
    const total = grads
      .map((grad) => fused(device).sumSquares(grad))
      .reduce((sum, squares) => zipFlat(device, add, sum, squares));
    const factor = zipFlat(device, clipFactor, total, maxNorm);
    return (grad) => device.zip(mul, [grad.size], flat(grad), { storage: factor, strides: [0] });
  }

  zeroGrad(): void {
    for (const parameter of this.parameters) parameter.grad = null;
  }

  /** What a checkpoint needs to continue exactly. The tensors share memory with the optimiser. */
  state(): AdamWState {
    return { step: this.#step, m: [...this.#m], v: [...this.#v] };
  }

  /** Continues from a saved state. @throws CheckpointError when it belongs to other parameters */
  loadState({ step, m, v }: AdamWState): void {
    for (const [name, moments] of [
      ['m', m],
      ['v', v],
    ] as const)
      if (moments.length !== this.parameters.length || moments.some((t, i) => t.size !== this.parameters[i]!.size))
        throw new CheckpointError('AdamW.loadState', {
          received: `${moments.length} moments ${name}, not all of the parameters' sizes`,
          expected: `${this.parameters.length} in the order of the parameters`,
        });
    const copy = (source: readonly Tensor[], target: Tensor[]) =>
      source.forEach((t, i) => {
        const { storage } = target[i]!;
        storage.device.copyInto(storage, t.cast(storage.dtype).to(storage.device.name).storage);
      });
    this.#step = step;
    copy(m, this.#m);
    copy(v, this.#v);
  }
}
