/** Random tensors of further kinds: what they are spread like, where they end, that a seed repeats them. */
import assert from 'node:assert/strict';
import {
  bernoulli,
  DomainError,
  DTypeError,
  manualSeed,
  permutation,
  Random,
  randint,
  ShapeError,
  tensor,
  truncatedNormal,
} from 'hopgrad';
import { values } from '../helpers.js';

const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
const N = 40_000;

it('randint is even over [low, high)', () => {
  const drawn = randint([N], { low: -2, high: 3, seed: 1 });
  assert.equal(drawn.dtype, 'int32');
  const counts = new Map<number, number>();
  for (const x of values(drawn)) counts.set(x, (counts.get(x) ?? 0) + 1);
  assert.deepEqual([...counts.keys()].sort(), [-1, -2, 0, 1, 2]);
  // Five standard deviations of a count: 5 √(N · ⅕ · ⅘) = 400.
  for (const [x, count] of counts) assert.ok(Math.abs(count - N / 5) < 400, `${x}: ${count}`);
  assert.deepEqual(values(randint([3, 2], { high: 1, seed: 1 })), [0, 0, 0, 0, 0, 0]);
  assert.equal(randint([2], { high: 5, dtype: 'float64', seed: 1 }).dtype, 'float64');
  const wide = values(randint([1000], { low: -(2 ** 31), high: 2 ** 31, seed: 2 }));
  assert.ok(Math.min(...wide) < -(2 ** 30) && Math.max(...wide) > 2 ** 30);
});

it('bernoulli is 1 as often as p says, of a number or of a tensor', () => {
  const drawn = values(bernoulli([N], { p: 0.3, seed: 3 }));
  assert.ok(drawn.every((x) => x === 0 || x === 1));
  assert.ok(Math.abs(mean(drawn) - 0.3) < 5 * Math.sqrt(0.21 / N));
  assert.deepEqual(values(bernoulli([3], { p: 0, seed: 1 })), [0, 0, 0]);
  assert.deepEqual(values(bernoulli([3], { p: 1, seed: 1, dtype: 'int32' })), [1, 1, 1]);
  const p = tensor([0, 0.8, 1], { requiresGrad: true });
  const rows = bernoulli([N, 3], { p, seed: 4 });
  assert.ok(!rows.requiresGrad);
  const [never, often, always] = values(rows.mean({ axis: 0 })) as [number, number, number];
  assert.deepEqual([never, always], [0, 1]);
  assert.ok(Math.abs(often - 0.8) < 5 * Math.sqrt(0.16 / N));
});

it('permutation has every number once, and every order as often', () => {
  assert.deepEqual(
    values(permutation(50, { seed: 5 })).sort((a, b) => a - b),
    Array.from({ length: 50 }, (_, i) => i),
  );
  const random = new Random(6);
  const counts = new Map<string, number>();
  for (let i = 0; i < 6000; i++) {
    const order = values(permutation(3, { random })).join('');
    counts.set(order, (counts.get(order) ?? 0) + 1);
  }
  assert.equal(counts.size, 6);
  for (const [order, count] of counts) assert.ok(Math.abs(count - 1000) < 150, `${order}: ${count}`);
  assert.deepEqual(permutation(0).shape, [0]);
});

/** Mean and variance of the standard normal distribution within [a, b], by Simpson's rule. */
function moments(a: number, b: number): [number, number] {
  const n = 20_000;
  const [from, to] = [Math.max(a, -12), Math.min(b, Math.max(a, 0) + 12)];
  const sums = [0, 0, 0];
  for (let i = 0; i <= n; i++) {
    const z = from + ((to - from) * i) / n;
    const weight = (i === 0 || i === n ? 1 : i % 2 === 1 ? 4 : 2) * Math.exp(-(z * z - Math.max(a, 0) ** 2) / 2);
    for (let k = 0; k < 3; k++) sums[k]! += weight * z ** k;
  }
  const first = sums[1]! / sums[0]!;
  return [first, sums[2]! / sums[0]! - first * first];
}

for (const [a, b] of [
  [-2, 2],
  [-1, 8],
  [-Infinity, 0.5],
  [0.1, 0.4],
  [2, Infinity],
  [5, 5.2],
  [6, 20],
  [-9, -7],
] as const)
  it(`truncatedNormal within [${a}, ${b}] has the mean and the variance of the integral`, () => {
    const drawn = values(truncatedNormal([N], { low: a, high: b, seed: 7, dtype: 'float64' }));
    assert.ok(drawn.every((x) => x >= a && x <= b));
    const [expected, variance] = b + a < 0 ? moments(-b, -a) : moments(a, b);
    const sign = b + a < 0 ? -1 : 1;
    const middle = mean(drawn);
    assert.ok(Math.abs(middle - sign * expected) < 5 * Math.sqrt(variance / N), `${middle} of ${expected}`);
    const spread = mean(drawn.map((x) => (x - middle) ** 2));
    assert.ok(Math.abs(spread / variance - 1) < 0.1, `${spread} of ${variance}`);
  });

it('truncatedNormal is moved and stretched by mean and std', () => {
  const drawn = values(truncatedNormal([N], { mean: 10, std: 3, seed: 8 }));
  assert.ok(Math.min(...drawn) >= 4 && Math.max(...drawn) <= 16);
  assert.ok(Math.abs(mean(drawn) - 10) < 0.1);
});

it('random tensors repeat with a seed, and go on with the stream', () => {
  for (const draw of [
    (options: object) => randint([20], { high: 1000, ...options }),
    (options: object) => bernoulli([60], options),
    (options: object) => permutation(20, options),
    (options: object) => truncatedNormal([20], options),
  ]) {
    assert.deepEqual(values(draw({ seed: 9 })), values(draw({ seed: 9 })));
    manualSeed(1);
    const [first, second] = [values(draw({})), values(draw({}))];
    assert.notDeepEqual(first, second);
    manualSeed(1);
    assert.deepEqual(values(draw({})), first);
  }
});

it('random tensors that cannot be are refused by name', () => {
  for (const options of [{ high: 0 }, { low: 3, high: 3 }, { high: 1.5 }, { high: Number.NaN }, {}])
    assert.throws(() => randint([2], options as { high: number }), DomainError);
  assert.throws(() => randint([2], { high: 2 ** 32 }), DTypeError);
  assert.throws(() => randint([-1], { high: 2 }), ShapeError);
  for (const p of [-0.1, 1.1, Number.NaN]) assert.throws(() => bernoulli([2], { p }), DomainError);
  assert.throws(() => permutation(-1), DomainError);
  assert.throws(() => permutation(1.5), DomainError);
  assert.throws(() => truncatedNormal([2], { std: 0 }), DomainError);
  assert.throws(() => truncatedNormal([2], { low: 2, high: 1 }), DomainError);
  assert.throws(() => truncatedNormal([2], { dtype: 'int32' }), DTypeError);
});
