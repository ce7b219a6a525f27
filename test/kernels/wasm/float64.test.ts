/** What float64 on wasm promises beyond the conformance suite and the random programs. */
import assert from 'node:assert/strict';
import { argsort, grad, init, ones, randn, type Tensor, tensor, withDevice } from 'hopgrad';
import { cloobLoss } from 'hopgrad/nn';
import { allClose, assertGradients } from 'hopgrad/testing';
import { deviceByName } from '#src/kernels/devices.js';

const double = { dtype: 'float64', device: 'wasm' } as const;
const loss = (x: Tensor, y: Tensor) => cloobLoss(x.l2Normalize(), y.l2Normalize(), { invTau: 30, beta: 8 });

describe('float64 on wasm', () => {
  before(() => init({ device: 'wasm' }));

  it('stays there, and is read as such', async () => {
    const x = randn([3], { device: 'wasm' }).cast('float64');
    assert.equal(x.exp().add(1).device, 'wasm');
    assert.ok((await x.exp().data()) instanceof Float64Array);
  });

  it('keeps all digits of numbers, constants and casts', () => {
    const third = 1 / 3;
    assert.deepEqual([...ones([5], double).mul(third).dataSync()], Array(5).fill(third));
    assert.deepEqual([...tensor([third], double).cast('float32').dataSync()], [Math.fround(third)]);
    assert.deepEqual(
      [
        ...tensor([third, -1.9, 2 ** 40], double)
          .cast('int32')
          .dataSync(),
      ],
      [0, -1, 0],
    );
    assert.deepEqual(
      [
        ...tensor([third], double)
          .pad([[1, 2]], third)
          .dataSync(),
      ],
      Array(4).fill(third),
    );
  });

  it('chooses by conditions that are float64 or int32', () => {
    const condition = [1e-300, 0, NaN, -0, 3];
    for (const of of ['float64', 'int32'] as const) {
      const int = of === 'int32';
      const c = tensor(int ? [1, 0, 5, 0, 3] : condition, { dtype: of, device: 'wasm' });
      for (const dtype of ['float32', 'float64'] as const) {
        const chosen = c.where(
          ones([5], { dtype, device: 'wasm' }),
          tensor([2, 3, 4, 5, 6], { dtype, device: 'wasm' }),
        );
        assert.deepEqual([...chosen.dataSync()], [1, 3, 1, 5, 1], `${of} for ${dtype}`);
      }
    }
  });

  it('sorts by digits that float32 does not have', () => {
    const values = [1 + 2 ** -50, 1, NaN, -1 - 2 ** -50, -1, 1 + 2 ** -51, -0, 5e-324, 0, -5e-324, -Infinity];
    const order = [...argsort(tensor(values, double)).dataSync()];
    assert.deepEqual(order, [10, 3, 4, 9, 6, 8, 7, 1, 5, 0, 2]);
  });

  it('gives the same bits with any number of threads, and the reference to rounding', async () => {
    const results = (device: string) =>
      withDevice(device, () => {
        const at = { ...double, device };
        const [a, b] = [randn([150, 300], { ...at, seed: 1 }), randn([300, 170], { ...at, seed: 2 })];
        const product = a.matmul(b);
        const long = randn([3, 100_000], { ...at, seed: 3 });
        return [
          product,
          product.softmax(),
          long.sum({ axis: 1 }),
          long.sum({ axis: 0 }),
          product.logSumExp().exp(),
          product.max({ axis: 0 }),
        ];
      });
    const wasm = deviceByName('wasm');
    const before = wasm.threads!;
    const bits = [1, 2, 3].map((threads) => {
      wasm.threads = threads;
      return results('wasm');
    });
    wasm.threads = before;
    for (const [i, first] of bits[0]!.entries()) {
      for (const other of bits) assert.deepEqual(other[i]!.dataSync(), first.dataSync());
      const report = await allClose(first, results('reference')[i]!, { rtol: 1e-12, atol: 1e-13 });
      assert.ok(report.ok, String(report));
    }
  });

  it('has the loss of CLOOB and its gradient as the reference has them', async () => {
    const data = [1, 2].map((seed) => randn([64, 128], { ...double, seed, device: 'reference' }));
    const on = (device: string) => {
      const [x, y] = data.map((t) => t.to(device)) as [Tensor, Tensor];
      return withDevice(device, () => [loss(x, y), ...(grad(loss, { argnums: [0, 1] })(x, y) as Tensor[])]);
    };
    const expected = on('reference');
    for (const [i, actual] of on('wasm').entries()) {
      const most = Math.max(...expected[i]!.dataSync().map(Math.abs));
      const report = await allClose(actual, expected[i]!, { rtol: 0, atol: 1e-13 * most });
      assert.ok(report.ok, String(report));
    }
    for (const order of [1, 2] as const)
      await assertGradients(loss, data, { mode: 'projection', device: 'wasm', order, atol: 1e-8, rtol: 1e-5 });
  });

  it('computes in float32 where asked to', async () => {
    const seen: string[] = [];
    const watched = (x: Tensor) => {
      seen.push(`${x.dtype} ${x.device}`);
      return x.square();
    };
    await assertGradients(watched, [[1, 2]], { device: 'wasm', dtype: 'float32' });
    await assertGradients(watched, [[1, 2]], { device: 'wasm' });
    assert.deepEqual([...new Set(seen)], ['float32 wasm', 'float64 wasm']);
    await assert.rejects(assertGradients(watched, [[1, 2]], { dtype: 'int32' as never }), { name: 'UsageError' });
  });

  it('does not fill memory, however many evaluations a check takes', async () => {
    // 48 evaluations of a hundred megabytes: more than WebAssembly's four gigabytes, unless they come back on the way.
    await assertGradients((w) => w.expand([400_000, 4, 4]).square().sum(), [randn([4, 4], double)], { device: 'wasm' });
  });
});
