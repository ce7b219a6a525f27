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
          // Kernels have sizes compiled in: these are nobody else's, whatever ran before in this process.
          ...{ embed_dim: 22, image_resolution: 26, context_length: 7, vocab_size: 523 },
          ...{ vision_layers: 5, vision_width: 26, vision_patch_size: 13, vision_heads: 2 },
          ...{ transformer_width: 34, transformer_heads: 2, transformer_layers: 5 },
        },
        { seed: 1 },
      );
      const images = randn([5, 3, 26, 26], { seed: 2 });
      const tokens = tensor(
        Int32Array.from({ length: 35 }, (_, i) => (i % 7 === 6 ? 522 : i)),
        { shape: [5, 7] },
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
