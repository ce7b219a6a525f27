import assert from 'node:assert/strict';
import { attention, type DeviceName, init, profile, randn, tensor, UsageError, withDevice } from 'hopgrad';
import { AdamW, Linear } from 'hopgrad/nn';
import { deviceByName } from '#src/kernels/devices.js';
import { fused } from '#src/kernels/fused.js';

const byName = (rows: readonly { kernel: string }[]) => Object.fromEntries(rows.map((row) => [row.kernel, row]));

describe('profile', () => {
  before(() => init({ device: 'wasm' }));

  for (const device of ['wasm', 'reference'] as DeviceName[])
    it(`counts calls, bytes and arithmetic on ${device}`, async () => {
      const make = (shape: number[]) => withDevice(device, () => randn(shape, { requiresGrad: true }));
      const [a, b, image, weight] = [make([8, 4]), make([4, 16]), make([2, 3, 8, 8]), make([5, 3, 3, 3])];
      const { rows, milliseconds, result } = await profile(() => {
        a.matmul(b).exp().sum().backward();
        image.conv2d(weight, { padding: 1 }).sum().backward();
        return 'done';
      });
      assert.equal(result, 'done');
      const found = byName(rows) as Record<string, (typeof rows)[number]>;
      assert.equal(found.matmul!.calls, 3); // forward, and one for each factor
      assert.equal(found.matmul!.flops, 3 * 2 * 8 * 4 * 16);
      assert.equal(found.matmul!.bytes, 3 * 4 * (8 * 4 + 4 * 16 + 8 * 16));
      assert.equal(found.exp!.bytes, 2 * 4 * 8 * 16);
      for (const name of ['conv2d', 'conv2dInputGrad', 'conv2dWeightGrad'])
        assert.equal(found[name]!.flops, 2 * 2 * 5 * 8 * 8 * 3 * 3 * 3, name);
      assert.equal(found.sum!.calls, 2);
      const inside = rows.reduce((sum, row) => sum + row.milliseconds, 0);
      assert.ok(inside > 0 && inside <= milliseconds);
    });

  it('a fused kernel is one, with its optimiser and its derivative', async () => {
    const model = new Linear(4, 3);
    const optimizer = new AdamW(model.parameters(), { lr: 1e-3 });
    const x = randn([5, 4]);
    const { rows } = await profile(async () => {
      model.forward(x).softmax().square().sum().backward();
      await optimizer.step();
    });
    const found = byName(rows) as Record<string, (typeof rows)[number]>;
    assert.equal(found.softmax!.calls, 1);
    assert.equal(found.softmaxGrad!.calls, 1);
    assert.equal(found.adamW!.calls, 2, 'the weight decays, the bias does not');
    const composed = await profile(() => withDevice('reference', () => randn([5, 4]).softmax()));
    assert.deepEqual(Object.keys(byName(composed.rows)).sort(), ['softmax', 'upload']);
  });

  it('prints a table', async () => {
    const x = tensor([[1, 2]]);
    const lines = String(await profile(() => x.matmul(x.transpose()))).split('\n');
    assert.match(lines[0]!, /^kernel +calls +ms +share +MB +GB\/s +GFLOP\/s$/);
    assert.ok(lines.some((line) => /^matmul +1 +\d+\.\d\d +\d+\.\d % +0\.00/.test(line)));
    assert.match(lines.at(-1)!, /^outside kernels +\d/);
  });

  it('leaves the devices as they were, also after an error', async () => {
    const device = deviceByName('wasm');
    const before = [{ ...device }, { ...device.fused }, { ...fused(device) }];
    const kernel = device.matmul;
    await assert.rejects(
      profile(() => {
        tensor([1]).exp();
        throw new Error('planned');
      }),
      /planned/,
    );
    await profile(() => tensor([1]).exp());
    assert.deepEqual([{ ...device }, { ...device.fused }, { ...fused(device) }], before);
    assert.equal(device.matmul, kernel);
  });

  it('counts the arithmetic of attention, and twice as much of its derivative', async () => {
    const [q, k] = [randn([2, 3, 8], { requiresGrad: true }), randn([2, 5, 8])];
    const { rows } = await profile(() => attention(q, k, k, { heads: 2 }).sum().backward());
    const found = byName(rows) as Record<string, (typeof rows)[number]>;
    assert.equal(found.attention!.flops, 2 * 2 * 2 * 2 * 3 * 5 * 4);
    assert.equal(found.attentionGrad!.flops, 2 * found.attention!.flops);
  });

  it('refuses what is no function, and two at a time', async () => {
    await assert.rejects(profile(3 as never), UsageError);
    await assert.rejects(
      profile(() => profile(() => 1)),
      /one at a time/,
    );
  });
});
