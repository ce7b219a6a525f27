/** `--config`: options from a file, every mistake at once, flags over it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import fc from 'fast-check';
import { DataError, HopgradError, UsageError } from 'hopgrad';
import { applyConfig, isGiven } from '#src/cli/config-file.js';
import { addTrainCommand } from '#src/cli/train.js';
import { resolveTrainOptions } from '#src/cli/train-flags.js';
import { presets } from '#src/train/options.js';
import { temporaryFolder } from '../data/helpers.js';
import { property } from '../helpers.js';

describe('hopgrad train --config', () => {
  const root = temporaryFolder();
  /** The command with its flags parsed, as before its action. */
  const typed = (...args: string[]) => {
    const program = new Command().exitOverride();
    addTrainCommand(program);
    const [command] = program.commands;
    command!.action(() => {});
    program.parse(['train', ...args], { from: 'user' });
    return command!;
  };
  const write = (name: string, text: string) => {
    const path = join(root, name);
    writeFileSync(path, text);
    return path;
  };
  const opts = (path: string, ...args: string[]) => {
    const command = typed(...args);
    applyConfig(command, path);
    return command.opts();
  };

  it('takes options by the names of flags, from YAML as from JSON', () => {
    const yaml = write(
      'a.yaml',
      '# mine\nbatch-size: 8\ntrain_data: pairs.tsv\nmaxGradNorm: 1\nhopfield: false\nsteps: null\nhopfield-from: 80%\n',
    );
    const json = write('a.json', JSON.stringify({ 'batch-size': 8, train_data: 'pairs.tsv', maxGradNorm: 1, hopfield: false, steps: null, 'hopfield-from': '80%' })); // biome-ignore format: a line
    assert.deepEqual(opts(yaml), opts(json));
    const found = opts(yaml);
    assert.deepEqual(
      [found.batchSize, found.trainData, found.maxGradNorm, found.hopfield, found.steps, found.hopfieldFrom],
      [8, 'pairs.tsv', 1, false, null, '80%'],
    );
    assert.deepEqual(resolveTrainOptions(opts(write('empty.json', '{}')), { ownData: false }), presets.emoji);
  });

  it('gives way to flags, a method that is typed to the loss of the file too, and counts as given', () => {
    const path = write('b.yml', 'batch-size: 8\nloss: siglip\nlr: 0.5\ndevice: reference\n');
    const found = opts(path, '--batch-size', '16', '--method', 'clip');
    assert.equal(found.batchSize, 16);
    const options = resolveTrainOptions(found, { ownData: false });
    assert.deepEqual([options.loss, options.hopfield, options.lr], ['infonce', false, 0.5]);
    const command = typed();
    applyConfig(command, path);
    assert.ok(
      isGiven(command, 'device') && isGiven(command, 'lr') && !isGiven(command, 'wd') && !isGiven(command, 'logs'),
    );
  });

  it('tells every mistake at once, what may have been meant, and changes nothing then', () => {
    const path = write('bad.yaml', 'batch-szie: 4\nlr: fast\nloss: infonec\ndevice: gpu\nsteps: 1.5\nresume: x\nhopfield: "yes"\nepochs: 3\nEpochs: 4\nepochs_: 2\ntrain-num-samples: 0\nname: [1]\n__proto__: 1\nbatch_size: 8\nbatchSize: 9\n'); // biome-ignore format: a line
    const command = typed();
    const before = { ...command.opts() };
    assert.throws(
      () => applyConfig(command, path),
      (error: Error) => {
        assert.ok(error instanceof UsageError);
        for (const part of ['batch-szie (expected an option of train; did you mean batch-size?)', 'lr "fast" (expected a number ≥ 0)', 'loss "infonec" (expected infoloob, ', 'device "gpu" (expected auto, ', 'steps 1.5 (expected a whole number ≥ 1)', 'resume (expected this on the command line only)', 'hopfield "yes" (expected true or false)', 'did you mean epochs?', 'train-num-samples 0 (expected at least 1)', 'name [1] (expected a text', '__proto__ (expected an option', 'batchSize beside batch_size']) // biome-ignore format: a line
          assert.ok(error.message.includes(part), `${part} in ${error.message}`);
        return true;
      },
    );
    assert.deepEqual(command.opts(), before);
  });

  it('refuses what is no such file', () => {
    assert.throws(() => opts(join(root, 'none.yaml')), DataError);
    assert.throws(() => opts(write('a.toml', '')), /ends in .json, .yaml or .yml/);
    for (const text of ['[1]', '"a"', 'null', '']) assert.throws(() => opts(write('c.yaml', text)), /options by name/);
    assert.throws(() => opts(write('c.yaml', 'lr: 1\nlr: 2\n')), /unique/);
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x,x]\n${[...'bcdefghi'].map((name, i) => `${name}: &${name} [${`*${'abcdefgh'[i]},`.repeat(10)}]`).join('\n')}`;
    assert.throws(() => opts(write('bomb.yaml', bomb)), UsageError);
    assert.throws(() => opts(write('large.json', ' '.repeat(2 ** 21))), DataError);
  });

  const word = fc.oneof(fc.string(), fc.constantFrom('batch-size', 'lr', ': ', '\n', '- ', '&a', '*a', '{', '[', '"', '!!js', '? ', '|', '<<: ')); // biome-ignore format: a line
  const text = fc.array(word, { maxLength: 12 }).map((parts) => parts.join(''));
  property(
    'answers any text by options or a typed error',
    fc.tuple(text, fc.constantFrom('x.yaml', 'x.json')),
    ([content, name]) => {
      try {
        opts(write(name, content));
      } catch (error) {
        if (!(error instanceof HopgradError)) throw error;
      }
    },
    100,
  );
});
