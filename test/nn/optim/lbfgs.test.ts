/** L-BFGS on functions whose minima are known. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DomainError } from 'hopgrad';
import { minimizeLbfgs } from 'hopgrad/nn';
import { property } from '../../helpers.js';

/** Rosenbrock's valley in any even number of dimensions: minimum 0 at (1, …, 1). */
function rosenbrock(x: Float64Array) {
  const gradient = new Float64Array(x.length);
  let value = 0;
  for (let i = 0; i < x.length; i += 2) {
    const [a, b] = [x[i]!, x[i + 1]!];
    value += 100 * (b - a * a) ** 2 + (1 - a) ** 2;
    gradient[i] = -400 * a * (b - a * a) - 2 * (1 - a);
    gradient[i + 1] = 200 * (b - a * a);
  }
  return { value, gradient };
}

describe('minimizeLbfgs', () => {
  it('follows the valley of Rosenbrock to its end', async () => {
    const start = Float64Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? -1.2 : 1));
    const before = start.slice();
    const result = await minimizeLbfgs(rosenbrock, start, { gradientTolerance: 1e-9 });
    assert.equal(result.stopped, 'gradient');
    assert.ok(result.iterations < 100, `${result.iterations} iterations`);
    assert.ok(result.evaluations < 2 * result.iterations + 20, `${result.evaluations} evaluations`);
    for (const value of result.x) assert.ok(Math.abs(value - 1) < 1e-8, `${value}`);
    assert.deepEqual(start, before, 'the start is not changed');
  });

  property(
    'finds the minimum of convex quadratics of any scale',
    fc.record({
      centre: fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 1, maxLength: 8 }),
      exponents: fc.array(fc.double({ min: -2, max: 2, noNaN: true }), { minLength: 8, maxLength: 8 }),
    }),
    async ({ centre, exponents }) => {
      const objective = (x: Float64Array) => {
        const gradient = x.map((value, i) => 10 ** exponents[i]! * (value - centre[i]!));
        return { value: gradient.reduce((sum, g, i) => sum + (g * (x[i]! - centre[i]!)) / 2, 0), gradient };
      };
      const { x } = await minimizeLbfgs(objective, new Float64Array(centre.length), { gradientTolerance: 1e-9 });
      centre.forEach((c, i) => {
        assert.ok(Math.abs(x[i]! - c) < 1e-6, `${x[i]} for ${c}`);
      });
    },
  );

  it('never goes up, and keeps out of where the function is not defined', async () => {
    const seen: number[] = [];
    // x − ln x: minimum 1 at x = 1, NaN for x ≤ 0.
    const objective = (x: Float64Array) => ({
      value: x[0]! - Math.log(x[0]!),
      gradient: Float64Array.of(1 - 1 / x[0]!),
    });
    for (const start of [1e-3, 0.5, 50]) {
      const { x, value } = await minimizeLbfgs(objective, Float64Array.of(start), { gradientTolerance: 1e-9 });
      seen.push(value);
      assert.ok(Math.abs(x[0]! - 1) < 1e-7, `${x[0]} from ${start}`);
    }
    for (const value of seen) assert.ok(Math.abs(value - 1) < 1e-12);
  });

  it('stops at the number of iterations, and says so', async () => {
    const result = await minimizeLbfgs(rosenbrock, Float64Array.of(-1.2, 1), { maxIterations: 3 });
    assert.deepEqual([result.stopped, result.iterations], ['iterations', 3]);
    assert.ok(result.value < rosenbrock(Float64Array.of(-1.2, 1)).value);
  });

  it('stops where rounding allows no further decrease', async () => {
    const noisy = (x: Float64Array) => ({ value: Math.fround(x[0]! ** 2 + 1), gradient: Float64Array.of(2 * x[0]!) });
    const result = await minimizeLbfgs(noisy, Float64Array.of(3e-5), { gradientTolerance: 0, maxIterations: 50 });
    assert.notEqual(result.stopped, 'iterations');
    assert.ok(Math.abs(result.x[0]!) < 1e-4);
  });

  it('refuses a start without a finite value, and options out of range', async () => {
    const undefinedThere = () => ({ value: Number.NaN, gradient: Float64Array.of(0) });
    await assert.rejects(minimizeLbfgs(undefinedThere, Float64Array.of(0)), DomainError);
    await assert.rejects(minimizeLbfgs(rosenbrock, Float64Array.of(0, 0), { history: 0 }), DomainError);
  });

  it('refuses a gradient that is not finite where the value is, and names the component', async () => {
    const broken = (from: number) => (x: Float64Array) => ({
      value: x[0]! ** 2,
      gradient: Float64Array.of(2 * x[0]!, Math.abs(x[0]!) < from ? Number.NaN : 0),
    });
    const expected = { name: 'DomainError', received: /^NaN in component 1 of the gradient, where the value is / };
    await assert.rejects(minimizeLbfgs(broken(9), Float64Array.of(3, 1)), expected);
    await assert.rejects(minimizeLbfgs(broken(2.5), Float64Array.of(3, 1)), expected);
    // A value that is not finite either only means that the step was too long.
    const walled = (x: Float64Array) =>
      x[0]! < 0.5
        ? { value: Infinity, gradient: Float64Array.of(Number.NaN) }
        : { value: x[0]!, gradient: Float64Array.of(1) };
    const { x, stopped } = await minimizeLbfgs(walled, Float64Array.of(3));
    assert.ok(stopped === 'precision' && x[0]! >= 0.5 && x[0]! < 0.6, `${stopped} at ${x[0]}`);
  });
});
