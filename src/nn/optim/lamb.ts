/** LAMB: Adam's direction, in steps as long as a share of each parameter's own norm. */
import type { Tensor } from '../../autograd/tensor.js';
import { EquationOptimizer, type Update } from './equation.js';
import { fractions, type Numbers, notNegative, type OptimizerOptions, type ParameterGroup } from './optimizer.js';

interface LambNumbers extends Numbers {
  betas: readonly [number, number];
  eps: number;
}

export interface LambOptions extends OptimizerOptions {
  /** Decay rates of the moment estimates, each in [0, 1). Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to √v̂. Default 1e-6. */
  eps?: number;
  /** λ, for parameters that want decay (see Parameter.decay). Default 0.01. */
  weightDecay?: number;
}

/**
 * LAMB, for large batches. Per parameter θ (a whole matrix or vector) with gradient g, at its update t = 1, 2, …:
 *
 * m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
 * u = m̂ / (√v̂ + ε) + λ θ,  θ ← θ − η (‖θ‖ / ‖u‖) u,  m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
 *
 * The ratio of norms is 1 where one of them is 0.
 *
 * | symbol | code        | range  |
 * |--------|-------------|--------|
 * | η      | lr          | ≥ 0    |
 * | β₁, β₂ | betas       | [0, 1) |
 * | ε      | eps         | ≥ 0    |
 * | λ      | weightDecay | ≥ 0    |
 *
 * @source You et al. 2020, "Large batch optimization for deep learning", arXiv 1904.00962, algorithm 2 with φ(z) = z
 */
export class LAMB extends EquationOptimizer<LambNumbers, 'm' | 'v'> {
  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<LambNumbers>>, options?: LambOptions) {
    super(parameters, options, {
      name: 'LAMB',
      lr: 1e-3,
      numbers: { betas: [0.9, 0.999], eps: 1e-6, weightDecay: 0.01 },
      ranges: { betas: fractions, eps: notNegative, weightDecay: notNegative },
      slots: ['m', 'v'],
    });
  }

  protected override next(update: Update<LambNumbers, 'm' | 'v'>) {
    const { theta, g, lr, weightDecay, t, eps } = update;
    const [beta1, beta2] = update.betas;
    const m = update.m.mul(beta1).add(g.mul(1 - beta1));
    const v = update.v.mul(beta2).add(g.square().mul(1 - beta2));
    const adam = m.div(1 - beta1 ** t).div(
      v
        .div(1 - beta2 ** t)
        .sqrt()
        .add(eps),
    );
    const u = adam.add(theta.mul(weightDecay));
    const norm = (x: Tensor) => x.square().sum().sqrt();
    const [ofTheta, ofU] = [norm(theta), norm(u)];
    const ratio = ofTheta.mul(ofU).greater(0).where(ofTheta.div(ofU), 1);
    return { theta: theta.sub(u.mul(ratio).mul(lr)), m, v };
  }
}
