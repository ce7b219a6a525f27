/** What the registry's tests do not see of sorting and scans: pairs of answers, long rows, refusals. */
import assert from 'node:assert/strict';
import { argsort, cumprod, cumsum, DomainError, init, sort, takeAlongAxis, tensor, topK, UsageError } from 'hopgrad';
import { Random } from '#src/tensor/random.js';

for (const device of ['reference', 'wasm', 'gpujs-cpu'] as const)
  describe(`sorting on ${device}`, () => {
    before(() => init({ device }));
    after(() => init({ device: 'wasm' }));

    it('topK gives values and where they stand, NaN first among the largest and last among the smallest', async () => {
      const x = tensor([
        [3, Number.NaN, 5, 1],
        [2, 2, -1, 2],
      ]);
      const { values, indices } = topK(x, 3);
      assert.deepEqual(await values.array(), [
        [Number.NaN, 5, 3],
        [2, 2, 2],
      ]);
      assert.deepEqual(await indices.array(), [
        [1, 2, 0],
        [0, 1, 3],
      ]);
      assert.equal(indices.dtype, 'int32');
      const least = topK(x, 1, { axis: 0, largest: false });
      assert.deepEqual(await least.values.array(), [[2, 2, -1, 1]]);
      assert.deepEqual(await least.indices.array(), [[1, 1, 1, 0]]);
      assert.deepEqual(topK(x, 0).values.shape, [2, 0]);
    });

    it('every NaN is as large as any other, whatever its bits', async () => {
      const bits = Int32Array.of(-0x400000, 0x3f800000, 0x7fc00001, -0x3fffff, -0x800000, 0x7fc00000); // NaN, 1, NaN, NaN, −∞, NaN
      const x = tensor(new Float32Array(bits.buffer));
      assert.deepEqual(await argsort(x).array(), [4, 1, 0, 2, 3, 5]);
      assert.deepEqual(await argsort(x, { descending: true }).array(), [0, 2, 3, 5, 1, 4]);
    });

    it('long rows, and as many short ones', async () => {
      const random = new Random(1);
      const data = Float32Array.from({ length: 1200 }, () => random.int(100));
      const row = tensor(data);
      assert.deepEqual(await sort(row).data(), data.slice().sort());
      const columns = row.reshape([40, 30]);
      const order = argsort(columns, { axis: 0, descending: true });
      assert.deepEqual(
        await takeAlongAxis(columns, order, { axis: 0 }).array(),
        await sort(columns, { axis: 0, descending: true }).array(),
      );
      const total = await cumsum(row).data();
      let exact = 0;
      assert.ok(data.every((v, i) => (exact += v) === total[i]));
    });
  });

it('cumsum keeps more digits than adding one after the other would', async () => {
  const n = 2 ** 20;
  const x = tensor(new Float32Array(n).fill(0.1));
  const last = (await cumsum(x).data())[n - 1]!;
  const exact = Math.fround(0.1) * n;
  assert.ok(Math.abs(last / exact - 1) < 1e-6, `${last} instead of ${exact}`);
});

it('sorting and scans refuse what makes no sense, by name', () => {
  const x = tensor([1, 2, 3]);
  for (const k of [4, -1, 1.5, Number.NaN]) assert.throws(() => topK(x, k), DomainError);
  assert.throws(() => sort(x, { dim: 0 } as never), /sort.*axis/s);
  assert.throws(() => sort([3, 1] as never), UsageError);
  assert.throws(() => cumsum(x, 0 as never), UsageError);
  assert.throws(() => cumprod(x, { axis: 1 }), /cumprod.*axis 1/s);
});
