/** `hopgrad convert` in a process of its own: what it takes, and what it refuses in one line. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { fixture } from '../helpers.js';
import { hopgrad } from './helpers.js';

describe('hopgrad convert', () => {
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
  after(() => rmSync(folder, { recursive: true }));
  const convert = (...args: string[]) => hopgrad(folder, ['convert', ...args]);

  it('makes safetensors of a file of torch.save, and of the weights in the folder of a run', async () => {
    const { code, stderr } = await convert(fixture('torch-official-half.pt'), 'a.safetensors');
    assert.equal(code, 0, stderr);
    mkdirSync(join(folder, 'run'));
    assert.equal((await convert('a.safetensors', 'run/model.safetensors')).code, 0);
    assert.equal((await convert('run', 'b.safetensors')).code, 0);
    const { model } = await loadCheckpoint(fixture('torch-official-half.pt'));
    const { model: same } = await loadCheckpoint(join(folder, 'b.safetensors'));
    for (const [name, value] of Object.entries(model.stateDict()))
      assert.deepEqual(same.stateDict()[name]!.dataSync(), value.dataSync(), name);
  });

  for (const [what, code, message, from, to] of [
    [
      'a folder without weights',
      1,
      /a folder without weights; expected one of model\.safetensors/,
      '.',
      'x.safetensors',
    ],
    [
      'to write under the name of another format',
      2,
      /x\.pt to write; expected a name ending in \.safetensors/,
      'a',
      'x.pt',
    ],
    ['to write into a folder', 2, /run to write/, 'a.safetensors', 'run'],
    ['a device', 1, /a device; expected a readable file/, '/dev/zero', 'x.safetensors'],
  ] as const)
    it(`refuses ${what}`, async () => {
      const outcome = await convert(from, to);
      assert.equal(outcome.code, code, outcome.stderr);
      assert.match(outcome.stderr, message);
      assert.equal(outcome.stderr.trim().split('\n').length, 1, outcome.stderr);
      assert.ok(!existsSync(join(folder, to)) || to === 'run');
    });

  it('reads a table by its flags: quotes and encoding', async () => {
    const help = await hopgrad(folder, ['eval', '--help']);
    assert.match(help.stdout, /--csv-quotes <on\|off>/);
    assert.match(help.stdout, /--encoding <name>/);
    assert.ok(readFileSync(new URL('../../../docs/data.md', import.meta.url), 'utf8').includes('`--encoding`'));
  });
});
