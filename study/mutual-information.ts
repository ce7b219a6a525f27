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
import { deviation, exact, mean, values } from './chapter.js';
import { curves } from './figure.js';
import { type Chapter, type Findings, short } from './record.js';

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

async function run(found: Findings): Promise<void> {
  found.say(`${dim} dimensions, the best critic; mean ± standard deviation of ${batches} batches, nats.`);
  found.number('dim', dim);
  found.number('batches', batches);
  const [informations, sizes] = [
    [2, 5, 10],
    [16, 64, 256],
  ];
  const cells = informations.flatMap((information) =>
    sizes.map((n) => ({ information, n, ...estimates(information, n) })),
  );
  const above = Math.max(...cells.map(({ n, nce }) => Math.max(...nce) - Math.log(n)));
  found.claim('ceiling', 'ln N − L_NCE is never above ln N', Math.max(0, above), 1e-12);
  found.table(
    'estimates',
    'Both estimates with the best critic.',
    ['I', 'N', 'ln N', 'ln N − L_NCE', 'ln(N−1) − L_LOOB'],
    cells.map(({ information, n, nce, loob }) => [information, n, short(Math.log(n)), spread(nce), spread(loob)]),
  );
  found.number('loobAtTen', mean(cells.at(-1)!.loob));
  found.number('nceAtTen', mean(cells.at(-1)!.nce));
  found.number('spreadLoob', deviation(cells.at(-1)!.loob));
  found.number('spreadNce', deviation(cells.at(-1)!.nce));
  const ofTen = cells.filter(({ information }) => information === 10);
  const line = (of: (cell: (typeof cells)[number]) => number) => ofTen.map((cell) => [cell.n, of(cell)] as const);
  found.figure(
    'estimates',
    'Estimates of 10 nats against the number of pairs: InfoNCE stays at ln N below, InfoLOOB comes down from 20 towards 10 from above.',
    curves(
      [
        { label: 'InfoLOOB', points: line(({ loob }) => mean(loob)) },
        { label: 'InfoNCE', points: line(({ nce }) => mean(nce)) },
        { label: 'ln N', points: line(({ n }) => Math.log(n)) },
        { label: 'true I', points: line(({ information }) => information) },
      ],
      {
        x: { label: 'pairs N', type: 'log', base: 2, ticks: sizes, tickFormat: String },
        y: { label: 'nats', domain: [0, 20] },
      },
    ),
  );
  found.say(
    'The lower estimate ends at ln N and hardly varies; the upper one is loose and noisy where I is large for N.',
  );
  const scaled = [0.25, 0.5, 1, 2, 4].map((scale) => ({ scale, ...estimates(5, 64, scale) }));
  found.table(
    'scaled',
    'A critic multiplied by a factor, I = 5, N = 64: the estimate by InfoLOOB bounds nothing any more.',
    ['factor', 'ln N − L_NCE', 'ln(N−1) − L_LOOB'],
    scaled.map(({ scale, nce, loob }) => [scale, spread(nce), spread(loob)]),
  );
  found.number('scaledLow', mean(scaled[1]!.loob));
  found.number('scaledHigh', mean(scaled[3]!.loob));
  found.table(
    'memory',
    'The loss itself on unit vectors (τ⁻¹ = 30, β = 8), mean of both sides, without training:',
    ['I', 'N', 'InfoLOOB', 'InfoLOOB after retrieval'],
    informations.flatMap((information) => [16, 128].map((n) => [information, n, ...withMemory(information, n)])),
  );
  found.say(
    'Retrieval draws partners together, which lowers the loss where they are found at all; it does not lower the spread over batches here. A smaller variance, if there is one, must come from training with the memory.',
  );
}

export const mutualInformation: Chapter = {
  name: 'mutual-information',
  title: 'Mutual information: two estimates and their variance',
  run,
};
