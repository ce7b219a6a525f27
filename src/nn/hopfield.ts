/** Modern (continuous) Hopfield networks: an associative memory whose update rule is attention. */
import { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';

/** A positive number, or a learnt tensor with one element as a scalar. @throws DomainError for anything else */
export function positive(op: string, name: string, value: number | Tensor): number | Tensor {
  if (value instanceof Tensor ? value.size === 1 : Number.isFinite(value) && value > 0)
    return value instanceof Tensor ? value.reshape([]) : value;
  throw new DomainError(op, {
    received: `${name} ${value instanceof Tensor ? `of shape ${formatShape(value.shape)}` : value}`,
    expected: 'a positive number, or a tensor with one element',
    hint: name === 'invTau' ? 'It is the inverse of the temperature: 30 in the paper.' : 'The paper uses 8.',
  });
}

/** Embeddings of pairs: [batch, dim] twice, with at least so many pairs. @throws ShapeError, DomainError */
export function checkPairs(op: string, x: Tensor, y: Tensor, least: number): void {
  if (x.rank !== 2 || formatShape(x.shape) !== formatShape(y.shape))
    throw new ShapeError(op, {
      received: `shapes ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
      expected: '[batch, dim] twice',
    });
  if (x.shape[0]! < least)
    throw new DomainError(op, {
      received: `a batch of ${x.shape[0]}`,
      expected: `at least ${least}${least === 2 ? ', since the others in the batch are the negatives' : ''}`,
    });
}

function checkPatterns(op: string, state: Tensor, stored: Tensor): void {
  if (state.rank !== 2 || stored.rank !== 2 || state.shape[1] !== stored.shape[1])
    throw new ShapeError(op, {
      received: `state ${formatShape(state.shape)} and stored ${formatShape(stored.shape)}`,
      expected: '[queries, dim] and [patterns, dim]',
    });
  if (stored.shape[0] === 0) throw new DomainError(op, { received: 'no stored patterns', expected: 'at least one' });
}

/** How a memory is asked. */
export interface HopfieldOptions {
  /** β, the inverse temperature of the memory, > 0: small mixes all patterns, large finds the nearest. */
  beta: number | Tensor;
  /** Number of updates. Default 1, as in CLOOB. */
  updates?: number;
  /** Divide each retrieved pattern by its L2 norm, as CLOOB does. Default false. */
  normalize?: boolean;
}

/**
 * Retrieves patterns from a modern Hopfield network: the state moves to a weighted mean of what is stored.
 *
 * $$ \xi' = X \,\mathrm{softmax}(\beta X^\top \xi) $$
 *
 * | symbol | code   | shape           | range                                   |
 * |--------|--------|-----------------|-----------------------------------------|
 * | ξ      | state  | [queries, dim]  | rows are queries                        |
 * | X      | stored | [patterns, dim] | rows are patterns (columns in the paper) |
 * | β      | beta   | scalar          | > 0; CLOOB 8, other runs 14.3           |
 * | ξ′     | return | [queries, dim]  | in the convex hull of the patterns, or unit length with `normalize` |
 *
 * β → 0 gives the mean of all patterns, β → ∞ the pattern with the largest dot product; between them it averages
 * clusters. Equivalently ξ′ = mean(X) + Cov(X) ξ, with a covariance weighted by the mean Jacobian of softmax.
 * Derivative: ∂ξ′/∂ξ = β X (diag p − ppᵀ) Xᵀ, symmetric and positive semidefinite.
 *
 * @throws ShapeError, DomainError (β ≤ 0, no patterns)
 * @source Ramsauer et al. 2020, "Hopfield networks is all you need", arXiv 2008.02217; CLOOB, arXiv 2110.11316
 */
export function hopfieldRetrieve(
  state: Tensor,
  stored: Tensor,
  { beta, updates = 1, normalize = false }: HopfieldOptions,
): Tensor {
  checkPatterns('hopfieldRetrieve', state, stored);
  beta = positive('hopfieldRetrieve', 'beta', beta);
  if (!Number.isInteger(updates) || updates < 1)
    throw new DomainError('hopfieldRetrieve', { received: `updates ${updates}`, expected: 'a whole number ≥ 1' });
  let query = state;
  for (let i = 0; i < updates; i++) {
    const logits = query.matmul(stored, { transposeB: true }).mul(beta); // [queries, patterns]
    query = logits.softmax({ axis: 1 }).matmul(stored); // [queries, dim]
  }
  return normalize ? query.l2Normalize() : query;
}

/**
 * The energy that retrieval descends, one value a query.
 *
 * $$ E(\xi) = -\beta^{-1}\ln\sum_i \exp(\beta x_i^\top\xi) + \tfrac12\xi^\top\xi + \beta^{-1}\ln N + \tfrac12 M^2 $$
 *
 * N is the number of patterns and M the largest norm among them, which makes E ≥ 0. ∇E = ξ − ξ′, and
 * E(ξ′) ≤ E(ξ) for the update of {@link hopfieldRetrieve}.
 *
 * @param state  [queries, dim]
 * @param stored [patterns, dim]
 * @returns [queries]
 * @source Ramsauer et al. 2020, arXiv 2008.02217, equation 2
 */
export function hopfieldEnergy(state: Tensor, stored: Tensor, { beta }: { beta: number | Tensor }): Tensor {
  checkPatterns('hopfieldEnergy', state, stored);
  beta = positive('hopfieldEnergy', 'beta', beta);
  const lse = state.matmul(stored, { transposeB: true }).mul(beta).logSumExp({ axis: 1 }).div(beta);
  const largest = stored.square().sum({ axis: 1 }).max(); // M²
  const logCount =
    typeof beta === 'number' ? Math.log(stored.shape[0]!) / beta : beta.reciprocal().mul(Math.log(stored.shape[0]!));
  return state.square().sum({ axis: 1 }).mul(0.5).sub(lse).add(logCount).add(largest.mul(0.5));
}
