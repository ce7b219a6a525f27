/** The embedded data: nothing of the test sets leaks into training, batches hold a concept once, views are reproducible. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { init, Random, tensor } from 'hopgrad';
import { turnedView } from '#src/data/augment.js';
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
import { type EmojiData, emojiSource, prepareEmoji } from '#src/data/emoji-source.js';
import { Loader } from '#src/data/loader.js';
import { type Images, rasterise } from '#src/data/rasterise.js';
import { loadSharp } from '#src/data/sharp.js';
import { listSource } from '#src/data/source.js';
import { all } from './helpers.js';

const concepts = loadConcepts();
const drawings = [...trainingStyles, heldOutStyle].flatMap((style) => loadDrawings(style, concepts));

const noSplit = { train: [], testA: [], testB: [], testC: [] };

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

  let prepared: EmojiData | undefined;
  before(() => init({ device: 'wasm' })); // the reference takes a minute for these products
  for (const validation of [false, true])
    it(`are split so that no unseen picture has a twin in the training${validation ? ' of the validation' : ''}`, async function () {
      this.timeout(600_000); // the first time they are drawn
      const { images } = (prepared ??= await prepareEmoji({ cacheFolder: '.cache' }));
      const split = splitDrawings(concepts, drawings, { validation });
      const length = 3 * images.size ** 2;
      const centred = (rows: number[]) => {
        const pixels = new Float32Array(rows.length * length);
        rows.forEach((row, i) => {
          pixels.set(images.data.subarray(row * length, (row + 1) * length), i * length);
        });
        const x = tensor(pixels, { shape: [rows.length, length] });
        return x.sub(x.mean({ axis: 1, keepDims: true })).l2Normalize();
      };
      const unseen = [...split.testB, ...split.testC];
      const cosines = centred(unseen).matmul(centred(split.train), { transposeB: true }); // [unseen, train]
      const [nearest, which] = [await cosines.max({ axis: 1 }).data(), await cosines.argmax({ axis: 1 }).data()];
      const name = (row: number) => `${concepts[drawings[row]!.concept]!.name} (${drawings[row]!.style})`;
      unseen.forEach((row, i) => {
        assert.ok(nearest[i]! < 0.95, `${name(row)} and ${name(split.train[which[i]!]!)}: ${nearest[i]}`);
      });
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

describe('pictures', () => {
  const few = drawings.slice(0, 12);
  let folder: string;
  let images: Images;
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-emoji-'));
    images = await rasterise(few, { size: 16, cacheFolder: folder });
  });
  after(() => rmSync(folder, { recursive: true }));

  it('are drawn as the loader draws SVG files', async () => {
    const source = listSource(
      'svg',
      few.map(({ svg }, index) => ({ index, name: 'svg', image: { bytes: Buffer.from(svg) } })),
    );
    const loader = new Loader(source, {
      batchSize: 12,
      transform: { size: 16, background: [255, 255, 255] },
      workers: 0,
    });
    const [batch] = await all(loader.batches({ epoch: 0 }));
    const data = { name: 'emoji', titles: {}, concepts, drawings: few, images, split: noSplit, digest: '' };
    const own = new Loader(emojiSource(data, [...few.keys()], 'names'), {
      batchSize: 12,
      transform: { size: 16 },
    });
    const [drawn] = await all(own.batches({ epoch: 0 }));
    assert.deepEqual(drawn!.images, batch!.images);
    await own.close();
  });

  it('come from the cache the second time, and are made anew when it is damaged or another sharp would draw', async () => {
    const draw = () => rasterise(few, { size: 16, cacheFolder: folder });
    const again = await draw();
    assert.equal(again.cached, true);
    assert.deepEqual(again.data, images.data);
    const [file] = readdirSync(folder);
    writeFileSync(join(folder, file!), 'damaged');
    const anew = await draw();
    assert.equal(anew.cached, false);
    assert.deepEqual(anew.data, images.data);
    const { versions } = await loadSharp();
    const { vips } = versions;
    try {
      versions.vips = '0.0.0';
      assert.equal((await draw()).cached, false);
    } finally {
      versions.vips = vips;
    }
    const other = few.with(3, { ...few[3]!, svg: few[4]!.svg });
    assert.equal((await rasterise(other, { size: 16, cacheFolder: folder })).cached, false);
  });

  it('may be drawn by several at once, and leave nothing half done', async () => {
    const fresh = join(folder, 'fresh');
    const drawn = await Promise.all([1, 2, 3].map(() => rasterise(few, { size: 16, cacheFolder: fresh, workers: 0 })));
    for (const { data } of drawn) assert.deepEqual(data, images.data);
    assert.equal(readdirSync(fresh).length, 1);
    assert.equal((await rasterise(few, { size: 16, cacheFolder: fresh })).cached, true);
  });

  it('are on white, on another colour when told, or without their opacity', async () => {
    const on = async (background: readonly [number, number, number] | null) => {
      const { data, cached } = await rasterise(few, { size: 16, cacheFolder: folder, background });
      return { corner: [...data.subarray(0, 3)], cached };
    };
    assert.deepEqual(await on([255, 255, 255]), { corner: [255, 255, 255], cached: true });
    assert.deepEqual(await on([10, 20, 30]), { corner: [10, 20, 30], cached: false });
    assert.deepEqual(await on(null), { corner: [0, 0, 0], cached: false });
  });

  it('report drawings that cannot be rendered', async () => {
    const broken = [{ svg: 'no drawing' }];
    assert.deepEqual((await rasterise(broken, { size: 16, cacheFolder: folder })).broken, [0]);
  });

  it('are varied reproducibly, near the original, in the colour outside', () => {
    const planes = Uint8Array.from({ length: 768 }, (_, i) => images.data[(i % 256) * 3 + Math.floor(i / 256)]!);
    const view = (seed: number) => turnedView(planes, 16, new Random(seed), [255, 255, 255]);
    assert.deepEqual(view(1), view(1));
    assert.notDeepEqual(view(1), view(2));
    const correlation = (a: Uint8Array, b: Uint8Array) => {
      const mean = (x: Uint8Array) => x.reduce((sum, v) => sum + v, 0) / x.length;
      const [ma, mb] = [mean(a), mean(b)];
      const sum = (f: (i: number) => number) => a.reduce((total, _, i) => total + f(i), 0);
      const cov = sum((i) => (a[i]! - ma) * (b[i]! - mb));
      return cov / Math.sqrt(sum((i) => (a[i]! - ma) ** 2) * sum((i) => (b[i]! - mb) ** 2));
    };
    for (let seed = 0; seed < 10; seed++) assert.ok(correlation(planes, view(seed)) > 0.5);
    const black = new Uint8Array(768);
    const corners = Array.from({ length: 20 }, (_, seed) => turnedView(black, 16, new Random(seed), [0, 0, 255]));
    assert.ok(corners.some((out) => out[512]! > 150) && corners.every((out) => out[0]! < 30), 'blue corners');
  });

  it('make batches of different concepts, said in other words at every visit', async () => {
    const data = { name: 'emoji', titles: {}, concepts, drawings: few, images, split: noSplit, digest: '' };
    const source = emojiSource(data, [...few.keys()], 'sampled');
    const loader = new Loader(source, {
      batchSize: 4,
      transform: { size: 16, view: source.view! },
      train: true,
      seed: 7,
    });
    const [first, second] = [await all(loader.batches({ epoch: 2 })), await all(loader.batches({ epoch: 3 }))];
    assert.equal(first.length, loader.batchesPerEpoch);
    assert.deepEqual(await all(loader.batches(first[0]!.next)), first.slice(1));
    const said = (batches: typeof first) =>
      new Map(batches.flatMap(({ names, captions }) => names.map((name, i) => [name, captions[i]!])));
    assert.ok([...said(first)].some(([name, caption]) => said(second).get(name) !== caption));
    assert.equal(first[0]!.images.length, 4 * 3 * 256);
  });
});
