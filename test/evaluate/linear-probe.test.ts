/** The linear probe against scikit-learn's logistic regression (test/fixtures/evaluation.py). */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { DomainError, randn, ShapeError, tensor } from 'hopgrad';
import { type LabelledFeatures, linearProbe, logisticRegression, probeAccuracy } from 'hopgrad/models/cloob';
import { fixture, relativeError, values } from '../helpers.js';

const { probe: golden } = JSON.parse(readFileSync(fixture('evaluation.json'), 'utf8'));

function load(part: 'train' | 'validation' | 'test', where: { dtype: 'float32' | 'float64'; device: string }) {
  return { features: tensor(golden[part].features, where), labels: golden[part].labels } as LabelledFeatures;
}

const exact = { dtype: 'float64', device: 'reference' } as const;
const fast = { dtype: 'float32', device: 'wasm' } as const;

describe('logistic regression', () => {
  for (const [where, gradientTolerance, tolerance] of [
    [exact, 1e-10, 1e-6],
    [fast, 1e-6, 2e-3],
  ] as const)
    for (const { l2, weight, bias, loss } of golden.fits)
      it(`reaches scikit-learn's optimum for λ = ${l2} in ${where.dtype}`, async () => {
        const found = await logisticRegression(load('train', where), { l2, gradientTolerance });
        assert.ok(Math.abs(found.loss - loss) <= tolerance * 1e-2 * loss, `loss ${found.loss} instead of ${loss}`);
        assert.ok(relativeError(values(found.weight), weight.flat()) < tolerance);
        assert.ok(relativeError(values(found.bias), bias, 1) < tolerance);
      });

  it('does not depend on the size of the chunks', async () => {
    const options = { l2: 10, gradientTolerance: 1e-9 };
    const whole = await logisticRegression(load('train', exact), options);
    const chunked = await logisticRegression(load('train', exact), { ...options, chunk: 50 });
    assert.ok(relativeError(values(chunked.weight), values(whole.weight)) < 1e-6);
  });

  it('a warm start gives the same answer in fewer iterations', async () => {
    const data = load('train', exact);
    const near = await logisticRegression(data, { l2: 1, gradientTolerance: 1e-8 });
    const cold = await logisticRegression(data, { l2: 1.1, gradientTolerance: 1e-8 });
    const warm = await logisticRegression(data, { l2: 1.1, gradientTolerance: 1e-8, from: near });
    assert.ok(warm.iterations < cold.iterations, `${warm.iterations} and ${cold.iterations}`);
    assert.ok(relativeError(values(warm.weight), values(cold.weight)) < 1e-5);
  });
});

describe('linear probe', () => {
  const [train, validation, test] = (['train', 'validation', 'test'] as const).map((part) => load(part, exact)) as [
    LabelledFeatures,
    LabelledFeatures,
    LabelledFeatures,
  ];

  it('sweeps, refits on both splits and measures as scikit-learn does', async () => {
    const result = await linearProbe(train, test, { validation, ks: [1, 2], gradientTolerance: 1e-7 });
    const exponent = Math.round(8 * Math.log10(result.l2)) / 8;
    for (const { l2, accuracy } of result.sweep) {
      const expected = golden.validationAccuracy[key(Math.round(8 * Math.log10(l2)) / 8)];
      assert.ok(Math.abs(accuracy - expected) < 1e-12, `λ = ${l2}: ${accuracy} instead of ${expected}`);
    }
    const most = Math.max(...result.sweep.map(({ accuracy }) => accuracy));
    const largest = Math.max(...result.sweep.filter(({ accuracy }) => accuracy === most).map(({ l2 }) => l2));
    assert.equal(result.l2, largest, 'the best λ, and of several the largest');
    assert.ok(result.sweep.length >= 7 && result.sweep.length <= 7 + 2 * 4, `${result.sweep.length} values tried`);

    const expected = golden.final[key(exponent)];
    assert.ok(Math.abs(result.accuracy[1]! - expected.top1) < 1e-12);
    assert.ok(Math.abs(result.accuracy[2]! - expected.top2) < 1e-12);
    result.perClass.forEach(({ accuracy }, c) => {
      assert.ok(Math.abs(accuracy - expected.perClass[c]) < 1e-12);
    });
    assert.equal(
      result.perClass.reduce((sum, { count }) => sum + count, 0),
      test.labels.length,
    );
  });

  it('takes a given λ without a sweep', async () => {
    const { l2, sweep, accuracy } = await linearProbe(train, test, { l2: 1, validation, gradientTolerance: 1e-7 });
    assert.deepEqual([l2, sweep], [1, []]);
    assert.ok(Math.abs(accuracy[1]! - golden.final['0.0'].top1) < 1e-12);
    assert.equal(accuracy[5], 1, 'four classes fit into five');
  });

  it('holds out a fifth for the sweep when no validation is given, the same one for the same seed', async () => {
    const options = { range: [1e-2, 1e2], pointsPerDecade: 1 } as const;
    const [a, b] = [await linearProbe(train, test, options), await linearProbe(train, test, options)];
    assert.deepEqual(a.sweep, b.sweep);
    for (const { accuracy } of a.sweep) assert.ok(Math.abs(24 * accuracy - Math.round(24 * accuracy)) < 1e-9);
  });

  it('counts ties against the classifier', async () => {
    const zeros = { weight: tensor([[0], [0], [0]]), bias: tensor([0, 0, 0]) };
    const { accuracy } = await probeAccuracy({ features: randn([6, 1]), labels: [0, 1, 2, 0, 1, 2] }, zeros, {
      ks: [1, 2, 3],
    });
    assert.deepEqual(accuracy, { 1: 0, 2: 0, 3: 1 });
  });

  it('refuses labels and features that do not fit', async () => {
    const features = randn([3, 2]);
    await assert.rejects(linearProbe({ features, labels: [0, 1] }, test), ShapeError);
    await assert.rejects(logisticRegression({ features, labels: [0, 1, -1] }, { l2: 1 }), DomainError);
    await assert.rejects(logisticRegression({ features, labels: [0, 1, 2] }, { l2: -1 }), DomainError);
    await assert.rejects(logisticRegression({ features, labels: [0, 1, 2] }, { l2: 1, classes: 2 }), DomainError);
    await assert.rejects(linearProbe(train, test, { range: [0, 1] }), DomainError);
  });
});

/** Keys as Python wrote them: 2.0, -0.125. */
function key(exponent: number): string {
  return Number.isInteger(exponent) ? `${Object.is(exponent, -0) ? 0 : exponent}.0` : String(exponent);
}
