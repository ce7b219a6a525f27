/** The gradient checker itself: what it finds, what it lets pass, and what its report says. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { defineOp, type Tensor, tensor, UsageError } from 'hopgrad';
import { assertGradients, broadcastableShapes, type CheckMode, checkGradients, shapes, tensors } from 'hopgrad/testing';
import { broadcastShapes } from '#src/tensor/shape.js';
import { property, values } from '../helpers.js';

const modes: CheckMode[] = ['full', 'projection', 'coordinate', 'taylor'];
const square = defineOp<{ factor: number }>({
  name: 'testSquare',
  equation: 'y = x²',
  derivative: 'x̄ = factor · 2x ȳ, right for factor 1',
  forward: ([x]) => x!.mul(x!),
  vjp: [({ gradOutput, inputs: [x], params: { factor } }) => gradOutput.mul(x!).mul(2 * factor)],
});
const point = [[0.3, -1.2, 0.7, 2]];

const onlyThird = defineOp({
  name: 'testThird',
  equation: 'y = x²',
  derivative: 'wrong in the third place',
  forward: ([x]) => x!.square(),
  vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x!).mul(tensor([[2, 2, 2.5, 2]], { dtype: 'float64' }))],
});

describe('checkGradients', () => {
  for (const mode of modes)
    for (const order of [1, 2] as const)
      it(`${mode}, order ${order}: passes a right derivative, finds one 1 % off`, async () => {
        const right = await checkGradients((x) => square([x], { factor: 1 }), point, { mode, order });
        assert.deepEqual([right.ok, right.failures, right.mode, right.order], [true, [], mode, order]);
        assert.ok(right.checked >= order * (mode === 'full' || mode === 'coordinate' ? 4 : 1), `${right.checked}`);
        const wrong = await checkGradients((x) => square([x], { factor: 1.01 }), point, { mode, order });
        assert.equal(wrong.ok, false);
        assert.ok(wrong.failures.every((f) => f.error > f.tolerance || f.kind === 'taylor'));
      });

  it('order 2 finds a derivative that is right itself but not differentiable as written', async () => {
    // The gradient is right, but treated as constant: its own derivative is lost.
    const cut = defineOp({
      name: 'testCut',
      equation: 'y = x³',
      derivative: 'x̄ = 3x² ȳ, detached',
      forward: ([x]) => x!.mul(x!).mul(x!),
      vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.detach().square().mul(3))],
    });
    assert.ok((await checkGradients((x) => cut([x]), point)).ok);
    const second = await checkGradients((x) => cut([x]), point, { order: 2 });
    assert.ok(!second.ok && second.failures.every((f) => f.order === 2));
  });

  it('reports where, by how much, and how to repeat it', async () => {
    const report = await checkGradients((a, x) => a.add(onlyThird([x])), [point, point], { seed: 5 });
    const failures = report.failures.filter(({ kind }) => kind === 'value');
    assert.deepEqual(
      failures.map(({ argument, index, order }) => ({ argument, index, order })),
      [{ argument: 1, index: [0, 2], order: 1 }],
    );
    const { analytic, numeric, error, tolerance, eps } = failures[0]!;
    assert.ok(Math.abs(analytic / numeric - 1.25) < 1e-6);
    assert.ok(Math.abs(error - Math.abs(analytic - numeric)) < 1e-12 && error > tolerance && eps > 0);
    const again = await checkGradients((a, x) => a.add(onlyThird([x])), [point, point], { seed: report.seed });
    assert.deepEqual(again, report);
    await assert.rejects(
      assertGradients((x) => onlyThird([x]), [point], { mode: 'coordinate', seed: 3, coordinates: 40 }),
      {
        name: 'GradientError',
        received: /argument 0 at \[0, 2\]/,
        hint: "Repeat with { mode: 'coordinate', order: 1, seed: 3, coordinates: 40 }.",
      },
    );
  });

  it('says with all options how to repeat it', async () => {
    const wrong = (x: Tensor) => onlyThird([x]);
    const options = { mode: 'coordinate', order: 2, seed: 5, kinks: 'filter', eps: 1e-5, coordinates: 4 } as const;
    await assert.rejects(assertGradients(wrong, [[[0.1, 0.2, 0.3, 0.4]]], options), {
      name: 'GradientError',
      hint: "Repeat with { mode: 'coordinate', order: 2, seed: 5, kinks: 'filter', eps: 0.00001, coordinates: 4 }.",
    });
  });

  it('has a report that reads as text', async () => {
    const good = await checkGradients((x) => x.square().sum(), [[1, 2]], { seed: 4 });
    assert.equal(`${good}`, 'Gradients agree in 2 comparisons (mode full, order 1, seed 4).');
    const bad = await checkGradients((x) => onlyThird([x]), [[[0.1, 0.2, 0.3, 0.4]]]);
    assert.match(`${bad}`, /^1 failures in 4 comparisons .*:\n {2}argument 0 at \[0, 2\], order 1: value, analytic/);
    assert.match(`${bad}`, /projections on a random w: ⟨f\(x\), w⟩\.$/);
    assert.deepEqual([good.projected, bad.projected], [false, true]);
    const single = await checkGradients((x) => onlyThird([x]).sum(), [[[0.1, 0.2, 0.3, 0.4]]]);
    assert.ok(!`${single}`.includes('projections') && single.failures.length === 1, `${single}`);
  });

  property(
    'coordinates are different ones, all where there are no more',
    fc.record({ size: fc.nat({ max: 12 }), coordinates: fc.nat({ max: 8 }), seed: fc.nat() }),
    async ({ size, coordinates, seed }) => {
      const seen = new Set<string>();
      const kinked = (x: Tensor) => x.abs(); // at 0 every coordinate reports itself
      const report = await checkGradients(kinked, [new Float64Array(size)], { mode: 'coordinate', coordinates, seed });
      for (const { kind, index } of report.failures) if (kind === 'kink') seen.add(`${index}`);
      assert.deepEqual([report.checked, seen.size], [Math.min(size, coordinates), Math.min(size, coordinates)]);
    },
    30,
  );

  it('treats kinks as told', async () => {
    const f = (x: Tensor) => x.abs();
    const kinked = [[1, 0, -2]];
    const avoid = await checkGradients(f, kinked);
    assert.deepEqual(
      avoid.failures.map(({ kind, index }) => [kind, index]),
      [['kink', [1]]],
    );
    const filter = await checkGradients(f, kinked, { kinks: 'filter' });
    assert.deepEqual([filter.ok, filter.skippedAtKinks], [true, 1]);
    assert.ok((await checkGradients(f, kinked, { kinks: 'subgradient' })).ok, '0 lies between −1 and 1');
    const steep = defineOp({
      name: 'testSteep',
      equation: 'y = |x|',
      derivative: 'wrong at 0: 3',
      forward: ([x]) => x!.abs(),
      vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.sign().add(x!.equal(0).mul(3)))],
    });
    assert.ok(!(await checkGradients((x) => steep([x]), kinked, { kinks: 'subgradient' })).ok, '3 does not');
  });

  it('finds functions that answer differently each time', async () => {
    let calls = 0;
    const report = await checkGradients((x) => x.mul(1 + 1e-12 * calls++), [[1, 2]]);
    assert.ok(report.failures.some(({ kind }) => kind === 'nondeterminism'));
    calls = 0;
    const ignored = await checkGradients((x) => x.mul(1 + 1e-12 * calls++), [[1, 2]], { nondeterminism: false });
    assert.ok(ignored.ok);
  });

  it('finds gradients that are not linear in gradOutput, and NaN', async () => {
    const clipped = defineOp({
      name: 'testClipped',
      equation: 'y = x',
      derivative: 'clipped, as people do to tame training',
      forward: ([x]) => x!.mul(1),
      vjp: [({ gradOutput }) => gradOutput.maximum(-1.5).minimum(1.5)],
    });
    const report = await checkGradients((x) => clipped([x]), [[1, 2, 3, 4]]);
    assert.ok(report.failures.some(({ kind }) => kind === 'linearity'));
    const nan = await checkGradients((x) => x.log(), [[1, -1]]);
    assert.ok(nan.failures.some(({ kind, index }) => kind === 'nonfinite' && index?.[0] === 1));
  });

  it('gives unused inputs zeros, hands int32 on, takes scalars, empty and several inputs', async () => {
    const indices = tensor([1, 0, 1], { dtype: 'int32' });
    const report = await checkGradients(
      (x, i, unused) => x.gather(i).add(unused.detach().sum().mul(0)),
      [
        [
          [1, 2],
          [3, 4],
        ],
        indices,
        [5],
      ],
    );
    assert.deepEqual(report.failures, []);
    assert.ok((await checkGradients((x) => x.exp(), [2])).ok);
    assert.ok((await checkGradients((x) => x.exp(), [new Float64Array(0)])).ok);
    const depends = await checkGradients((x) => x.detach().square(), [[1, 2]]);
    assert.equal(depends.ok, false, 'zeros are wrong for what is used behind detach()');
  });

  it('checks other devices in float32', async () => {
    for (const device of ['wasm', 'reference']) {
      const report = await checkGradients((x, w) => x.matmul(w).tanh(), [[[0.1, 0.2]], [[0.3], [0.4]]], { device });
      assert.deepEqual(report.failures, [], device);
      const wrong = await checkGradients((x) => square([x], { factor: 1.3 }), point, { device });
      assert.equal(wrong.ok, false, device);
    }
  });

  it('refuses wrong options and inputs', async () => {
    for (const options of [{ mode: 'fast' }, { order: 3 }, { eps: 0 }, { kinks: 'ignore' }, { seed: -1 }])
      await assert.rejects(
        checkGradients((x) => x, [[1]], options as never),
        { name: /UsageError|DomainError/ },
        JSON.stringify(options),
      );
    await assert.rejects(
      checkGradients((x) => x, []),
      UsageError,
    );
    await assert.rejects(
      checkGradients((x) => x, 3 as never),
      UsageError,
    );
    await assert.rejects(
      checkGradients(() => {
        throw new Error('inside f');
      }, [[1]]),
      /inside f/,
    );
  });
});

describe('arbitraries', () => {
  property(
    'shapes keep to their bounds',
    fc.tuple(shapes({ minRank: 1, maxRank: 3, minSize: 2, maxSize: 4 }), shapes()),
    ([bounded, any]) => {
      assert.ok(bounded.length >= 1 && bounded.length <= 3 && bounded.every((size) => size >= 2 && size <= 4));
      assert.ok(any.length <= 4 && any.every((size) => size >= 0 && size <= 5));
    },
  );

  property('broadcastable shapes broadcast', broadcastableShapes(3), (all) => {
    assert.equal(all.length, 3);
    broadcastShapes('test', ...all);
  });

  it('broadcastable shapes are of many kinds', () => {
    const drawn = fc.sample(broadcastableShapes(2), { numRuns: 300, seed: 1 });
    assert.ok(
      drawn.some(([a, b]) => a!.length !== b!.length),
      'ranks differ',
    );
    assert.ok(
      drawn.some(([a, b]) => a!.length === b!.length && String(a) !== String(b)),
      'sizes of 1',
    );
    assert.ok(drawn.some(([a]) => a!.length === 0) && drawn.some(([a]) => a!.includes(0)), 'scalars and empty ones');
  });

  property('tensors keep to shape, range and dtype', tensors({ shape: [2, 3], min: 5, max: 6 }), (x) => {
    assert.deepEqual([[...x.shape], x.dtype], [[2, 3], 'float64']);
    assert.ok(values(x).every((v) => v >= 5 && v <= 6));
  });

  it('tensors replay from a seed, and shrink to small shapes', () => {
    const draw = (seed: number) => fc.sample(tensors(), { numRuns: 20, seed }).map((t) => [t.shape, values(t)]);
    assert.deepEqual(draw(4), draw(4));
    const failure = fc.check(
      fc.property(tensors(), (x) => x.size < 3),
      { seed: 2 },
    );
    assert.ok(failure.failed && (failure.counterexample![0] as Tensor).size <= 5);
    const whole = fc.sample(tensors({ dtype: 'int32', min: -3, max: 3, minSize: 1 }), { numRuns: 20, seed: 1 });
    assert.ok(whole.every((t) => t.dtype === 'int32' && values(t).every(Number.isInteger)));
  });
});
