/** The objective that options describe: a loss, on embeddings as they are or as Hopfield memories answer them. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { Group } from '../distributed/group.js';
import { globalPairs, globalSimilarities, type Pairs, similaritiesOf } from '../distributed/losses.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';
import { dclOf, infoLoobOf, infoNceOf, sigLipOf, similarities } from '../nn/losses.js';
import { Module, Parameter } from '../nn/module.js';
import type { TrainOptions } from './options.js';
import { PatternQueue } from './pattern-queue.js';

type Options = Pick<
  TrainOptions,
  'loss' | 'hopfield' | 'scaleHopfield' | 'learnableScaleHopfield' | 'initInvTau' | 'learnableInvTau' | 'memorySize'
>;

const alone = new Group();

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
   * The loss of a batch, or where it is spread over ranks the mean over this rank's pairs, each compared with those of all.
   * @param images [batch, dim] unit image embeddings; @param texts [batch, dim] unit text embeddings
   * @param retrieve whether Hopfield memories take part now
   * @param among    the ranks, and the embeddings of all their pairs
   * @throws ShapeError, DomainError of the losses
   */
  forward(
    images: Tensor,
    texts: Tensor,
    { retrieve, among = { group: alone, images, texts } }: { retrieve: boolean; among?: Pairs & { group: Group } },
  ): Tensor {
    const invTau = this.invTau();
    const { loss } = this.#options;
    const { group } = among;
    const beside = retrieve ? (this.queue?.patterns() ?? null) : null;
    const own = { images, texts };
    const pairs = () => globalPairs(group, own, among, { beta: retrieve ? this.beta() : null, beside });
    let sum: Tensor;
    if (loss === 'dcl') {
      // The negatives of its own view are embeddings, not similarities across.
      const { imageFromImage: x, imageFromText: y, textFromText: v, textFromImage: u, first } = pairs();
      const side = (a: Tensor, b: Tensor) =>
        dclOf(similarities(a, b), similarities(a, group.allGather(a)), invTau, first);
      sum = side(x, y).add(side(v, u));
    } else {
      const { image, text, first } =
        group.size > 1 || beside
          ? similaritiesOf(pairs())
          : globalSimilarities(group, images, texts, retrieve ? this.beta() : null);
      sum = this.#of(image, invTau, first).add(this.#of(text, invTau, first));
    }
    return loss === 'infoloob' || loss === 'dcl' ? sum.div(invTau) : sum.mul(0.5);
  }

  #of(s: Tensor, invTau: number | Tensor, first: number): Tensor {
    switch (this.#options.loss) {
      case 'infonce':
        return infoNceOf(s, invTau, first);
      case 'siglip':
        return sigLipOf(s, invTau, this.bias!, first);
      default:
        return infoLoobOf(s, invTau, first);
    }
  }
}
