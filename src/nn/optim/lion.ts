/** Lion: steps of one size, in the direction of a momentum's sign. */
import type { Tensor } from '../../autograd/tensor.js';
import { EquationOptimizer, type Update } from './equation.js';
import { fractions, type Numbers, notNegative, type OptimizerOptions, type ParameterGroup } from './optimizer.js';

interface LionNumbers extends Numbers {
  betas: readonly [number, number];
}

export interface LionOptions extends OptimizerOptions {
  /** Shares of the momentum in the direction and in the next momentum, each in [0, 1). Default [0.9, 0.99]. */
  betas?: readonly [number, number];
  /** λ, for parameters that want decay (see Parameter.decay). Default 0. */
  weightDecay?: number;
}

/**
 * Lion ("evolved sign momentum"). Per parameter θ with gradient g:
 *
 * c = β₁ m + (1 − β₁) g,  θ ← θ − η (sign(c) + λ θ),  m ← β₂ m + (1 − β₂) g.
 *
 * | symbol | code        | range  |                                                   |
 * |--------|-------------|--------|---------------------------------------------------|
 * | η      | lr          | ≥ 0    | default 1e-4; three to ten times less than AdamW's |
 * | β₁, β₂ | betas       | [0, 1) |                                                   |
 * | λ      | weightDecay | ≥ 0    | three to ten times AdamW's, as it is multiplied by η |
 *
 * @source Chen et al. 2023, "Symbolic discovery of optimization algorithms", arXiv 2302.06675
 */
export class Lion extends EquationOptimizer<LionNumbers, 'm'> {
  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<LionNumbers>>, options?: LionOptions) {
    super(parameters, options, {
      name: 'Lion',
      lr: 1e-4,
      numbers: { betas: [0.9, 0.99], weightDecay: 0 },
      ranges: { betas: fractions, weightDecay: notNegative },
      slots: ['m'],
    });
  }

  protected override next({ theta, g, m, lr, weightDecay, betas: [beta1, beta2] }: Update<LionNumbers, 'm'>) {
    const c = m.mul(beta1).add(g.mul(1 - beta1));
    return {
      theta: theta.mul(1 - lr * weightDecay).sub(c.sign().mul(lr)),
      m: m.mul(beta2).add(g.mul(1 - beta2)),
    };
  }
}
