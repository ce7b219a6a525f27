/** Optimisers that are their update equation and nothing else. */
import { noGrad } from '../../autograd/graph.js';
import { Tensor } from '../../autograd/tensor.js';
import type { Storage } from '../../kernels/device.js';
import { withScope } from '../../kernels/scope.js';
import { assign } from '../module.js';
import { type Member, type Numbers, Optimizer, type Pending } from './optimizer.js';

/** What an update equation sees of one parameter, beside the numbers of its group and what is remembered of it. */
export type Update<N extends Numbers, S extends string> = N &
  Record<S, Tensor> & {
    /** θ, as it is. */
    theta: Tensor;
    /** Its gradient, clipped. */
    g: Tensor;
    /** η, with the factor of the group. */
    lr: number;
    /** λ, 0 for a parameter that is not to decay. */
    weightDecay: number;
    /** t = 1, 2, …: how many updates this parameter has had, with this one. */
    t: number;
  };

/**
 * An optimiser whose update is written as an equation of tensors; groups, checks, clipping, counts and state come with it.
 * sgd.ts is the model for one of your own.
 * @example
 * class SignSGD extends EquationOptimizer {
 *   constructor(parameters, options) {
 *     const weightDecay = [(x) => x >= 0, 'a number ≥ 0'];
 *     super(parameters, options, { name: 'SignSGD', lr: 1e-3, numbers: { weightDecay: 0 }, ranges: { weightDecay }, slots: [] });
 *   }
 *   next({ theta, g, lr }) {
 *     return { theta: theta.sub(g.sign().mul(lr)) };
 *   }
 * }
 */
export abstract class EquationOptimizer<N extends Numbers, S extends string> extends Optimizer<N, S> {
  /** The update equation: θ and what is remembered of it, as they are after the update. */
  protected abstract next(update: Update<N, S>): Record<S | 'theta', Tensor>;

  protected override move(pending: readonly Pending<N, S>[], gradScale: number): void {
    for (const { member, grad } of pending) this.#move(member, grad, gradScale);
  }

  #move(member: Member<N, S>, grad: Storage, gradScale: number): void {
    const { parameter: theta, group, slots, updates: t } = member;
    const compute = () => {
      const raw = new Tensor(grad, theta.shape);
      const after = this.next({
        ...group,
        ...slots,
        theta: theta.detach(),
        g: gradScale === 1 ? raw : raw.mul(gradScale),
        lr: this.rateOf(member),
        weightDecay: this.decayOf(member),
        t,
      });
      for (const slot of this.slots) assign(slots[slot], after[slot]);
      assign(theta, after.theta);
    };
    const freeAll = () => false;
    withScope(() => noGrad(compute), freeAll, `${this.op}.step`);
  }
}
