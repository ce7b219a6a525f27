/**
 * Losses of a batch that is spread over ranks: every rank has n of the N rows, and every anchor sees all N candidates.
 *
 * A rank computes its share of the mean over all N anchors, L_r = (1/N) Σ_{i of r} ℓ_i, so that L = Σ_r L_r. Its gradient
 * by what this rank owns is complete once backward has run on all ranks, for the gathering op adds up what the others
 * found; the gradient by parameters, which every rank has, is the sum over ranks ({@link Group.sumGradients}).
 */
import type { Tensor } from '../autograd/tensor.js';
import { checkPairs, hopfieldRetrieve, positive } from '../nn/hopfield.js';
import {
  bothWays,
  type CloobOptions,
  type ContrastiveOptions,
  infoLoobOf,
  infoNceOf,
  similarities,
} from '../nn/losses.js';
import { type RetrievedPairs, retrievedSimilarities } from '../nn/retrieved-pairs.js';
import type { Group } from './group.js';

/** Embeddings of the pairs of all ranks, [N, dim] each. */
export interface Pairs {
  images: Tensor;
  texts: Tensor;
}

/** What the loss compares on this rank: anchors of its own, [n, dim], with candidates of all, [N, dim]. */
export interface GlobalPairs extends RetrievedPairs {
  /** The column in which the partner of row 0 is: rank · n. */
  first: number;
}

/**
 * Without retrieval anchors and candidates are embeddings. With retrieval the memories hold the embeddings of all ranks; a
 * rank asks them with its own rows, and the answers that are candidates are gathered: [n, dim] → [N, dim].
 * @param own of this rank, [n, dim] each; @param all of all ranks, gathered
 * @param beta β of the memories, null without retrieval; @param beside patterns that the memories hold besides
 * @throws ShapeError, DomainError; DistributedError when ranks have different shapes
 */
export function globalPairs(
  group: Group,
  own: Pairs,
  all: Pairs,
  { beta, beside = null }: { beta: number | Tensor | null; beside?: Pairs | null },
): GlobalPairs {
  const { images, texts } = own;
  const first = group.rank * images.shape[0]!;
  if (beta === null)
    return {
      ...{ imageFromImage: images, imageFromText: all.texts, textFromText: texts, textFromImage: all.images },
      first,
    };
  const options = { beta, normalize: true };
  const memory = (which: keyof Pairs) => (beside ? all[which].concat(beside[which]) : all[which]);
  const [u, v] = [memory('images'), memory('texts')];
  return {
    imageFromImage: hopfieldRetrieve(images, u, options),
    imageFromText: group.allGather(hopfieldRetrieve(texts, u, options)),
    textFromText: hopfieldRetrieve(texts, v, options),
    textFromImage: group.allGather(hopfieldRetrieve(images, v, options)),
    first,
  };
}

/** Similarities of this rank's anchors with the candidates of all, [n, N]. */
export interface GlobalSimilarities {
  /** Images among texts, or with retrieval the image memory's answers to images among its answers to texts. */
  image: Tensor;
  /** Texts among images, or the text memory's answers. */
  text: Tensor;
  /** The column in which the partner of row 0 is: rank · n. */
  first: number;
}

/** The similarities of {@link globalPairs}. */
export const similaritiesOf = (pairs: GlobalPairs): GlobalSimilarities => ({
  image: similarities(pairs.imageFromImage, pairs.imageFromText),
  text: similarities(pairs.textFromText, pairs.textFromImage),
  first: pairs.first,
});

/**
 * The similarities that a loss of the global batch is a function of: s_ij = x_iᵀ y_j with x of this rank and y of all, or those of the
 * answers of {@link globalPairs}.
 *
 * @param images [n, dim], @param texts [n, dim]: this rank's unit embeddings
 * @param beta β of the memories, null without retrieval
 * @throws ShapeError, DomainError; DistributedError when ranks have different shapes
 */
export function globalSimilarities(
  group: Group,
  images: Tensor,
  texts: Tensor,
  beta: number | Tensor | null,
): GlobalSimilarities {
  checkPairs('globalSimilarities', images, texts, 1);
  if (group.size === 1)
    return beta === null
      ? { ...bothWays(similarities(images, texts)), first: 0 }
      : { ...retrievedSimilarities(images, texts, { beta }), first: 0 };
  const all = { images: group.allGather(images), texts: group.allGather(texts) };
  return similaritiesOf(globalPairs(group, { images, texts }, all, { beta }));
}

/**
 * This rank's share of `cloobLoss` of the whole batch: the shares of all ranks add up to it, and so do their gradients.
 * @param images [n, dim], @param texts [n, dim]: this rank's unit embeddings; N = size · n ≥ 2
 * @throws ShapeError, DomainError; DistributedError when ranks have different shapes
 * @source CLOOB, arXiv 2110.11316; the official code gathers over GPUs in the same places
 */
export function cloobLossOf(
  group: Group,
  images: Tensor,
  texts: Tensor,
  { invTau, beta, scaleByTau = true }: CloobOptions,
): Tensor {
  checkPairs('cloobLossOf', images, texts, group.size === 1 ? 2 : 1);
  invTau = positive('cloobLossOf', 'invTau', invTau);
  const { image, text, first } = globalSimilarities(group, images, texts, beta);
  const loss = infoLoobOf(image, invTau, first)
    .add(infoLoobOf(text, invTau, first))
    .div(group.size);
  return scaleByTau ? loss.div(invTau) : loss;
}

/** This rank's share of `clipLoss` of the whole batch. @throws as {@link cloobLossOf} */
export function clipLossOf(group: Group, images: Tensor, texts: Tensor, { invTau }: ContrastiveOptions): Tensor {
  invTau = positive('clipLossOf', 'invTau', invTau);
  const { image, text, first } = globalSimilarities(group, images, texts, null);
  return infoNceOf(image, invTau, first)
    .add(infoNceOf(text, invTau, first))
    .div(2 * group.size);
}
