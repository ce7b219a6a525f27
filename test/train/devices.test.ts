/** The evaluation on every device that runs here: what only some devices can do must not be in its way. */
import assert from 'node:assert/strict';
import { init } from 'hopgrad';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import type { EmojiData } from '#src/data/emoji-source.js';
import { evaluateEmoji } from '#src/train/evaluate.js';
import { tinyConfig } from '../cli/helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

const words = ['red circle', 'green circle', 'blue circle', 'red square', 'green square', 'blue square'];

/** Twelve noisy pictures: two of every concept, in two styles. */
function smallData(): EmojiData {
  const images = { count: 12, size: 8, data: Uint8Array.from({ length: 12 * 192 }, (_, i) => (i * 2654435761) >>> 24) };
  const concepts = words.map((name, i) => ({ id: String(i), name, keywords: name.split(' '), family: name }));
  const drawings = words.flatMap((_, concept) => ['one', 'two'].map((style) => ({ concept, style, svg: '' })));
  const split = { train: [0, 2, 4, 6], testA: [1, 3, 5, 7], testB: [8, 10], testC: [9, 11] };
  return { concepts, drawings, images, split, digest: '' } as unknown as EmojiData;
}

describe('evaluation on the embedded data', () => {
  after(() => init({ device: 'wasm' }));

  const evaluate = async () => {
    const tokenizer = ClipTokenizer.train(words, { vocabSize: 520 });
    return evaluateEmoji(createModel(tinyConfig, { seed: 1 }), tokenizer, smallData());
  };

  for (const device of ['gpujs-cpu', 'webgpu'] as const)
    it(`works on ${device}, and ranks pixels as the reference does`, async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
      const results = await evaluate();
      await init({ device: 'reference' });
      // Untrained embeddings nearly coincide, and rounding decides their order: cosines of pixels do not.
      const byPixels = ({ retrieval }: typeof results) =>
        retrieval.filter(({ set }) => set === 'A').map(({ pixels, count }) => ({ pixels, count }));
      assert.deepEqual(byPixels(results), byPixels(await evaluate()));
      assert.equal(results.retrieval.length, 6);
      assert.equal(results.zeroShot.length, 3);
    });
});
