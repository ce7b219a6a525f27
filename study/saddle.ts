/**
 * Why CLOOB starts slowly, and what centring changes.
 *
 * The embeddings of an untrained encoder nearly coincide: xᵢ = c + δ aᵢ with a small spread δ. Then:
 *
 * - InfoLOOB. Its gradient at an anchor is τ⁻¹ (Σ q_j y_j − yᵢ), a difference of candidates: of size δ.
 * - Retrieval. ξ′ = mean(X) + β C ξ + …, with C = Cov(X) of size δ². So retrieved patterns differ from one another by
 *   β C δaᵢ only: a spread of βδ³. And the Jacobian ∂ξ′/∂ξ = β C is of size βδ².
 * - CLOOB is InfoLOOB on retrieved patterns: a gradient of size βδ³ there, times βδ² on its way back: β²δ⁵.
 *
 * Nearly nothing, in other words, and what there is points along the few directions that C has: a saddle. Taking the
 * mean off before the division by the norm removes c, and with it the saddle: centred embeddings do not depend on δ.
 */
import { grad, randn, type Tensor } from 'hopgrad';
import { Center, cloobLoss } from 'hopgrad/nn';
import { exact, infoLoob, unitVectors, values } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';

const [n, dim, invTau] = [16, 12, 30];
const spreads = [0.1, 0.03, 0.01, 0.003, 0.001];

type Loss = (x: Tensor, y: Tensor) => Tensor;

const loob: Loss = (x, y) => infoLoob(x, y, invTau);
const cloob = (beta: number): Loss => {
  return (x, y) => cloobLoss(x, y, { invTau, beta });
};

/** One direction for all, and deviations of length about δ√dim from it. */
function embeddings(seed: number, spread: number): Tensor {
  return unitVectors(1, dim, seed).add(randn([n, dim], { ...exact, seed: seed + 100 }).mul(spread));
}

/** ‖∂L/∂x‖ for raw embeddings x; `prepare` stands between them and the loss. */
function gradientNorm(loss: Loss, spread: number, prepare = (t: Tensor) => t.l2Normalize()): number {
  const [x, y] = [embeddings(1, spread), embeddings(2, spread)];
  const slope = grad((t: Tensor) => loss(prepare(t), prepare(y)))(x);
  return values(slope.square().sum().sqrt())[0]!;
}

/** The exponent e of f ∝ xᵉ between two points. */
const exponent = (f: [number, number], x: [number, number]) => Math.log(f[1] / f[0]) / Math.log(x[1] / x[0]);

async function run(found: Findings): Promise<void> {
  const center = new Center(dim, exact);
  const centred = (t: Tensor) => center.forward(t).l2Normalize();
  const ends: [number, number] = [spreads.at(-1)!, spreads.at(-2)!];
  const slope = (loss: Loss) => exponent([gradientNorm(loss, ends[0]), gradientNorm(loss, ends[1])], ends);
  const inBeta = exponent([gradientNorm(cloob(4), ends[0]), gradientNorm(cloob(16), ends[0])], [4, 16]);
  const relative = (spread: number) => spread * gradientNorm(cloob(8), spread, centred);
  found.say(`N = ${n} pairs, dim ${dim}, τ⁻¹ = ${invTau}; gradients with respect to raw embeddings of spread δ.`);
  for (const [id, value] of Object.entries({ pairs: n, dim, invTau })) found.number(id, value);
  found.claim('loob', 'InfoLOOB: ‖∂L‖ ∝ δ, slope − 1', Math.abs(slope(loob) - 1), 0.02);
  found.claim('cloob', 'CLOOB: ‖∂L‖ ∝ δ⁵, slope / 5 − 1', Math.abs(slope(cloob(8)) / 5 - 1), 0.02);
  found.claim('beta', 'CLOOB: ‖∂L‖ ∝ β², slope / 2 − 1', Math.abs(inBeta / 2 - 1), 0.02);
  const apart = Math.abs(relative(1e-3) / relative(0.1) - 1);
  found.claim('centred', 'CLOOB, centred: δ ‖∂L‖ is the same for all δ', apart, 1e-9);
  const rows = spreads.map((spread) => [
    spread,
    gradientNorm(loob, spread),
    ...[4, 8, 16].map((beta) => gradientNorm(cloob(beta), spread)),
    relative(spread),
  ]);
  const header = ['δ', 'InfoLOOB', 'CLOOB, β 4', 'β 8', 'β 16', 'β 8, centred, times δ'];
  found.table('norms', 'Lengths of gradients by spread.', header, rows);
  found.number('slope', slope(cloob(8)));
  found.number('loobAtHundredth', rows[2]![1]!);
  found.number('cloobAtHundredth', rows[2]![3]!);
  const column = (of: number) => rows.map((row) => [row[0]!, row[of]!] as const);
  found.figure(
    'norms',
    'Length of the gradient against the spread of the embeddings, both logarithmic: InfoLOOB falls with slope 1, CLOOB with slope 5 for both β, centred CLOOB does not fall.',
    curves(
      [
        { label: 'centred, × δ', points: column(5) },
        { label: 'InfoLOOB', points: column(1) },
        { label: 'CLOOB β 16', points: column(4) },
        { label: 'CLOOB β 4', points: column(2) },
      ],
      {
        x: { label: 'spread δ', type: 'log', ticks: spreads, tickFormat: String },
        y: { label: 'length of the gradient', type: 'log', tickFormat: '~e', ticks: 6 },
      },
    ),
  );
}

export const saddle: Chapter = {
  name: 'saddle',
  title: 'The saddle: why CLOOB starts slowly, and centring',
  run,
};
