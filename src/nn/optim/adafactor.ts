/** Adafactor: second moments of a matrix as the product of a column and a row. */
import type { Tensor } from '../../autograd/tensor.js';
import { EquationOptimizer, type Update } from './equation.js';
import { type Numbers, notNegative, type OptimizerOptions, type ParameterGroup, positive } from './optimizer.js';

interface AdafactorNumbers extends Numbers {
  decayPower: number;
  eps: number;
  leastScale: number;
  clip: number;
}

export interface AdafactorOptions extends OptimizerOptions {
  /** c: the second moment's decay rate at update t is 1 − t^(−c). Default 0.8. */
  decayPower?: number;
  /** ε₁, added to g². Default 1e-30, which vanishes in float32 for all but gradients of nearly 0. */
  eps?: number;
  /** ε₂, the least size that a parameter is taken to have. Default 1e-3. */
  leastScale?: number;
  /** d: an update of a larger root mean square is scaled down to it. Default 1. */
  clip?: number;
  /** λ, for parameters that want decay (see Parameter.decay). Default 0. */
  weightDecay?: number;
}

/**
 * Adafactor: the memory of AdamW's moments, nearly for nothing. For a matrix G of gradients, at its update t = 1, 2, …:
 *
 * β = 1 − t^(−c),  R ← β R + (1 − β) mean_columns(G² + ε₁),  C ← β C + (1 − β) mean_rows(G² + ε₁),
 * V_ij = R_i C_j / mean(R),  U = G / √V,  U ← U / max(1, RMS(U)/d),
 * θ ← θ − η λ θ − η max(ε₂, RMS(θ)) U.
 *
 * Of more than two axes the last two are the matrix. Vectors keep V ← β V + (1 − β)(g² + ε₁) whole.
 *
 * | symbol | code       | range | shape of a parameter […, rows, columns]  |
 * |--------|------------|-------|------------------------------------------|
 * | η      | lr         | ≥ 0   | the paper's ρ: default 1e-2, later 1/√t   |
 * | R      | rows       |       | […, rows, 1]; of a vector: the vector's   |
 * | C      | columns    |       | […, 1, columns]; of a vector: []          |
 * | c      | decayPower | > 0   |                                          |
 * | ε₁, ε₂ | eps, leastScale | > 0, ≥ 0 |                                   |
 * | d      | clip       | > 0   |                                          |
 *
 * @source Shazeer & Stern 2018, arXiv 1804.04235, algorithms 4 and 5, without momentum
 */
export class Adafactor extends EquationOptimizer<AdafactorNumbers, 'rows' | 'columns'> {
  /** @throws UsageError for what is no list of tracked tensors or groups of them; DomainError for numbers out of range */
  constructor(parameters: Iterable<Tensor> | Iterable<ParameterGroup<AdafactorNumbers>>, options?: AdafactorOptions) {
    super(parameters, options, {
      name: 'Adafactor',
      lr: 1e-2,
      numbers: { decayPower: 0.8, eps: 1e-30, leastScale: 1e-3, clip: 1, weightDecay: 0 },
      ranges: {
        decayPower: positive,
        eps: positive,
        leastScale: notNegative,
        clip: positive,
        weightDecay: notNegative,
      },
      slots: ['rows', 'columns'],
      shape: (slot, shape) => {
        if (shape.length < 2) return slot === 'rows' ? shape : [];
        const [rows, columns] = shape.slice(-2) as [number, number];
        return [...shape.slice(0, -2), ...(slot === 'rows' ? [rows, 1] : [1, columns])];
      },
    });
  }

  protected override next(update: Update<AdafactorNumbers, 'rows' | 'columns'>) {
    const { theta, g, lr, weightDecay, t, decayPower, eps, leastScale, clip } = update;
    const beta = 1 - t ** -decayPower;
    const squares = g.square().add(eps);
    const follow = (before: Tensor, now: Tensor) => before.mul(beta).add(now.mul(1 - beta));
    const matrix = theta.rank >= 2;
    const rows = follow(update.rows, matrix ? squares.mean({ axis: -1, keepDims: true }) : squares);
    const columns = matrix ? follow(update.columns, squares.mean({ axis: -2, keepDims: true })) : update.columns;
    // Of a product of small numbers no part may vanish: R/mean(R) is near 1.
    const v = matrix ? rows.div(rows.mean({ axis: -2, keepDims: true })).mul(columns) : rows;
    const direction = g.mul(v.rsqrt());
    const rms = (x: Tensor) => x.square().mean().sqrt();
    const step = direction.div(rms(direction).div(clip).maximum(1));
    const size = rms(theta).maximum(leastScale).mul(lr);
    return { theta: theta.mul(1 - lr * weightDecay).sub(step.mul(size)), rows, columns };
  }
}
