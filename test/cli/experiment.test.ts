/** `hopgrad experiment`, with trainings: stopped and started again it ends as it would have. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readResults } from '#src/experiment/results.js';
import { temporaryFolder } from '../data/helpers.js';
import { hopgrad, makePictures, tinyConfig } from './helpers.js';

describe('hopgrad experiment', function () {
  this.timeout(300_000);
  const folder = temporaryFolder();
  const options = { 'train-data': 'pairs.tsv', 'val-data': 'pairs.tsv', 'batch-size': 4, workers: 0, steps: 40 };
  before(async () => {
    await makePictures(folder);
    const experiment = {
      options: { ...options, valFrequency: 100, model: { from: 'emoji-resnet', ...tinyConfig } },
      methods: { CLIP: { method: 'clip' }, CLOOB: { method: 'cloob', hopfieldFrom: 0 } },
      tune: { over: { lr: [1e-3, 1e-2] }, options: { steps: 4 }, metric: 'loss', least: true },
    };
    writeFileSync(join(folder, 'it.json'), JSON.stringify(experiment));
  });

  it('tunes, trains, compares; stopped by a signal it goes on by the same command', async () => {
    const command = ['experiment', 'it.json', '--processes', '2', '--threads', '1'];
    let watching = false;
    const cut = await hopgrad(folder, command, (stderr, child) => {
      if (watching || !/Begun: CLIP-seed1/.test(stderr)) return null;
      watching = true;
      const wait = setInterval(() => {
        if (!existsSync(join(folder, 'runs/it/CLIP-seed1/log.jsonl'))) return;
        clearInterval(wait);
        child.kill('SIGTERM');
      }, 5);
      return null;
    });
    assert.equal(cut.code, 143, cut.stderr);
    assert.match(cut.stdout, /Stopped. Go on with the same command/);
    const rest = await hopgrad(folder, command);
    assert.equal(rest.code, 0, rest.stderr);
    assert.doesNotMatch(rest.stderr, /Begun: tune/);
    const { sessions } = JSON.parse(readFileSync(join(folder, 'runs/it/CLIP-seed1/manifest.json'), 'utf8'));
    assert.equal(sessions.length, 2);
    assert.match(rest.stdout, /2 of 2 runs are finished[\s\S]*CLOOB − CLIP[\s\S]*Chosen by validation/);
    const { runs, tuning } = readResults(join(folder, 'runs/it/experiment.json'));
    assert.equal(runs.length, 6);
    for (const { name, outcome } of runs) assert.ok('metrics' in outcome && outcome.metrics.meanRecall! > 0, name);
    for (const { method, chosen, candidates } of tuning!.choices) {
      const best = candidates.reduce((a, b) => (b.mean! < a.mean! ? b : a));
      assert.deepEqual(chosen, best.values);
      const { options: used } = JSON.parse(readFileSync(join(folder, `runs/it/${method}-seed1/manifest.json`), 'utf8'));
      assert.equal(used.lr, chosen.lr);
    }
    for (const figure of ['meanRecall.svg', 'meanRecall-differences.svg'])
      assert.ok(existsSync(join(folder, 'runs/it/figures', figure)), figure);
  });

  it('refuses what no training could have before the first run', async () => {
    writeFileSync(
      join(folder, 'wrong.yaml'),
      'options: {train-data: pairs.tsv, val-data: pairs.tsv}\nmethods: {A: {los: clip}}\n',
    );
    const { code, stderr } = await hopgrad(folder, ['experiment', 'wrong.yaml']);
    assert.equal(code, 2);
    assert.match(stderr, /los; expected an option of train; did you mean loss\?/);
  });
});
