/** Linear, convolution and embedding layers. Weights have PyTorch's shapes, names and defaults. */

import { gather } from '../autograd/ops/gather.js';
import type { Pair } from '../autograd/ops/options.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape, sameShape, sizeOf } from '../tensor/shape.js';
import * as init from './init.js';
import { adopt, assign, Module, type Parameter } from './module.js';

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
  /** [outChannels, inChannels / groups, kernelHeight, kernelWidth] */
  readonly weight: Parameter;
  readonly bias: Parameter | null;
  readonly #options: { stride: Pair; padding: Pair; dilation: Pair; groups: number };

  constructor(
    inChannels: number,
    outChannels: number,
    kernelSize: Pair,
    {
      stride = 1,
      padding = 0,
      dilation = 1,
      groups = 1,
      bias = true,
      ...placement
    }: init.Placement & { stride?: Pair; padding?: Pair; dilation?: Pair; groups?: number; bias?: boolean } = {},
  ) {
    super();
    const [kernelHeight, kernelWidth] = typeof kernelSize === 'number' ? [kernelSize, kernelSize] : kernelSize;
    checkSizes('Conv2d', { inChannels, outChannels, kernelHeight, kernelWidth, groups });
    if (inChannels % groups !== 0 || outChannels % groups !== 0)
      throw new DomainError('Conv2d', {
        received: `${groups} groups of ${inChannels} and ${outChannels} channels`,
        expected: 'a number that divides both',
      });
    const where = init.place(placement);
    const shape = [outChannels, inChannels / groups, kernelHeight, kernelWidth];
    this.weight = adopt(init.kaimingUniform(shape, where));
    this.bias = bias ? adopt(init.fanInUniform([outChannels], sizeOf(shape.slice(1)), where)) : null;
    this.#options = { stride, padding, dilation, groups };
  }

  /** Images, [batch, channels, height, width], convolved. */
  forward(x: Tensor): Tensor {
    return x.conv2d(this.weight, { ...this.#options, bias: this.bias });
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
