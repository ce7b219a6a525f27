/** Pooling layers: windows of an image made one value each. */
import type { Pair } from '../autograd/ops/options.js';
import type { Tensor } from '../autograd/tensor.js';
import { maxPool2d, maxPoolWindows } from '../functions/pooling.js';
import { ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { Module } from './module.js';

/** Mean over windows of [batch, channels, height, width]; see Tensor.avgPool2d. */
export class AvgPool2d extends Module {
  readonly #options: { stride: Pair; padding: Pair; countPadding: boolean };

  /**
   * @param stride  default: the window's size
   * @param padding zeros on each side, at most half a window, default 0; `countPadding: false` leaves them out of the mean
   */
  constructor(
    readonly kernelSize: Pair,
    {
      stride = kernelSize,
      padding = 0,
      countPadding = true,
    }: { stride?: Pair; padding?: Pair; countPadding?: boolean } = {},
  ) {
    super();
    this.#options = { stride, padding, countPadding };
  }

  get stride(): Pair {
    return this.#options.stride;
  }

  /** Images, [batch, channels, height, width], pooled. */
  forward(x: Tensor): Tensor {
    return x.avgPool2d({ kernel: this.kernelSize, ...this.#options });
  }
}

/**
 * Largest value of each window of [batch, channels, height, width]; what is padded is −∞. See {@link maxPool2d}.
 *
 * y[n, c, i, j] = max over a < kernelHeight, b < kernelWidth of x[n, c, i·strideY + a − paddingY, j·strideX + b − paddingX]
 *
 * Derivative: ȳ goes to where the largest value stands; of equal ones to the first.
 */
export class MaxPool2d extends Module {
  readonly #options: { kernel: Pair; stride: Pair; padding: Pair };

  /**
   * @param stride  default: the window's size
   * @param padding on each side, at most half a window, default 0
   * @throws DomainError
   */
  constructor(kernelSize: Pair, { stride = kernelSize, padding = 0 }: { stride?: Pair; padding?: Pair } = {}) {
    super();
    this.#options = { kernel: kernelSize, stride, padding };
    maxPoolWindows('MaxPool2d', this.#options);
  }

  /** @throws ShapeError unless x is [batch, channels, height, width] and holds a window */
  forward(x: Tensor): Tensor {
    if (x.rank !== 4)
      throw new ShapeError('MaxPool2d', {
        received: `shape ${formatShape(x.shape)}`,
        expected: '[batch, channels, height, width]',
      });
    return maxPool2d(x, this.#options);
  }
}
