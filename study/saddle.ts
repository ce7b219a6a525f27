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
import { Center, cloobLoss, infoLoobLoss } from 'hopgrad/nn';
import { type Chapter, claim, exact, table, unitVectors, values } from './chapter.js';

const [n, dim, invTau] = [16, 12, 30];
const spreads = [0.1, 0.03, 0.01, 0.003, 0.001];

type Loss = (x: Tensor, y: Tensor) => Tensor;

/** InfoLOOB both ways, on the scale of CLOOB's loss. */
const infoLoob: Loss = (x, y) =>
  infoLoobLoss(x, y, { invTau })
    .add(infoLoobLoss(y, x, { invTau }))
    .div(invTau);
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

async function run(print: (text: string) => void): Promise<void> {
  const center = new Center(dim, exact);
  const centred = (t: Tensor) => center.forward(t).l2Normalize();
  const ends: [number, number] = [spreads.at(-1)!, spreads.at(-2)!];
  const slope = (loss: Loss) => exponent([gradientNorm(loss, ends[0]), gradientNorm(loss, ends[1])], ends);
  const inBeta = exponent([gradientNorm(cloob(4), ends[0]), gradientNorm(cloob(16), ends[0])], [4, 16]);
  const relative = (spread: number) => spread * gradientNorm(cloob(8), spread, centred);
  print(`N = ${n} pairs, dim ${dim}, τ⁻¹ = ${invTau}; gradients with respect to raw embeddings of spread δ.\n`);
  print(claim('InfoLOOB: ‖∂L‖ ∝ δ, slope − 1', Math.abs(slope(infoLoob) - 1), 0.02));
  print(claim('CLOOB: ‖∂L‖ ∝ δ⁵, slope / 5 − 1', Math.abs(slope(cloob(8)) / 5 - 1), 0.02));
  print(claim('CLOOB: ‖∂L‖ ∝ β², slope / 2 − 1', Math.abs(inBeta / 2 - 1), 0.02));
  print(claim('CLOOB, centred: δ ‖∂L‖ is the same for all δ', Math.abs(relative(1e-3) / relative(0.1) - 1), 1e-9));
  const rows = spreads.map((spread) => [
    spread,
    gradientNorm(infoLoob, spread),
    ...[4, 8, 16].map((beta) => gradientNorm(cloob(beta), spread)),
    relative(spread),
  ]);
  const header = ['δ', 'InfoLOOB', 'CLOOB, β 4', 'β 8', 'β 16', 'β 8, centred, times δ'];
  print(`\n${table(header, rows)}`);
}

export const saddle: Chapter = { title: 'The saddle: why CLOOB starts slowly, and centring', run };
