/** Stochastic gradient descent. */
import type { Tensor } from '../../autograd/tensor.js';
import { EquationOptimizer, type Update } from './equation.js';
import {
  fraction,
  type Numbers,
  notNegative,
  type OptimizerOptions,
  type ParameterGroup,
  yesOrNo,
} from './optimizer.js';

interface SGDNumbers extends Numbers {
  momentum: number;
  nesterov: boolean;
}

export interface SGDOptions extends OptimizerOptions {
  /** μ, the share of the last direction that stays, in [0, 1). Default 0: none. */
  momentum?: number;
  /** Look ahead along the new direction. Default false. */
  nesterov?: boolean;
  /** λ, an L2 penalty ½ λ ‖θ‖² on parameters that want decay (see Parameter.decay). Default 0. */
  weightDecay?: number;
}

/**
 * Stochastic gradient descent with momentum. Per parameter θ with gradient g:
 *
 * g ← g + λ θ,  u ← μ u + g,  θ ← θ − η u, with Nesterov's momentum θ ← θ − η (g + μ u).
 *
 * | symbol | code        | range  |
 * |--------|-------------|--------|
 * | η      | lr          | ≥ 0    |
 * | μ      | momentum    | [0, 1) |
 * | λ      | weightDecay | ≥ 0    |
 *
 * Definitions are PyTorch's (no dampening).
 * @source Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"
 */
export class SGD extends EquationOptimizer<SGDNumbers, 'u'> {
  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<SGDNumbers>>, options?: SGDOptions) {
    super(parameters, options, {
      name: 'SGD',
      lr: 1e-2,
      numbers: { momentum: 0, nesterov: false, weightDecay: 0 },
      ranges: { momentum: fraction, nesterov: yesOrNo, weightDecay: notNegative },
      slots: ['u'],
    });
  }

  protected override next({ theta, g, u, lr, weightDecay, momentum, nesterov }: Update<SGDNumbers, 'u'>) {
    const gradient = weightDecay === 0 ? g : g.add(theta.mul(weightDecay));
    const direction = momentum === 0 ? gradient : u.mul(momentum).add(gradient);
    const ahead = nesterov ? gradient.add(direction.mul(momentum)) : direction;
    return { theta: theta.sub(ahead.mul(lr)), u: direction };
  }
}
