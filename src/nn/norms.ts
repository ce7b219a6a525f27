/** Normalisation layers. Weights have PyTorch's shapes, names and defaults. */

import { noGrad } from '../autograd/graph.js';
import { batchNorm } from '../autograd/ops/batch-norm.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Across } from './across.js';
import * as init from './init.js';
import { checkSizes } from './layers.js';
import { adopt, Buffer, follow, Module, type Parameter } from './module.js';

/** Of one value a channel: the shape that broadcasts it over [batch, channels, …]. */
const perChannel = (x: Tensor) => [1, -1, ...x.shape.slice(2).map(() => 1)];

export interface BatchNormOptions extends init.Placement {
  /** Added to the variance. Default 1e-5. */
  eps?: number;
  /** Share of the new batch in the running statistics, in [0, 1]. Default 0.1. */
  momentum?: number;
  /** Initial gain of every channel. Default 1. */
  weight?: number;
}

/** What BatchNorm1d and BatchNorm2d have in common, all but the shapes they take. */
export abstract class BatchNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly running_mean: Buffer;
  readonly running_var: Buffer;
  readonly eps: number;
  readonly momentum: number;
  /** Where the batch is spread over ranks and its statistics are to be those of all of it. */
  across: Across | null = null;

  constructor(
    op: string,
    channels: number,
    { eps = 1e-5, momentum = 0.1, weight = 1, ...placement }: BatchNormOptions,
  ) {
    super();
    checkSizes(op, { channels });
    this.weight = adopt(init.constant([channels], weight, placement));
    this.bias = adopt(init.constant([channels], 0, placement));
    this.running_mean = new Buffer(init.constant([channels], 0, placement));
    this.running_var = new Buffer(init.constant([channels], 1, placement));
    this.eps = eps;
    this.momentum = momentum;
  }

  /** @param x [batch, channels, …]; at least two values per channel in training mode */
  forward(x: Tensor): Tensor {
    if (this.training && this.across) return this.#acrossParts(x, this.across);
    if (this.training)
      return batchNorm(x, this.weight, this.bias, {
        eps: this.eps,
        onStatistics: (mean, variance) => this.#observe(mean, variance, x.size),
      });
    const scale = this.weight.mul(this.running_var.add(this.eps).rsqrt());
    const shift = this.bias.sub(this.running_mean.mul(scale));
    return x.mul(scale.reshape(perChannel(x))).add(shift.reshape(perChannel(x)));
  }

  /** The definition, op by op: mean and variance come from all parts, and so do their gradients. */
  #acrossParts(x: Tensor, across: Across): Tensor {
    const axes = x.shape.map((_, axis) => axis).filter((axis) => axis !== 1);
    const meanOf = (t: Tensor) => across.mean(t.mean({ axis: axes })); // [channels]
    const mean = meanOf(x);
    const centred = x.sub(mean.reshape(perChannel(x)));
    const variance = meanOf(centred.square());
    this.#observe(mean, variance, x.size * across.size);
    const scale = variance.add(this.eps).rsqrt().mul(this.weight);
    return centred.mul(scale.reshape(perChannel(x))).add(this.bias.reshape(perChannel(x)));
  }

  #observe(mean: Tensor, variance: Tensor, size: number): void {
    const count = size / mean.size;
    noGrad(() => {
      follow(this.running_mean, mean, this.momentum);
      follow(this.running_var, variance.mul(count / (count - 1)), this.momentum);
    });
  }
}

/**
 * Batch normalisation over axis 1: y = (x − mean)/√(var + eps) · weight + bias.
 *
 * In training mode mean and (biased) variance are the batch's, and the running statistics move towards them by
 * `momentum`, the variance unbiased as in PyTorch; in evaluation mode the running statistics are used.
 * @source Ioffe & Szegedy 2015, arXiv 1502.03167
 */
export class BatchNorm2d extends BatchNorm {
  /** @throws DomainError for a number of channels below 1 */
  constructor(channels: number, options: BatchNormOptions = {}) {
    super('BatchNorm2d', channels, options);
  }
}

/** {@link BatchNorm2d} for vectors [batch, channels] and sequences [batch, channels, length]. */
export class BatchNorm1d extends BatchNorm {
  /** @throws DomainError for a number of channels below 1 */
  constructor(channels: number, options: BatchNormOptions = {}) {
    super('BatchNorm1d', channels, options);
  }

  /** @throws ShapeError for images; use BatchNorm2d */
  override forward(x: Tensor): Tensor {
    if (x.rank !== 2 && x.rank !== 3)
      throw new ShapeError('BatchNorm1d', {
        received: `shape ${formatShape(x.shape)}`,
        expected: '[batch, channels] or [batch, channels, length]',
      });
    return super.forward(x);
  }
}

/** Layer normalisation of the last axis: y = (x − mean)/√(var + eps) · weight + bias. @source arXiv 1607.06450 */
export class LayerNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly eps: number;

  constructor(size: number, { eps = 1e-5, ...placement }: init.Placement & { eps?: number } = {}) {
    super();
    checkSizes('LayerNorm', { size });
    this.weight = adopt(init.constant([size], 1, placement));
    this.bias = adopt(init.constant([size], 0, placement));
    this.eps = eps;
  }

  /** x normalised, in its shape. */
  forward(x: Tensor): Tensor {
    return x.layerNorm({ weight: this.weight, bias: this.bias, eps: this.eps });
  }
}

/**
 * Group normalisation: channels in groups, each normalised over its channels and positions, one example at a time.
 *
 * y = (x − mean)/√(var + eps) · weight + bias, x of shape [batch, channels, …], weight and bias a value a channel.
 *
 * One group is layer norm over all of an example, as many groups as channels instance norm.
 * @source Wu & He 2018, arXiv 1803.08494
 */
export class GroupNorm extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly groups: number;
  readonly eps: number;

  /** @throws DomainError when the groups do not divide the channels */
  constructor(groups: number, channels: number, { eps = 1e-5, ...placement }: init.Placement & { eps?: number } = {}) {
    super();
    checkSizes('GroupNorm', { groups, channels });
    if (channels % groups !== 0)
      throw new DomainError('GroupNorm', {
        received: `${groups} groups for ${channels} channels`,
        expected: 'a divisor of the channels',
      });
    this.weight = adopt(init.constant([channels], 1, placement));
    this.bias = adopt(init.constant([channels], 0, placement));
    this.groups = groups;
    this.eps = eps;
  }

  /** @throws ShapeError unless x is [batch, channels, …] */
  forward(x: Tensor): Tensor {
    const channels = this.weight.size;
    if (x.rank < 2 || x.shape[1] !== channels)
      throw new ShapeError('GroupNorm', {
        received: `shape ${formatShape(x.shape)}`,
        expected: `[batch, ${channels}, …]`,
      });
    const normal = x
      .reshape([x.shape[0]! * this.groups, -1])
      .layerNorm({ eps: this.eps })
      .reshape(x.shape);
    return normal.mul(this.weight.reshape(perChannel(x))).add(this.bias.reshape(perChannel(x)));
  }
}

/**
 * Root-mean-square normalisation of the last axis: y = x / √(mean(x²) + eps) · weight. Layer norm without mean and bias.
 * @source Zhang & Sennrich 2019, arXiv 1910.07467
 */
export class RMSNorm extends Module {
  readonly weight: Parameter;
  readonly eps: number;

  /** @param eps added to the mean square, default 1e-6 */
  constructor(size: number, { eps = 1e-6, ...placement }: init.Placement & { eps?: number } = {}) {
    super();
    checkSizes('RMSNorm', { size });
    this.weight = adopt(init.constant([size], 1, placement));
    this.eps = eps;
  }

  /** @throws ShapeError unless the last axis is `size` */
  forward(x: Tensor): Tensor {
    const { size } = this.weight;
    if (x.shape.at(-1) !== size)
      throw new ShapeError('RMSNorm', { received: `shape ${formatShape(x.shape)}`, expected: `[…, ${size}]` });
    return x.mul(x.square().mean({ axis: -1, keepDims: true }).add(this.eps).rsqrt()).mul(this.weight);
  }
}
