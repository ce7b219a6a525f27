/** Centring: the mean of a batch is taken off its embeddings, before they are divided by their norm. */
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Across } from './across.js';
import * as init from './init.js';
import { checkSizes } from './layers.js';
import { Buffer, follow, Module } from './module.js';

/**
 * Centring of embeddings over the batch: what all of them share says nothing about any of them.
 *
 * $$ y_i = x_i - m,\qquad m = \tfrac1N\textstyle\sum_j x_j \text{ in training},\quad
 *    m = \text{the running mean in evaluation} $$
 *
 * | symbol | code         | shape        | range                                             |
 * |--------|--------------|--------------|---------------------------------------------------|
 * | x      | x            | [batch, dim] | raw embeddings, batch ≥ 2 in training             |
 * | m      | running_mean | [dim]        | moves towards each batch's mean by `momentum`     |
 * | y      | return       | [batch, dim] | sum 0 over the batch in training; not unit length |
 *
 * Derivative: x̄_i = ȳ_i − (1/N) Σ_j ȳ_j, the same projection: it is linear, symmetric and idempotent.
 *
 * Why: fresh encoders map everything to nearly one point (text: mean cosine 0.99), and a Hopfield memory answers nearly
 * equal queries with nearly equal means. With δ the spread around that point, InfoLOOB's gradient falls as δ, CLOOB's
 * as β²δ⁵, a saddle that training leaves slowly. Centred embeddings have no common part, whatever δ is.
 * `npm run study` measures it.
 */
export class Center extends Module {
  readonly running_mean: Buffer;
  readonly momentum: number;
  /** Where the batch is spread over ranks: the mean is that of all of it. */
  across: Across | null = null;

  /**
   * @param dim      size of the embeddings
   * @param momentum share of the new batch in the running mean, in [0, 1]
   * @throws DomainError
   */
  constructor(dim: number, { momentum = 0.1, ...placement }: init.Placement & { momentum?: number } = {}) {
    super();
    checkSizes('Center', { dim });
    if (!(momentum >= 0 && momentum <= 1))
      throw new DomainError('Center', { received: `momentum ${momentum}`, expected: 'a number in [0, 1]' });
    this.running_mean = new Buffer(init.constant([dim], 0, placement));
    this.momentum = momentum;
  }

  /** @throws ShapeError unless x is [batch, dim]; DomainError for a batch of one in training, whose mean is itself */
  forward(x: Tensor): Tensor {
    const [dim] = this.running_mean.shape;
    if (x.rank !== 2 || x.shape[1] !== dim)
      throw new ShapeError('Center', { received: `shape ${formatShape(x.shape)}`, expected: `[batch, ${dim}]` });
    if (!this.training) return x.sub(this.running_mean);
    if (x.shape[0]! < 2 && !this.across)
      throw new DomainError('Center', {
        received: `a batch of ${x.shape[0]} in training mode`,
        expected: 'at least 2 embeddings: the mean of one is itself',
        hint: 'Call eval() to use the running mean.',
      });
    const own = x.mean({ axis: 0, keepDims: true }); // [1, dim]
    const mean = this.across?.mean(own) ?? own;
    follow(this.running_mean, mean, this.momentum);
    return x.sub(mean);
  }
}
