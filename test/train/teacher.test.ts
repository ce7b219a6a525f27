/** Learning from a trained model: what it adds to the loss, and who cannot be a teacher. */
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, noGrad, tensor, UsageError } from 'hopgrad';
import { ClipTokenizer, createModel, loadCheckpoint, saveCheckpoint } from 'hopgrad/models/cloob';
import { distillationLoss } from 'hopgrad/nn';
import { listSource } from '#src/data/source.js';
import type { Corpus } from '#src/train/corpus.js';
import { PictureLearner } from '#src/train/learner.js';
import { checkRecord } from '#src/train/record.js';
import { trainerOf } from '#src/train/run.js';
import { restoreTraining, saveTraining, verifyTraining } from '#src/train/state.js';
import { Teacher } from '#src/train/teacher.js';
import { Trainer } from '#src/train/trainer.js';
import { tinyConfig } from '../cli/helpers.js';
import { values } from '../helpers.js';
import { colourBatches, colours, defaults, loadInto, losses, makeTrainer, record, weights } from './helpers.js';

const tokenizer = ClipTokenizer.train(colours, { vocabSize: 520 });

describe('a teacher', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-teacher-'));
  after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'teacher.safetensors');
  before(async () => {
    const trained = makeTrainer({ steps: 40, hopfield: false, lr: 2e-2, wd: 0, seed: 9 });
    await losses(trained);
    await saveCheckpoint(path, { model: trained.model, tokenizer: trained.learner.tokenizer });
  });

  const student = async (options = {}) => {
    const model = createModel(tinyConfig, { seed: 3 });
    const teacher = await Teacher.load(path, { model, tokenizer });
    const all = { ...defaults, ...options, distillFrom: path };
    const learner = new PictureLearner({ model, tokenizer });
    return new Trainer({ learner, loader: colourBatches(3), options: all, teacher });
  };

  it('adds its loss to that of the pairs, in training mode of the student and not of itself', async () => {
    const [plain, taught] = [makeTrainer(), await student()];
    const [without] = await losses(plain, 1);
    const { value: batch } = await colourBatches(3)
      .batches({ epoch: 0, row: 0, bad: 0 })
      [Symbol.asyncIterator]()
      .next();
    const { model } = await loadCheckpoint(path);
    const own = createModel(tinyConfig, { seed: 3 });
    model.eval();
    const pixels = tensor(batch!.images, { shape: [4, 3, 8, 8] });
    const tokens = tensor(tokenizer.tokenize(batch!.captions, { contextLength: 6 }), { shape: [4, 6] });
    const embed = (m: typeof model) =>
      noGrad(() => ({ images: m.encodeImage(pixels).l2Normalize(), texts: m.encodeText(tokens).l2Normalize() }));
    const { images, texts } = embed(own);
    const added = distillationLoss(images, texts, { invTau: 30, teacher: embed(model), teacherInvTau: model.invTau() });
    const [together] = await losses(taught, 1);
    assert.ok(Math.abs(together! - without! - values(added)[0]!) < 1e-5, `${together} ${without} ${values(added)}`);
  });

  it('teaches: what the student loses falls', async () => {
    const taught = await student({ steps: 40, hopfield: false, lr: 2e-2, wd: 0 });
    const found = await losses(taught);
    assert.ok(found.at(-1)! < found[0]! - 0.3, String(found));
  });

  it('goes on bit for bit, with pieces of a batch too', async () => {
    const options = { microBatch: 3, ema: 0.9, lockText: true };
    const whole = await student(options);
    const expected = await losses(whole);
    const begun = await student(options);
    const before = await losses(begun, 4);
    const checkpoint = mkdtempSync(join(folder, 'checkpoint-'));
    await saveTraining(checkpoint, begun, record(begun));
    const resumed = await student(options);
    await loadInto(resumed, checkpoint);
    restoreTraining(checkpoint, resumed, verifyTraining(checkpoint));
    assert.deepEqual([...before, ...(await losses(resumed))], expected);
    assert.deepEqual(weights(resumed), weights(whole));
  });

  it('must be the same when a run goes on, whatever its file is called', async () => {
    const corpus: Pick<Corpus, 'source' | 'loader' | 'spec'> = {
      source: listSource(
        'words',
        colours.map((caption, index) => ({ index, name: '', image: { path: '' }, caption })),
      ),
      loader: () => ({ ...colourBatches(3), close: async () => {} }) as never,
      spec: record(makeTrainer()).data,
    };
    const own = join(folder, 'tiny.json');
    writeFileSync(own, JSON.stringify(tinyConfig));
    const start = (distillFrom: string, teacher?: string) => {
      const options = { ...defaults, model: own, vocabSize: 520, distillFrom };
      const run = { ...record(makeTrainer()), options, ...(teacher !== undefined && { teacher }) };
      return trainerOf({ record: run, corpus: corpus as Corpus, output: { write: () => true }, checkpoint: null });
    };
    const { digest } = (await start(path))!.teacher!;
    assert.match(digest, /^[0-9a-f]{64}$/);
    assert.equal(checkRecord({ ...record(makeTrainer()), teacher: digest }, 'x').teacher, digest);
    const copy = join(folder, 'copy.safetensors');
    copyFileSync(path, copy);
    await start(copy, digest);
    const other = makeTrainer({ seed: 5 });
    await saveCheckpoint(copy, { model: other.model, tokenizer: other.learner.tokenizer });
    await assert.rejects(
      start(copy, digest),
      (error) => error instanceof CheckpointError && /weights have changed since the run began/.test(error.message),
    );
  });

  it('must see what the student sees', async () => {
    const load = (config: object, words = tokenizer) =>
      Teacher.load(path, { model: createModel({ ...tinyConfig, ...config }), tokenizer: words });
    const refused = async (what: RegExp, config: object, words?: ClipTokenizer) =>
      assert.rejects(load(config, words), (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, what);
        return true;
      });
    await refused(/takes pictures as/, { image_resolution: 16 });
    await refused(/takes pictures as/, { image_mean: [0, 0, 0] });
    await refused(/vocabulary is another/, {}, ClipTokenizer.fromMerges(['a b</w>']));
    await refused(/reads 6 tokens; expected at least the 9/, { context_length: 9 });
    await load({ embed_dim: 4, transformer_width: 4 }); // other sizes inside do not matter
  });
});
