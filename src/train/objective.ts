/** The objective that options describe: a loss, on embeddings as they are or as Hopfield memories answer them. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { bothWays, dclLoss, infoLoobOf, infoNceOf, sigLipOf, similarities } from '../nn/losses.js';
import { Module, Parameter } from '../nn/module.js';
import { type RetrievedSimilarities, retrievedSimilarities, retrievePairs } from '../nn/retrieved-pairs.js';
import type { TrainOptions } from './options.js';
import { PatternQueue } from './pattern-queue.js';

type Options = Pick<
  TrainOptions,
  'loss' | 'hopfield' | 'scaleHopfield' | 'learnableScaleHopfield' | 'initInvTau' | 'learnableInvTau' | 'memorySize'
>;

/**
 * Loss × Hopfield. With embeddings X, Y of a batch and, with retrieval, U_x, U_y, V_x, V_y of both memories:
 *
 * | loss     | without retrieval                | with retrieval                               | factor        |
 * |----------|----------------------------------|----------------------------------------------|---------------|
 * | infoloob | L(X, Y) + L(Y, X)                | L(U_x, U_y) + L(V_y, V_x): CLOOB             | τ             |
 * | dcl      | the same                         | the same                                     | τ             |
 * | infonce  | L(X, Y) + L(Y, X): CLIP          | the same                                     | ½             |
 * | siglip   | the same                         | the same                                     | ½             |
 *
 * The factors are those of the official code for CLOOB and CLIP; τ inside the gradient of a learnt temperature too.
 * The parameters here are those that belong to no encoder: ln β when it is learnt, and SigLIP's bias.
 */
export class Objective extends Module {
  /** ln β. */
  readonly log_beta: Parameter | null;
  /** SigLIP's bias, −10 at first: most pairs do not belong together. */
  readonly bias: Parameter | null;
  /** Pairs of earlier steps that the memories hold besides. */
  readonly queue: PatternQueue | null;
  readonly #options: Options;
  readonly #model: TwoTowers;

  constructor(options: Options, model: TwoTowers) {
    super();
    const { device, dtype } = model.logit_inv_tau;
    const scalar = (value: number) => new Parameter(tensor([value], { device, dtype }), { decay: false });
    this.#options = options;
    this.#model = model;
    this.log_beta = options.hopfield && options.learnableScaleHopfield ? scalar(Math.log(options.scaleHopfield)) : null;
    this.queue =
      options.memorySize > 0 ? new PatternQueue(options.memorySize, model.config.embed_dim, { device, dtype }) : null;
    this.bias = options.loss === 'siglip' ? scalar(-10) : null;
  }

  /** τ⁻¹: a number, or the model's learnt one. */
  invTau(): number | Tensor {
    return this.#options.learnableInvTau ? this.#model.invTau() : this.#options.initInvTau;
  }

  /** β: a number, or the learnt one. */
  beta(): number | Tensor {
    return this.log_beta ? this.log_beta.exp() : this.#options.scaleHopfield;
  }

  /**
   * The loss of a batch.
   * @param images [batch, dim] unit image embeddings; @param texts [batch, dim] unit text embeddings
   * @param retrieve whether Hopfield memories take part now
   * @throws ShapeError, DomainError of the losses
   */
  forward(images: Tensor, texts: Tensor, { retrieve }: { retrieve: boolean }): Tensor {
    const invTau = this.invTau();
    const { loss } = this.#options;
    let sum: Tensor;
    if (loss === 'dcl') {
      // The negatives of its own view are embeddings, not similarities across.
      const [x, y, v, u] = retrieve ? this.#retrieved(images, texts) : [images, texts, texts, images];
      sum = dclLoss(x, y, { invTau }).add(dclLoss(v, u, { invTau }));
    } else {
      const { image, text } = this.#similarities(images, texts, retrieve);
      sum = this.#of(image, invTau).add(this.#of(text, invTau));
    }
    return loss === 'infoloob' || loss === 'dcl' ? sum.div(invTau) : sum.mul(0.5);
  }

  /** U_x, U_y, V_y, V_x: anchors and candidates of the image side, then those of the text side. */
  #retrieved(images: Tensor, texts: Tensor): [Tensor, Tensor, Tensor, Tensor] {
    const beside = this.queue?.patterns() ?? null;
    const pairs = retrievePairs(images, texts, { beta: this.beta(), beside });
    return [pairs.imageFromImage, pairs.imageFromText, pairs.textFromText, pairs.textFromImage];
  }

  #similarities(images: Tensor, texts: Tensor, retrieve: boolean): RetrievedSimilarities {
    if (!retrieve) return bothWays(similarities(images, texts));
    if (!this.queue?.patterns()) return retrievedSimilarities(images, texts, { beta: this.beta() });
    const [x, y, v, u] = this.#retrieved(images, texts);
    return { image: similarities(x, y), text: similarities(v, u) };
  }

  #of(s: Tensor, invTau: number | Tensor): Tensor {
    switch (this.#options.loss) {
      case 'infonce':
        return infoNceOf(s, invTau);
      case 'siglip':
        return sigLipOf(s, invTau, this.bias!);
      default:
        return infoLoobOf(s, invTau);
    }
  }
}
