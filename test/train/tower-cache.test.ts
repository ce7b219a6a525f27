/** What locked encoders give, computed once: the right numbers, under a key that holds all they depend on, whatever happens to the file. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError, noGrad, tensor, UsageError } from 'hopgrad';
import { ClipTokenizer, type CloobConfig, createModel } from 'hopgrad/models/cloob';
import { EmbeddingTable } from '#src/data/embeddings.js';
import { Loader } from '#src/data/loader.js';
import { listSource, type Row, type Source } from '#src/data/source.js';
import { Random } from '#src/tensor/random.js';
import { findResumePoint } from '#src/train/checkpoints.js';
import { openCorpus } from '#src/train/corpus.js';
import { defaultSettings, presets, type TrainOptions } from '#src/train/options.js';
import { newRecord } from '#src/train/record.js';
import { type RunOptions, runTraining } from '#src/train/run.js';
import { RunFolder } from '#src/train/run-folder.js';
import { lockedTables } from '#src/train/tower-cache.js';
import { makePictures, makeWeights, tinyConfig } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';
import { values } from '../helpers.js';

const count = 150;
const image = { lockImage: true, lockText: false };
const text = { lockImage: false, lockText: true };

describe('embeddings of locked encoders', () => {
  const root = temporaryFolder();
  const random = new Random(1);
  const rows: Row[] = Array.from({ length: count }, (_, i) => ({
    index: 2 * i + 1,
    name: `picture ${i}`,
    image: {
      pixels: {
        data: Uint8Array.from({ length: 192 }, () => random.int(256)),
        width: 8,
        height: 8,
        channels: 3,
        mode: 'RGB',
      },
    },
    caption: `words ${i % 100}`,
  }));
  const source = listSource('rows', rows);
  const tokenizer = ClipTokenizer.train(['words of a picture 0123456789'], { vocabSize: 520 });
  const make = (seed = 1, config: Partial<CloobConfig> = {}) => ({
    model: createModel({ ...tinyConfig, ...config }, { seed }),
    tokenizer,
  });
  const folder = () => mkdtempSync(join(root, 'cache-'));
  const files = (cache: string) => readdirSync(join(cache, 'towers'));
  const options = (cache: string, more = {}) => {
    const said: string[] = [];
    const output = { write: (line: string) => said.push(line) };
    return { said, cache, data: 'the digest', output, workers: 0, ...more };
  };
  const keys = rows.map(({ index }) => index);
  const numbers = (table: EmbeddingTable, of: (number | string)[]) => Array.from(values(table.rows(of, 'reference')));

  it('are what the encoder gives for the whole picture, and are read again by the next run', async () => {
    const cache = folder();
    const parts = make();
    const first = options(cache);
    const tables = (await lockedTables(parts, source, image, first))!;
    assert.deepEqual(Object.keys(tables), ['image']);
    assert.ok(first.said.some((line) => /Embedding pictures once 150\/150/.test(line)));
    const loader = new Loader(source, { batchSize: count, transform: { size: 8 }, workers: 0 });
    for await (const { images } of loader.batches({ epoch: 0 })) {
      const direct = noGrad(() => parts.model.eval().visual.forward(tensor(images, { shape: [count, 3, 8, 8] })));
      const found = numbers(tables.image!, keys);
      assert.ok(Array.from(values(direct)).every((value, i) => Math.abs(value - found[i]!) < 1e-5));
    }
    const again = options(cache);
    const read = (await lockedTables(parts, source, image, again))!;
    assert.deepEqual(numbers(read.image!, keys), numbers(tables.image!, keys));
    assert.match(again.said.join(''), /150 pictures, computed before/);
    assert.ok(!/once/.test(again.said.join('')));
    assert.throws(
      () => read.image!.rows([2], 'reference'),
      (error) => error instanceof DataError && /row 2/.test(error.message),
    );
  });

  it('have a name of their own for other weights, data, pictures and ways to show them', async () => {
    const cache = folder();
    const changed = listSource('rows', rows.with(7, { ...rows[7]!, image: rows[8]!.image }));
    const renumbered = listSource('rows', rows.with(7, { ...rows[7]!, index: 999 }));
    for (const [parts, from, more] of [
      [make(), source, {}],
      [make(2), source, {}],
      [make(), source, { data: 'another digest' }],
      [make(), changed, {}],
      [make(), renumbered, {}],
      [make(1, { image_mean: [0.5, 0.5, 0.5] }), source, {}],
    ] as const)
      await lockedTables(parts, from, image, options(cache, more));
    assert.equal(files(cache).length, 6);
    await lockedTables(make(), source, text, options(cache));
    await lockedTables(
      { ...make(), tokenizer: ClipTokenizer.train(['pi pi', 'pi'], { vocabSize: 520 }) },
      source,
      text,
      options(cache),
    );
    assert.equal(files(cache).length, 8);
  });

  it('are computed again when their file is damaged, or is that of something else', async () => {
    const cache = folder();
    const right = numbers((await lockedTables(make(), source, image, options(cache)))!.image!, keys);
    const path = join(cache, 'towers', files(cache)[0]!);
    const whole = readFileSync(path);
    const again = async () => {
      const own = options(cache);
      assert.deepEqual(numbers((await lockedTables(make(), source, image, own))!.image!, keys), right);
      return own.said.join('');
    };
    for (let i = 0; i < 12; i++) {
      const broken = Buffer.from(whole);
      const bit = random.int(8 * broken.length);
      broken[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(path, broken);
      assert.match(await again(), /computed again/, `bit ${bit}`);
    }
    writeFileSync(path, whole.subarray(0, 500));
    assert.match(await again(), /computed again/);
    await lockedTables(make(2), source, image, options(cache));
    const other = files(cache).find((name) => !path.endsWith(name))!;
    writeFileSync(path, readFileSync(join(cache, 'towers', other))); // whole, and of other weights
    assert.match(await again(), /something else.*computed again|computed again.*something else/s);
    assert.match(await again(), /computed before/);
  });

  it('that were interrupted are kept, and the rest is computed', async () => {
    const cache = folder();
    const right = numbers((await lockedTables(make(), source, image, options(folder())))!.image!, keys);
    const controller = new AbortController();
    const first = options(cache, { signal: controller.signal });
    controller.abort(); // heard after the first 64
    assert.equal(await lockedTables(make(), source, image, first), null);
    const second = options(cache);
    const tables = (await lockedTables(make(), source, image, second))!;
    assert.deepEqual(numbers(tables.image!, keys), right);
    assert.match(second.said.join(''), /once 128\/150|once 150\/150/);
    assert.ok(!second.said.some((line) => /once 64\/150/.test(line)), 'the first 64 were computed again');
  });

  it('of captions that change are refused', async () => {
    const drawn: Source = {
      ...source,
      rows: ({ epoch }) => rows.map((row) => ({ ...row, caption: `${row.caption} ${epoch}` })),
    };
    await assert.rejects(
      lockedTables(make(), drawn, text, options(folder())),
      (error) => error instanceof UsageError && /drawn anew in every epoch/.test(error.message),
    );
  });

  describe('in runs', () => {
    before(async () => {
      await makePictures(root);
      await makeWeights(join(root, 'weights.safetensors'));
    });
    let runs = 0;
    const run = async (options: Partial<TrainOptions>): Promise<RunOptions> => {
      const path = join(root, 'pairs.tsv');
      const preprocessing = { size: 8, mean: [0, 0, 0], std: [1, 1, 1], background: [255, 255, 255] } as const;
      const output = { write: () => true };
      const corpus = await openCorpus({ train: { path }, val: null }, { preprocessing, workers: 0, output });
      const start = { model: 'pretrained', pretrained: join(root, 'weights.safetensors'), batchSize: 4, epochs: 4 };
      const session = { command: '', step: 0, device: 'wasm', description: '', node: '', platform: '' };
      const record = newRecord({
        ...{ hopgrad: '0.1.0', method: 'CLOOB', data: corpus.spec },
        options: { ...presets.pairs, ...start, ...options },
        settings: { ...defaultSettings, workers: 0, cache: join(root, 'of-runs') },
        sessions: [{ date: '2026-01-02T03:04:05.000Z', ...session }],
      });
      return { record, corpus, folder: new RunFolder(join(root, `run-${runs++}`)), checkpoint: null, output };
    };
    const weights = ({ folder }: RunOptions) => readFileSync(folder.model);

    it('of a locked text encoder come to the same bits as without', async () => {
      const [kept, direct] = [await run({ lockText: true, cacheEmbeddings: true }), await run({ lockText: true })];
      await runTraining(kept);
      await runTraining(direct);
      assert.ok(weights(kept).equals(weights(direct)));
    });

    it('of a locked image encoder go on bit for bit, and read no picture for it', async () => {
      const options = { lockImage: true, cacheEmbeddings: true };
      const [whole, broken] = [await run(options), await run(options)];
      await runTraining(whole);
      const controller = new AbortController();
      const log = broken.folder.log.bind(broken.folder);
      broken.folder.log = (entry) => {
        log(entry);
        if ((entry as { step: number }).step === 5) controller.abort();
      };
      assert.equal((await runTraining({ ...broken, signal: controller.signal })).steps, 5);
      await runTraining({ ...broken, checkpoint: findResumePoint(broken.folder).checkpoint });
      assert.ok(weights(whole).equals(weights(broken)));
      const [row] = readFileSync(join(broken.folder.path, 'log.jsonl'), 'utf8').split('\n');
      assert.ok((JSON.parse(row!) as { loss: number }).loss > 0);
      const loader = broken.corpus.loader(broken.record.options, new EmbeddingTable(new Float32Array(12), 1));
      for await (const { images, count: pairs } of loader.batches({ epoch: 0 }))
        assert.deepEqual([images.length, pairs], [0, 4]);
      await loader.close();
    });

    it('stop before the first step when told so, and leave nothing but the cache', async () => {
      const own = await run({ lockImage: true, cacheEmbeddings: true, background: 'black' });
      own.record.settings.cache = folder();
      const stopped = await runTraining({ ...own, signal: AbortSignal.abort() });
      assert.deepEqual([stopped.complete, stopped.steps], [false, 0]);
      assert.deepEqual(readdirSync(own.folder.path), []);
      assert.equal(files(own.record.settings.cache).length, 1);
    });
  });
});
