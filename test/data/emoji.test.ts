/** The embedded data: nothing of the test sets leaks into training, batches hold a concept once, views are reproducible. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError, DomainError, Random } from 'hopgrad';
import { augmentInto, normaliseInto } from '#src/data/augment.js';
import { neighbourCaptionScores, neighbourScores, pixelFeatures, ranksBothWays } from '#src/data/baselines.js';
import { epochBatches } from '#src/data/batches.js';
import {
  familyOf,
  heldOutStyle,
  keywordLine,
  loadConcepts,
  loadDrawings,
  sampleCaption,
  splitDrawings,
  trainingStyles,
} from '#src/data/emoji.js';
import { emojiPairs, pixelsOf } from '#src/data/emoji-pairs.js';
import { type Images, rasterise } from '#src/data/rasterise.js';
import { property } from '../helpers.js';

const concepts = loadConcepts();
const drawings = [...trainingStyles, heldOutStyle].flatMap((style) => loadDrawings(style, concepts));

describe('the embedded emoji', () => {
  it('are as many as documented', () => {
    assert.equal(concepts.length, 1644);
    assert.equal(drawings.length, 10187);
    assert.ok(concepts.every(({ group }) => group !== 'Flags'));
    assert.ok(drawings.every(({ svg }) => svg.startsWith('<svg') && svg.endsWith('</svg>')));
  });

  for (const validation of [false, true])
    it(`are split without a leak${validation ? ', for validation too' : ''}`, () => {
      const { train, testA, testB, testC } = splitDrawings(concepts, drawings, { validation });
      const held = validation ? 'openmoji' : heldOutStyle;
      const families = (rows: number[]) => new Set(rows.map((row) => concepts[drawings[row]!.concept]!.family));
      const known = new Set(train.map((row) => drawings[row]!.concept));
      const knownFamilies = families(train);
      for (const row of [...testB, ...testC])
        assert.ok(!knownFamilies.has(concepts[drawings[row]!.concept]!.family), concepts[drawings[row]!.concept]!.name);
      assert.ok(train.every((row) => drawings[row]!.style !== held && drawings[row]!.style !== heldOutStyle));
      assert.ok(testA.every((row) => drawings[row]!.style === held && known.has(drawings[row]!.concept)));
      assert.ok(testC.every((row) => drawings[row]!.style === held));
      assert.ok(testB.every((row) => drawings[row]!.style !== held && drawings[row]!.style !== heldOutStyle));
      const conceptsOf = (rows: number[]) => rows.map((row) => drawings[row]!.concept);
      assert.deepEqual(conceptsOf(testB), conceptsOf(testC));
      const unseen = validation ? 100 : 200;
      assert.equal(new Set(conceptsOf(testB)).size, unseen);
      assert.equal(families(testB).size, unseen);
      assert.equal(new Set(conceptsOf(testA)).size, testA.length);
    });

  it('keep the test concepts out of validation altogether', () => {
    const test = splitDrawings(concepts, drawings);
    const tuning = splitDrawings(concepts, drawings, { validation: true });
    const unseen = new Set(test.testB.map((row) => drawings[row]!.concept));
    for (const rows of Object.values(tuning))
      for (const row of rows as number[]) assert.ok(!unseen.has(drawings[row]!.concept));
  });

  it('group siblings into families', () => {
    assert.equal(familyOf('woman running'), familyOf('man running'));
    assert.equal(familyOf('red heart'), familyOf('blue heart'));
    assert.equal(familyOf('two-thirty'), familyOf('ten o’clock'));
    assert.equal(familyOf('down arrow'), familyOf('up-left arrow'));
    assert.notEqual(familyOf('cat face'), familyOf('dog face'));
  });

  it('are described by their own words, reproducibly', () => {
    const heart = concepts.find(({ name }) => name === 'red heart')!;
    const captions = (seed: number) => {
      const random = new Random(seed);
      return Array.from({ length: 40 }, () => sampleCaption(heart, random));
    };
    assert.deepEqual(captions(1), captions(1));
    assert.ok(new Set(captions(1)).size > 5);
    const allowed = new Set([heart.name, `a drawing of ${heart.name}`, ...heart.keywords]);
    for (const caption of captions(2))
      assert.ok(allowed.has(caption) || caption.split(', ').every((word) => allowed.has(word)), caption);
    assert.ok(keywordLine(heart).split(', ').length <= 8);
    assert.equal(keywordLine({ ...heart, keywords: [] }), 'red heart');
  });
});

describe('epochBatches', () => {
  property(
    'deals every drawing at most once, a concept once a batch, full batches only',
    fc.record({
      concepts: fc.array(fc.nat(15), { minLength: 40, maxLength: 80 }),
      batchSize: fc.integer({ min: 2, max: 6 }),
      seed: fc.nat(99),
      epoch: fc.nat(5),
    }),
    ({ concepts: own, batchSize, seed, epoch }) => {
      fc.pre(new Set(own).size >= batchSize);
      const batches = epochBatches(own, { batchSize, seed, epoch });
      assert.deepEqual(batches, epochBatches(own, { batchSize, seed, epoch }));
      assert.equal(new Set(batches.flat()).size, batches.flat().length);
      for (const batch of batches) {
        assert.equal(batch.length, batchSize);
        assert.equal(new Set(batch.map((row) => own[row])).size, batchSize);
      }
    },
  );

  it('refuses batches without negatives and too few concepts', () => {
    assert.throws(() => epochBatches([1, 2], { batchSize: 1, seed: 0, epoch: 0 }), DomainError);
    assert.throws(() => epochBatches([1, 1, 1], { batchSize: 2, seed: 0, epoch: 0 }), DataError);
  });
});

describe('pictures', () => {
  const few = drawings.slice(0, 12);
  let folder: string;
  let images: Images;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-emoji-'));
    images = await rasterise(few, { size: 16, cacheFolder: folder, key: 'test' });
  });
  after(() => rmSync(folder, { recursive: true }));

  it('come from the cache the second time, and are made anew when it is damaged', async () => {
    const draw = () => rasterise(few, { size: 16, cacheFolder: folder, key: 'test' });
    const again = await draw();
    assert.equal(again.cached, true);
    assert.deepEqual(again.data, images.data);
    const [file] = readdirSync(folder);
    writeFileSync(join(folder, file!), 'damaged');
    const anew = await draw();
    assert.equal(anew.cached, false);
    assert.deepEqual(anew.data, images.data);
    assert.equal((await rasterise(few, { size: 16, cacheFolder: folder, key: 'other' })).cached, false);
  });

  it('report drawings that cannot be rendered', async () => {
    const broken = [{ concept: 0, style: 'none', svg: 'no drawing' }];
    assert.deepEqual((await rasterise(broken, { size: 16, cacheFolder: folder, key: 'x' })).broken, [0]);
  });

  it('are augmented reproducibly, near the original, white outside', () => {
    const view = (seed: number) => {
      const out = new Float32Array(3 * 256);
      augmentInto(out, 0, images, 0, new Random(seed));
      return out;
    };
    assert.deepEqual(view(1), view(1));
    assert.notDeepEqual(view(1), view(2));
    const plain = new Float32Array(3 * 256);
    normaliseInto(plain, 0, images, 0);
    const correlation = (a: Float32Array, b: Float32Array) => {
      const mean = (x: Float32Array) => x.reduce((sum, v) => sum + v, 0) / x.length;
      const [ma, mb] = [mean(a), mean(b)];
      const sum = (f: (i: number) => number) => a.reduce((total, _, i) => total + f(i), 0);
      const cov = sum((i) => (a[i]! - ma) * (b[i]! - mb));
      return cov / Math.sqrt(sum((i) => (a[i]! - ma) ** 2) * sum((i) => (b[i]! - mb) ** 2));
    };
    for (let seed = 0; seed < 10; seed++) assert.ok(correlation(plain, view(seed)) > 0.5);
  });

  it('make batches that go on from any place', async () => {
    const split = { train: [...few.keys()], testA: [], testB: [], testC: [] };
    const pairs = emojiPairs({ concepts, drawings: few, images, split, cached: true }, { batchSize: 4, seed: 7 });
    const collect = async (from: number) => {
      const found = [];
      for await (const batch of pairs.batches(2, from)) found.push(batch);
      return found;
    };
    const all = await collect(0);
    assert.equal(all.length, pairs.batchesPerEpoch);
    assert.deepEqual(await collect(all[0]!.next), all.slice(1));
    assert.equal(all[0]!.images.length, 4 * 3 * 256);
    assert.equal(all[0]!.captions.length, 4);
    const plain = pixelsOf({ concepts, drawings: few, images, split, cached: true }, [3]);
    const expected = new Float32Array(3 * 256);
    normaliseInto(expected, 0, images, 3);
    assert.deepEqual(plain, expected);
  });
});

describe('baselines', () => {
  // Pictures of two columns: two kinds of contrast, each twice, then four of even brightness.
  const [dark, light] = [0, 255];
  const picture = (left: number, right: number) => [left, right, left, right, left, right];
  const images: Images = { count: 8, size: 2, data: new Uint8Array(8 * 12).fill(128) };
  [
    [dark, light],
    [light, dark],
    [10, 240],
    [250, 20],
  ].forEach(([a, b], i) => {
    images.data.set([...picture(a!, b!), ...picture(a!, b!)], i * 12);
  });

  it('find the nearest training picture of each concept', async () => {
    const scores = await neighbourScores(pixelFeatures(images), [0, 1], [2, 3], (row) => row % 2);
    assert.deepEqual([...ranksBothWays(scores).forward], [0, 0]);
    assert.deepEqual([...ranksBothWays(scores).backward], [0, 0]);
    const swapped = await neighbourScores(pixelFeatures(images), [0, 1], [2, 3], (row) => (row < 2 ? row : 3 - row));
    assert.deepEqual([...ranksBothWays(swapped).forward], [1, 1]);
  });

  it('find captions by the words of neighbours', async () => {
    const words = ['apple fruit', 'car road', '', '', 'moon', 'shoe', 'door', 'tree'];
    const known = [0, 1, 4, 5, 6, 7];
    const scores = await neighbourCaptionScores(pixelFeatures(images), known, [2, 3], (row) => words[row]!, [
      'some fruit',
      'the road',
    ]);
    assert.deepEqual([...ranksBothWays(scores).forward], [0, 0]);
    const swapped = await neighbourCaptionScores(pixelFeatures(images), known, [2, 3], (row) => words[row]!, [
      'the road',
      'some fruit',
    ]);
    assert.deepEqual([...ranksBothWays(swapped).forward], [1, 1]);
  });

  it('count ties against the method', () => {
    const flat = { n: 3, data: new Float64Array(9) };
    assert.deepEqual([...ranksBothWays(flat).forward], [2, 2, 2]);
    assert.deepEqual([...ranksBothWays(flat).backward], [2, 2, 2]);
  });
});
