/** A layer of one's own for others to use: gated linear units. */
import type { Tensor } from 'hopgrad';
import { Linear, Module } from 'hopgrad/nn';

/**
 * y = (x Aᵀ + a) ⊙ σ(x Bᵀ + b).
 * @source Dauphin et al. 2017, arXiv 1612.08083
 */
export class GatedLinear extends Module {
  readonly value: Linear;
  readonly gate: Linear;

  constructor(inFeatures: number, outFeatures: number) {
    super();
    this.value = new Linear(inFeatures, outFeatures);
    this.gate = new Linear(inFeatures, outFeatures);
  }

  /** @param x [..., inFeatures] @returns [..., outFeatures] */
  forward(x: Tensor): Tensor {
    return this.value.forward(x).mul(this.gate.forward(x).sigmoid());
  }
}
