/** Runs that are prolonged: what becomes of the schedule, and that a constant rate makes no difference. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from 'hopgrad';
import { prolong } from '#src/train/prolong.js';
import { learningRate } from '#src/train/schedule.js';
import { restoreTraining, saveTraining, verifyTraining } from '#src/train/state.js';
import { temporaryFolder } from '../data/helpers.js';
import { colourBatches, defaults, loadInto, losses, makeTrainer, record, weights } from './helpers.js';

describe('prolonging', () => {
  const folder = temporaryFolder();
  const loader = colourBatches(1); // three batches an epoch
  const by = (options: Partial<typeof defaults>, asked: { epochs?: number; steps?: number }) =>
    prolong({ ...defaults, ...options }, asked, loader);

  it('keeps warm-up and the start of the memories, and has the rate of the longer schedule', () => {
    const { options, before, after } = by({ epochs: 20, warmup: null, hopfieldFrom: 0.8 }, { epochs: 40 });
    assert.deepEqual([before, after, options.epochs, options.steps], [60, 120, 40, null]);
    assert.deepEqual([options.warmup, options.hopfieldFrom], [3, 48]);
    assert.ok(learningRate({ ...defaults, warmup: 3 }, 60)(60) < 1e-12);
    assert.ok(
      Math.abs(learningRate(options, after)(60) - defaults.lr * 0.5 * (1 + Math.cos((Math.PI * 57) / 117))) < 1e-12,
    );
    assert.deepEqual(by({ epochs: 20, hopfieldFrom: '100%' }, { epochs: 40 }).options.hopfieldFrom, '100%');
    assert.deepEqual(by({ epochs: 20, hopfieldFrom: 7 }, { epochs: 40 }).options.hopfieldFrom, 7);
    assert.deepEqual(by({ epochs: 20, hopfield: false }, { epochs: 40 }).options.hopfieldFrom, defaults.hopfieldFrom);
    assert.equal(by({ steps: 10 }, { steps: 11 }).after, 11);
    assert.equal(by({ steps: 10 }, { epochs: 4 }).after, 12);
    assert.deepEqual(by({ epochs: 20 }, { epochs: 20 }).options, { ...defaults, epochs: 20 });
    assert.throws(
      () => by({ epochs: 20 }, { epochs: 19 }),
      (e: Error) => e instanceof UsageError && /57 steps for a run of 60/.test(e.message),
    );
  });

  it('with a constant rate comes to the bits of a run that was as long from the beginning', async () => {
    const options = { lrScheduler: 'const', warmup: 2, hopfieldFrom: 0.5, epochs: 2 } as const;
    const short = makeTrainer(options);
    const first = await losses(short);
    const checkpoint = join(folder, 'checkpoint');
    mkdirSync(checkpoint);
    await saveTraining(checkpoint, short, record(short));
    const longer = makeTrainer(prolong(short.options, { epochs: 4 }, short.loader).options);
    await loadInto(longer, checkpoint);
    restoreTraining(checkpoint, longer, verifyTraining(checkpoint));
    const rest = await losses(longer);
    const whole = makeTrainer({ ...options, hopfieldFrom: 3, epochs: 4 });
    assert.deepEqual([...first, ...rest], await losses(whole));
    assert.deepEqual(weights(longer), weights(whole));
  });
});
