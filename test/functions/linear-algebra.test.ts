/** What the registry's tests do not see of linear algebra: singular matrices, larger ones, batches, refusals. */
import assert from 'node:assert/strict';
import {
  cholesky,
  DTypeError,
  det,
  grad,
  init,
  inv,
  ones,
  randn,
  ShapeError,
  solve,
  type Tensor,
  tensor,
} from 'hopgrad';
import { checkGradients } from 'hopgrad/testing';
import { values } from '../helpers.js';

const singular = [
  [1, 2, 3],
  [2, 4, 6],
  [1, 0, 1],
];

it('a singular matrix has determinant 0 and a derivative all the same', async () => {
  const x = tensor(singular, { dtype: 'float64' });
  assert.ok((await det(x).item()) === 0);
  // The cofactors: rank 2 leaves those of the rows that are not a multiple of each other.
  const expected = [
    [4, 4, -4],
    [-2, -2, 2],
    [0, 0, 0],
  ];
  assert.deepEqual(
    await grad((a: Tensor) => det(a))(x)
      .add(0)
      .array(),
    expected,
  );
  const zeros = tensor([[0, 0], [0, 0]], { dtype: 'float64' }); // biome-ignore format: a matrix
  assert.deepEqual(values(grad((a: Tensor) => det(a))(zeros).add(0)), [0, 0, 0, 0]);
  for (const a of [x, zeros]) {
    const report = await checkGradients((m) => det(m), [a], { order: 2 });
    assert.ok(report.ok, String(report));
  }
});

it('what has no answer is not finite, and no number that looks like one', () => {
  const x = tensor(singular, { dtype: 'float64' });
  assert.ok(values(inv(x)).some((v) => !Number.isFinite(v)));
  assert.ok(values(solve(x, tensor([1, 2, 4], { dtype: 'float64' }))).some((v) => !Number.isFinite(v)));
  const indefinite = tensor([[1, 2], [2, 1]]); // biome-ignore format: a matrix
  assert.ok(values(cholesky(indefinite)).some(Number.isNaN));
});

for (const device of ['reference', 'wasm', 'gpujs-cpu'] as const)
  describe(`linear algebra on ${device}`, () => {
    before(() => init({ device }));
    after(() => init({ device: 'wasm' }));

    const n = device === 'gpujs-cpu' ? 6 : 24;
    it(`keeps its digits on matrices of ${n} rows`, () => {
      const [a, b] = [randn([2, n, n], { seed: 1 }), randn([n, 3], { seed: 2 })];
      const residual = a.matmul(solve(a, b)).sub(b).abs().max();
      assert.ok(values(residual)[0]! < 2e-4, `${values(residual)}`);
      const identity = a.matmul(inv(a));
      assert.ok(values(identity.sub(identity.round()).abs().max())[0]! < 2e-4);
      const definite = a.matmul(a, { transposeB: true });
      const l = cholesky(definite);
      assert.ok(values(l.matmul(l, { transposeB: true }).sub(definite).abs().max())[0]! < 1e-4);
      const square = values(l.mul(1)).filter((_, i) => Math.floor(i / n) % n === i % n); // the diagonals
      const [first] = values(det(definite));
      const product = square.slice(0, n).reduce((p, v) => p * v * v, 1);
      assert.ok(Math.abs(first! / product - 1) < 1e-3, `${first} and ${product}`);
    });
  });

it('leading axes broadcast, and vectors stay vectors', () => {
  const a = randn([2, 1, 3, 3], { seed: 3 });
  assert.deepEqual(solve(a, ones([3])).shape, [2, 1, 3]);
  assert.deepEqual(solve(a, ones([5, 3, 2])).shape, [2, 5, 3, 2]);
  assert.deepEqual(det(a).shape, [2, 1]);
  assert.deepEqual(inv(a).shape, [2, 1, 3, 3]);
  assert.deepEqual(values(det(ones([2, 0, 0]))), [1, 1]);
  assert.deepEqual(inv(ones([0, 0])).shape, [0, 0]);
});

it('linear algebra refuses what makes no sense, by name', () => {
  for (const f of [inv, det, cholesky]) {
    assert.throws(() => f(ones([2, 3])), ShapeError);
    assert.throws(() => f(ones([3])), ShapeError);
    assert.throws(() => f(ones([2, 2]).cast('int32')), DTypeError);
  }
  assert.throws(() => solve(ones([2, 2]), ones([3])), /solve.*A \[2, 2\] and B \[3\]/s);
  assert.throws(() => solve(ones([2, 2, 2]), ones([3, 2, 1])), ShapeError);
  assert.throws(() => solve(ones([2, 2]), ones([])), ShapeError);
});
