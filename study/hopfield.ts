/**
 * What a modern Hopfield memory does: it goes down an energy; small β averages everything, middle β averages clusters,
 * large β finds single patterns; and it holds very many of them.
 *
 *   E(ξ) = −β⁻¹ ln Σ exp(β xᵢᵀξ) + ½ξᵀξ + const,   ξ′ = X softmax(β Xᵀξ),   ∇E = ξ − ξ′.
 */
import { grad, randn, type Tensor } from 'hopgrad';
import { effectiveEigenvalues, retrievalEntropy } from 'hopgrad/models/cloob';
import { hopfieldEnergy, hopfieldRetrieve } from 'hopgrad/nn';
import { clusteredVectors, exact, largestDifference, mean, unitVectors, values } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';

const [patterns, dim] = [256, 32];

function energyClaims(found: Findings, stored: Tensor): void {
  let [gradientError, rise, farthest] = [0, Number.NEGATIVE_INFINITY, 0];
  for (const beta of [0.5, 4, 14.3, 50]) {
    let state = randn([20, dim], { ...exact, seed: 7 });
    const energy = (x: Tensor) => hopfieldEnergy(x, stored, { beta });
    const slope = grad((x: Tensor) => energy(x).sum())(state);
    gradientError = Math.max(
      gradientError,
      largestDifference(slope, state.sub(hopfieldRetrieve(state, stored, { beta }))),
    );
    for (let update = 0; update < 30; update++) {
      const next = hopfieldRetrieve(state, stored, { beta });
      rise = Math.max(rise, values(energy(next).sub(energy(state)).max())[0]!);
      state = next;
    }
    farthest = Math.max(farthest, values(state.square().sum({ axis: 1 }).sqrt().max())[0]!);
  }
  found.claim('gradient', '∇E = ξ − ξ′', gradientError, 1e-9);
  found.claim('descent', 'the energy never rises, 30 updates from random states', Math.max(0, rise), 1e-12);
  found.claim('hull', 'states stay in the hull of the patterns (norm above 1)', Math.max(0, farthest - 1), 1e-12);
}

function limitClaims(found: Findings, stored: Tensor): void {
  const average = stored.mean({ axis: 0, keepDims: true });
  const mixed = hopfieldRetrieve(stored, stored, { beta: 1e-9 });
  const single = hopfieldRetrieve(stored, stored, { beta: 1e4 });
  found.claim('cold', 'β → ∞ gives the stored pattern itself', largestDifference(single, stored), 1e-9);
  const apart = largestDifference(mixed, average.expand(mixed.shape));
  found.claim('hot', 'β → 0 gives the mean of all patterns', apart, 1e-8);
}

async function sweep(stored: Tensor): Promise<(string | number)[][]> {
  const rows: (string | number)[][] = [['before', '', '', '', (await effectiveEigenvalues(stored)).count]];
  for (const beta of [1, 4, 8, 14.3, 30]) {
    const weights = stored.matmul(stored, { transposeB: true }).mul(beta).softmax({ axis: 1 });
    const retrieved = hopfieldRetrieve(stored, stored, { beta, normalize: true });
    const { effectivePatterns } = await retrievalEntropy(stored, stored, { beta });
    rows.push([
      String(beta),
      mean(values(weights.max({ axis: 1 }))),
      effectivePatterns,
      mean(values(retrieved.mul(stored).sum({ axis: 1 }))),
      (await effectiveEigenvalues(retrieved)).count,
    ]);
  }
  return rows;
}

/** Share of patterns that a noisy version finds in one update, up to 0.1 in every component. */
function shareFound(count: number, size: number, beta: number, noise: number): number {
  const stored = unitVectors(count, size, 11);
  const query = stored.add(unitVectors(count, size, 12).mul(noise));
  const distance = hopfieldRetrieve(query, stored, { beta }).sub(stored).square().sum({ axis: 1 }).sqrt();
  return mean(values(distance).map((d) => Number(d < 0.1)));
}

/** The energy of a random state while it is updated, less its last value. */
function descent(stored: Tensor, beta: number): [number, number][] {
  let state = randn([1, dim], { ...exact, seed: 9 }).l2Normalize();
  const energies: number[] = [];
  for (let update = 0; update <= 8; update++) {
    energies.push(values(hopfieldEnergy(state, stored, { beta }))[0]!);
    state = hopfieldRetrieve(state, stored, { beta });
  }
  return energies.map((energy, update) => [update, energy - energies.at(-1)!]);
}

async function run(found: Findings): Promise<void> {
  const even = unitVectors(patterns, dim, 3);
  const clustered = clusteredVectors(patterns, dim, 16, 0.5, 4);
  energyClaims(found, even);
  limitClaims(found, even);
  const header = ['β', 'largest weight', 'effective patterns', 'cosine with the query', 'effective eigenvalues'];
  const [inEven, inClusters] = [await sweep(even), await sweep(clustered)];
  found.table(
    'even',
    `${patterns} patterns in ${dim} dimensions retrieve themselves; random directions:`,
    header,
    inEven,
  );
  found.table('clusters', 'The same number in 16 clusters of 16:', header, inClusters);
  found.number('mixedAt8', inClusters[3]![2]!);
  found.number('mixedEvenAt8', inEven[3]![2]!);
  found.number('eigenvaluesBefore', inClusters[0]![4]!);
  found.number('eigenvaluesAt4', inClusters[2]![4]!);
  found.say(
    'One retrieval at small β mixes and so lowers the number of effective eigenvalues; at large β it changes nothing. More covariance structure after training is a property of learning with the memory, not of one retrieval.',
  );
  const betas = [0.5, 1, 2, 3, 4, 6, 8, 10, 12, 14.3, 18, 22, 30];
  const effective = async (stored: Tensor) => {
    const points: [number, number][] = [];
    for (const beta of betas) points.push([beta, (await retrievalEntropy(stored, stored, { beta })).effectivePatterns]);
    return points;
  };
  found.figure(
    'regimes',
    'Number of patterns that take part in a retrieval against β, both logarithmic. Random directions fall from 256 to 1 between β 4 and 15; clustered ones fall slower, through 16, the size of a cluster, near β 8.',
    curves(
      [
        { label: 'random', points: await effective(even) },
        { label: '16 clusters', points: await effective(clustered) },
      ],
      {
        x: { label: 'β', type: 'log', base: 2, ticks: [0.5, 1, 2, 4, 8, 16, 30], tickFormat: String },
        y: { label: 'effective patterns', type: 'log', base: 2, ticks: [1, 4, 16, 64, 256], tickFormat: String },
      },
    ),
  );
  found.figure(
    'descent',
    'Energy above its final value over the updates, for three β: it falls at every step, at β 4 and 8 nearly all of it at the first; at β 14.3 the state lingers between patterns before it falls to one.',
    curves(
      [4, 8, 14.3].map((beta) => ({ label: `β ${beta}`, points: descent(clustered, beta) })),
      { height: 280, x: { label: 'updates', ticks: 8 }, y: { label: 'energy above the last' } },
    ),
  );
  const [sizes, counts] = [
    [4, 8, 16, 32],
    [16, 64, 256, 1024],
  ];
  const capacity = counts.map((count) => [count, ...sizes.map((size) => shareFound(count, size, 50, 0.6))]);
  const caption = 'Share of random unit patterns found (distance below 0.1) from a query 0.6 away, β = 50:';
  found.table('capacity', caption, ['patterns', ...sizes.map((size) => `dim ${size}`)], capacity);
  found.figure(
    'capacity',
    'Share of patterns found against their number, a curve for each dimension: in four dimensions it falls at once, in 32 all of 1024 are found.',
    curves(
      sizes.map((size, column) => ({
        label: `dim ${size}`,
        points: capacity.map((row) => [row[0]!, row[column + 1]!] as const),
      })),
      {
        height: 280,
        x: { label: 'patterns', type: 'log', base: 2, ticks: counts, tickFormat: String },
        y: { label: 'share found', domain: [0, 1] },
      },
    ),
  );
}

export const hopfield: Chapter = {
  name: 'hopfield',
  title: 'The Hopfield memory: energy, regimes of β, storage',
  run,
};
