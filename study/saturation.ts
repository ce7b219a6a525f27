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
import { exact, largestDifference, mean, unitVectors, values } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';

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

/** 1 − p₁ of every anchor as a sum of the others, [N, 1]: a difference would lose its digits where p₁ is nearly 1. */
function others(p: Tensor): Tensor {
  return eye(n, n, exact).where(0, p).sum({ axis: 1, keepDims: true });
}

/** How well the partners are found and how much is learnt from them, at one τ⁻¹ and one cosine. */
function measure(x: Tensor, invTau: number, cosine: number) {
  const y = partners(x, cosine);
  const { nce, loob } = gradients(x, y, invTau);
  const p = x.matmul(y, { transposeB: true }).mul(invTau).softmax({ axis: 1 });
  const rest = others(p);
  return {
    y,
    nce,
    loob,
    p1: mean(values(rest).map((share) => 1 - share)),
    rest,
    norms: [meanNorm(loob), meanNorm(nce)],
  };
}

/** The closed forms against what automatic differentiation gives. */
function errors(x: Tensor, invTau: number, cosine: number) {
  const { y, nce, loob, rest } = measure(x, invTau, cosine);
  const logits = x.matmul(y, { transposeB: true }).mul(invTau);
  const q = eye(n, n, exact).where(-Infinity, logits).softmax({ axis: 1 });
  const difference = infoLoobLoss(x, y, { invTau }).sub(infoNceLoss(x, y, { invTau }));
  return {
    loob: largestDifference(loob, y.sub(q.matmul(y)).mul(-invTau)),
    nce: largestDifference(nce, loob.mul(rest)),
    value: largestDifference(difference, rest.log().mean()),
  };
}

async function run(found: Findings): Promise<void> {
  const x = unitVectors(n, dim, 1);
  const settings = [14.3, 30].flatMap((invTau) => [0, 0.3, 0.6, 0.9].map((cosine) => [invTau, cosine] as const));
  const all = settings.map(([invTau, cosine]) => errors(x, invTau, cosine));
  const largest = (name: 'loob' | 'nce' | 'value') => Math.max(...all.map((one) => one[name]));
  found.say(`N = ${n} pairs, dim ${dim}; means over anchors.`);
  found.number('pairs', n);
  found.number('dim', dim);
  found.claim('loob', '∂ℓ_LOOB/∂x = −τ⁻¹ (y₁ − Σ q_j y_j)', largest('loob'), 1e-9);
  found.claim('nce', '∂ℓ_NCE/∂x = (1 − p₁) ∂ℓ_LOOB/∂x', largest('nce'), 1e-9);
  found.claim('value', 'L_LOOB − L_NCE = mean ln(1 − p₁)', largest('value'), 1e-9);
  const rows = settings.map(([invTau, cosine]) => {
    const { p1, rest, norms } = measure(x, invTau, cosine);
    return [invTau, cosine, p1, mean(values(rest)), ...norms];
  });
  const header = ['τ⁻¹', 'partner cosine', 'p₁', '1 − p₁', '‖∂ℓ_LOOB‖', '‖∂ℓ_NCE‖'];
  found.table('gradients', 'Lengths of both gradients, by how alike partners are.', header, rows);
  const [, , , , loob, nce] = rows.at(-2)!;
  found.number('loobAt06', loob!);
  found.number('nceAt06', nce!);
  found.number('ratioAt06', Math.round(loob! / nce!));
  found.number('p1At06', rows.at(-2)![2]!);

  const cosines = Array.from({ length: 20 }, (_, i) => i * 0.05);
  const sweep = (invTau: number) => cosines.map((cosine) => ({ cosine, ...measure(x, invTau, cosine) }));
  const swept = [14.3, 30].map((invTau) => ({ invTau, points: sweep(invTau) }));
  found.figure(
    'norms',
    'Length of the gradient at one anchor against the cosine with its partner, logarithmic: InfoLOOB stays between 10 and 40, InfoNCE falls by orders of magnitude once the partner is nearest.',
    curves(
      swept.flatMap(({ invTau, points }) => [
        { label: `LOOB ${invTau}`, points: points.map(({ cosine, norms }) => [cosine, norms[0]!] as const) },
        { label: `NCE ${invTau}`, points: points.map(({ cosine, norms }) => [cosine, norms[1]!] as const) },
      ]),
      {
        x: { label: 'cosine with the partner' },
        y: { label: 'length of the gradient', type: 'log', tickFormat: '~e' },
      },
      { dots: false },
    ),
  );
  found.figure(
    'found',
    'Share p₁ of the softmax that the partner takes, against its cosine: an S-shaped rise from 0 to 1, earlier and steeper for the larger inverse temperature.',
    curves(
      swept.map(({ invTau, points }) => ({
        label: `τ⁻¹ ${invTau}`,
        points: points.map(({ cosine, p1 }) => [cosine, p1] as const),
      })),
      { height: 260, x: { label: 'cosine with the partner' }, y: { label: 'p₁', domain: [0, 1] } },
    ),
  );
}

export const saturation: Chapter = { name: 'saturation', title: 'Saturation: InfoNCE and InfoLOOB', run };
