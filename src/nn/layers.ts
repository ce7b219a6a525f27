/** Linear, convolution, normalisation and embedding layers. Weights have PyTorch's shapes, names and defaults. */

import { noGrad } from '../autograd/graph.js';
import { batchNorm } from '../autograd/ops/batch-norm.js';
import type { Pair } from '../autograd/ops/conv.js';
import { gather } from '../autograd/ops/gather.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape, sameShape, sizeOf } from '../tensor/shape.js';
import * as init from './init.js';
import { adopt, assign, Buffer, follow, Module, type Parameter } from './module.js';

/** @throws DomainError unless every value is a whole number ≥ 1 */
export function checkSizes(op: string, sizes: Record<string, number>): void {
  for (const [name, size] of Object.entries(sizes))
    if (!Number.isInteger(size) || size < 1)
      throw new DomainError(op, { received: `${name} ${size}`, expected: 'a whole number ≥ 1' });
}

/**
 * Affine map of the last axis: y = x Wᵀ + b.
 *
 * | symbol | code   | shape                     |
 * |--------|--------|---------------------------|
 * | x      | input  | […, inFeatures]           |
 * | W      | weight | [outFeatures, inFeatures] |
 * | b      | bias   | [outFeatures]             |
 */
export class Linear extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter | null;

  /**
   * @param weight initial weight, copied; also says dtype and device unless these are given
   * @param std    N(0, std²) as initial weight; default PyTorch's
   * @throws ShapeError for a weight that is not [outFeatures, inFeatures]; DomainError for sizes below 1
   */
  constructor(
    inFeatures: number,
    outFeatures: number,
    { bias = true, weight, std, ...placement }: init.Placement & { bias?: boolean; weight?: Tensor; std?: number } = {},
  ) {
    super();
    checkSizes('Linear', { inFeatures, outFeatures });
    const where = init.place({ ...(weight && { dtype: weight.dtype, device: weight.device }), ...placement });
    const shape = [outFeatures, inFeatures];
    if (weight && !sameShape(weight.shape, shape))
      throw new ShapeError('Linear', {
        received: `a weight of shape ${formatShape(weight.shape)}`,
        expected: `[outFeatures, inFeatures] = ${formatShape(shape)}`,
      });
    this.weight = adopt(
      weight
        ? init.constant(shape, 0, where)
        : std === undefined
          ? init.kaimingUniform(shape, where)
          : init.normal(shape, std, where),
    );
    if (weight) assign(this.weight, weight);
    this.bias = bias ? adopt(init.fanInUniform([outFeatures], inFeatures, where)) : null;
  }

  /** @throws ShapeError when the last axis is not inFeatures */
  forward(x: Tensor): Tensor {
    return linear(x, this.weight, this.bias);
  }
}

/** y = x Wᵀ + b over the last axis; W is [outFeatures, inFeatures]. */
export function linear(x: Tensor, weight: Tensor, bias: Tensor | null): Tensor {
  const y =
    x.rank === 1
      ? x.unsqueeze(0).matmul(weight, { transposeB: true }).squeeze(0)
      : x.matmul(weight, { transposeB: true });
  return bias ? y.add(bias) : y;
}

/** Two-dimensional convolution of [batch, inChannels, height, width]; see Tensor.conv2d for the equation. */
export class Conv2d extends Module {
  /** [outChannels, inChannels, kernelHeight, kernelWidth] */
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly #options: { stride: Pair; padding: Pair };

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    {
      stride = 1,
      padding = 0,
      bias = true,
      ...placement
    }: init.Placement & { stride?: Pair; padding?: Pair; bias?: boolean } = {},
  ) {
    super();
    const [kernelHeight, kernelWidth] = typeof kernelSize === 'number' ? [kernelSize, kernelSize] : kernelSize;
    checkSizes('Conv2d', { inChannels, outChannels, kernelHeight, kernelWidth });
    const where = init.place(placement);
    const shape = [outChannels, inChannels, kernelHeight, kernelWidth];
    this.weight = adopt(init.kaimingUniform(shape, where));
    this.bias = bias ? adopt(init.fanInUniform([outChannels], sizeOf(shape.slice(1)), where)) : null;
    this.#options = { stride, padding };
  }

  forward(x: Tensor): Tensor {
    return x.conv2d(this.weight, { ...this.#options, bias: this.bias });
  }
}

/**
 * Batch normalisation over axis 1: y = (x − mean)/√(var + eps) · weight + bias.
 *
 * In training mode mean and (biased) variance are the batch's, and the running statistics move towards them by
 * `momentum`, the variance unbiased as in PyTorch; in evaluation mode the running statistics are used.
 * @source Ioffe & Szegedy 2015, arXiv 1502.03167
 */
export class BatchNorm2d extends Module {
  readonly weight: Parameter;
  readonly bias: Parameter;
  readonly running_mean: Buffer;
  readonly running_var: Buffer;
  readonly eps: number;
  readonly momentum: number;

  /**
   * @param eps      added to the variance
   * @param momentum share of the new batch in the running statistics, in [0, 1]
   * @param weight   initial gain of every channel, default 1
   */
  constructor(
    channels: number,
    {
      eps = 1e-5,
      momentum = 0.1,
      weight = 1,
      ...placement
    }: init.Placement & { eps?: number; momentum?: number; weight?: number } = {},
  ) {
    super();
    checkSizes('BatchNorm2d', { channels });
    this.weight = adopt(init.constant([channels], weight, placement));
    this.bias = adopt(init.constant([channels], 0, placement));
    this.running_mean = new Buffer(init.constant([channels], 0, placement));
    this.running_var = new Buffer(init.constant([channels], 1, placement));
    this.eps = eps;
    this.momentum = momentum;
  }

  /** @param x [batch, channels, …]; at least two values per channel in training mode */
  forward(x: Tensor): Tensor {
    if (this.training)
      return batchNorm(x, this.weight, this.bias, {
        eps: this.eps,
        onStatistics: (mean, variance) => this.#observe(mean, variance, x.size),
      });
    const perChannel = [1, -1, ...x.shape.slice(2).map(() => 1)];
    const scale = this.weight.mul(this.running_var.add(this.eps).rsqrt());
    const shift = this.bias.sub(this.running_mean.mul(scale));
    return x.mul(scale.reshape(perChannel)).add(shift.reshape(perChannel));
  }

  #observe(mean: Tensor, variance: Tensor, size: number): void {
    const count = size / mean.size;
    noGrad(() => {
      follow(this.running_mean, mean, this.momentum);
      follow(this.running_var, variance.mul(count / (count - 1)), this.momentum);
    });
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

  forward(x: Tensor): Tensor {
    return x.layerNorm({ weight: this.weight, bias: this.bias, eps: this.eps });
  }
}

/** A table of vectors: int32 indices of any shape → [...shape, dim]. Begins as N(0, std²), std 1 by default. */
export class Embedding extends Module {
  /** [count, dim] */
  readonly weight: Parameter;

  constructor(count: number, dim: number, { std = 1, ...placement }: init.Placement & { std?: number } = {}) {
    super();
    checkSizes('Embedding', { count, dim });
    this.weight = adopt(init.normal([count, dim], std, init.place(placement)));
  }

  /** @throws DomainError for an index outside [0, count), DTypeError for indices that are not int32 */
  forward(indices: Tensor): Tensor {
    return gather(this.weight, indices);
  }
}

/** @throws ShapeError unless x is [batch, tokens, width] */
export function checkTokens(op: string, x: Tensor, width: number): void {
  if (x.rank !== 3 || x.shape[2] !== width)
    throw new ShapeError(op, { received: `shape ${formatShape(x.shape)}`, expected: `[batch, tokens, ${width}]` });
}
