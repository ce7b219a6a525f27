/**
 * What a modern Hopfield memory does: it goes down an energy; small β averages everything, middle β averages clusters,
 * large β finds single patterns; and it holds very many of them.
 *
 *   E(ξ) = −β⁻¹ ln Σ exp(β xᵢᵀξ) + ½ξᵀξ + const,   ξ′ = X softmax(β Xᵀξ),   ∇E = ξ − ξ′.
 */
import { grad, randn, type Tensor } from 'hopgrad';
import { effectiveEigenvalues, retrievalEntropy } from 'hopgrad/models/cloob';
import { hopfieldEnergy, hopfieldRetrieve } from 'hopgrad/nn';
import {
  type Chapter,
  claim,
  clusteredVectors,
  exact,
  largestDifference,
  mean,
  table,
  unitVectors,
  values,
} from './chapter.js';

const [patterns, dim] = [256, 32];

function energyClaims(stored: Tensor): string[] {
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
  return [
    claim('∇E = ξ − ξ′', gradientError, 1e-9),
    claim('the energy never rises, 30 updates from random states', Math.max(0, rise), 1e-12),
    claim('states stay in the hull of the patterns (norm above 1)', Math.max(0, farthest - 1), 1e-12),
  ];
}

function limitClaims(stored: Tensor): string[] {
  const average = stored.mean({ axis: 0, keepDims: true });
  const mixed = hopfieldRetrieve(stored, stored, { beta: 1e-9 });
  const single = hopfieldRetrieve(stored, stored, { beta: 1e4 });
  return [
    claim('β → 0 gives the mean of all patterns', largestDifference(mixed, average.expand(mixed.shape)), 1e-8),
    claim('β → ∞ gives the stored pattern itself', largestDifference(single, stored), 1e-9),
  ];
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
function found(count: number, size: number, beta: number, noise: number): number {
  const stored = unitVectors(count, size, 11);
  const query = stored.add(unitVectors(count, size, 12).mul(noise));
  const distance = hopfieldRetrieve(query, stored, { beta }).sub(stored).square().sum({ axis: 1 }).sqrt();
  return mean(values(distance).map((d) => Number(d < 0.1)));
}

async function run(print: (text: string) => void): Promise<void> {
  const even = unitVectors(patterns, dim, 3);
  const clustered = clusteredVectors(patterns, dim, 16, 0.5, 4);
  for (const line of [...energyClaims(even), ...limitClaims(even)]) print(line);
  const header = ['β', 'largest weight', 'effective patterns', 'cosine with the query', 'effective eigenvalues'];
  print(`\n${patterns} patterns in ${dim} dimensions retrieve themselves; random directions:\n`);
  print(table(header, await sweep(even)));
  print('\nThe same number in 16 clusters of 16:\n');
  print(table(header, await sweep(clustered)));
  print(
    '\nOne retrieval at small β mixes and so lowers the number of effective eigenvalues; at large β it changes nothing. More covariance structure after training is a property of learning with the memory, not of one retrieval.',
  );
  print('\nShare of random unit patterns found (distance below 0.1) from a query 0.6 away, β = 50:\n');
  const sizes = [4, 8, 16, 32];
  print(
    table(
      ['patterns', ...sizes.map((size) => `dim ${size}`)],
      [16, 64, 256, 1024].map((count) => [count, ...sizes.map((size) => found(count, size, 50, 0.6))]),
    ),
  );
}

export const hopfield: Chapter = { title: 'The Hopfield memory: energy, regimes of β, storage', run };
