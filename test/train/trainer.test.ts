/** The training loop on a tiny model: same seed same bits, resuming same bits, memory flat, faults told. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CheckpointError, DataError, DomainError, memory, randn, UsageError } from 'hopgrad';
import { ClipTokenizer, createModel } from 'hopgrad/models/cloob';
import { clipLoss, cloobLoss } from 'hopgrad/nn';
import { PictureLearner } from '#src/train/learner.js';
import { Objective } from '#src/train/objective.js';
import { addedOptions, checkTrainOptions, firstHopfieldStep, type TrainOptions } from '#src/train/options.js';
import { checkRecord } from '#src/train/record.js';
import { restoreTraining, saveTraining, verifyTraining } from '#src/train/state.js';
import { Trainer } from '#src/train/trainer.js';
import { tinyConfig } from '../cli/helpers.js';
import { values } from '../helpers.js';
import { colourBatches, colours, defaults, loadInto, losses, makeTrainer, record, weights } from './helpers.js';

describe('Trainer', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-train-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  it('gives the same bits for the same seed, others for another', async () => {
    const [a, b, c] = [makeTrainer(), makeTrainer(), makeTrainer({ seed: 4 })];
    const [first, second, third] = [await losses(a), await losses(b), await losses(c)];
    assert.equal(first.length, 6);
    assert.deepEqual(first, second);
    assert.deepEqual(weights(a), weights(b));
    assert.notDeepEqual(first, third);
  });

  for (const options of [
    {},
    { learnableInvTau: true, learnableScaleHopfield: true, hopfieldFrom: 0, maxGradNorm: 0.5 },
    { loss: 'siglip', hopfield: false, initInvTau: 10, learnableInvTau: true },
    { microBatch: 3, gradCheckpointing: true, memorySize: 10, hopfieldFrom: 0 },
    { lockImage: true, unlockLast: 1, layerDecay: 0.5, ema: 0.9 },
  ] as const)
    it(`goes on bit for bit from a checkpoint, options ${JSON.stringify(options)}`, async () => {
      const whole = makeTrainer(options);
      const expected = await losses(whole);
      const path = mkdtempSync(join(folder, 'checkpoint-'));
      const begun = makeTrainer(options);
      const before = await losses(begun, 4); // in the middle of the second epoch, after retrieval began
      await saveTraining(path, begun, record(begun));
      const facts = verifyTraining(path);
      assert.deepEqual(facts.record, record(begun));
      const resumed = makeTrainer({ ...options, seed: defaults.seed });
      await loadInto(resumed, path);
      restoreTraining(path, resumed, facts);
      assert.equal(resumed.position.step, 4);
      assert.deepEqual([...before, ...(await losses(resumed))], expected);
      assert.deepEqual(weights(resumed), weights(whole));
      const averages = ({ ema }: Trainer) => ema && [ema.updates, ...Object.values(ema.state().averages).map(values)];
      assert.deepEqual(averages(resumed), averages(whole));
    });

  it('comes to other steps with patterns of earlier ones beside those of the batch, but not to another first', async () => {
    const plain = await losses(makeTrainer({ hopfieldFrom: 0 }), 3);
    const trainer = makeTrainer({ hopfieldFrom: 0, memorySize: 6 });
    const stored = await losses(trainer, 3);
    assert.equal(stored[0], plain[0]);
    assert.ok(Math.abs(stored[1]! - plain[1]!) > 1e-6, `${stored} ${plain}`);
    const { queue } = trainer.objective;
    assert.equal(queue!.filled, 6);
    const norms = values(queue!.images.detach().square().sum({ axis: 1 }));
    assert.ok(
      norms.every((norm) => Math.abs(norm - 1) < 1e-5),
      String(norms),
    );
  });

  it('reads records of programs that did not have all options as what these did', () => {
    const now = record(makeTrainer());
    const before = Object.fromEntries(Object.entries(now.options).filter(([name]) => !(name in addedOptions)));
    assert.deepEqual(checkRecord({ ...now, options: before }, 'manifest.json'), now);
  });

  it('learns: the loss of a short training falls', async () => {
    const found = await losses(makeTrainer({ steps: 40, hopfield: false, lr: 2e-2, wd: 0 }));
    const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
    assert.ok(mean(found.slice(-5)) < mean(found.slice(0, 5)) - 0.1, String(found));
  });

  it('keeps device memory flat', async () => {
    const trainer = makeTrainer({ steps: 30 });
    const counts: number[] = [];
    await trainer.run({ onStep: () => void counts.push(memory().storages) });
    // Tensors of other tests may be collected meanwhile: the count can fall, but must not grow.
    assert.ok(Math.max(...counts.slice(3)) <= counts[2]!, String(counts));
  });

  it('stops between steps when asked to', async () => {
    const trainer = makeTrainer();
    assert.equal((await losses(trainer, 2)).length, 2);
    assert.deepEqual(trainer.position, { step: 2, epoch: 0, row: 8, bad: 0 });
  });

  it('stops with a typed error when the loss is no longer finite', async () => {
    const trainer = makeTrainer({ lr: 1e30, warmup: 0 });
    await assert.rejects(losses(trainer), (error) => error instanceof DomainError && /finite loss/.test(error.message));
  });

  for (const [what, options, pieces] of [
    ['both encoders', {}, 8],
    ['a locked encoder, forward only', { lockImage: true }, 6],
    ['one piece', { microBatch: null }, 0],
  ] as const)
    it(`tells of its pieces: ${what}`, async () => {
      const trainer = makeTrainer({ microBatch: 2, steps: 1, warmup: 0, ...options });
      const told: [number, number][] = [];
      await trainer.run({ onPiece: (...piece) => told.push(piece) });
      assert.deepEqual(
        told,
        Array.from({ length: pieces }, (_, i) => [i + 1, pieces]),
      );
    });

  it('looks for what is not finite in pieces too', async () => {
    const trainer = makeTrainer({ microBatch: 2, lr: 1e30, warmup: 0 });
    const { visual } = trainer.model;
    const forward = visual.forward.bind(visual);
    const sizes = new Set<number>();
    visual.forward = (x) => {
      sizes.add(x.shape[0]!);
      return forward(x);
    };
    await assert.rejects(losses(trainer), DomainError);
    assert.deepEqual([...sizes], [2]);
  });

  it('refuses an epoch without batches and unknown lengths', async () => {
    const tokenizer = ClipTokenizer.train(colours, { vocabSize: 520 });
    const parts = { learner: new PictureLearner({ model: createModel(tinyConfig), tokenizer }) };
    const empty = { ...colourBatches(1), batchesPerEpoch: 0 };
    assert.throws(() => new Trainer({ ...parts, loader: empty, options: defaults }), DataError);
    const unknown = { ...colourBatches(1), batchesPerEpoch: undefined };
    assert.throws(() => new Trainer({ ...parts, loader: unknown, options: defaults }), UsageError);
    const dry = { ...unknown, async *batches() {} };
    await assert.rejects(
      new Trainer({ ...parts, loader: dry, options: { ...defaults, steps: 3, warmup: 0 } }).run(),
      DataError,
    );
  });

  it('refuses a checkpoint of another model, and weights without a training', async () => {
    const path = join(folder, 'other');
    mkdirSync(path);
    const trainer = makeTrainer();
    await saveTraining(path, trainer, record(trainer));
    const wider = new Trainer({
      learner: new PictureLearner({
        model: createModel({ ...tinyConfig, embed_dim: 12 }),
        tokenizer: trainer.learner.tokenizer,
      }),
      loader: colourBatches(1),
      options: defaults,
    });
    assert.throws(() => restoreTraining(path, wider, verifyTraining(path)), CheckpointError);
  });
});

describe('Objective', () => {
  const model = createModel(tinyConfig);
  const [x, y] = [1, 2].map((seed) => randn([6, 8], { seed }).l2Normalize()) as [
    ReturnType<typeof randn>,
    ReturnType<typeof randn>,
  ];
  const of = (options: Partial<TrainOptions>, retrieve: boolean) =>
    values(new Objective({ ...defaults, ...options }, model).forward(x, y, { retrieve }))[0]!;

  it('is CLOOB and CLIP in two corners of the grid', () => {
    assert.ok(Math.abs(of({}, true) - values(cloobLoss(x, y, { invTau: 30, beta: 8 }))[0]!) < 1e-6);
    const clip = values(clipLoss(x, y, { invTau: 30 }))[0]!;
    assert.ok(Math.abs(of({ loss: 'infonce', hopfield: false }, false) - clip) < 1e-5);
  });

  it('differs with and without retrieval for every loss', () => {
    for (const loss of ['infoloob', 'infonce', 'dcl', 'siglip'] as const)
      assert.notEqual(of({ loss }, true), of({ loss }, false), loss);
  });

  it('learns temperature and β only when asked to', () => {
    const learnt = new Objective({ ...defaults, learnableInvTau: true, learnableScaleHopfield: true }, model);
    learnt.forward(x, y, { retrieve: true }).backward();
    assert.ok(values(learnt.log_beta!.grad!)[0] !== 0);
    assert.ok(values(model.logit_inv_tau.grad!)[0] !== 0);
    assert.deepEqual(new Objective(defaults, model).parameters(), []);
  });
});

describe('options of training', () => {
  const bad: [Partial<TrainOptions>, RegExp][] = [
    [{ batchSize: 1 }, /--batch-size 1; expected at least 2/],
    [{ initInvTau: 0 }, /--init-inv-tau 0; expected a positive number/],
    [{ initInvTau: 200, learnableInvTau: true }, /--init-inv-tau 200; expected a number in \[1, 100\]/],
    [{ scaleHopfield: -8 }, /--scale-hopfield -8/],
    [{ hopfieldFrom: 1.5 }, /--hopfield-from 1.5/],
    [{ lr: Number.NaN }, /--lr NaN/],
    [{ epochs: 0 }, /--epochs 0/],
    [{ steps: 0 }, /--steps 0/],
    [{ beta2: 1 }, /--beta2 1/],
    [{ vocabSize: 100 }, /--vocab-size 100/],
    [{ seed: -1 }, /--seed -1/],
    [{ hopfieldFrom: '101%' }, /--hopfield-from 101%/],
    [{ epochs: 1e300 }, /--epochs 1e\+300/],
    [{ model: 'nope' }, /--model nope; expected one of RN50, /],
    [{ lr: -1, wd: -1 }, /--lr -1 \(expected a number ≥ 0\), --wd -1 \(/],
  ];
  for (const [options, message] of bad)
    it(`refuses ${JSON.stringify(options)}`, () => {
      assert.throws(
        () => checkTrainOptions({ ...defaults, ...options }),
        (error) => error instanceof UsageError && message.test(error.message),
      );
    });

  it('allows a batch of one where there are no negatives', () => {
    assert.equal(checkTrainOptions({ ...defaults, loss: 'siglip', batchSize: 1 }).batchSize, 1);
  });

  it('refuses a warm-up longer than the training', () => {
    assert.throws(() => makeTrainer({ warmup: 7 }), /--warmup 7 for a training of 6 steps/);
  });

  it('begins retrieval at a share or at a step', () => {
    assert.equal(firstHopfieldStep({ ...defaults, hopfieldFrom: 0.8 }, 100), 80);
    assert.equal(firstHopfieldStep({ ...defaults, hopfieldFrom: 30 }, 100), 30);
    assert.equal(firstHopfieldStep({ ...defaults, hopfieldFrom: 1 }, 100), 1);
    assert.equal(firstHopfieldStep({ ...defaults, hopfieldFrom: '100%' }, 100), 100);
    assert.equal(firstHopfieldStep({ ...defaults, hopfield: false }, 100), Infinity);
  });
});
