/**
 * What CLOOB compares: embeddings as Hopfield memories of the batch answer them, and the cosines between the answers,
 * from the patterns themselves or from their inner products alone.
 */
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, describeValue } from '../tensor/errors.js';
import { checkPairs, hopfieldRetrieve, positive } from './hopfield.js';

/** The two sides of CLOOB's objective: each embedding as an image memory and a text memory answer it. */
export interface RetrievedPairs {
  /** U_x: images retrieved from images, [batch, dim], unit length. */
  imageFromImage: Tensor;
  /** U_y: texts answered from images. */
  imageFromText: Tensor;
  /** V_x: images answered from texts. */
  textFromImage: Tensor;
  /** V_y: texts retrieved from texts. */
  textFromText: Tensor;
}

/** Patterns that are stored beside those of the batch, such as embeddings of earlier steps; [patterns, dim] each. */
export interface StoredPatterns {
  images: Tensor;
  texts: Tensor;
}

/**
 * The four retrievals of CLOOB, with the batch itself as memory: U = images, V = texts.
 * @param beside patterns that both memories hold besides: U = [images; beside.images], V = [texts; beside.texts]
 */
export function retrievePairs(
  images: Tensor,
  texts: Tensor,
  { beta, beside }: { beta: number | Tensor; beside?: StoredPatterns | null },
): RetrievedPairs {
  const options = { beta, normalize: true };
  const [u, v] = beside ? [images.concat(beside.images), texts.concat(beside.texts)] : [images, texts];
  return {
    imageFromImage: hopfieldRetrieve(images, u, options),
    imageFromText: hopfieldRetrieve(texts, u, options),
    textFromImage: hopfieldRetrieve(images, v, options),
    textFromText: hopfieldRetrieve(texts, v, options),
  };
}

/** Cosines of retrieved patterns, [batch, batch] each: rows are anchors, columns candidates, the diagonal the pairs. */
export interface RetrievedSimilarities {
  /** cos(U_x,i, U_y,j): what the image memory answers to image i and to text j. */
  image: Tensor;
  /** cos(V_y,i, V_x,j): what the text memory answers to text i and to image j. */
  text: Tensor;
}

/** The retrieved patterns are computed and compared, or never computed: only their inner products are. */
export type RetrievalForm = 'patterns' | 'gram';

/**
 * Multiply-adds of the matrix products in CLOOB's loss of N pairs in d dimensions, gradient included (each product has
 * two in its derivative): ten of N × N × d for patterns; three of N × N × d and six of N × N × N for Gram matrices.
 * Equal at N = 7/6 d.
 */
export const retrievalOperations: Record<RetrievalForm, (n: number, d: number) => number> = {
  patterns: (n, d) => 3 * 10 * n * n * d,
  gram: (n, d) => 3 * (3 * n * n * d + 6 * n ** 3),
};

/** What it takes for the further passes over N × N to pay, by measurement: a quarter fewer operations, N ≤ ¾ d. */
const cheaper = (n: number, d: number): RetrievalForm =>
  retrievalOperations.gram(n, d) <= 0.75 * retrievalOperations.patterns(n, d) ? 'gram' : 'patterns';

/**
 * The cosines that CLOOB's loss is made of: Û_x Û_yᵀ and V̂_y V̂_xᵀ, with Û the rows of U divided by their norms.
 *
 * - **patterns**, the definition: U_x = P X, U_y = Q X with P = softmax(βXXᵀ), Q = softmax(βYXᵀ), normalized, multiplied.
 * - **gram**, the same from inner products, all in N × N: see `answersCompared`. About half the operations for
 *   N = d/2. For unit embeddings: squares of lengths are computed, so that lengths below 10⁻¹⁵ vanish.
 *
 * @param images [batch, dim] unit image embeddings; @param texts [batch, dim] unit text embeddings
 * @param form default: by counting operations, gram up to N = ¾ d
 * @throws ShapeError; DomainError for β ≤ 0
 */
export function retrievedSimilarities(
  images: Tensor,
  texts: Tensor,
  { beta, form }: { beta: number | Tensor; form?: RetrievalForm },
): RetrievedSimilarities {
  checkPairs('retrievedSimilarities', images, texts, 1);
  form ??= cheaper(images.shape[0]!, images.shape[1]!);
  if (form !== 'patterns' && form !== 'gram')
    throw new DomainError('retrievedSimilarities', {
      received: `form ${describeValue(form)}`,
      expected: 'patterns or gram',
    });
  if (form === 'patterns') {
    const pairs = retrievePairs(images, texts, { beta });
    return {
      image: pairs.imageFromImage.matmul(pairs.imageFromText, { transposeB: true }),
      text: pairs.textFromText.matmul(pairs.textFromImage, { transposeB: true }),
    };
  }
  beta = positive('retrievedSimilarities', 'beta', beta);
  const [x, y] = [offMean(images), offMean(texts)];
  const across = x.deviations.matmul(y.deviations, { transposeB: true }); // x̃_iᵀ ỹ_j serves both memories
  return {
    image: answersCompared(x, y, across.permute([1, 0]), beta),
    text: answersCompared(y, x, across, beta),
  };
}

interface OffMean {
  /** m, [dim]: a constant. */
  mean: Tensor;
  /** x̃_i = x_i − m, [batch, dim]. */
  deviations: Tensor;
}

const offMean = (x: Tensor): OffMean => {
  const mean = x.detach().mean({ axis: 0 });
  return { mean, deviations: x.sub(mean) };
};

/**
 * Cosines between the answers of a memory X to its own patterns and to the queries of the other modality, Y.
 *
 * With P = softmax(βXXᵀ), Q = softmax(βYXᵀ) and the Gram matrix G = XXᵀ:
 *
 *   U_x U_yᵀ = (PX)(QX)ᵀ = P G Qᵀ,   ‖U_x,i‖² = Σ_j (P G)_ij P_ij,   ‖U_y,i‖² = Σ_j (Q G)_ij Q_ij.
 *
 * Embeddings that nearly coincide, as those of an untrained encoder do, would leave the differences that matter to the
 * last bits of entries near 1. So everything is written with deviations x̃ = x − m from the mean, for rows of P and Q
 * sum to 1 and softmax ignores what a row has in common. With G̃ = X̃X̃ᵀ, g = X̃m, and m_y the mean of Y:
 *
 *   P = softmax_j β(G̃_ij + g_j),   Q = softmax_j β(ỹ_iᵀx̃_j + m_yᵀx̃_j),
 *   U_x U_yᵀ = ‖m‖² + Pg + (Qg)ᵀ + P G̃ Qᵀ,   ‖U_x,i‖² = ‖m‖² + 2 (Pg)_i + Σ_j (P G̃)_ij P_ij.
 *
 * This holds for every vector m, so m counts as a constant and all derivatives are those of the definition.
 *
 * @param across ỹ_iᵀ x̃_j, [batch, batch]
 */
function answersCompared(x: OffMean, y: OffMean, across: Tensor, beta: number | Tensor): Tensor {
  const column = [-1, 1];
  const gram = x.deviations.matmul(x.deviations, { transposeB: true });
  const onMean = x.deviations.matmul(x.mean.reshape(column)); // g, [batch, 1]
  const onOther = x.deviations.matmul(y.mean.reshape(column));
  const own = gram
    .add(onMean.permute([1, 0]))
    .mul(beta)
    .softmax({ axis: 1 }); // P
  const cross = across
    .add(onOther.permute([1, 0]))
    .mul(beta)
    .softmax({ axis: 1 }); // Q
  const square = x.mean.square().sum(); // ‖m‖²
  const longest = x.deviations.detach().square().sum({ axis: 1 }).max().add(square);
  const [ownGram, crossGram] = [own.matmul(gram), cross.matmul(gram)];
  const [ownMean, crossMean] = [own.matmul(onMean), cross.matmul(onMean)]; // Pg, Qg
  const inverseNorm = (weights: Tensor, product: Tensor, mean: Tensor) => {
    const squares = product.mul(weights).sum({ axis: 1, keepDims: true }).add(mean.mul(2)).add(square);
    // Patterns that cancel leave rounding, which may be below zero: there the norm is a constant, as in l2Normalize.
    const least = longest.mul(x.mean.dtype === 'float64' ? 2 ** -50 : 2 ** -21).add(1e-30);
    const short = squares.lessEqual(least);
    return short.where(least, squares).rsqrt();
  };
  return own
    .matmul(crossGram, { transposeB: true })
    .add(ownMean)
    .add(crossMean.permute([1, 0]))
    .add(square)
    .mul(inverseNorm(own, ownGram, ownMean))
    .mul(inverseNorm(cross, crossGram, crossMean).permute([1, 0]));
}
