/** Optimisers whose kernels run once for many parameters: the same numbers, parameters that stay their own, bindings made once. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { capture, device, init, memory, randn, type Tensor, tensor } from 'hopgrad';
import { AdamW, cloobLoss, Linear, Parameter } from 'hopgrad/nn';
import { inPacks } from '#src/kernels/gpu/packing.js';
import { assign } from '#src/nn/module.js';
import { property, relativeError } from '../../helpers.js';
import { needWebGpu } from './adapter.js';

const values = (size: number, seed: number) =>
  Float32Array.from({ length: size }, (_, i) => Math.sin(seed + 1.7 * i) * (1 + (i % 3)));

describe('packs', () => {
  property('hold everything that is not empty, in order, up to their size', fc.array(fc.nat(2 ** 19)), (sizes) => {
    const packs = inPacks(sizes, (size) => size);
    assert.deepEqual(
      packs.flat(),
      sizes.filter((size) => size > 0),
    );
    for (const pack of packs) assert.ok(pack.length === 1 || pack.reduce((a, b) => a + b) <= 2 ** 20);
  });
});

/** What happens to a model between its steps. */
const events = fc.array(
  fc.constantFrom(...(['step', 'step', 'some', 'nan', 'clip', 'reload', 'replace', 'save'] as const)),
  { minLength: 2, maxLength: 8 },
);

describe('an optimiser on webgpu', () => {
  before(needWebGpu);
  after(() => init({ device: 'wasm' }));

  /** Parameters after every event, on a device. */
  async function run(name: 'webgpu' | 'wasm', sizes: readonly number[], story: readonly string[]): Promise<number[][]> {
    const parameters = sizes.map((size, i) => new Parameter(tensor(values(size, i), { device: name })));
    const options = { lr: 0.05, weightDecay: 0.1 };
    const plain = new AdamW(parameters, options);
    const clipping = new AdamW(parameters, { ...options, maxGradNorm: 0.5 });
    let saved = parameters.map((parameter) => parameter.detach().add(0));
    const seen: number[][] = [];
    for (const [turn, event] of story.entries()) {
      const optimizer = event === 'clip' ? clipping : plain;
      if (event === 'save') saved = parameters.map((parameter) => parameter.detach().add(0));
      else if (event === 'reload') for (const [i, parameter] of parameters.entries()) assign(parameter, saved[i]!);
      else if (event === 'replace') assign(parameters.at(-1)!, tensor(values(sizes.at(-1)!, 50), { device: name }));
      else {
        parameters.forEach((parameter, i) => {
          const grad = values(sizes[i]!, 100 * turn + i);
          if (event === 'nan' && grad.length > 0) grad[grad.length - 1] = Number.NaN;
          parameter.grad = event === 'some' && i % 2 === 0 ? null : tensor(grad, { device: name });
        });
        const broken = event === 'nan' && sizes.some((size) => size > 0);
        if (broken) await assert.rejects(async () => optimizer.step(), /NaN in the gradient/);
        else await optimizer.step();
      }
      const all = await Promise.all(parameters.map((parameter) => parameter.data()));
      seen.push(all.flatMap((list) => [...list]));
    }
    return seen;
  }

  property(
    'moves parameters of any sizes as it does on the processor, whatever happens between its steps',
    fc.tuple(fc.array(fc.oneof(fc.nat(3), fc.nat(200), fc.constant(64)), { minLength: 1, maxLength: 6 }), events),
    async ([sizes, story]) => {
      const [found, expected] = [await run('webgpu', sizes, story), await run('wasm', sizes, story)];
      found.forEach((after, i) => {
        assert.ok(relativeError(after, expected[i]!) < 2e-5, `after ${story.slice(0, i + 1)}: ${after} ${expected[i]}`);
      });
    },
    25,
  );

  it('makes no new bindings for captured steps once it knows the buffers, nor takes more memory', async () => {
    const [left, right] = [new Linear(8, 20), new Linear(5, 20)];
    const parameters = [left, right].flatMap((layer) => [...layer.parameters()]);
    const optimizer = new AdamW(parameters, { lr: 1e-3 });
    const step = capture(
      (images: Tensor, texts: Tensor) => {
        const [x, y] = [left.forward(images).gelu().l2Normalize(), right.forward(texts).gelu().l2Normalize()];
        const loss = cloobLoss(x, y, { invTau: 5, beta: 3 });
        loss.backward();
        return loss;
      },
      { parameters },
    );
    const [images, texts] = [randn([12, 8], { seed: 1 }), randn([12, 5], { seed: 2 })];
    const gpu = (
      globalThis as unknown as { GPUDevice: { prototype: { createBindGroup(...args: unknown[]): unknown } } }
    ).GPUDevice.prototype;
    const { createBindGroup } = gpu;
    let made = 0;
    gpu.createBindGroup = function (...args) {
      made++;
      return createBindGroup.apply(this, args);
    };
    try {
      const once = async () => {
        const before = made;
        const loss = step(images, texts);
        const bindings = made - before;
        await optimizer.step();
        for (const parameter of parameters) {
          parameter.grad!.dispose();
          parameter.grad = null;
        }
        loss.dispose();
        return bindings;
      };
      for (let i = 0; i < 8; i++) await once();
      const bytes = device().memory().reservedBytes;
      const later: number[] = [];
      for (let i = 0; i < 12; i++) later.push(await once());
      assert.deepEqual(later, new Array(12).fill(0));
      assert.equal(device().memory().reservedBytes, bytes);
    } finally {
      gpu.createBindGroup = createBindGroup;
    }
    assert.ok(memory().liveBytes < 1e7);
  });
});
