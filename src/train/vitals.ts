/** What the embeddings of a batch look like, measured on their device, cheaply enough for every step. */
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';

/** Names of what is measured, in the order of {@link measureEmbeddings}. */
const names = [
  'pairSimilarity',
  'otherSimilarity',
  'imageSimilarity',
  'textSimilarity',
  'imageP1',
  'textP1',
  'imagePatterns',
  'textPatterns',
] as const;

/**
 * | symbol                       | code                           | is                                                                 |
 * |------------------------------|--------------------------------|--------------------------------------------------------------------|
 * | mean x_iᵀy_i                 | pairSimilarity                 | cosine of partners                                                 |
 * | mean x_iᵀy_j, i ≠ j          | otherSimilarity                | cosine of a picture and another's caption                          |
 * | mean x_iᵀx_j, mean y_iᵀy_j   | imageSimilarity, textSimilarity | cosine of two pictures, of two captions: 1 when all have collapsed |
 * | p₁                           | imageP1, textP1                | mean probability that softmax(τ⁻¹ x_iᵀY) or softmax(τ⁻¹ y_iᵀX) gives the partner |
 * | exp H(softmax(β U ξ))        | imagePatterns, textPatterns    | patterns that the memory of pictures, of captions averages, over queries ξ of both kinds; null when no memory is asked |
 *
 * All of embeddings as they are, before retrieval.
 */
export type Vitals = Record<(typeof names)[number], number | null>;

/**
 * Measures; nothing is read yet.
 * @param x [batch, dim] unit image embeddings; @param y [batch, dim] unit text embeddings
 * @param beta null when no memory is asked
 * @returns [6] or [8], for {@link readVitals}
 */
export function measureEmbeddings(
  x: Tensor,
  y: Tensor,
  { invTau, beta }: { invTau: number | Tensor; beta: number | Tensor | null },
): Tensor {
  return noGrad(() => {
    const n = x.shape[0]!;
    const partners = x.mul(y).sum({ axis: 1 }); // x_iᵀy_i
    const [sumX, sumY] = [x.sum({ axis: 0 }), y.sum({ axis: 0 })];
    // Σ_ij x_iᵀy_j is one product of sums.
    const others = (a: Tensor, b: Tensor, own: Tensor) =>
      a
        .mul(b)
        .sum()
        .sub(own.sum())
        .div(n * (n - 1));
    const cosines = x.matmul(y, { transposeB: true });
    const p1 = (axis: number) => partners.mul(invTau).sub(cosines.mul(invTau).logSumExp({ axis })).exp().mean();
    const values = [
      partners.mean(),
      others(sumX, sumY, partners),
      others(sumX, sumX, x.square().sum({ axis: 1 })),
      others(sumY, sumY, y.square().sum({ axis: 1 })),
      p1(1),
      p1(0),
    ];
    if (beta !== null) {
      const entropy = (logits: Tensor, axis: number) => {
        const p = logits.softmax({ axis });
        return logits.logSumExp({ axis }).sub(p.mul(logits).sum({ axis })).mean(); // H = ln Σ e^k − E k
      };
      const patterns = (u: Tensor, axis: number) =>
        entropy(u.matmul(u, { transposeB: true }).mul(beta), 1)
          .add(entropy(cosines.mul(beta), axis))
          .mul(0.5)
          .exp();
      values.push(patterns(x, 0), patterns(y, 1));
    }
    return concat(values.map((value) => value.reshape([1])));
  });
}

/** What was measured, by name. */
export async function readVitals(measured: Tensor): Promise<Vitals> {
  const values = await measured.data();
  measured.dispose();
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? null])) as Vitals;
}
