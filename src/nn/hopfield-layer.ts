/** A modern Hopfield network as a layer: learnt projections around the retrieval of hopfield.ts. */
import { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { hopfieldRetrieve } from './hopfield.js';
import * as init from './init.js';
import { checkSizes, Linear } from './layers.js';
import { adopt, Module, type Parameter } from './module.js';

export interface HopfieldLayerOptions extends init.Placement {
  /** Patterns that the layer stores and learns; 0 for one that is given patterns at every call. */
  patterns: number;
  /** Size of the space in which states and patterns are compared. Default: size. */
  dim?: number;
  /** Size of the result. Default: size. */
  outSize?: number;
  /** β > 0. Default 1/√dim. */
  beta?: number;
  /** β is a parameter too, as its logarithm. Default false. */
  learnBeta?: boolean;
  /** Number of updates of the state. Default 1. */
  updates?: number;
  /** Standard deviation of the stored patterns at the beginning. Default 1. */
  std?: number;
}

/**
 * Retrieval from a memory that is learnt: states and stored patterns are mapped into one space, the state is updated
 * there, and the result is mapped out.
 *
 * $$ z = W_V\,\xi',\quad \xi' = K^\top\mathrm{softmax}(\beta K \xi),\quad \xi = W_Q r,\quad K = Y W_K^\top $$
 *
 * | symbol     | code              | shape                                   |
 * |------------|-------------------|-----------------------------------------|
 * | r          | state             | […, size], each vector a query          |
 * | Y          | stored            | [patterns, size], learnt, or given      |
 * | W_Q, W_K   | toState, toPattern | [dim, size]                            |
 * | ξ, ξ′      |                   | dim values                              |
 * | W_V        | toResult          | [outSize, dim]                          |
 * | β          | beta              | > 0                                     |
 * | z          | result            | […, outSize]                            |
 *
 * With one update this is attention with keys Y W_Kᵀ and values Y W_Kᵀ W_Vᵀ, the paper's Hopfield layer; further updates
 * go on from ξ′. Stored patterns that are learnt make it a layer with a memory of its own, as a fully connected layer has.
 * Which patterns are found depends on the scale of states and patterns together with β: put a LayerNorm before it where
 * scales are unknown.
 * @source Ramsauer et al. 2021, "Hopfield networks is all you need", arXiv 2008.02217, section 3
 */
export class HopfieldLayer extends Module {
  readonly toState: Linear;
  readonly toPattern: Linear;
  readonly toResult: Linear;
  /** [patterns, size]; null when patterns are given at every call. */
  readonly stored: Parameter | null;
  /** ln β when β is learnt. */
  readonly log_beta: Parameter | null;
  readonly updates: number;
  readonly #beta: number;

  /** @throws DomainError */
  constructor(size: number, options: HopfieldLayerOptions) {
    super();
    const { patterns, dim = size, outSize = size, learnBeta = false, updates = 1, std = 1, ...placement } = options;
    const { beta = 1 / Math.sqrt(dim), ...rest } = placement;
    checkSizes('HopfieldLayer', { size, dim, outSize, updates, ...(patterns === 0 ? {} : { patterns }) });
    if (!(beta > 0 && Number.isFinite(beta)))
      throw new DomainError('HopfieldLayer', { received: `beta ${beta}`, expected: 'a finite number > 0' });
    const where = init.place(rest);
    this.toState = new Linear(size, dim, { ...where, bias: false });
    this.toPattern = new Linear(size, dim, { ...where, bias: false });
    this.toResult = new Linear(dim, outSize, { ...where, bias: false });
    this.stored = patterns === 0 ? null : adopt(init.normal([patterns, size], std, where));
    this.log_beta = learnBeta ? adopt(init.constant([], Math.log(beta), where)) : null;
    this.updates = updates;
    this.#beta = beta;
  }

  /** β as it is now: a number, or a tensor of shape [] when it is learnt. */
  get beta(): number | Tensor {
    return this.log_beta ? this.log_beta.exp() : this.#beta;
  }

  /**
   * @param stored patterns instead of the layer's own
   * @throws ShapeError; DomainError when there are no patterns
   */
  forward(state: Tensor, stored: Tensor | null = this.stored): Tensor {
    const size = this.toState.weight.shape[1]!;
    if (!(stored instanceof Tensor) || stored.shape[0] === 0)
      throw new DomainError('HopfieldLayer', {
        received: 'no stored patterns',
        expected: `forward(state, stored) with patterns [patterns, ${size}], or a layer with { patterns } of its own`,
      });
    if (state.shape.at(-1) !== size || stored.rank !== 2 || stored.shape[1] !== size)
      throw new ShapeError('HopfieldLayer', {
        received: `states ${formatShape(state.shape)} and stored patterns ${formatShape(stored.shape)}`,
        expected: `[…, ${size}] and [patterns, ${size}]`,
      });
    const queries = this.toState.forward(state.reshape([-1, size])); // [queries, dim]
    const { beta, updates } = this;
    const found = hopfieldRetrieve(queries, this.toPattern.forward(stored), { beta, updates });
    const result = this.toResult.forward(found);
    return result.reshape([...state.shape.slice(0, -1), result.shape[1]!]);
  }
}
