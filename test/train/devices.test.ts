/** Training and evaluation on every device that runs here: what only some devices can do must not be in its way. */
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { init } from 'hopgrad';
import { ClipTokenizer, createModel, embedTexts, retrievalMetrics, retrievedEmbeddings } from 'hopgrad/models/cloob';
import { type EmojiData, emojiSource } from '#src/data/emoji-source.js';
import { embedSource } from '#src/train/embed-source.js';
import { emojiSets, evaluateEmoji } from '#src/train/evaluate.js';
import type { Fault } from '#src/train/fault.js';
import { restoreTraining, saveTraining, verifyTraining } from '#src/train/state.js';
import type { Trainer } from '#src/train/trainer.js';
import { tinyConfig } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';
import { loadInto, overflowing, record } from './helpers.js';

const words = ['red circle', 'green circle', 'blue circle', 'red square', 'green square', 'blue square'];

/** Twelve noisy pictures: two of every concept, in two styles. */
function smallData(): EmojiData {
  const images = { count: 12, size: 8, data: Uint8Array.from({ length: 12 * 192 }, (_, i) => (i * 2654435761) >>> 24) };
  const concepts = words.map((name, i) => ({ id: String(i), name, keywords: name.split(' '), family: name }));
  const drawings = words.flatMap((_, concept) => ['one', 'two'].map((style) => ({ concept, style, svg: '' })));
  const split = { train: [0, 2, 4, 6], testA: [1, 3, 5, 7], testB: [8, 10], testC: [9, 11] };
  const titles = { A: 'a', B: 'b', C: 'c' };
  return { name: 'words', titles, concepts, drawings, images, split, digest: '' } as unknown as EmojiData;
}

describe('training on webgpu', () => {
  const root = temporaryFolder();
  afterEach(() => init({ device: 'wasm' }));

  it('passes over a step that is not finite, and goes on from a checkpoint to the same bits', async function () {
    this.timeout(300_000);
    await needWebGpu.call(this);
    const run = async (trainer: Trainer, stopAfter = Infinity) => {
      const controller = new AbortController();
      const told: number[][] = [];
      const faults: Fault[] = [];
      await trainer.run({
        signal: controller.signal,
        onStep: ({ step, loss, gradNorm, vitals }) => {
          told.push([step, loss, gradNorm!, vitals!.imageP1!]);
          if (step >= stopAfter) controller.abort();
        },
        onFault: async (fault) => faults.push(fault) > 0,
      });
      return { told, faults };
    };
    const weights = async ({ model }: Trainer) =>
      Promise.all(Object.values(model.stateDict()).map(async (value) => Array.from(await value.data())));
    const whole = overflowing();
    const { told, faults } = await run(whole);
    assert.deepEqual(told.map(([step]) => step), [1, 2, 4, 5, 6]); // biome-ignore format: a line
    assert.match(faults[0]!.error.received, /^a loss of NaN at step 3/);
    const begun = overflowing();
    const before = await run(begun, 4);
    const path = mkdtempSync(join(root, 'checkpoint-'));
    await saveTraining(path, begun, record(begun));
    const resumed = overflowing();
    await loadInto(resumed, path);
    restoreTraining(path, resumed, verifyTraining(path));
    assert.deepEqual([...before.told, ...(await run(resumed)).told], told);
    const found = await weights(resumed);
    assert.deepEqual(found, await weights(whole));
    assert.ok(found.flat().every(Number.isFinite));
  });
});

describe('evaluation on the embedded data', () => {
  after(() => init({ device: 'wasm' }));

  const evaluate = async () => {
    const tokenizer = ClipTokenizer.train(words, { vocabSize: 520 });
    return evaluateEmoji(createModel(tinyConfig, { seed: 1 }), tokenizer, smallData());
  };

  for (const device of ['gpujs-cpu', 'webgpu'] as const)
    it(`works on ${device}, and ranks pixels and histograms of gradients as the reference does`, async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
      const results = await evaluate();
      await init({ device: 'reference' });
      // Untrained embeddings nearly coincide, and rounding decides their order: cosines of pixels and of gradients do not.
      const untrained = ({ retrieval }: typeof results) =>
        retrieval.filter(({ set }) => set === 'A').map(({ pixels, hog, count }) => ({ pixels, hog, count }));
      assert.deepEqual(untrained(results), untrained(await evaluate()));
      assert.equal(results.retrieval.length, 6);
      assert.equal(results.zeroShot.length, 3);
    });

  it('also compares what all training pairs answer: pictures and names, β 16', async () => {
    await init({ device: 'wasm' });
    const { retrieval } = await evaluate();
    const tokenizer = ClipTokenizer.train(words, { vocabSize: 520 });
    const [model, data] = [createModel(tinyConfig, { seed: 1 }), smallData()];
    const embedded = async (rows: readonly number[]) => {
      const { features, captions } = await embedSource(model, emojiSource(data, rows, 'names'), { batchSize: 5 });
      return { images: features.l2Normalize(), texts: embedTexts(model, tokenizer, captions).l2Normalize() };
    };
    const memory = { ...(await embedded(data.split.train)), beta: 16 };
    for (const { set, rows } of emojiSets(data)) {
      const { images, texts } = await embedded(rows);
      const expected = await retrievalMetrics(retrievedEmbeddings(images, memory), retrievedEmbeddings(texts, memory));
      const found = retrieval.find((result) => result.set === set && result.captions === 'names')!;
      assert.deepEqual(found.retrieved, expected);
    }
    assert.ok(retrieval.some(({ retrieved, trained }) => JSON.stringify(retrieved) !== JSON.stringify(trained)));
  });
});
