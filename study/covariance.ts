/**
 * Retrieval as mean plus covariance. With the mean Jacobian of softmax,
 * Jᵐ(a) = ∫₀¹ [diag(p_λ) − p_λ p_λᵀ] dλ, p_λ = softmax(λ a),
 *
 *   U softmax(β Uᵀx) = ū + β U Jᵐ(β Uᵀx) Uᵀ x  =: ū + Cov(U, x) x   (exactly),
 *
 * since d/dλ softmax(λa) = [diag(p_λ) − p_λ p_λᵀ] a and softmax(0) is uniform. For small β this is ū + β Cov(U) x.
 * The integral is taken by Gauss and Legendre's rule.
 */
import { type Tensor, tensor } from 'hopgrad';
import { hopfieldRetrieve } from 'hopgrad/nn';
import { exact, largestDifference, unitVectors, values } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';

const [patterns, dim, queries] = [40, 12, 10];

/** Nodes and weights of Gauss–Legendre on [0, 1], by Newton's method on the Legendre polynomial. */
function gaussLegendre(count: number): { node: number; weight: number }[] {
  return Array.from({ length: count }, (_, i) => {
    let x = Math.cos((Math.PI * (i + 0.75)) / (count + 0.5));
    let slope = 0;
    for (let round = 0; round < 100; round++) {
      let [before, now] = [1, x];
      for (let k = 2; k <= count; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
      slope = (count * (x * now - before)) / (x * x - 1);
      const step = now / slope;
      x -= step;
      if (Math.abs(step) < 1e-16) break;
    }
    return { node: (1 + x) / 2, weight: 1 / ((1 - x * x) * slope * slope) };
  });
}

/** ū + β U Jᵐ Uᵀ x for every query, with `count` nodes. Rows are patterns and queries, as everywhere in hopgrad. */
function byCovariance(x: Tensor, stored: Tensor, beta: number, count: number): Tensor {
  const a = x.matmul(stored, { transposeB: true }).mul(beta); // [queries, patterns]
  let change: Tensor | null = null; // Jᵐ(a) a
  for (const { node, weight } of gaussLegendre(count)) {
    const p = a.mul(node).softmax({ axis: 1 });
    const part = p.mul(a.sub(p.mul(a).sum({ axis: 1, keepDims: true }))).mul(weight); // [diag(p) − ppᵀ] a
    change = change ? change.add(part) : part;
  }
  return change!.matmul(stored).add(stored.mean({ axis: 0 }));
}

function linearRegime(x: Tensor, stored: Tensor): (string | number)[][] {
  const average = stored.mean({ axis: 0, keepDims: true });
  const centred = stored.sub(average);
  const covariance = centred.matmul(centred, { transposeA: true }).div(patterns);
  let before = Number.NaN;
  return [1, 0.5, 0.25, 0.125, 0.0625].map((beta) => {
    const first = average.add(x.matmul(covariance).mul(beta));
    const error = largestDifference(hopfieldRetrieve(x, stored, { beta }), first);
    const row = [beta, error, Number.isNaN(before) ? '' : before / error];
    before = error;
    return row;
  });
}

async function run(found: Findings): Promise<void> {
  const stored = unitVectors(patterns, dim, 21);
  const x = unitVectors(queries, dim, 22);
  const errors = (beta: number, counts: readonly number[]) =>
    counts.map((count) =>
      largestDifference(hopfieldRetrieve(x, stored, { beta }), byCovariance(x, stored, beta, count)),
    );
  const betas = [1, 8, 14.3, 30];
  const exactErrors = betas.flatMap((beta) => errors(beta, [64]));
  found.say(`${patterns} patterns, ${queries} queries, ${dim} dimensions.`);
  for (const [id, value] of Object.entries({ patterns, queries, dim })) found.number(id, value);
  found.claim('identity', 'U softmax(β Uᵀx) = ū + β U Jᵐ Uᵀ x, 64 nodes, β up to 30', Math.max(...exactErrors), 1e-12);
  const weights = tensor(
    gaussLegendre(64).map(({ weight }) => weight),
    exact,
  );
  found.claim('rule', 'the weights of the rule sum to 1', Math.abs(values(weights.sum())[0]! - 1), 1e-14);
  const counts = [1, 2, 4, 8, 16, 32];
  const byCount = betas.map((beta) => [beta, ...errors(beta, counts)]);
  found.table('nodes', 'Error by the number of nodes:', ['β', ...counts.map(String)], byCount);
  found.figure(
    'nodes',
    'Error of the integral against the number of nodes, both logarithmic, a curve for each β: it falls faster than any power, later for larger β, down to rounding at 1e-16.',
    curves(
      byCount.map(([beta, ...row]) => ({
        label: `β ${beta}`,
        points: row.map((error, i) => [counts[i]!, Math.max(error, 1e-17)] as const),
      })),
      {
        x: { label: 'nodes of the rule', type: 'log', base: 2, ticks: counts, tickFormat: String },
        y: { label: 'largest error', type: 'log', tickFormat: '~e', ticks: 6 },
      },
    ),
  );
  const regime = linearRegime(x, stored);
  const caption = 'Distance of retrieval from ū + β Cov(U) x: it falls with β², a factor of 4 each time β halves:';
  found.table('linear', caption, ['β', 'distance', 'factor'], regime);
  found.number('lastFactor', regime.at(-1)![2]!);
}

export const covariance: Chapter = { name: 'covariance', title: 'Retrieval as mean plus covariance', run };
