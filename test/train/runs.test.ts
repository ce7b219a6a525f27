/** The table of runs: what it takes from their folders, and which of them differ by their seed only. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listEpochs, listRuns, seedGroups } from '#src/train/runs.js';
import type { EvaluationRow } from '#src/train/validate.js';
import { temporaryFolder } from '../data/helpers.js';
import { makeTrainer, record } from './helpers.js';

describe('the table of runs', () => {
  const logs = temporaryFolder();
  const base = record(makeTrainer());
  const make = (name: string, day: number, seed: number, losses: number[], recalls: number[], lr = 0.01) => {
    mkdirSync(join(logs, name));
    const date = `2026-01-0${day}T00:00:00.000Z`;
    const own = { ...base, options: { ...base.options, seed, lr }, sessions: [{ ...base.sessions[0]!, date }] };
    writeFileSync(join(logs, name, 'manifest.json'), JSON.stringify(own));
    const lines = losses.map((loss, i) => JSON.stringify({ step: i + 1, loss }));
    writeFileSync(join(logs, name, 'log.jsonl'), `${lines.join('\n')}\n{"step":99,"lo`);
    const rows = recalls.map(
      (meanRecall, i): Partial<EvaluationRow> => ({
        step: i + 1,
        meanRecall,
        recallAt1: 0.1 * i,
        loss: 1 - i,
        zeroShot: null,
      }),
    );
    writeFileSync(join(logs, name, 'evaluations.jsonl'), rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  };
  before(() => {
    make('b', 2, 1, [...Array(30).fill(9), ...Array(20).fill(2)], [0.2, 0.5, 0.4]);
    make('a', 1, 2, [4], [0.7]);
    make('c', 3, 3, [], [], 0.02);
    mkdirSync(join(logs, 'no run'));
    mkdirSync(join(logs, 'broken'));
    writeFileSync(join(logs, 'broken', 'manifest.json'), '{');
  });

  it('has the newest first, the mean of the last losses and the best validation, and names what it cannot read', () => {
    const told: string[] = [];
    const rows = listRuns(logs, (why) => told.push(why)).map(({ row }) => row);
    assert.deepEqual(
      rows.map(({ run, seed }) => [run, seed]),
      [
        ['c', 3],
        ['b', 1],
        ['a', 2],
      ],
    );
    const { step, loss, valLoss, meanRecall, recallAt1, zeroShot } = rows[1]!;
    assert.deepEqual([step, loss, valLoss, meanRecall, recallAt1, zeroShot], [50, 2, 0, 0.5, 0.1, null]);
    assert.deepEqual([rows[0]!.step, rows[0]!.loss, rows[0]!.meanRecall], [null, null, null]);
    assert.equal(told.length, 1);
    assert.match(told[0]!, /broken.*is no JSON/);
    assert.deepEqual(listRuns(join(logs, 'none'), assert.fail), []);
  });

  it('has the epochs of one: mean loss, last rate, the validation after it and which was the best', async () => {
    const path = join(logs, 'epochs');
    mkdirSync(path);
    writeFileSync(join(path, 'manifest.json'), JSON.stringify(base));
    const step = (epoch: number, at: number, loss: number) => ({ step: at, epoch, loss, lr: 1 / at, seconds: 0.5 });
    const lines = [
      step(0, 1, 4),
      step(0, 2, 2),
      step(1, 3, 1),
      { step: 4, epoch: 1, skipped: 'loss NaN' },
      step(2, 5, 9),
    ];
    writeFileSync(join(path, 'log.jsonl'), `${lines.map((line) => JSON.stringify(line)).join('\n')}\n{"step":6,"ep`);
    const validation = (epoch: number, at: number, meanRecall: number) => ({
      step: at,
      epoch,
      meanRecall,
      loss: 3,
      recallAt1: 0.1,
      zeroShot: null,
    });
    const validations = [validation(1, 2, 0.5), validation(2, 3, 0.1), validation(2, 4, 0.4)];
    writeFileSync(join(path, 'evaluations.jsonl'), validations.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const { epochs } = await listEpochs(path);
    const none = { valLoss: null, meanRecall: null, recallAt1: null, zeroShot: null };
    const own = { valLoss: 3, recallAt1: 0.1, zeroShot: null };
    assert.deepEqual(epochs, [
      { epoch: 1, step: 2, loss: 3, lr: 0.5, seconds: 1, ...own, meanRecall: 0.5, best: true },
      { epoch: 2, step: 4, loss: 1, lr: 1 / 3, seconds: 0.5, ...own, meanRecall: 0.4, best: false },
      { epoch: 3, step: 5, loss: 9, lr: 0.2, seconds: 0.5, ...none, best: false },
    ]);
    rmSync(path, { recursive: true });
    await assert.rejects(listEpochs(path), /no file .*manifest.json/);
  });

  it('joins runs that differ by their seed only: mean and deviation of what all of them have', () => {
    const groups = seedGroups(listRuns(logs, () => {}));
    assert.equal(groups.length, 1);
    const [{ runs, seeds, mean, sd }] = groups as [(typeof groups)[0]];
    assert.deepEqual(
      [runs, seeds],
      [
        ['b', 'a'],
        [1, 2],
      ],
    );
    assert.deepEqual([mean.loss, sd.loss, mean.zeroShot], [3, Math.SQRT2, null]);
    assert.ok(Math.abs(mean.meanRecall! - 0.6) < 1e-12 && Math.abs(sd.meanRecall! - 0.1 * Math.SQRT2) < 1e-12);
  });
});
