/** What people see while it runs, and the folder of a run. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import { rankMetrics } from 'hopgrad/models/cloob';
import { clock, Speedometer, startProgress, trainingNote } from '#src/train/progress.js';
import { pairTable } from '#src/train/report.js';
import { newestRun, newRunName, RunFolder } from '#src/train/run-folder.js';

describe('progress', () => {
  it('is plain lines where there is no terminal: the first and the last at least', () => {
    let text = '';
    const progress = startProgress('Reading', 3, { write: (line) => (text += line) });
    for (const done of [1, 2, 3]) progress.update(done, done === 3 ? 'all' : '');
    progress.stop();
    assert.equal(text, 'Reading 1/3\nReading 3/3  all\n');
  });

  it('tells times and speed', () => {
    assert.equal(clock(65), '1:05');
    assert.equal(clock(3725.4), '1:02:05');
    const speed = new Speedometer();
    for (let i = 0; i < 5; i++) speed.add({ seconds: 0.5, samples: 100 });
    assert.ok(Math.abs(speed.samplesPerSecond - 200) < 1e-9);
    const report = {
      step: 10,
      total: 30,
      epoch: 0,
      loss: 1.2345,
      lr: 1,
      invTau: 30,
      beta: 8,
      samples: 100,
      seconds: 1,
    };
    assert.equal(trainingNote(report, speed), 'loss 1.234  β 8.00  200 pairs/s  0:10 left');
  });

  it('ends in a table beside chance', () => {
    const table = pairTable({ imageToText: rankMetrics([0, 0, 3, 9]), textToImage: rankMetrics([0, 1, 2, 3]) }, 'CLIP');
    assert.match(
      table,
      /4 pairs[\s\S]*CLIP, recall in %[\s\S]*picture → caption │ +50.0 │ +75.0 │ 100.0 │ 25.0 │ 100.0/,
    );
  });
});

describe('run folder', () => {
  let logs: string;
  before(() => {
    logs = mkdtempSync(join(tmpdir(), 'hopgrad-runs-'));
  });
  after(() => rmSync(logs, { recursive: true }));

  it('drops log lines of steps that are taken again, and a line cut off by a crash', () => {
    const run = new RunFolder(join(logs, 'a'));
    for (let step = 1; step <= 4; step++) run.log({ step, loss: step });
    appendFileSync(join(run.path, 'log.jsonl'), '{"step":5,"lo');
    run.rewindLog(2);
    assert.equal(readFileSync(join(run.path, 'log.jsonl'), 'utf8'), '{"step":1,"loss":1}\n{"step":2,"loss":2}\n');
  });

  it('finds the newest run with weights', () => {
    assert.throws(() => newestRun(join(logs, 'nowhere')), DataError);
    assert.throws(() => newestRun(logs), /no finished run/);
    ['old', 'new', 'between'].forEach((name, i) => {
      mkdirSync(join(logs, name));
      writeFileSync(join(logs, name, 'model.safetensors'), '');
      utimesSync(join(logs, name, 'model.safetensors'), 0, [100, 300, 200][i]!);
    });
    assert.equal(newestRun(logs).path, join(logs, 'new'));
  });

  it('gives every run a name of its own', () => {
    const now = new Date('2026-01-02T03:04:05Z');
    const name = newRunName(logs, 'CLOOB-seed1', now);
    assert.equal(name, '2026-01-02_03-04-05-CLOOB-seed1');
    mkdirSync(join(logs, name));
    assert.equal(newRunName(logs, 'CLOOB-seed1', now), `${name}-2`);
  });

  it('says when it cannot be written', () => {
    writeFileSync(join(logs, 'file'), '');
    assert.throws(() => new RunFolder(join(logs, 'file', 'run')), DataError);
  });
});
