/** AdamW and the gradients it is given: which it refuses, on every device, and that nothing has changed then. */
import assert from 'node:assert/strict';
import { init, memory, ones, scoped, type Tensor, tensor } from 'hopgrad';
import { AdamW, type AdamWOptions, clipGradNorm, Linear, Module } from 'hopgrad/nn';
import { relativeError } from '../../helpers.js';
import { needWebGpu } from '../../kernels/gpu/adapter.js';

class Net extends Module {
  readonly first: Linear;
  readonly second: Linear;
  constructor(device: string) {
    super();
    this.first = new Linear(3, 4, { device });
    this.second = new Linear(4, 2, { device });
  }
}

const read = async (tensors: readonly Tensor[]) => Promise.all(tensors.map(async (t) => Array.from(await t.data())));

/** One step with the gradient `faulty` in the second bias; and what the state was before and is after. */
async function attempt(device: string, faulty: number[], options: AdamWOptions = {}) {
  const net = new Net(device);
  const optimizer = new AdamW(net.parameters(), { lr: 0.1, ...options });
  const fill = (last: number[]) => {
    for (const parameter of net.parameters()) parameter.grad = ones(parameter.shape, { device });
    net.second.bias!.grad = tensor(last, { device });
  };
  fill([0.5, -0.5]);
  await optimizer.step();
  const all = () => [...net.parameters(), ...optimizer.state().m, ...optimizer.state().v];
  const before = await read(all());
  fill(faulty);
  const step = async () => optimizer.step();
  return { net, optimizer, before, step, now: () => read(all()), fill };
}

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'])
  describe(`AdamW and the gradients it is given, on ${device}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device: device as 'wasm' });
    });
    after(() => init({ device: 'wasm' }));

    for (const maxGradNorm of [null, 1])
      it(`refuses NaN and infinity, names the parameter and changes nothing, maxGradNorm ${maxGradNorm}`, async () => {
        for (const [faulty, what] of [
          [[1, Number.NaN], /^NaN in the gradient of second\.bias \(parameter 4 of 4, of shape \[2\]\)$/],
          [[Number.NEGATIVE_INFINITY, 1], /^an infinity.* in the gradient of second\.bias/],
        ] as const) {
          const { optimizer, before, step, now, fill } = await attempt(device, [...faulty], { maxGradNorm });
          await assert.rejects(step(), {
            name: 'DomainError',
            op: 'AdamW.step',
            received: what,
            hint: /detectAnomaly/,
          });
          assert.deepEqual(await now(), before);
          assert.equal(optimizer.state().step, 1);
          fill([1, 2]);
          await step();
          assert.equal(optimizer.state().step, 2);
          assert.notDeepEqual(await now(), before);
        }
      });

    it('undoes a step inside a scope as well, and keeps no copies', async () => {
      const { net, before, step, now, fill } = await attempt(device, [Number.NaN, 1]);
      const outcome = scoped(() => ({ outcome: step() })).outcome;
      for (const parameter of net.parameters()) parameter.grad!.dispose();
      await assert.rejects(outcome, { name: 'DomainError' });
      assert.deepEqual(await now(), before);
      fill([1, 2]);
      const { storages } = memory(net.first.weight.storage.device);
      for (let i = 0; i < 3; i++) await step();
      assert.ok(memory(net.first.weight.storage.device).storages <= storages);
    });

    it('lets them pass when told to', async () => {
      const { net, step } = await attempt(device, [Number.NaN, 1], { checkFinite: false });
      await step();
      const [first, second] = Array.from(await net.second.bias!.data());
      assert.ok(Number.isNaN(first) && Number.isFinite(second));
    });

    it('takes no gradient at all, with and without clipping', async () => {
      for (const options of [{}, { maxGradNorm: 1 }, { maxGradNorm: 1, checkFinite: false }]) {
        const weight = ones([2], { device, requiresGrad: true });
        const optimizer = new AdamW([weight], options);
        await optimizer.step();
        assert.deepEqual(await read([weight]), [[1, 1]]);
      }
    });

    it('refuses a gradient of another shape, dtype or device', () => {
      const elsewhere = device === 'reference' ? 'wasm' : 'reference';
      const cases: [Tensor, string][] = [
        [ones([3], { device }), 'ShapeError'],
        [ones([2], { device: elsewhere }), 'DeviceError'],
        [ones([2], { device, dtype: 'int32' }), 'DTypeError'],
      ];
      for (const [grad, name] of cases) {
        const weight = ones([2], { device, requiresGrad: true });
        const optimizer = new AdamW([weight]);
        weight.grad = grad;
        assert.throws(() => optimizer.step(), { name, op: 'AdamW.step' });
        assert.equal(optimizer.state().step, 0);
      }
    });
  });

describe('AdamW and gradients too large for float32', () => {
  after(() => init({ device: 'wasm' }));
  for (const device of ['reference', 'wasm', 'webgpu'])
    it(`clips what has a finite norm, on ${device}`, async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      const weight = ones([2], { device, requiresGrad: true });
      weight.grad = tensor([3e20, -4e20], { device });
      const clipped = new AdamW([weight], { maxGradNorm: 5, lr: 0.1 });
      if (device !== 'webgpu') assert.ok(relativeError([clipped.gradNorm()], [5e20]) < 1e-6);
      await clipped.step();
      assert.ok(relativeError([clipped.lastGradNorm!], [5e20]) < 1e-6);
      assert.ok(relativeError([await clipGradNorm([weight], 5).item()], [5e20]) < 1e-6);
      assert.ok(relativeError(Array.from(await weight.grad.data()), [3, -4]) < 1e-6);
      weight.grad = tensor([3e20, -4e20], { device });
      assert.ok(relativeError((await read(clipped.state().m))[0]!, [0.3, -0.4]) < 1e-6);
      // Its square would be kept as infinity, and the parameter would never move again.
      await assert.rejects(async () => new AdamW([weight]).step(), { name: 'DomainError', received: /square beyond/ });
    });
});
