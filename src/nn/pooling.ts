/** Pooling layers: windows of an image made one value each. */
import type { Pair } from '../autograd/ops/conv.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { checkSizes } from './layers.js';
import { Module } from './module.js';

const pair = (value: Pair): readonly [number, number] => (typeof value === 'number' ? [value, value] : value);

/** Mean over windows of [batch, channels, height, width]; see Tensor.avgPool2d. */
export class AvgPool2d extends Module {
  readonly stride: Pair;

  /** @param stride default: the window's size */
  constructor(
    readonly kernelSize: Pair,
    { stride = kernelSize }: { stride?: Pair } = {},
  ) {
    super();
    this.stride = stride;
  }

  forward(x: Tensor): Tensor {
    return x.avgPool2d({ kernel: this.kernelSize, stride: this.stride });
  }
}

/**
 * Largest value of each window of [batch, channels, height, width]; what is padded is −∞.
 *
 * y[n, c, i, j] = max over a < kernelHeight, b < kernelWidth of x[n, c, i·strideY + a − paddingY, j·strideX + b − paddingX]
 *
 * Derivative: ȳ goes to where the largest value stands; equal ones share it.
 *
 * It is composed: one pass of `maximum` for each place in the window.
 */
export class MaxPool2d extends Module {
  readonly #kernel: readonly [number, number];
  readonly #stride: readonly [number, number];
  readonly #padding: readonly [number, number];

  /**
   * @param stride  default: the window's size
   * @param padding on each side, at most half a window, default 0
   * @throws DomainError
   */
  constructor(kernelSize: Pair, { stride = kernelSize, padding = 0 }: { stride?: Pair; padding?: Pair } = {}) {
    super();
    this.#kernel = pair(kernelSize);
    this.#stride = pair(stride);
    this.#padding = pair(padding);
    const [kernelHeight, kernelWidth] = this.#kernel;
    const [strideY, strideX] = this.#stride;
    checkSizes('MaxPool2d', { kernelHeight, kernelWidth, strideY, strideX });
    this.#padding.forEach((size, axis) => {
      if (!Number.isInteger(size) || size < 0 || 2 * size > this.#kernel[axis]!)
        throw new DomainError('MaxPool2d', {
          received: `padding ${size} for a window of ${this.#kernel[axis]}`,
          expected: 'a whole number from 0 to half of the window',
        });
    });
  }

  /** @throws ShapeError unless x is [batch, channels, height, width] and holds a window */
  forward(x: Tensor): Tensor {
    const [height, width] = this.#kernel;
    const out = x.shape.slice(2).map((size, axis) => {
      const room = size + 2 * this.#padding[axis]! - this.#kernel[axis]!;
      return Math.floor(room / this.#stride[axis]!) + 1;
    }) as [number, number];
    if (x.rank !== 4 || out.some((size) => size < 1))
      throw new ShapeError('MaxPool2d', {
        received: `shape ${formatShape(x.shape)}`,
        expected: `[batch, channels, height, width] of at least ${height} × ${width}`,
      });
    // Enough after the end for every place to have `out` whole strides.
    const padded = x.pad(
      [[0, 0], [0, 0], ...this.#padding.map((size, axis) => [size, size + this.#stride[axis]!] as [number, number])],
      -Infinity,
    );
    const places = Array.from({ length: height * width }, (_, i) => [Math.floor(i / width), i % width] as const);
    return places.map((place) => this.#at(padded, place, out)).reduce((most, value) => most.maximum(value));
  }

  /** The value at one place of every window: [batch, channels, ...out]. */
  #at(x: Tensor, [top, left]: readonly [number, number], [rows, columns]: readonly [number, number]): Tensor {
    const [strideY, strideX] = this.#stride;
    const all: [number, null] = [0, null];
    const from = x.slice([all, all, [top, top + rows * strideY], [left, left + columns * strideX]]);
    const [batch, channels] = x.shape as [number, number];
    return from
      .reshape([batch, channels, rows, strideY, columns, strideX])
      .slice([all, all, all, [0, 1], all, [0, 1]])
      .reshape([batch, channels, rows, columns]);
  }
}
