/** Statistics of embeddings and eigenvalues, against numpy and scipy (test/fixtures/evaluation.py). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DomainError, randn, ShapeError, type Tensor, tensor } from 'hopgrad';
import {
  ajneStatistic,
  alignment,
  type Distribution,
  effectiveEigenvalues,
  retrievalEntropy,
  similarityStatistics,
  uniformity,
} from 'hopgrad/models/cloob';
import { symmetricEigenvalues } from '#src/evaluate/symmetric-eigenvalues.js';
import { fixture, property, relativeError } from '../helpers.js';

const { statistics: golden, matrices } = JSON.parse(readFileSync(fixture('evaluation.json'), 'utf8'));

function close(actual: number, expected: number, tolerance: number): void {
  const error = Math.abs(actual - expected) / Math.max(1, Math.abs(expected));
  assert.ok(error <= tolerance, `${actual} instead of ${expected}`);
}

function sameDistribution(actual: Distribution, expected: Distribution, tolerance: number): void {
  assert.equal(actual.count, expected.count);
  for (const key of ['mean', 'deviation', 'least', 'largest'] as const) close(actual[key], expected[key], tolerance);
  assert.deepEqual([...actual.histogram], expected.histogram);
}

for (const [dtype, device, tolerance] of [
  ['float64', 'reference', 1e-12],
  ['float32', 'wasm', 2e-5],
] as const)
  for (const chunk of [7, 1024])
    describe(`statistics of embeddings, ${dtype}, chunks of ${chunk}`, () => {
      const x = tensor(golden.x, { dtype, device });
      const y = tensor(golden.y, { dtype, device });

      it('alignment', async () => {
        close(await alignment(x, y, { chunk }), golden.alignment, tolerance);
        close(await alignment(x, y, { chunk, power: 1 }), golden.alignmentPower1, tolerance);
      });

      it('uniformity', async () => {
        close(await uniformity(x, { chunk }), golden.uniformity, tolerance);
        close(await uniformity(x, { chunk, t: 3 }), golden.uniformity3, tolerance);
      });

      it('modified Ajne statistic', async () => {
        const { statistic, n } = await ajneStatistic(x, { chunk });
        close(statistic, golden.ajne, tolerance);
        assert.equal(n, 41);
      });

      it('effective eigenvalues of the covariance', async () => {
        for (const [share, count] of Object.entries(golden.count)) {
          const result = await effectiveEigenvalues(x, { share: Number(share), chunk });
          assert.equal(result.count, count, `share ${share}`);
          assert.ok(relativeError(result.eigenvalues, golden.eigenvalues) <= tolerance);
        }
      });

      it('similarities and the probability of the partner', async () => {
        const result = await similarityStatistics(x, y, { bins: 8, chunk });
        sameDistribution(result.positives, golden.positives, tolerance);
        sameDistribution(result.negatives, golden.negatives, tolerance);
        sameDistribution(result.partnerProbability, golden.partnerProbability, 30 * tolerance);
      });

      it('entropy of retrieval', async () => {
        const { entropy, effectivePatterns } = await retrievalEntropy(x, y.slice([[0, 17]]), { beta: 8, chunk });
        close(entropy, golden.retrievalEntropy, tolerance);
        close(effectivePatterns, Math.exp(golden.retrievalEntropy), 10 * tolerance);
      });
    });

describe('statistics of embeddings, known cases', () => {
  const same = (n: number) => tensor(Array.from({ length: n }, () => [3, 4, 0]));

  it('a point mass is as little uniform as can be', async () => {
    close((await ajneStatistic(same(500))).statistic, 125, 1e-3); // n/4
    close(await uniformity(same(20)), 0, 1e-6);
    close(await alignment(same(20), same(20)), 0, 1e-12);
    assert.equal((await effectiveEigenvalues(same(20))).eigenvalues[0]! < 1e-12, true);
  });

  it('uniform points give an Ajne statistic near a quarter, a shifted cloud a large one', async () => {
    const cloud = randn([500, 16], { seed: 5 });
    const uniform = (await ajneStatistic(cloud)).statistic;
    assert.ok(uniform > 0.1 && uniform < 0.5, `${uniform}`);
    const shifted = (await ajneStatistic(cloud.add(1))).statistic;
    assert.ok(shifted > 30, `${shifted}`);
  });

  it('opposite points are twice apart, and a large memory of one pattern has one choice', async () => {
    const [x, y] = [tensor([[1, 0]]), tensor([[-1, 0]])];
    close(await alignment(x, y), 4, 1e-6);
    close((await retrievalEntropy(x, y, { beta: 8 })).entropy, 0, 1e-12);
    const equal = await retrievalEntropy(
      x,
      tensor([
        [0, 1],
        [0, -1],
      ]),
      { beta: 8 },
    );
    close(equal.effectivePatterns, 2, 1e-6);
  });

  it('wrong shapes and numbers are refused', async () => {
    const x = randn([3, 2]);
    const rejected = (promise: Promise<unknown>, type: new (...args: never[]) => Error) =>
      assert.rejects(promise, type);
    await rejected(alignment(x, randn([4, 2])), ShapeError);
    await rejected(uniformity(randn([3])), ShapeError);
    await rejected(ajneStatistic(randn([1, 2])), DomainError);
    await rejected(effectiveEigenvalues(x, { share: 0 }), DomainError);
    await rejected(similarityStatistics(x, x, { invTau: 0 }), DomainError);
    await rejected(retrievalEntropy(x, x, { beta: -1 }), DomainError);
    await rejected(uniformity(x, { chunk: 0 }), DomainError);
  });

  it('leaves the inputs alone', async () => {
    const x: Tensor = tensor(golden.x);
    await uniformity(x, { chunk: 5 });
    await effectiveEigenvalues(x, { chunk: 5 });
    assert.deepEqual(x.dataSync(), Float32Array.from(golden.x.flat()));
  });
});

describe('symmetricEigenvalues', () => {
  it('agrees with LAPACK: full, of low rank, repeated, of many magnitudes', () => {
    for (const { n, matrix, eigenvalues } of matrices)
      assert.ok(relativeError(symmetricEigenvalues(matrix, n), eigenvalues) < 1e-14 * n, `${n} rows`);
  });

  property(
    'keeps trace and Frobenius norm, and scales',
    fc
      .integer({ min: 0, max: 9 })
      .chain((n) =>
        fc.tuple(
          fc.constant(n),
          fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: n * n, maxLength: n * n }),
        ),
      ),
    ([n, entries]) => {
      const a = entries.map((value, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        return j <= i ? value : entries[j * n + i]!;
      });
      const values = symmetricEigenvalues(a, n);
      const size = 1e-12 * (1 + Math.hypot(...a));
      const trace = a.reduce((sum, value, at) => (at % (n + 1) === 0 ? sum + value : sum), 0);
      assert.ok(Math.abs(values.reduce((x, y) => x + y, 0) - trace) <= size * (n + 1));
      assert.ok(Math.abs(Math.hypot(...values) - Math.hypot(...a)) <= size * (n + 1));
      assert.deepEqual(
        [...values].sort((x, y) => y - x),
        [...values],
      );
      for (const factor of [2 ** -600, 2 ** 500]) {
        const scaled = symmetricEigenvalues(
          a.map((value) => value * factor),
          n,
        );
        values.forEach((value, i) => {
          assert.ok(Math.abs(scaled[i]! / factor - value) <= size, `${scaled[i]! / factor} instead of ${value}`);
        });
      }
    },
  );

  it('finds the spectrum of a path of 300 points, known in closed form', () => {
    const n = 300;
    const a = Array.from({ length: n * n }, (_, at) => (Math.abs(Math.floor(at / n) - (at % n)) === 1 ? 1 : 0));
    const expected = Array.from({ length: n }, (_, k) => 2 * Math.cos(((k + 1) * Math.PI) / (n + 1)));
    assert.ok(relativeError(symmetricEigenvalues(a, n), expected) < 1e-13);
  });

  it('refuses what is no finite square matrix', () => {
    assert.throws(() => symmetricEigenvalues([1, 2, 3], 2), ShapeError);
    assert.throws(() => symmetricEigenvalues([1, Number.NaN, 2, 3], 2), DomainError);
  });
});
