/** One anchor, its positive and N − 1 negatives: both losses and what they pull with, as hopgrad computes them. */
import { Random, scoped, tensor } from 'hopgrad';
import { infoLoobOf, infoNceOf } from '#src/nn/losses.js';

/** Cosines of the negatives with the anchor: the same ones for every N, so that a larger N only adds to them. */
export function negatives(count: number): number[] {
  const random = new Random(7);
  return Array.from({ length: count }, () => Math.max(-0.95, Math.min(0.6, 0.1 + 0.2 * random.normal())));
}

export interface Pull {
  /** Share of the positive in the softmax over all candidates. */
  p: number;
  nce: number;
  loob: number;
  /** ∂L/∂s of each candidate, the positive first. */
  nceGradient: number[];
  loobGradient: number[];
}

/** @param cosine of the positive; @param others of the negatives, at least one; @param invTau τ⁻¹ */
export function pull(cosine: number, others: readonly number[], invTau: number): Pull {
  return scoped(() => {
    const cosines = [[cosine, ...others]];
    const of = (loss: typeof infoNceOf) => {
      const s = tensor(cosines, { requiresGrad: true }); // [1, N]: the partner of the one anchor is column 0
      const value = loss(s, invTau);
      value.backward();
      return { value: value.dataSync()[0]!, gradient: [...s.grad!.dataSync()] };
    };
    const [nce, loob] = [of(infoNceOf), of(infoLoobOf)];
    const p = tensor(cosines).mul(invTau).softmax({ axis: 1 }).dataSync()[0]!;
    return { p, nce: nce.value, loob: loob.value, nceGradient: nce.gradient, loobGradient: loob.gradient };
  });
}
