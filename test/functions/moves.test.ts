/** What the registry's tests do not see of functions that move and pick: lists, answers that come later, refusals. */
import assert from 'node:assert/strict';
import {
  AxisError,
  DomainError,
  DTypeError,
  diag,
  diagonal,
  init,
  maskedSelect,
  meshgrid,
  nonzero,
  oneHot,
  repeat,
  roll,
  ShapeError,
  takeAlongAxis,
  tensor,
  tile,
  tril,
  UsageError,
} from 'hopgrad';
import { needWebGpu } from '../kernels/gpu/adapter.js';

const matrix = [
  [1, 2, 3],
  [4, 5, 6],
];

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`functions that pick on ${device}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(() => init({ device: 'wasm' }));

    it('a mask of all axes gives a vector, one of the first axes what stands behind them; gradients go back', async () => {
      const x = tensor(matrix, { requiresGrad: true });
      const picked = await maskedSelect(x, x.greater(2));
      assert.deepEqual(await picked.array(), [3, 4, 5, 6]);
      picked
        .mul(tensor([1, 2, 3, 4]))
        .sum()
        .backward();
      assert.deepEqual(await x.grad!.array(), [
        [0, 0, 1],
        [2, 3, 4],
      ]);
      const rows = await maskedSelect(x, tensor([0, Number.NaN]));
      assert.deepEqual(await rows.array(), [[4, 5, 6]]);
      assert.deepEqual((await maskedSelect(x, tensor([0, 0]))).shape, [0, 3]);
      assert.deepEqual(await (await maskedSelect(x, tensor(1))).array(), [matrix]);
    });

    it('nonzero gives the indices of what is true, row by row', async () => {
      const found = await nonzero(
        tensor([
          [0, 2, Number.NaN],
          [-1, -0, 0],
        ]),
      );
      assert.equal(found.dtype, 'int32');
      assert.deepEqual(await found.array(), [
        [0, 1],
        [0, 2],
        [1, 0],
      ]);
      assert.deepEqual((await nonzero(tensor([0, 0]))).shape, [0, 1]);
    });

    it('meshgrid gives the coordinates of a grid, in both orders', async () => {
      const [x, y] = [tensor([1, 2, 3]), tensor([4, 5])];
      const [a, b] = meshgrid([x, y]) as [typeof x, typeof x];
      assert.deepEqual(await a.array(), [
        [1, 1],
        [2, 2],
        [3, 3],
      ]);
      assert.deepEqual(await b.array(), [
        [4, 5],
        [4, 5],
        [4, 5],
      ]);
      const turned = meshgrid([x, y], { indexing: 'xy' });
      assert.deepEqual(await turned[0]!.array(), await a.transpose().array());
      assert.deepEqual(await turned[1]!.array(), await b.transpose().array());
      assert.deepEqual(meshgrid([x, y, x], { indexing: 'xy' })[2]!.shape, [2, 3, 3]);
    });
  });

it('functions that move and pick refuse what makes no sense, by name', async () => {
  const x = tensor(matrix);
  const whole = (data: number[][]) => tensor(data, { dtype: 'int32' });
  assert.throws(() => x.slice([[0, 2, 0]]), /slice.*step 0.*whole number ≥ 1/s);
  assert.throws(() => x.slice([[0, 2, -1]]), ShapeError);
  assert.throws(() => x.slice([[0, 2, 1.5]]), ShapeError);
  assert.throws(() => roll(x, 0.5), DomainError);
  assert.throws(() => roll(x, 1, { axis: 2 }), AxisError);
  assert.throws(() => repeat(x, -1), DomainError);
  assert.throws(() => tile(x, [1, Number.NaN]), DomainError);
  assert.throws(() => diagonal(tensor([1])), ShapeError);
  assert.throws(() => diag(x.unsqueeze(0)), ShapeError);
  assert.throws(() => tril(x, { offset: 0.5 }), DomainError);
  assert.throws(() => tril(x, 1 as never), UsageError);
  assert.throws(() => takeAlongAxis(x, whole([[0], [3]])), DomainError);
  assert.throws(() => takeAlongAxis(x, whole([[0, 0]])), ShapeError);
  assert.throws(() => takeAlongAxis(x, x), DTypeError);
  assert.throws(() => oneHot(whole([[2]]), 2), DomainError);
  assert.throws(() => oneHot(x, 2), DTypeError);
  assert.throws(() => meshgrid([x]), ShapeError);
  assert.throws(() => meshgrid([]), UsageError);
  assert.throws(() => meshgrid([tensor([1])], { indexing: 'yx' as never }), UsageError);
  await assert.rejects(() => maskedSelect(x, tensor([1, 1, 1])), ShapeError);
  await assert.rejects(() => nonzero(1 as never), UsageError);
});
