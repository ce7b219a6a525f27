/**
 * What the losses say about mutual information. (X, Y) are Gaussian, each pair of components correlated by ρ, so that
 * I = −dim/2 · ln(1 − ρ²) is known, and so is the best critic ln p(y|x) − ln p(y): up to what cancels within an anchor,
 * it is a product of features, φ(x)ᵀψ(y) with φ(x) = (ρ x/(1−ρ²), 1), ψ(y) = (y, −½ρ²‖y‖²/(1−ρ²)).
 *
 *   InfoNCE:  I ≥ ln N − L_NCE, never above ln N.    InfoLOOB with this critic:  I ≤ ln(N − 1) − L_LOOB in the mean.
 *
 * With a learnt critic the second is no bound: the last table scales the critic.
 */
import { Random, type Tensor, tensor } from 'hopgrad';
import { cloobLoss, infoLoobLoss, infoNceLoss } from 'hopgrad/nn';
import { type Chapter, deviation, exact, mean, short, table, values } from './chapter.js';

const [dim, batches] = [20, 60];

/** n pairs with mutual information I, as φ(x) and ψ(y), and plain. */
function draw(information: number, n: number, random: Random) {
  const rho = Math.sqrt(1 - Math.exp((-2 * information) / dim));
  const noise = 1 - rho ** 2;
  const [phi, psi, xs, ys]: number[][][] = [[], [], [], []];
  for (let i = 0; i < n; i++) {
    const x = Array.from({ length: dim }, () => random.normal());
    const y = x.map((value) => rho * value + Math.sqrt(noise) * random.normal());
    phi!.push([...x.map((value) => (rho * value) / noise), 1]);
    psi!.push([...y, (-(rho ** 2) / (2 * noise)) * y.reduce((sum, value) => sum + value ** 2, 0)]);
    xs!.push(x);
    ys!.push(y);
  }
  const [a, b, x, y] = [phi, psi, xs, ys].map((rows) => tensor(rows!, exact));
  return { phi: a!, psi: b!, x: x!, y: y! };
}

const number = (t: Tensor) => values(t)[0]!;

function estimates(information: number, n: number, scale = 1): { nce: number[]; loob: number[] } {
  const random = new Random(31);
  const [nce, loob]: [number[], number[]] = [[], []];
  for (let batch = 0; batch < batches; batch++) {
    const { phi, psi } = draw(information, n, random);
    nce.push(Math.log(n) - number(infoNceLoss(phi, psi, { invTau: scale })));
    loob.push(Math.log(n - 1) - number(infoLoobLoss(phi, psi, { invTau: scale })));
  }
  return { nce, loob };
}

const spread = (numbers: readonly number[]) => `${mean(numbers).toFixed(2)} ± ${deviation(numbers).toFixed(2)}`;

/** Mean and deviation over batches of InfoLOOB on unit vectors, without and with Hopfield retrieval. */
function withMemory(information: number, n: number): string[] {
  const random = new Random(37);
  const [plain, retrieved]: [number[], number[]] = [[], []];
  for (let batch = 0; batch < batches; batch++) {
    const drawn = draw(information, n, random);
    const [x, y] = [drawn.x.l2Normalize(), drawn.y.l2Normalize()];
    const sides = infoLoobLoss(x, y, { invTau: 30 }).add(infoLoobLoss(y, x, { invTau: 30 }));
    plain.push(number(sides.mul(0.5)));
    retrieved.push(number(cloobLoss(x, y, { invTau: 30, beta: 8, scaleByTau: false }).mul(0.5)));
  }
  return [spread(plain), spread(retrieved)];
}

async function run(print: (text: string) => void): Promise<void> {
  print(`${dim} dimensions, the best critic; mean ± standard deviation of ${batches} batches, nats.\n`);
  const rows: (string | number)[][] = [];
  for (const information of [2, 5, 10])
    for (const n of [16, 64, 256]) {
      const { nce, loob } = estimates(information, n);
      if (Math.max(...nce) > Math.log(n)) throw new Error('InfoNCE went above ln N');
      rows.push([information, n, short(Math.log(n)), spread(nce), spread(loob)]);
    }
  print(table(['I', 'N', 'ln N', 'ln N − L_NCE', 'ln(N−1) − L_LOOB'], rows));
  print(
    '\nThe lower estimate ends at ln N and hardly varies; the upper one is loose and noisy where I is large for N.',
  );
  print('\nA critic multiplied by a factor, I = 5, N = 64: the estimate by InfoLOOB bounds nothing any more.\n');
  const scaled = [0.25, 0.5, 1, 2, 4].map((scale) => [scale, ...Object.values(estimates(5, 64, scale)).map(spread)]);
  print(table(['factor', 'ln N − L_NCE', 'ln(N−1) − L_LOOB'], scaled));
  print('\nThe loss itself on unit vectors (τ⁻¹ = 30, β = 8), mean of both sides, without training:\n');
  const memory = [2, 5, 10].flatMap((information) =>
    [16, 128].map((n) => [information, n, ...withMemory(information, n)]),
  );
  print(table(['I', 'N', 'InfoLOOB', 'InfoLOOB after retrieval'], memory));
  print(
    '\nRetrieval draws partners together, which lowers the loss where they are found at all; it does not lower the spread over batches here. A smaller variance, if there is one, must come from training with the memory.',
  );
}

export const mutualInformation: Chapter = { title: 'Mutual information: two estimates and their variance', run };
