/** What a training says about itself: measurements held to others, faults that change nothing and are named, warnings. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DomainError, detectAnomaly, randn, type Tensor } from 'hopgrad';
import { loadCheckpoint, readSafetensors, retrievalEntropy, similarityStatistics } from 'hopgrad/models/cloob';
import type { Batch } from '#src/data/loader.js';
import { type Fault, writeFault } from '#src/train/fault.js';
import { RunFolder } from '#src/train/run-folder.js';
import type { StepReport } from '#src/train/trainer.js';
import { measureEmbeddings, readVitals } from '#src/train/vitals.js';
import { Warnings } from '#src/train/warnings.js';
import { temporaryFolder } from '../data/helpers.js';
import { makeTrainer, overflowing, weights } from './helpers.js';

const close = (a: number | null, b: number, tolerance = 1e-5) =>
  assert.ok(a !== null && Math.abs(a - b) <= tolerance * Math.max(1, Math.abs(b)), `${a} instead of ${b}`);

describe('measurements of a step', () => {
  it('are those of the statistics that stats prints', async () => {
    const [x, y] = [randn([9, 5], { seed: 1 }).l2Normalize(), randn([9, 5], { seed: 2 }).l2Normalize()];
    const [invTau, beta] = [7, 3];
    const measured = await readVitals(measureEmbeddings(x, y, { invTau, beta }));
    const forth = await similarityStatistics(x, y, { invTau });
    const back = await similarityStatistics(y, x, { invTau });
    close(measured.pairSimilarity, forth.positives.mean);
    close(measured.otherSimilarity, forth.negatives.mean);
    close(measured.imageP1, forth.partnerProbability.mean);
    close(measured.textP1, back.partnerProbability.mean);
    close(measured.imageSimilarity, (await similarityStatistics(x, x)).negatives.mean);
    close(measured.textSimilarity, (await similarityStatistics(y, y)).negatives.mean);
    for (const [memory, found] of [
      [x, measured.imagePatterns],
      [y, measured.textPatterns],
    ] as const) {
      const entropies = [x, y].map(async (state) => (await retrievalEntropy(state, memory, { beta })).entropy);
      const [a, b] = await Promise.all(entropies);
      close(found, Math.exp((a! + b!) / 2));
    }
    const raw = await readVitals(measureEmbeddings(x, y, { invTau, beta: null }));
    assert.deepEqual({ ...measured, imagePatterns: null, textPatterns: null }, raw);
  });

  it('stand in every report, or every n-th, and change no bit of the training', async () => {
    const reports: StepReport[][] = [[], []];
    const trainers = [makeTrainer({ maxGradNorm: 0.5 }), makeTrainer({ maxGradNorm: 0.5 })] as const;
    await trainers[0].run({ onStep: (report) => void reports[0]!.push(report) });
    await trainers[1].run({ measureEvery: 4, onStep: (report) => void reports[1]!.push(report) });
    assert.deepEqual(weights(trainers[0]), weights(trainers[1]));
    const measured = (list: StepReport[]) => list.flatMap(({ vitals, step }) => (vitals ? [step] : []));
    assert.deepEqual(measured(reports[0]!), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(measured(reports[1]!), [4]);
    for (const report of reports[0]!) {
      assert.ok(report.gradNorm! > 0 && report.memoryBytes > 0);
      const phases = [report.dataSeconds, report.forwardSeconds!, report.backwardSeconds!, report.updateSeconds!];
      assert.ok(phases.every((seconds) => seconds >= 0));
      assert.ok(phases.reduce((a, b) => a + b) <= report.seconds);
      assert.equal(report.vitals!.imagePatterns === null, report.beta === null);
    }
  });

  it('have the gradient norm before clipping', async () => {
    const norms = async (maxGradNorm: number | null) => {
      const trainer = makeTrainer({ maxGradNorm, steps: 1, warmup: 0 });
      let norm: number | null = null;
      await trainer.run({ onStep: ({ gradNorm }) => void (norm = gradNorm) });
      return norm;
    };
    assert.equal(await norms(1e-3), await norms(null));
  });
});

describe('a step that is not finite', () => {
  const root = temporaryFolder();

  const statistics = async (trainer: ReturnType<typeof makeTrainer>) => {
    const parameters = new Set(trainer.model.namedParameters().map(([name]) => name));
    const found = Object.entries(trainer.model.stateDict()).filter(([name]) => !parameters.has(name));
    assert.ok(found.length > 0);
    return Promise.all(found.map(async ([, value]) => Array.from(await value.data())));
  };

  it('changes nothing, is told by step and op, and can be passed over', async () => {
    const trainer = overflowing();
    const steps: number[] = [];
    let before: unknown = null;
    const faults: Fault[] = [];
    const complete = await trainer.run({
      onStep: async ({ step }) => {
        steps.push(step);
        if (step === 2) before = [await statistics(trainer), trainer.optimizer.state().step];
      },
      onFault: async (fault) => {
        faults.push(fault);
        assert.deepEqual([await statistics(trainer), trainer.optimizer.state().step], before);
        assert.ok(trainer.model.parameters().every(({ grad }) => grad === null));
        return true;
      },
    });
    assert.ok(complete);
    assert.deepEqual(steps, [1, 2, 4, 5, 6]);
    assert.deepEqual(faults.map(({ step }) => step), [3]); // biome-ignore format: a line
    const { error } = faults[0]!;
    assert.match(error.received, /^a loss of NaN at step 3; it began in \w+: /);
    for (const values of await statistics(trainer)) assert.ok(values.every(Number.isFinite));
  });

  it('names the parameter and the op of a gradient', async () => {
    const trainer = makeTrainer();
    const { forward } = trainer.objective;
    trainer.objective.forward = function (...inputs) {
      const loss = forward.apply(this, inputs);
      if (trainer.position.step < 2) return loss;
      return loss.add(trainer.model.transformer.ln_final.bias.mul(0).sum().sqrt()); // 0, with a derivative of 0 · ∞
    };
    let before: number[][] = [];
    const onStep = ({ step }: StepReport) => {
      if (step === 2) before = weights(trainer);
    };
    await assert.rejects(trainer.run({ onStep }), (error: Error) => {
      assert.ok(error instanceof DomainError);
      assert.match(error.received, /^NaN in the gradient of \S*ln_final\.bias .* at step 3; it began in .*sqrt/);
      return true;
    });
    assert.equal(trainer.position.step, 2);
    assert.deepEqual(weights(trainer), before, 'running statistics too');
  });

  it('moves nothing either when the gradients of a loss that is infinite are finite', async () => {
    const trainer = makeTrainer();
    const { forward } = trainer.objective;
    trainer.objective.forward = function (...inputs) {
      const loss = forward.apply(this, inputs);
      return trainer.position.step === 2 ? loss.add(Infinity) : loss;
    };
    let before: number[][] = [];
    await trainer.run({
      onStep: ({ step }) => {
        if (step === 2) before = weights(trainer);
      },
      onFault: async ({ error }) => {
        assert.match(error.received, /^a loss of Infinity at step 3$/);
        assert.deepEqual(weights(trainer), before);
        return true;
      },
    });
    assert.equal(trainer.position.step, 6);
  });

  it('can be done again from what was kept', async () => {
    const trainer = overflowing();
    let fault: Fault | null = null;
    await assert.rejects(
      trainer.run({
        onFault: async (found) => {
          fault = found;
          return false;
        },
      }),
      /at step 3/,
    );
    const folder = new RunFolder(root);
    const path = folder.notFinite;
    await writeFault(folder, trainer, fault!);
    const { model, metadata } = await loadCheckpoint(join(path, 'model.safetensors'));
    assert.equal(metadata.step, '3');
    const { tensors, metadata: words } = readSafetensors(join(path, 'batch.safetensors'));
    const { images, tokens } = tensors as { images: Tensor; tokens: Tensor };
    assert.deepEqual(JSON.parse(words.captions!), (fault as unknown as { batch: Batch }).batch.captions);
    model.train();
    assert.ok(model.encodeText(tokens.to('wasm')).shape[0] === 4);
    assert.throws(() => detectAnomaly(() => model.encodeImage(images.to('wasm'))), DomainError);
  });
});

describe('warnings', () => {
  const healthy = {
    step: 1,
    samples: 100,
    invTau: 30,
    vitals: { imageSimilarity: 0.1, textSimilarity: 0.2, imagePatterns: 8, textPatterns: 9 },
  } as unknown as StepReport;
  /** What is said in the course of some steps. */
  const said = (
    change: object,
    {
      times = 210,
      learnableInvTau = false,
      ...facts
    }: { times?: number; learnableInvTau?: boolean } & Partial<StepReport> = {},
  ) => {
    const warnings = new Warnings({ learnableInvTau });
    const vitals = { ...healthy.vitals!, ...change };
    return Array.from({ length: times }, () => warnings.after({ ...healthy, ...facts, vitals })).flat();
  };

  it('are given once, when a sign lasts', () => {
    assert.deepEqual(said({}), []);
    assert.deepEqual(said({ imageSimilarity: 0.999 }, { times: 199 }), []);
    const [text, ...others] = said({ imageSimilarity: 0.999 }, { times: 500 });
    assert.match(text!, /All pictures have almost the same embedding/);
    assert.deepEqual(others, []);
    assert.match(said({ textSimilarity: 0.999 })[0]!, /All captions/);
  });

  it('tell memories that return the mean, or the query', () => {
    assert.match(said({ imagePatterns: 99.5 })[0]!, /memory of pictures .* mean of nearly all 100 patterns/);
    assert.match(said({ textPatterns: 1.01 })[0]!, /memory of texts .* single pattern/);
    assert.deepEqual(said({ imagePatterns: null, textPatterns: null }), []);
  });

  it('tell a learnt temperature at its bounds', () => {
    assert.match(said({}, { learnableInvTau: true, invTau: 100 })[0]!, /upper bound, 100/);
    assert.match(said({}, { learnableInvTau: true, invTau: 1 })[0]!, /lower bound, 1/);
    assert.deepEqual(said({}, { learnableInvTau: false, invTau: 100 }), []);
  });

  it('are silent about steps that are not measured', () => {
    const warnings = new Warnings({ learnableInvTau: true });
    const report = { ...healthy, invTau: 100, vitals: null };
    assert.deepEqual(Array.from({ length: 99 }, () => warnings.after(report)).flat(), []);
  });
});
