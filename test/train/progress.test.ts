/** What people see while it runs, and the folder of a run. */
import assert from 'node:assert/strict';
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DataError } from 'hopgrad';
import { rankMetrics } from 'hopgrad/models/cloob';
import { Forecast } from '#src/train/forecast.js';
import { clock, type Progress, processorOf, say, trainingNote, withProgress } from '#src/train/progress.js';
import { pairTable } from '#src/train/report.js';
import { newestRun, newRunName, RunFolder } from '#src/train/run-folder.js';

describe('progress', () => {
  it('is plain lines where there is no terminal: the first and the last at least', async () => {
    let text = '';
    const output = { write: (line: string) => (text += line) };
    const read = ({ update }: Progress) => {
      for (const done of [1, 2, 3, 4]) update(done, done === 4 ? 'all' : '');
      return 'body';
    };
    assert.equal(await withProgress('Reading', 3, read, { output }), 'body');
    assert.equal(text, 'Reading 1/3\nReading 3/3  all\n', 'never more than all');
    text = '';
    await withProgress('Counting', undefined, ({ update }) => update(7), { output });
    assert.equal(text, 'Counting 7\n');
  });

  it('ends with its body, whatever that comes to, and listens to nothing afterwards', async () => {
    const listeners = process.listenerCount('exit');
    let text = '';
    const output = { write: (line: string) => (text += line), isTTY: true };
    const fail = () => Promise.reject(new Error('as it happens'));
    await assert.rejects(withProgress('Failing', 2, fail, { output }), /as it happens/);
    assert.ok(text.lastIndexOf('\x1b[?25h') > text.lastIndexOf('\x1b[?25l'), 'the cursor stays hidden');
    assert.equal(process.listenerCount('exit'), listeners);
  });

  it('says lines above the bar, and shows what would steer the terminal', async () => {
    let text = '';
    const output = { write: (line: string) => (text += line), isTTY: true };
    await withProgress('Reading', 2, () => say('skipped \x1b[2Ja.png', output), { output });
    assert.ok(text.includes('\r\x1b[Kskipped \\x1b[2Ja.png\n'), text);
  });

  it('tells times and speed', () => {
    assert.equal(clock(65), '1:05');
    assert.equal(clock(3725.4), '1:02:05');
    const speed = new Forecast();
    for (let i = 0; i < 5; i++) speed.add({ seconds: 0.5, dataSeconds: 0.05, forwardSeconds: 0.15, samples: 100 });
    assert.ok(Math.abs(speed.samplesPerSecond - 200) < 1e-9);
    assert.ok(Math.abs(speed.seconds({ steps: 20, pictures: 0 }) - 10) < 1e-9);
    assert.ok(Math.abs(speed.seconds({ steps: 0, pictures: 50 }) - 0.1) < 1e-9, 'waiting for data and a pass forward');
    const note = (report: { loss: number; beta: number | null }) =>
      trainingNote(report, { speed, left: speed.seconds({ steps: 20, pictures: 0 }), processor: 'CPU' });
    assert.equal(note({ loss: 1.2345, beta: 8 }), '0:10 left  loss 1.234  β 8.00  200 pairs/s on CPU');
    speed.addValidation({ seconds: 30, pictures: 10 });
    for (let i = 0; i < 200; i++) speed.add({ seconds: 10, dataSeconds: 9, forwardSeconds: null, samples: 100 });
    assert.ok(Math.abs(speed.seconds({ steps: 0, pictures: 5 }) - 15) < 1e-9, 'a validation was timed');
    assert.match(
      note({ loss: 1, beta: null }),
      /^3:20 left {2}loss 1.000 {2}10 pairs\/s on CPU, 90 % of the time waiting for data$/,
    );
    assert.equal(processorOf({ name: 'webgpu', software: true }), 'GPU in software');
    assert.equal(processorOf({ name: 'wasm' }), 'CPU');
  });

  it('ends in a table beside chance', () => {
    const chance = { imageToText: { 1: 0.25, 5: 1, 10: 1 }, textToImage: { 1: 0.25, 5: 1, 10: 1 } };
    const metrics = { imageToText: rankMetrics([0, 0, 3, 9]), textToImage: rankMetrics([0, 1, 2, 3]) };
    const table = pairTable({ pairs: 4, chance, ...metrics }, 'CLIP');
    assert.doesNotMatch(table, /any caption/);
    assert.match(
      pairTable({ pairs: 9, chance, ...metrics }, 'CLIP'),
      /4 pictures, 4 captions: any caption of a picture/,
    );
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
