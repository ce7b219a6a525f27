/** gpu.js in its cpu mode: what is compiled once is not compiled again in the next step. */
import assert from 'node:assert/strict';
import { init, randn, tensor } from 'hopgrad';
import { createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';
import { loadGpuJs } from '#src/kernels/gpu/module.js';

describe('gpujs-cpu', () => {
  before(() => init({ device: 'gpujs-cpu' }));
  after(() => init({ device: 'wasm' }));

  it('compiles nothing after the first steps of a model', async () => {
    const { GPU } = await loadGpuJs();
    const { createKernel } = GPU.prototype;
    let compiled = 0;
    GPU.prototype.createKernel = function (...args: Parameters<typeof createKernel>) {
      compiled++;
      return createKernel.apply(this, args);
    };
    try {
      const model = createModel(
        {
          ...{ embed_dim: 16, image_resolution: 16, context_length: 6, vocab_size: 520 },
          ...{ vision_layers: 4, vision_width: 16, vision_patch_size: 8 },
          ...{ transformer_width: 16, transformer_heads: 2, transformer_layers: 1 },
        },
        { seed: 1 },
      );
      const images = randn([4, 3, 16, 16], { seed: 2 });
      const tokens = tensor(
        Int32Array.from({ length: 24 }, (_, i) => (i % 6 === 5 ? 519 : i)),
        { shape: [4, 6] },
      );
      const optimizer = new AdamW(model.parameters(), { lr: 1e-3 });
      const counts: number[] = [];
      for (let step = 0; step < 3; step++) {
        compiled = 0;
        optimizer.zeroGrad();
        const [x, y] = [model.encodeImage(images), model.encodeText(tokens)];
        cloobLoss(x.l2Normalize(), y.l2Normalize(), { invTau: 30, beta: 8 }).backward();
        await optimizer.step();
        counts.push(compiled);
      }
      assert.ok(counts[0]! > 256, `${counts}`); // more than fit into too small a store
      assert.deepEqual(counts.slice(1), [0, 0]);
    } finally {
      GPU.prototype.createKernel = createKernel;
    }
  });
});
