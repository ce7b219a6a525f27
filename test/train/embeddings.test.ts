/** CLOOB on embeddings from elsewhere: heads learn, go on bit for bit, are evaluated, and refuse what does not fit. */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CheckpointError, DataError, tensor } from 'hopgrad';
import { HeadsModel, loadCheckpoint, loadHeads, saveHeads, writeSafetensors } from 'hopgrad/models/cloob';
import { Random } from '#src/tensor/random.js';
import { findResumePoint } from '#src/train/checkpoints.js';
import type { Corpus } from '#src/train/corpus.js';
import { openEmbeddingCorpus } from '#src/train/embedding-corpus.js';
import { withoutEffect } from '#src/train/option-needs.js';
import { defaultSettings, presets, type TrainOptions } from '#src/train/options.js';
import { newRecord } from '#src/train/record.js';
import { type RunOptions, runTraining } from '#src/train/run.js';
import { RunFolder } from '#src/train/run-folder.js';
import { hopgrad, readRows } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';

/** A file of numpy.save. */
function writeNpy(path: string, rows: number[][]): string {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows.length}, ${rows[0]!.length}), }\n`;
  const length = Buffer.alloc(2);
  length.writeUInt16LE(header.length);
  const data = Buffer.from(Float32Array.from(rows.flat()).buffer);
  writeFileSync(path, Buffer.concat([Buffer.from('\x93NUMPY\x01\x00', 'latin1'), length, Buffer.from(header), data]));
  return path;
}

/** Two linear views of four hidden numbers, with a little noise: 12 and 9 numbers. */
function views(count: number): { images: number[][]; texts: number[][] } {
  const random = new Random(5);
  const matrix = (n: number, m: number) =>
    Array.from({ length: n }, () => Array.from({ length: m }, () => random.normal()));
  const [a, b] = [matrix(4, 12), matrix(4, 9)];
  const times = (z: number[][], w: number[][]) =>
    z.map((row) => w[0]!.map((_, j) => row.reduce((sum, x, i) => sum + x * w[i]![j]!, 0.02 * random.normal())));
  const hidden = matrix(count, 4);
  return { images: times(hidden, a), texts: times(hidden, b) };
}

describe('heads on embeddings from elsewhere', () => {
  const root = temporaryFolder();
  const at = (name: string) => join(root, name);
  const quiet = { write: () => true };
  let corpus: Corpus;
  before(async () => {
    const { images, texts } = views(96);
    writeNpy(at('x.npy'), images.slice(0, 64));
    writeNpy(at('y.npy'), texts.slice(0, 64));
    writeNpy(at('vx.npy'), images.slice(64));
    await writeSafetensors(at('vy.safetensors'), {
      embeddings: tensor(texts.slice(64), { device: 'reference' }),
      other: tensor([[1]], { device: 'reference' }),
    });
    corpus = await openEmbeddingCorpus(
      { train: { path: at('x.npy'), texts: at('y.npy') }, val: { path: at('vx.npy'), texts: at('vy.safetensors') } },
      {},
    );
  });

  let runs = 0;
  const makeRun = (options: Partial<TrainOptions> = {}): RunOptions => {
    const session = { command: '', step: 0, device: 'wasm', description: '', node: '', platform: '' };
    const record = newRecord({
      hopgrad: '0.1.0',
      method: 'CLOOB',
      options: { ...presets.embeddings, batchSize: 16, epochs: 20, lr: 1e-2, ...options },
      data: corpus.spec,
      settings: defaultSettings,
      sessions: [{ date: '2026-01-02T03:04:05.000Z', ...session }],
    });
    return { record, corpus, folder: new RunFolder(at(`run-${runs++}`)), checkpoint: null, output: quiet };
  };

  for (const method of [
    { loss: 'infoloob', hopfield: true },
    { loss: 'infonce', hopfield: false },
  ] as const)
    it(`learn with ${method.loss} what pairs have in common, and are validated and evaluated`, async () => {
      const run = makeRun(method);
      const { evaluation, best } = await runTraining(run);
      const rows = readRows<{ meanRecall: number }>(join(run.folder.path, 'evaluations.jsonl'));
      assert.ok(
        rows[0]!.meanRecall < 0.75 && rows.at(-1)!.meanRecall > 0.9,
        JSON.stringify(rows.map((r) => r.meanRecall)),
      );
      assert.ok(best!.value > 0.9);
      const { imageToText } = evaluation!.results as { imageToText: { recall: Record<string, number> } };
      assert.ok(imageToText.recall[1]! > 0.6);
    });

  it('go on bit for bit', async () => {
    const whole = makeRun({ epochs: 6, ema: 0.9 });
    await runTraining(whole);
    const broken = makeRun({ epochs: 6, ema: 0.9 });
    const controller = new AbortController();
    const log = broken.folder.log.bind(broken.folder);
    broken.folder.log = (entry) => {
      log(entry);
      if ((entry as { step: number }).step === 10) controller.abort(); // in the midst of an epoch
    };
    const { complete, steps } = await runTraining({ ...broken, signal: controller.signal });
    assert.deepEqual([complete, steps], [false, 10]);
    await runTraining({ ...broken, checkpoint: findResumePoint(broken.folder).checkpoint });
    assert.ok(readFileSync(whole.folder.model).equals(readFileSync(broken.folder.model)));
    assert.deepEqual(
      ...([broken, whole].map(({ folder }) => readRows(join(folder.path, 'log.jsonl'))) as [unknown, unknown]),
    );
  });

  it('are weights of their own kind, with the numbers that were saved', async () => {
    const model = new HeadsModel({ embed_dim: 5, image_features: 12, text_features: 9, center: 'batch' }, { seed: 2 });
    const path = at('heads.safetensors');
    await saveHeads(path, { model, metadata: { method: 'X' } });
    const { model: read, metadata } = loadHeads(path);
    assert.equal(metadata.method, 'X');
    assert.deepEqual(read.config, model.config);
    const features = tensor(views(3).images);
    assert.deepEqual(await read.eval().imagesFrom(features).array(), await model.eval().imagesFrom(features).array());
    await assert.rejects(
      loadCheckpoint(path),
      (error) => error instanceof CheckpointError && /heads.*loadHeads/.test(error.message),
    );
    await writeSafetensors(at('none.safetensors'), { x: tensor([1]) });
    assert.throws(() => loadHeads(at('none.safetensors')), /without heads/);
    await writeSafetensors(
      at('huge.safetensors'),
      { x: tensor([1]) },
      {
        heads: JSON.stringify({ embed_dim: 1e6, image_features: 1e6, text_features: 1 }),
      },
    );
    assert.throws(() => loadHeads(at('huge.safetensors')), CheckpointError);
  });

  it('rows of one picture are never in one batch', async () => {
    const { images, texts } = views(12);
    const twice = [...images, ...images];
    const train = {
      path: writeNpy(at('twice.npy'), twice),
      texts: writeNpy(at('words.npy'), [...texts, ...views(24).texts.slice(12)]),
    };
    const loader = (await openEmbeddingCorpus({ train, val: null }, {})).loader({ batchSize: 6, seed: 1 });
    let seen = 0;
    for (let epoch = 0; epoch < 3; epoch++)
      for await (const { indices } of loader.batches({ epoch })) {
        assert.equal(new Set(indices.map((index) => index % 12)).size, 6);
        seen++;
      }
    await loader.close();
    assert.ok(seen >= 9);
  });

  it('refuse what does not fit, by name', async () => {
    const { images } = views(64);
    const open = (path: string, texts = at('y.npy')) => openEmbeddingCorpus({ train: { path, texts }, val: null }, {});
    const refuses = (opened: Promise<unknown>, message: RegExp) =>
      assert.rejects(opened, (error) => error instanceof DataError && message.test(error.message), String(message));
    const changed = (row: number, column: number, value: number) =>
      writeNpy(
        at('changed.npy'),
        images.map((own, i) => (i === row ? own.with(column, value) : own)),
      );
    await refuses(open(changed(7, 3, Number.NaN)), /row 7 \(from 0\) has NaN in column 3/);
    await refuses(open(changed(63, 11, -Infinity)), /row 63 .* -Infinity in column 11/);
    await refuses(open(writeNpy(at('short.npy'), images.slice(1))), /63 rows in .*short\.npy and 64 in .*y\.npy/);
    await refuses(open(at('vy.safetensors')), /32 rows/);
    await writeSafetensors(at('two.safetensors'), { a: tensor([[1]]), b: tensor([[2]]) });
    await refuses(open(at('two.safetensors')), /the tensors a, b; expected one matrix/);
    await refuses(open(at('x.pt')), /\.npy or \.safetensors/);
    await assert.rejects(
      openEmbeddingCorpus(
        { train: { path: at('x.npy'), texts: at('y.npy') }, val: { path: at('vy.safetensors'), texts: at('vx.npy') } },
        {},
      ),
      /9 and 12 numbers; expected 12 and 9/,
    );
    const { train } = corpus.spec;
    writeNpy(at('x2.npy'), images.with(0, images[1]!));
    await refuses(openEmbeddingCorpus({ train: { ...train, path: at('x2.npy') }, val: null }, {}), /has changed/);
  });

  it('are trained, resumed, prolonged and evaluated by the command', async () => {
    const data = ['--image-embeddings', 'x.npy', '--text-embeddings', 'y.npy'];
    const held = ['--image-embeddings', 'vx.npy', '--text-embeddings', 'vy.safetensors'];
    const begun = await hopgrad(root, [
      'train',
      ...data,
      '--batch-size',
      '32',
      '--steps',
      '4',
      '--name',
      'own',
      '--no-report',
    ]);
    assert.equal(begun.code, 0, begun.stderr);
    const longer = await hopgrad(root, ['train', '--resume', 'runs/own', '--steps', '6', '--no-report']);
    assert.equal(longer.code, 0, longer.stderr);
    const { code, stdout, stderr } = await hopgrad(root, ['eval', '--checkpoint', 'runs/own', ...held, '--json']);
    assert.equal(code, 0, stderr);
    const { pairs, method } = JSON.parse(stdout) as { pairs: number; method: string };
    assert.deepEqual([pairs, method], [32, 'CLOOB']);
    const alone = await hopgrad(root, ['train', ...data.slice(0, 2)]);
    assert.match(alone.stderr, /--image-embeddings alone; expected --text-embeddings/);
    assert.notEqual(alone.code, 0);
  });
});

describe('options that would do nothing', () => {
  const all = { ...presets.emoji, ...defaultSettings };

  it('are refused together with what they need, and only those that are given', () => {
    const without = { ...all, hopfield: false };
    assert.deepEqual(withoutEffect({ lr: 1, wd: 2 }, without), []);
    const [one, ...others] = withoutEffect(
      { scaleHopfield: 3, hopfieldFrom: 0.5, learnableScaleHopfield: true },
      without,
    );
    assert.match(one!.received, /--hopfield-from 0.5, --scale-hopfield 3, --learnable-scale-hopfield without effect/);
    assert.deepEqual(others, []);
    assert.deepEqual(withoutEffect({ scaleHopfield: 3 }, all), []);
  });

  it('each of them has an effect somewhere', () => {
    for (const [given, idle, busy] of [
      [{ restartCycles: 2 }, {}, { lrScheduler: 'cosine-restarts' }],
      [{ epochs: 3 }, { steps: 4 }, {}],
      [{ patience: 3 }, { valFrequency: 0 }, {}],
      [{ lockImage: true, workers: 2 }, { model: 'heads' }, {}],
    ] as const) {
      assert.equal(withoutEffect(given, { ...all, ...idle }).length, 1, JSON.stringify(given));
      assert.deepEqual(withoutEffect(given, { ...all, ...busy }), []);
    }
    assert.deepEqual(
      withoutEffect({ lockImage: false, memorySize: 0 }, { ...all, model: 'heads', hopfield: false }),
      [],
    );
  });
});
