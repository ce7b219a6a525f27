/**
 * Why InfoNCE stops learning and InfoLOOB does not.
 *
 * Per anchor x with partner y₁ and negatives y₂ … y_N, p = softmax over all of τ⁻¹ xᵀy_j, q = softmax over the negatives:
 *
 *   ∂ℓ_LOOB/∂x = −τ⁻¹ (y₁ − Σ_{j≥2} q_j y_j),   ∂ℓ_NCE/∂x = (1 − p₁) ∂ℓ_LOOB/∂x,   ℓ_LOOB = ℓ_NCE + ln(1 − p₁).
 *
 * The direction is partner minus a Hopfield retrieval of x among the negatives, with β = τ⁻¹.
 */
import { eye, grad, randn, type Tensor } from 'hopgrad';
import { infoLoobLoss, infoNceLoss } from 'hopgrad/nn';
import { type Chapter, claim, exact, largestDifference, mean, table, unitVectors, values } from './chapter.js';

const [n, dim] = [128, 64];

/** Unit partners with xᵢᵀyᵢ = cosine exactly. */
function partners(x: Tensor, cosine: number): Tensor {
  const noise = randn([n, dim], { ...exact, seed: 2 });
  const along = noise.mul(x).sum({ axis: 1, keepDims: true });
  const across = noise.sub(x.mul(along)).l2Normalize();
  return x.mul(cosine).add(across.mul(Math.sqrt(1 - cosine ** 2)));
}

/** Rows: one anchor's own gradient, since the batch loss is a mean over anchors. */
function gradients(x: Tensor, y: Tensor, invTau: number): { nce: Tensor; loob: Tensor } {
  const nce = grad((a: Tensor) => infoNceLoss(a, y, { invTau }).mul(n))(x);
  const loob = grad((a: Tensor) => infoLoobLoss(a, y, { invTau }).mul(n))(x);
  return { nce, loob };
}

const meanNorm = (rows: Tensor) => mean(values(rows.square().sum({ axis: 1 }).sqrt()));

async function run(print: (text: string) => void): Promise<void> {
  const x = unitVectors(n, dim, 1);
  const rows: number[][] = [];
  const errors = { loob: 0, nce: 0, value: 0 };
  for (const invTau of [14.3, 30])
    for (const cosine of [0, 0.3, 0.6, 0.9]) {
      const y = partners(x, cosine);
      const { nce, loob } = gradients(x, y, invTau);
      const logits = x.matmul(y, { transposeB: true }).mul(invTau);
      const diagonal = eye(n, n, exact);
      const p1 = logits.softmax({ axis: 1 }).mul(diagonal).sum({ axis: 1, keepDims: true });
      // 1 − p₁ as a sum of the others: a difference would lose its digits where p₁ is nearly 1.
      const rest = diagonal.where(0, logits.softmax({ axis: 1 })).sum({ axis: 1, keepDims: true });
      const q = diagonal.where(-Infinity, logits).softmax({ axis: 1 });
      errors.loob = Math.max(errors.loob, largestDifference(loob, y.sub(q.matmul(y)).mul(-invTau)));
      errors.nce = Math.max(errors.nce, largestDifference(nce, loob.mul(rest)));
      const difference = infoLoobLoss(x, y, { invTau }).sub(infoNceLoss(x, y, { invTau }));
      errors.value = Math.max(errors.value, largestDifference(difference, rest.log().mean()));
      rows.push([invTau, cosine, mean(values(p1)), mean(values(rest)), meanNorm(loob), meanNorm(nce)]);
    }
  print(`N = ${n} pairs, dim ${dim}; means over anchors.\n`);
  print(claim('∂ℓ_LOOB/∂x = −τ⁻¹ (y₁ − Σ q_j y_j)', errors.loob, 1e-9));
  print(claim('∂ℓ_NCE/∂x = (1 − p₁) ∂ℓ_LOOB/∂x', errors.nce, 1e-9));
  print(claim('L_LOOB − L_NCE = mean ln(1 − p₁)', errors.value, 1e-9));
  print(`\n${table(['τ⁻¹', 'partner cosine', 'p₁', '1 − p₁', '‖∂ℓ_LOOB‖', '‖∂ℓ_NCE‖'], rows)}`);
}

export const saturation: Chapter = { title: 'Saturation: InfoNCE and InfoLOOB', run };
