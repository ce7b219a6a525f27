/** What models of pictures and words have in common: two ways into one space, and the temperature between them. */
import { noGrad } from '../../autograd/graph.js';
import type { Tensor } from '../../autograd/tensor.js';
import type { Center } from '../../nn/center.js';
import { Module, type Parameter } from '../../nn/module.js';

/** What is said of the space that both sides share. */
export interface SharedSpace {
  /** Numbers of an embedding. */
  embed_dim: number;
  /** 'batch': the batch's mean is taken off the embeddings of each side, see nn's Center. */
  center?: 'batch' | 'off';
}

/** Embeddings of both sides, temperature, and centring; what the towers are is each model's own. */
export abstract class TwoTowers extends Module {
  abstract readonly config: SharedSpace;
  /** ln τ⁻¹, one element. Trained only by those who pass `invTau()` to the loss. */
  abstract readonly logit_inv_tau: Parameter;
  /** Centring of image and of text embeddings, where the configuration says so. */
  abstract readonly image_center: Center | null;
  abstract readonly text_center: Center | null;

  /**
   * Image embeddings of a batch from what a tower that is not trained gives for each: the encoder of this model, or one from
   * elsewhere. [batch, features] → [batch, embed_dim], centred where the configuration says so, not normalised.
   */
  abstract imagesFrom(features: Tensor): Tensor;

  /** The same of texts. */
  abstract textsFrom(features: Tensor): Tensor;

  /** τ⁻¹ = exp(logit_inv_tau), one element, differentiable. */
  invTau(): Tensor {
    return this.logit_inv_tau.exp();
  }

  /** Keeps ln τ⁻¹ in [0, ln 100], as the official training does after every step. */
  clampInvTau(): void {
    const clamped = noGrad(() => this.logit_inv_tau.maximum(0).minimum(Math.log(100)));
    this.loadStateDict({ logit_inv_tau: clamped }, { strict: false });
  }
}
