/** Adam, and AdamW: Adam with decoupled weight decay. */
import type { Tensor } from '../../autograd/tensor.js';
import type { AdamWSpec, AdamWStorages, Device } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { add, mul } from '../../kernels/scalar.js';
import { zipFlat } from '../../kernels/walk.js';
import {
  fractions,
  type Member,
  type Numbers,
  notNegative,
  Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type ParameterGroup,
  type Pending,
} from './optimizer.js';

interface AdamNumbers extends Numbers {
  betas: readonly [number, number];
  eps: number;
}

export interface AdamWOptions extends OptimizerOptions {
  /** Decay rates of the moment estimates, each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to √v̂. Default 1e-8. */
  eps?: number;
  /** λ, for parameters that want decay (see Parameter.decay; other tensors all do). Default 0.01 for AdamW, 0 for Adam. */
  weightDecay?: number;
}

/** Moment estimates and the numbers of updates, by position: all that continuing exactly needs. */
export type AdamWState = OptimizerState<'m' | 'v'>;

type AdamMember = Member<AdamNumbers, 'm' | 'v'>;
type AdamPending = Pending<AdamNumbers, 'm' | 'v'>;

/** What Adam and AdamW have in common, all but how weight decay enters. */
abstract class AdamBase extends Optimizer<AdamNumbers, 'm' | 'v'> {
  constructor(
    parameters: Iterable<Tensor> | Iterable<ParameterGroup<AdamNumbers>>,
    options: AdamWOptions | undefined,
    name: string,
    weightDecay: number,
  ) {
    super(parameters, options, {
      name,
      lr: 1e-3,
      numbers: { betas: [0.9, 0.999], eps: 1e-8, weightDecay },
      ranges: { betas: fractions, eps: notNegative, weightDecay: notNegative },
      slots: ['m', 'v'],
    });
  }

  get betas(): readonly [number, number] {
    return this.numbers.betas;
  }
  get eps(): number {
    return this.numbers.eps;
  }
  get weightDecay(): number {
    return this.numbers.weightDecay;
  }

  /** m, v and θ of all by the fused kernel, together where their numbers are the same. @param decay decoupled, λ */
  protected adam(pending: readonly AdamPending[], gradScale: number, decay: (member: AdamMember) => number): void {
    const alike = new Map<string, { device: Device; spec: AdamWSpec; all: AdamWStorages[] }>();
    for (const { member, grad } of pending) {
      const { parameter, group, slots, updates: step } = member;
      const { storage } = parameter;
      const { device, dtype } = storage;
      const [beta1, beta2] = group.betas;
      const numbers = { learningRate: this.rateOf(member), beta1, beta2, eps: group.eps, weightDecay: decay(member) };
      const spec = { ...numbers, step, gradScale };
      const key = [device.name, dtype, ...Object.values(spec)].join();
      if (!alike.has(key)) alike.set(key, { device, spec, all: [] });
      alike.get(key)!.all.push({ parameter: storage, grad, m: slots.m.storage, v: slots.v.storage });
    }
    for (const { device, spec, all } of alike.values()) fused(device).adamW(all, spec);
  }
}

/**
 * AdamW over a list of parameters, or of groups of them. Per parameter θ with gradient g, at its update t = 1, 2, …:
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
 * t counts the updates of each parameter by itself, as in PyTorch.
 * @source Loshchilov & Hutter 2019, arXiv 1711.05101
 */
export class AdamW extends AdamBase {
  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<AdamNumbers>>, options?: AdamWOptions) {
    super(parameters, options, 'AdamW', 0.01);
  }

  protected override move(pending: readonly AdamPending[], gradScale: number): void {
    this.adam(pending, gradScale, (member) => this.decayOf(member));
  }
}

/**
 * Adam: {@link AdamW} whose weight decay is part of the gradient, g ← g + λ θ, and so of both moments.
 *
 * m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,  θ ← θ − η · m̂ / (√v̂ + ε).
 * @source Kingma & Ba 2015, arXiv 1412.6980
 */
export class Adam extends AdamBase {
  /** @throws as AdamW */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<AdamNumbers>>, options?: AdamWOptions) {
    super(parameters, options, 'Adam', 0);
  }

  protected override move(pending: readonly AdamPending[], gradScale: number): void {
    const plain = pending.filter(({ member }) => this.decayOf(member) === 0);
    this.adam(plain, gradScale, () => 0);
    for (const { member, grad } of pending) {
      const decay = this.decayOf(member);
      if (decay === 0) continue;
      const { storage } = member.parameter;
      const { device } = storage;
      const [scaled, shrink] = [zipFlat(device, mul, grad, gradScale), zipFlat(device, mul, storage, decay)];
      const whole = zipFlat(device, add, scaled, shrink);
      this.adam([{ member, grad: whole }], 1, () => 0);
      for (const temporary of [scaled, shrink, whole]) temporary.free();
    }
  }
}
