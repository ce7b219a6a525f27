/** Embeddings as pairs that were trained on answer them: CLOOB's own retrieval, at evaluation. */
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { checkPairs, hopfieldRetrieve } from '../nn/hopfield.js';
import type { StoredPatterns } from '../nn/retrieved-pairs.js';

/** Unit embeddings of pairs, row i of one belonging to row i of the other, and how sharply they answer. */
export interface PairMemory extends StoredPatterns {
  /** β > 0. */
  beta: number;
}

/**
 * What CLOOB's loss compares, with stored pairs in the place of the batch's:
 *
 * $$ z \mapsto \tfrac{1}{\sqrt2}\,[\hat U(z), \hat V(z)], \qquad U(z) = X^\top \mathrm{softmax}(\beta X z), \quad V(z) = Y^\top \mathrm{softmax}(\beta Y z) $$
 *
 * so that the dot product of a picture's answer and a text's is the mean of the two cosines of the loss,
 * ½ (Û_xᵀ Û_y + V̂_yᵀ V̂_x).
 *
 * | symbol | code       | shape           |                              |
 * |--------|------------|-----------------|------------------------------|
 * | z      | embeddings | [rows, dim]     | of pictures or texts, unit   |
 * | X      | images     | [patterns, dim] | stored pictures, unit        |
 * | Y      | texts      | [patterns, dim] | their texts, unit            |
 * | β      | beta       | scalar          | > 0                          |
 * |        | return     | [rows, 2 · dim] | unit                         |
 *
 * Without gradient, `chunk` rows at a time: memory is chunk × patterns.
 * @throws ShapeError, DomainError (β ≤ 0, no patterns)
 * @source equations 4 to 7 of CLOOB, arXiv 2110.11316, where the stored patterns are those of the batch
 */
export function retrievedEmbeddings(
  embeddings: Tensor,
  { images, texts, beta }: PairMemory,
  { chunk = 256 }: { chunk?: number } = {},
): Tensor {
  checkPairs('retrievedEmbeddings', images, texts, 1);
  const answered = (rows: Tensor) => {
    const answers = [images, texts].map((stored) => hopfieldRetrieve(rows, stored, { beta, normalize: true }));
    return concat(answers, { axis: 1 }).mul(Math.SQRT1_2);
  };
  return noGrad(() =>
    scoped(() => {
      const n = embeddings.shape[0]!;
      const starts = Array.from({ length: Math.max(1, Math.ceil(n / chunk)) }, (_, i) => i * chunk);
      return concat(
        starts.map((start) => scoped(() => answered(embeddings.slice([[start, Math.min(n, start + chunk)]])))),
      );
    }),
  );
}
