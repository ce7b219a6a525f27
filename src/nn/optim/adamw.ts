/** AdamW: Adam with decoupled weight decay. */

import { zeros } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import { refuseInCapture } from '../../kernels/context.js';
import { type Storage, sameDevice, touch } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { mul } from '../../kernels/scalar.js';
import { keep } from '../../kernels/scope.js';
import { flat, zipFlat } from '../../kernels/walk.js';
import { CheckpointError, DomainError, UsageError } from '../../tensor/errors.js';
import { formatShape } from '../../tensor/shape.js';
import { Parameter } from '../module.js';
import { checkFinite, checkFits, clipFactor, squaredNorms, sumsOfSquares } from './gradients.js';

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
  /** Refuse gradients with a NaN or an infinity, naming the parameter, and change nothing. Default true. */
  checkFinite?: boolean;
}

/** A parameter that has a gradient, and its place in the list. */
interface Update {
  i: number;
  parameter: Tensor;
  grad: Storage;
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
 * Parameters are updated in place; parameters without a gradient are left alone, and one that is listed twice is one.
 * @source Loshchilov & Hutter 2019, arXiv 1711.05101
 */
export class AdamW {
  lr: number;
  readonly parameters: readonly Tensor[];
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  readonly maxGradNorm: number | null;
  readonly checkFinite: boolean;
  readonly #names: readonly (string | null)[];
  #step = 0;
  #m: Tensor[];
  #v: Tensor[];

  /** @throws UsageError for what is no list of tracked tensors; DomainError for numbers out of range */
  constructor(
    parameters: Iterable<Tensor>,
    {
      lr = 1e-3,
      betas = [0.9, 0.999],
      eps = 1e-8,
      weightDecay = 0.01,
      maxGradNorm = null,
      checkFinite = true,
    }: AdamWOptions = {},
  ) {
    this.parameters = [...new Set(parameters)];
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
    this.checkFinite = checkFinite;
    this.#names = this.parameters.map((p) => (p instanceof Parameter ? p.name : null));
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
   *
   * On a device that answers asynchronously the check for finite gradients is answered with the promise: when it
   * rejects, parameters and moments are again what they were before.
   * @throws DomainError for a gradient that is not finite; DTypeError, DeviceError, ShapeError, GraphError for one that is
   *   not its parameter's. Nothing is changed then.
   */
  step(): Promise<void> {
    refuseInCapture('updates parameters, whose rate and bias correction change with every step');
    const updates = this.#updates();
    const { device } = this.parameters[0]!.storage;
    if (!device.synchronous && updates.length > 0) return this.#stepUnseen(updates);
    const { maxGradNorm: most } = this;
    const norms = this.checkFinite || most !== null ? squaredNorms(updates.map(({ grad }) => grad)) : [];
    const check = (squares: readonly number[]) =>
      this.checkFinite && checkFinite('AdamW.step', squares, (n) => this.#describe(updates[n]!));
    check(norms);
    const scale = most === null ? 1 : clipFactor(sum(norms), most);
    // The second moment is g², in the parameter's dtype.
    check(norms.map((norm, n) => (updates[n]!.grad.dtype === 'float32' ? Math.fround(norm * scale ** 2) : norm)));
    this.#step++;
    for (const update of updates) this.#move(update, update.grad, scale);
    return device.settle();
  }

  /** Parameters with gradients. @throws as step() for those that do not fit */
  #updates(): Update[] {
    return this.parameters.flatMap((parameter, i) => {
      if (parameter.grad === null) return [];
      checkFits('AdamW.step', parameter, parameter.grad);
      return { i, parameter, grad: parameter.grad.storage };
    });
  }

  #describe({ i, parameter }: Update): string {
    const place = `parameter ${i + 1} of ${this.parameters.length}, of shape ${formatShape(parameter.shape)}`;
    return this.#names[i] === null ? place : `${this.#names[i]} (${place})`;
  }

  #move({ i, parameter }: Update, grad: Storage, gradScale: number): void {
    const { storage } = parameter;
    fused(storage.device).adamW(storage, grad, this.#m[i]!.storage, this.#v[i]!.storage, {
      learningRate: this.lr,
      beta1: this.betas[0],
      beta2: this.betas[1],
      eps: this.eps,
      weightDecay: !(parameter instanceof Parameter) || parameter.decay ? this.weightDecay : 0,
      step: this.#step,
      gradScale,
    });
    touch(storage);
  }

  /** The global gradient norm, √Σ‖g‖²; 0 without gradients. For devices that can be read at once. */
  gradNorm(): number {
    return Math.sqrt(sum(squaredNorms(this.#updates().map(({ grad }) => grad))));
  }

  /**
   * A step on a device that answers asynchronously. Nothing waits: the clipping factor stays there, and what was before
   * is held (a copy costs such a device nothing) until it is known that the gradients were finite.
   */
  #stepUnseen(updates: readonly Update[]): Promise<void> {
    const grads = updates.map(({ grad }) => grad);
    const { device } = grads[0]!;
    for (const grad of grads) sameDevice('AdamW.step', device, grad.device);
    const { maxGradNorm: most } = this;
    const squares = this.checkFinite || most !== null ? sumsOfSquares(grads) : null;
    const held = this.checkFinite ? updates.flatMap(({ i, parameter }) => this.#hold(i, parameter)) : [];
    this.#step++;
    if (most === null) for (const update of updates) this.#move(update, update.grad, 1);
    else {
      const total = device.reduce('sum', squares!, 1, squares!.size, 1);
      const factor = zipFlat(device, clipFactor, total, most);
      for (const update of updates) {
        const scaled = device.zip(mul, [update.grad.size], flat(update.grad), { storage: factor, strides: [0] });
        this.#move(update, scaled, 1);
        scaled.free();
      }
      total.free();
      factor.free();
    }
    if (this.checkFinite) return this.#confirm(squares!, held, updates);
    squares?.free();
    return device.settle();
  }

  /** What a step changes, and copies of it that no scope frees. */
  #hold(i: number, parameter: Tensor): { target: Storage; before: Storage }[] {
    return [parameter, this.#m[i]!, this.#v[i]!].map(({ storage: target }) => {
      const before = target.device.cast(target, target.dtype);
      keep(before);
      return { target, before };
    });
  }

  async #confirm(
    squares: Storage,
    held: readonly { target: Storage; before: Storage }[],
    updates: readonly Update[],
  ): Promise<void> {
    const { device } = squares;
    const step = this.#step;
    keep(squares);
    try {
      checkFinite('AdamW.step', await device.read(squares), (n) => this.#describe(updates[n]!));
    } catch (error) {
      // Steps that nobody waited for may have followed: once one is undone, so are those after it.
      if (this.#step >= step) {
        for (const { target, before } of held) {
          device.copyInto(target, before);
          touch(target);
        }
        this.#step = step - 1;
      }
      throw error;
    } finally {
      squares.free();
      for (const { before } of held) before.free();
    }
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

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
