/** The command on a terminal: bars end whatever happens, the cursor comes back, and nothing is drawn over. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inTerminal, makePictures, makeWeights, screen, tinyConfig } from './helpers.js';

const missing = spawnSync('script', ['--version']).status !== 0;

describe('hopgrad on a terminal', function () {
  this.timeout(600_000);
  let folder: string;
  before(async function () {
    if (missing && process.env.CI !== 'true') this.skip(); // script, of util-linux, makes the pseudo-terminal
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-terminal-'));
    await makePictures(folder);
    await makeWeights(join(folder, 'tiny.safetensors'));
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(tinyConfig));
    const lines = [0, 1, 2].map((i) => `squares/missing-${i}.png\ta picture that is missing`);
    writeFileSync(join(folder, 'broken.tsv'), `filepath\ttitle\n${lines.join('\n')}\n`);
    for (const name of ['one', 'two']) {
      for (const [part, file] of [
        ['broken', '1.png'],
        ['others', '2.png'],
      ] as const) {
        mkdirSync(join(folder, part, name), { recursive: true });
        writeFileSync(join(folder, part, name, file), 'no picture');
      }
    }
  });
  after(() => folder && rmSync(folder, { recursive: true }));

  const model = ['--checkpoint', 'tiny.safetensors'];
  const failures: string[][] = [
    ['eval', '--val-data', 'broken.tsv', ...model],
    ['embed', 'broken.tsv', ...model],
    ['zero-shot', '--val-data', 'broken', ...model],
    ['probe', '--train-data', 'broken', '--val-data', 'others', ...model],
    ['train', '--train-data', 'broken.tsv', '--batch-size', '2', '--steps', '2', '--workers', '0'],
  ];
  for (const args of failures)
    it(`ends with a line and the cursor back when ${args[0]} fails while a bar is up`, async () => {
      const { code, shown } = await inTerminal(folder, args);
      assert.equal(code, 1, shown);
      assert.match(screen(shown).join('\n'), /^hopgrad: .*cannot be used/m);
      assert.ok(shown.lastIndexOf('\x1b[?25h') >= shown.lastIndexOf('\x1b[?25l'), 'the cursor stays hidden');
    });

  const small = ['train', '--train-data', 'pairs.tsv', '--model', 'tiny.json', '--batch-size', '4', '--workers', '1'];

  it('says above the bar what Ctrl-C does, ends with 130, and twice at once', async () => {
    let pressed = 0;
    const once = await inTerminal(folder, [...small, '--steps', '400', '--name', 'once'], {
      until: (shown) => (pressed === 0 && /█* [1-9]\d*\/400/.test(shown) && ++pressed ? '\x03' : null),
    });
    assert.equal(once.code, 130, once.shown);
    const lines = screen(once.shown);
    assert.ok(
      lines.includes('Stopping after this step and writing a checkpoint; once more to quit at once.'),
      once.shown,
    );
    assert.match(lines.at(-2)!, /^Stopped at step \d+. Go on with: npx hopgrad train --resume runs\/once$/);
    const twice = await inTerminal(folder, [...small, '--steps', '400', '--name', 'twice'], {
      until: (shown) => (pressed === 1 && / [1-9]\d*\/400/.test(shown) && ++pressed ? '\x03\x03' : null),
    });
    assert.equal(twice.code, 130, twice.shown);
    assert.ok(twice.shown.lastIndexOf('\x1b[?25h') > twice.shown.lastIndexOf('\x1b[?25l'), 'the cursor stays hidden');
  });

  it('npm start trains on the emoji, and Ctrl-C at it leaves a run that goes on', async () => {
    let pressed = false;
    const args = [
      'start',
      '--ignore-scripts', // does not build again beside the other tests
      '--',
      '--logs',
      join(folder, 'started'),
      '--name',
      'one',
      '--steps',
      '400',
      '--batch-size',
      '8',
    ];
    const { code, shown } = await inTerminal(fileURLToPath(new URL('../../../', import.meta.url)), args, {
      program: ['npm'],
      seconds: 240, // the first time the emoji are drawn
      until: (text) => (!pressed && / [1-9]\d*\/400/.test(text) && (pressed = true) ? '\x03' : null),
    });
    const lines = screen(shown);
    assert.ok(
      lines.some((line) => /^Data: embedded emoji, 32×32: 6520 drawings to train on/.test(line)),
      shown,
    );
    assert.ok(
      lines.some((line) => /^Stopped at step \d+. Go on with: npx hopgrad train --resume .*one$/.test(line)),
      shown,
    );
    assert.ok(shown.lastIndexOf('\x1b[?25h') > shown.lastIndexOf('\x1b[?25l'), 'the cursor stays hidden');
    assert.equal(code, 130, shown);
    assert.ok(existsSync(join(folder, 'started/one/model.safetensors')));
  });
});
