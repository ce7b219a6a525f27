/** Validation during training: the same bits with it, rows and the best weights kept, patience, and going on in its midst. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DomainError, tensor } from 'hopgrad';
import { readSafetensors } from 'hopgrad/models/cloob';
import { infoNceLoss } from 'hopgrad/nn';
import { checkpointPath } from '#src/cli/model.js';
import { findResumePoint } from '#src/train/checkpoints.js';
import { type Corpus, openCorpus } from '#src/train/corpus.js';
import { dryRun } from '#src/train/dry-run.js';
import { defaultSettings, presets, type RunSettings, type TrainOptions } from '#src/train/options.js';
import { newRecord, type RunRecord } from '#src/train/record.js';
import { type RunOptions, type RunResult, runTraining, trainerOf, workLeft } from '#src/train/run.js';
import { RunFolder } from '#src/train/run-folder.js';
import { verifyTraining } from '#src/train/state.js';
import { bestOfRows, type EvaluationRow, type MetricName, scoreSets } from '#src/train/validate.js';
import { Validator } from '#src/train/validator.js';
import { makePictures, readRows, tinyConfig } from '../cli/helpers.js';
import { temporaryFolder } from '../data/helpers.js';

describe('validation', () => {
  const root = temporaryFolder();
  let corpus: Corpus;
  before(async () => {
    await makePictures(root);
    writeFileSync(join(root, 'tiny.json'), JSON.stringify(tinyConfig));
    const path = join(root, 'pairs.tsv');
    const preprocessing = { size: 8, mean: [0, 0, 0], std: [1, 1, 1], background: [255, 255, 255] } as const;
    const zeroShot = { path: join(root, 'squares') };
    const options = { preprocessing, workers: 0, output: quiet };
    corpus = await openCorpus({ train: { path }, val: { path }, zeroShot }, options);
    const heap = { train: { path }, val: { path }, zeroShot: { path: join(root, 'pairs.tsv') } };
    await assert.rejects(openCorpus(heap, options), /without names of classes/);
  });

  const quiet = { write: () => true };
  let runs = 0;
  const makeRun = (settings: Partial<RunSettings>, options: Partial<TrainOptions> = {}, of = corpus): RunOptions => {
    const session = { command: 'npx hopgrad train', step: 0, device: 'wasm', description: '', node: '', platform: '' };
    const record: RunRecord = newRecord({
      hopgrad: '0.1.0',
      method: 'CLOOB',
      options: { ...presets.pairs, model: join(root, 'tiny.json'), batchSize: 4, epochs: 4, seed: 3, ...options },
      data: of.spec,
      settings: { ...defaultSettings, workers: 0, ...settings },
      sessions: [{ date: '2026-01-02T03:04:05.000Z', ...session }],
    });
    return { record, corpus: of, folder: new RunFolder(join(root, `run-${runs++}`)), checkpoint: null, output: quiet };
  };
  const lines = ({ path }: RunFolder, name: string) => readRows<EvaluationRow>(join(path, name));
  const weights = (folder: RunFolder) => readFileSync(folder.model);
  /** Runs until a step is done, as if Ctrl-C were pressed then. */
  const stopAfter = async (run: RunOptions, step: number): Promise<RunResult> => {
    const controller = new AbortController();
    const { folder } = run;
    const log = folder.log.bind(folder);
    folder.log = (entry) => {
      log(entry);
      if ((entry as { step: number }).step === step) controller.abort();
    };
    return runTraining({ ...run, signal: controller.signal });
  };

  let whole: RunOptions;
  it('keeps a line an epoch, the best weights, and changes no bit of the training', async () => {
    const without = makeRun({ valFrequency: 0 });
    await runTraining(without);
    assert.equal(existsSync(join(without.folder.path, 'evaluations.jsonl')), false);
    whole = makeRun({ valFrequency: 1, reportTo: 'tensorboard' });
    const { best, evaluation } = await runTraining(whole);
    assert.ok(weights(whole.folder).equals(weights(without.folder)), 'the weights differ');
    assert.deepEqual(lines(whole.folder, 'log.jsonl'), lines(without.folder, 'log.jsonl'));
    const rows = lines(whole.folder, 'evaluations.jsonl');
    assert.deepEqual(
      rows.map(({ step, epoch }) => [step, epoch]),
      [
        [3, 1],
        [6, 2],
        [9, 3],
        [12, 4],
      ],
    );
    for (const { zeroShot, sets } of rows) {
      assert.ok(zeroShot! >= 0 && zeroShot! <= 1);
      assert.equal(sets[0]!.zeroShot![5], 1, 'of four classes the right one is among five');
    }
    const values = rows.map(({ meanRecall }) => meanRecall);
    assert.deepEqual(best, {
      metric: 'mean-recall',
      value: Math.max(...values),
      step: 3 * (values.indexOf(Math.max(...values)) + 1),
      epoch: values.indexOf(Math.max(...values)) + 1,
    });
    const { metadata } = readSafetensors(join(whole.folder.best, 'model.safetensors'), { select: () => false });
    assert.equal(metadata.step, String(best!.step));
    const results = JSON.parse(readFileSync(join(whole.folder.path, 'results.json'), 'utf8'));
    assert.deepEqual(results.best, best);
    const again = JSON.parse(readFileSync(join(without.folder.path, 'results.json'), 'utf8'));
    assert.deepEqual({ ...results, best: null }, { ...again, best: null }, 'evaluated from the last validation');
    assert.match(evaluation!.text, /12 pairs/);
    assert.equal(checkpointPath({ checkpoint: 'best', logs: root }), join(whole.folder.best, 'model.safetensors'));
    const events = readdirSync(whole.folder.path).filter((name) => name.startsWith('events.out.tfevents.'));
    const written = readFileSync(join(whole.folder.path, events[0]!), 'latin1');
    for (const name of ['train/loss', 'train/imageP1', 'val/meanRecall', 'val/imageToText/recall/10'])
      assert.ok(events.length === 1 && written.includes(name), name);
  });

  it('goes on to the same lines wherever it was stopped', async () => {
    const expected = lines(whole.folder, 'evaluations.jsonl');
    // In an epoch; at its end, with a checkpoint before and after the place moved to the next one; at the end of all.
    for (const [step, saveSteps] of [
      [2, 0],
      [6, 1],
      [6, 0],
      [12, 0],
    ] as const) {
      const run = makeRun({ valFrequency: 1, saveSteps });
      await stopAfter(run, step);
      const before = lines(run.folder, 'evaluations.jsonl').length;
      assert.equal(before, step === 12 ? 4 : Math.floor((step - 1) / 3), `stopped after ${step}`);
      const { checkpoint } = findResumePoint(run.folder);
      await runTraining({ ...run, checkpoint });
      assert.deepEqual(lines(run.folder, 'evaluations.jsonl'), expected, `stopped after ${step}`);
    }
  });

  it('forgets what came after the checkpoint that it goes on from', async () => {
    const run = makeRun({ valFrequency: 1, saveSteps: 2, keepCheckpoints: 9, saveFrequency: 0 });
    await runTraining(run);
    const path = join(run.folder.checkpoints, 'step-00000004');
    await runTraining({ ...run, checkpoint: { path, facts: verifyTraining(path) } });
    assert.deepEqual(lines(run.folder, 'evaluations.jsonl'), lines(whole.folder, 'evaluations.jsonl'));
  });

  it('looks at the averages of the weights, and keeps these as the best', async () => {
    const run = makeRun({ valFrequency: 2 }, { ema: 0.9, epochs: 2 });
    const { best, steps } = await runTraining(run);
    assert.equal(best!.step, steps);
    const checkpoint = findResumePoint(run.folder).checkpoint!.path;
    const state = (path: string) =>
      Object.values(readSafetensors(path).tensors).map((value) => Array.from(value.dataSync()));
    const kept = state(join(run.folder.best, 'model.safetensors'));
    assert.deepEqual(kept, state(join(checkpoint, 'averaged.safetensors')));
    assert.notDeepEqual(kept, state(join(checkpoint, 'model.safetensors')));
  });

  it('ends a training when patience is at its end, also one that goes on', async () => {
    const run = makeRun({ valFrequency: 1, patience: 2, bestMetric: 'loss' }, { lr: 0, epochs: 30 }); // nothing gets better
    const { complete, stoppedEarly, steps, best } = await runTraining(run);
    assert.deepEqual([complete, stoppedEarly, steps, best!.step], [true, true, 9, 3]);
    const again = await runTraining({ ...run, checkpoint: findResumePoint(run.folder).checkpoint });
    assert.deepEqual([again.stoppedEarly, again.steps], [true, 9]);
    run.record.settings.patience = 3;
    const longer = await runTraining({ ...run, checkpoint: findResumePoint(run.folder).checkpoint });
    assert.deepEqual([longer.stoppedEarly, longer.steps], [true, 12]);
  });

  it('is counted in what is left of a run, and by --dry-run, which writes nothing', async () => {
    const run = makeRun({ valFrequency: 3 }, { epochs: 10 });
    const trainer = (await trainerOf(run))!;
    const validator = new Validator({ data: corpus.validation!, folder: run.folder, record: run.record });
    assert.deepEqual(workLeft(run, trainer, validator), { steps: 30, pictures: 4 * 24 }); // after 3, 6, 9 and 10 epochs
    assert.deepEqual(workLeft(run, trainer, null), { steps: 30, pictures: 12 });
    await trainer.loader.close();
    const text = await dryRun(run);
    for (const part of [
      /30 of 4 pairs, 3 an epoch/,
      /0.09 M parameters/,
      /4 validations of 24 pictures/,
      /the mean of 5/,
    ])
      assert.match(text.replaceAll(/\s+│\n│\s+│/g, ''), part);
    assert.deepEqual(readdirSync(run.folder.path), []);
  });

  it('of drawn data is on what they hold out, whatever is trained on', async () => {
    const model = join(root, 'tiny-32.json');
    writeFileSync(model, JSON.stringify({ ...tinyConfig, image_resolution: 32 }));
    const preprocessing = { size: 32, mean: [0, 0, 0], std: [1, 1, 1], background: [255, 255, 255] } as const;
    const train = { path: join(root, 'pairs.tsv') };
    const options = { preprocessing, workers: 0, output: quiet, cacheFolder: '.cache' };
    for (const validation of [false, true]) {
      const val = { path: 'emoji', limit: 20, ...(validation && { validation }) };
      const drawn = await openCorpus({ train, val }, options);
      const run = makeRun({ valFrequency: 1 }, { model, epochs: 1 }, drawn);
      const { evaluation } = await runTraining(run);
      const [row] = lines(run.folder, 'evaluations.jsonl');
      assert.deepEqual(
        row!.sets.map(({ set, pairs }) => [set, pairs]),
        [['A', 20], ['B', 20], ['C', 20]], // biome-ignore format: a line
      );
      const { retrieval } = evaluation!.results as { retrieval: { set: string }[] };
      assert.deepEqual([...new Set(retrieval.map(({ set }) => set))], ['A', 'B', 'C']);
      assert.equal(drawn.spec.val!.validation ?? false, validation);
    }
  });

  it('takes the loss over batches of the training’s size, every picture and caption once', async () => {
    const make = (rows: number[][]) => tensor(rows.flat(), { shape: [rows.length, 2], device: 'reference' });
    const [images, texts] = [make([[1, 0], [0, 2], [3, 3]]), make([[1, 1], [-1, 1], [0, 5], [4, 0]])]; // biome-ignore format: a line
    // Picture 0 has captions 0 and 1, caption 0 stands beside picture 1 as well: two pairs without repetition.
    const pairs = [[0, 0], [0, 1], [1, 0], [1, 2], [2, 0]] as const; // biome-ignore format: a line
    const seen: number[][] = [];
    const loss = (x: ReturnType<typeof make>, y: ReturnType<typeof make>) => {
      seen.push([...x.shape]);
      return infoNceLoss(x, y, { invTau: 2 });
    };
    const sets = async function* () {
      yield { set: 'a', images, texts, pairs, zeroShot: { 1: 0.5 } };
    };
    const expected = await infoNceLoss(
      make([[1, 0], [0, 1]]), // biome-ignore format: a line
      make([[Math.SQRT1_2, Math.SQRT1_2], [0, 1]]), // biome-ignore format: a line
      { invTau: 2 },
    ).item();
    const all = [...pairs, [1, 3]] as const;
    await assert.rejects(scoreSets(sets(), { loss, batchSize: 8 }), /pairs that do not cover/);
    const whole = async function* () {
      yield { set: 'a', images, texts, pairs: all, zeroShot: { 1: 0.5 } };
    };
    const scores = await scoreSets(whole(), { loss, batchSize: 8 });
    assert.ok(Math.abs(scores.loss! - expected) < 1e-6, `${scores.loss} ${expected}`);
    assert.deepEqual(seen.at(-1), [2, 2]);
    assert.equal(scores.zeroShot, 0.5);
  });

  it('is not reached by a training that is not finite: steps are skipped, at most ten in a row', async () => {
    for (const onNan of ['stop', 'skip'] as const) {
      const run = makeRun({ onNan }, { lr: 1e30, warmup: 0, epochs: 30 });
      await assert.rejects(runTraining(run), (error: Error) => {
        assert.ok(error instanceof DomainError);
        assert.match(error.message, onNan === 'stop' ? /--on-nan skip passes over/ : /10 steps in a row to skip/);
        assert.match(error.message, /not-finite/);
        return true;
      });
      const skipped = lines(run.folder, 'log.jsonl').filter((row) => 'skipped' in row);
      assert.equal(skipped.length, onNan === 'stop' ? 0 : 9);
      assert.deepEqual(readdirSync(run.folder.notFinite).sort(), ['batch.safetensors', 'model.safetensors']);
    }
  });

  it('chooses the first of the best, and compares losses of one kind only', () => {
    const row = (step: number, facts: Partial<EvaluationRow>) =>
      ({ step, retrieval: false, loss: 1, meanRecall: 0.5, recallAt1: 0.5, zeroShot: null, ...facts }) as EvaluationRow;
    const best = (metric: MetricName, ...facts: Partial<EvaluationRow>[]) =>
      bestOfRows(
        facts.map((own, i) => row(i, own)),
        metric,
      )?.step;
    assert.equal(best('mean-recall', { meanRecall: 0.1 }, { meanRecall: 0.3 }, { meanRecall: 0.3 }), 1);
    assert.equal(best('loss', { loss: 2 }, { loss: -1 }, { loss: 0 }), 1);
    assert.equal(best('loss', { loss: -9 }, { loss: 1, retrieval: true }, { loss: 2, retrieval: true }), 1);
    assert.equal(best('loss', { loss: Number.NaN }, { loss: 4 }), 1);
    assert.equal(best('zero-shot', {}), undefined);
    assert.equal(best('recall@1', { recallAt1: 0 }, { recallAt1: 0.1 }), 1);
  });
});
