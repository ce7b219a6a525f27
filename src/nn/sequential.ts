/** Layers one after the other. */
import type { Tensor } from '../autograd/tensor.js';
import { describeValue, UsageError } from '../tensor/errors.js';
import { Module } from './module.js';

/** A module of one tensor. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/**
 * Layers one after the other: y = f_n(… f_2(f_1(x))). Modules are named by their places, `0.weight`, `2.bias`, as in PyTorch;
 * functions are layers too.
 * @example new Sequential(new Linear(4, 8), new ReLU(), new Linear(8, 2), (x) => x.l2Normalize())
 */
export class Sequential extends Module {
  readonly #layers: readonly (Layer | ((x: Tensor) => Tensor))[];

  /** @throws UsageError for what is neither a module with forward() nor a function */
  constructor(...layers: (Layer | ((x: Tensor) => Tensor))[]) {
    super();
    const wrong = layers.findIndex(
      (layer) => typeof layer !== 'function' && !(layer instanceof Module && typeof layer.forward === 'function'),
    );
    if (wrong >= 0)
      throw new UsageError('Sequential', {
        received: `${describeValue(layers[wrong])} as layer ${wrong}`,
        expected: 'modules with forward(x), or functions',
      });
    this.#layers = layers;
    Object.assign(this, layers); // under their numbers, where the base finds them
  }

  /** x through all layers, the first first. */
  forward(x: Tensor): Tensor {
    return this.#layers.reduce((y, layer) => (typeof layer === 'function' ? layer(y) : layer.forward(y)), x);
  }
}

/** y = x with axes `start` (default 1) to the last made one: [batch, 3, 4] → [batch, 12]. */
export class Flatten extends Module {
  constructor(readonly start = 1) {
    super();
  }
  /** x with these axes joined. */
  forward(x: Tensor): Tensor {
    return x.reshape([...x.shape.slice(0, this.start), -1]);
  }
}
