/** Retrieval ranks against a count by hand, ties, memory in chunks; zero-shot classifiers and accuracy. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DomainError, randn, ShapeError, tensor } from 'hopgrad';
import {
  ClipTokenizer,
  classify,
  createModel,
  embedTexts,
  fillTemplate,
  partnerRanks,
  rankMetrics,
  retrievalMetrics,
  zeroShotClassifier,
} from 'hopgrad/models/cloob';
import { chanceOfPairs } from '#src/evaluate/metrics.js';
import { chanceOfClasses } from '#src/evaluate/zero-shot.js';
import { property, relativeError, values } from '../helpers.js';

describe('retrieval metrics', () => {
  property(
    'count the candidates that score at least as high, whatever the chunk',
    fc.record({ n: fc.integer({ min: 1, max: 12 }), chunk: fc.integer({ min: 1, max: 13 }), seed: fc.nat(1000) }),
    async ({ n, chunk, seed }) => {
      const [x, y] = [randn([n, 3], { seed }), randn([n, 3], { seed: seed + 1 })];
      const scores = values(x.matmul(y, { transposeB: true }));
      const ranks = await partnerRanks(x, y, chunk);
      for (let i = 0; i < n; i++) {
        const row = scores.slice(i * n, (i + 1) * n);
        assert.equal(ranks[i], row.filter((score, j) => j !== i && score >= row[i]!).length);
      }
    },
  );

  it('are perfect for equal embeddings of any length, and worthless when all coincide', async () => {
    const x = randn([20, 8], { seed: 1 });
    const same = await retrievalMetrics(x, x.mul(3));
    assert.deepEqual(same.imageToText, { count: 20, recall: { 1: 1, 5: 1, 10: 1 }, medianRank: 1, meanRank: 1 });
    assert.deepEqual(same.textToImage, same.imageToText);
    const flat = tensor(new Float32Array(20 * 8).fill(1), { shape: [20, 8] });
    assert.equal((await retrievalMetrics(flat, flat)).imageToText.recall[10], 0);
  });

  it('tell the two directions apart', async () => {
    // Text 0 is nearest to both images: image 1 misses its text, each text finds its image.
    const images = tensor([
      [1, 0],
      [0.9, 0.436],
    ]);
    const texts = tensor([
      [1, 0],
      [0, 1],
    ]);
    const { imageToText, textToImage } = await retrievalMetrics(images, texts, { ks: [1, 2] });
    assert.deepEqual(imageToText.recall, { 1: 0.5, 2: 1 });
    assert.deepEqual(textToImage.recall, { 1: 1, 2: 1 });
    assert.equal(imageToText.medianRank, 1.5);
    assert.equal(imageToText.meanRank, 1.5);
  });

  it('count NaN against the model', async () => {
    const x = tensor(new Float32Array(8).fill(Number.NaN), { shape: [4, 2] });
    assert.equal((await retrievalMetrics(x, x)).imageToText.recall[1], 0);
  });

  property(
    'count any caption of a picture as right, any picture of a caption, against a count by hand',
    fc.record({
      pairs: fc.array(fc.tuple(fc.nat(4), fc.nat(6)), { minLength: 1, maxLength: 12 }),
      chunk: fc.integer({ min: 1, max: 9 }),
      seed: fc.nat(1000),
    }),
    async ({ pairs: drawn, chunk, seed }) => {
      // numbered as they come, so that every picture and caption has a partner
      const number = (values: number[]) => values.map((value) => [...new Set(values)].indexOf(value));
      const [left, right] = [number(drawn.map(([p]) => p)), number(drawn.map(([, t]) => t))];
      const pairs = left.map((p, i) => [p, right[i]!] as const);
      const [images, texts] = [Math.max(...left) + 1, Math.max(...right) + 1];
      const [x, y] = [randn([images, 3], { seed }), randn([texts, 3], { seed: seed + 1 })];
      const metrics = await retrievalMetrics(x, y, { pairs, chunk, ks: [1, 2] });
      const s = values(x.l2Normalize().matmul(y.l2Normalize(), { transposeB: true }));
      const belongs = (p: number, t: number) => pairs.some(([a, b]) => a === p && b === t);
      const ranks = Array.from({ length: images }, (_, p) => {
        const order = [...Array(texts).keys()].sort((a, b) => s[p * texts + b]! - s[p * texts + a]!);
        return order.findIndex((t) => belongs(p, t));
      });
      assert.equal(metrics.imageToText.recall[1], ranks.filter((rank) => rank < 1).length / images);
      assert.equal(metrics.imageToText.meanRank, ranks.reduce((sum, rank) => sum + rank, 0) / images + 1);
      assert.equal(metrics.textToImage.count, texts);
    },
  );

  it('refuse pairs that leave a picture or a caption out', async () => {
    const [x, y] = [randn([2, 3]), randn([3, 3])];
    const left = retrievalMetrics(x, y, { pairs: [[0, 0], [1, 1]] }); // biome-ignore format: short
    await assert.rejects(left, DomainError);
    await assert.rejects(
      retrievalMetrics(x, randn([2, 4]), {
        pairs: [
          [0, 0],
          [1, 1],
        ],
      }),
      ShapeError,
    );
  });

  it('know the chance of several right answers', () => {
    const { imageToText, textToImage } = chanceOfPairs(
      [0, 1, 2, 3].flatMap((p) => [0, 1, 2, 3, 4].map((t) => [p, 5 * p + t] as const)),
      [1, 16],
    );
    assert.ok(Math.abs(imageToText[1]! - 5 / 20) < 1e-12 && imageToText[16] === 1);
    assert.ok(Math.abs(textToImage[1]! - 1 / 4) < 1e-12);
  });

  it('refuse shapes and cut-offs that make no sense', async () => {
    await assert.rejects(partnerRanks(randn([3, 2]), randn([4, 2])), ShapeError);
    await assert.rejects(retrievalMetrics(randn([3, 2]), randn([3, 2]), { chunk: 0 }), DomainError);
    assert.throws(() => rankMetrics([0, 1], [0]), DomainError);
  });
});

describe('zero-shot', () => {
  const tokenizer = ClipTokenizer.train(['a red square', 'a blue circle', 'a drawing of a square'], { vocabSize: 530 });
  const config = { embed_dim: 6, image_resolution: 8, vision_layers: 1, vision_width: 8, vision_patch_size: 4 };
  const text = {
    context_length: 8,
    vocab_size: 530,
    transformer_width: 8,
    transformer_heads: 2,
    transformer_layers: 1,
  };
  const model = createModel({ ...config, ...text, vision_heads: 2 }, { seed: 5 }).eval();
  const classNames = ['red square', 'blue circle', 'square'];
  const templates = ['a {}', (name: string) => `a drawing of a ${name}`];

  it('averages unit embeddings of the prompts of a class', () => {
    for (const batchSize of [1, 3, 256]) {
      const classifier = zeroShotClassifier(model, tokenizer, { classNames, templates, batchSize });
      assert.deepEqual(classifier.shape, [3, 6]);
      classNames.forEach((name, c) => {
        const unit = embedTexts(model, tokenizer, [`a ${name}`, `a drawing of a ${name}`]).l2Normalize();
        const expected = values(unit.mean({ axis: 0, keepDims: true }).l2Normalize());
        assert.ok(relativeError(values(classifier).slice(c * 6, (c + 1) * 6), expected) < 1e-5);
      });
    }
  });

  it('fills templates as given and refuses those without a place', () => {
    assert.equal(fillTemplate('a photo of a {}, a {c}', 'dog $&'), 'a photo of a dog $&, a dog $&');
    assert.throws(() => fillTemplate('a photo', 'dog'), DomainError);
    assert.throws(() => zeroShotClassifier(model, tokenizer, { classNames: [] }), DomainError);
    assert.throws(() => zeroShotClassifier(model, tokenizer, { classNames, templates: [] }), DomainError);
    assert.throws(() => embedTexts(model, tokenizer, []), DomainError);
  });

  it('measures top-k and per-class accuracy', async () => {
    const classifier = tensor([
      [1, 0],
      [0, 1],
      [-1, 0],
    ]);
    const images = tensor([
      [5, 1],
      [1, 5],
      [1, 2],
      [-1, 0.1],
    ]);
    for (const chunk of [1, 3, 100]) {
      const { accuracy, perClass, predicted } = await classify(images, classifier, [0, 1, 0, 1], { ks: [1, 2], chunk });
      assert.deepEqual([...predicted], [0, 1, 1, 2]);
      assert.deepEqual(accuracy, { 1: 0.5, 2: 1 });
      assert.deepEqual(perClass, [
        { count: 2, accuracy: 0.5 },
        { count: 2, accuracy: 0.5 },
        { count: 0, accuracy: 0 },
      ]);
    }
    await assert.rejects(classify(images, classifier, [0, 1, 0, 3]), DomainError);
    await assert.rejects(classify(images, classifier, [0]), ShapeError);
  });

  it('takes classes of one name as one', async () => {
    const classifier = tensor([
      [1, 0],
      [0, 1],
      [1, 0],
    ]);
    const images = tensor([
      [5, 1],
      [4, 1],
      [1, 5],
    ]);
    const classNames = ['missile', 'dog', 'missile'];
    assert.equal((await classify(images, classifier, [0, 2, 1])).accuracy[1], 1 / 3, 'ties');
    assert.equal((await classify(images, classifier, [0, 2, 1], { classNames })).accuracy[1], 1);
    assert.ok(Math.abs(chanceOfClasses([0, 2, 1], classNames)[1]! - (2 / 3 + 2 / 3 + 1 / 3) / 3) < 1e-12);
  });
});
