/** `hopgrad convert` in a process of its own: what it takes, and what it refuses in one line. */

import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClipTokenizer, createModel, loadCheckpoint, saveCheckpoint } from 'hopgrad/models/cloob';
import { fixture } from '../helpers.js';
import { hopgrad } from './helpers.js';

const tinyConfig = {
  ...{ embed_dim: 8, image_resolution: 32, vision_layers: 1, vision_width: 8, vision_patch_size: 16, vision_heads: 2 },
  ...{ context_length: 6, vocab_size: 515, transformer_width: 8, transformer_heads: 2, transformer_layers: 1 },
};

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

  it('writes both encoders as ONNX, with what goes with them, and nothing over other files', async () => {
    const write = () => convert(fixture('torch-official-half.pt'), 'web', '--to', 'onnx');
    const noTokenizer = await write();
    assert.equal(noTokenizer.code, 2, noTokenizer.stderr);
    assert.match(noTokenizer.stderr, /a model without a tokenizer/);
    const model = createModel(tinyConfig, { seed: 1 });
    await saveCheckpoint(join(folder, 'tiny.safetensors'), { model, tokenizer: ClipTokenizer.fromMerges(['a b</w>']) });
    const { code, stderr, stdout } = await convert('tiny.safetensors', 'web', '--to', 'onnx');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^web: .* M parameters in F32, pictures of 32×32, vectors of 8; onnx\/vision_model\.onnx, /);
    const written = readdirSync(join(folder, 'web'), { recursive: true }).sort();
    const names = ['config.json', 'preprocessor_config.json', 'tokenizer.json', 'tokenizer_config.json'];
    assert.deepEqual(written, [...names, 'onnx', 'onnx/text_model.onnx', 'onnx/vision_model.onnx'].sort());
    const again = await convert('tiny.safetensors', 'web', '--to', 'onnx');
    assert.match(again.stderr, /web\/onnx\/vision_model\.onnx, which is there already/);
    const half = await convert('tiny.safetensors', 'half', '--to', 'onnx', '--floats', 'F16');
    assert.equal(half.code, 2);
    assert.match(half.stderr, /--floats F32/);
    assert.match((await convert('tiny.safetensors', 'a.onnx', '--to', 'onnx')).stderr, /the name of a folder/);
  });

  it('reads a table by its flags: quotes and encoding', async () => {
    const help = await hopgrad(folder, ['eval', '--help']);
    assert.match(help.stdout, /--csv-quotes <on\|off>/);
    assert.match(help.stdout, /--encoding <name>/);
    assert.ok(readFileSync(new URL('../../../docs/data.md', import.meta.url), 'utf8').includes('`--encoding`'));
  });
});
