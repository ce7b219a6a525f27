/** The table of options and what is made of it: presets that pass their own checks, and docs/training.md. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { addTrainFlags, resolveSettings, resolveTrainOptions } from '#src/cli/train-flags.js';
import type { Option } from '#src/train/option-kinds.js';
import {
  checkTrainOptions,
  defaultSettings,
  flagOf,
  modelConfig,
  optionMistakes,
  presets,
  settingsTable,
  trainTable,
} from '#src/train/options.js';

/** The table of docs/training.md, as it should be. */
function documented(): string {
  const cell = (value: unknown, { whenNull }: Option) => String(value ?? whenNull);
  const lines = Object.entries(trainTable).map(([key, option]) => {
    const [emoji, pairs, official] = (['emoji', 'pairs', 'conceptual-captions'] as const).map((name) =>
      cell(presets[name][key as keyof typeof trainTable], option),
    );
    return `| \`${flagOf(key)}\` | ${option.help} | ${option.kind.range} | ${emoji} | ${pairs} | ${official} |`;
  });
  const settings = Object.entries(settingsTable).map(([key, option]) => {
    const value = cell(defaultSettings[key as keyof typeof settingsTable], option);
    return `| \`${flagOf(key)}\` | ${option.help} | ${option.kind.range} | ${value} |`;
  });
  return [
    '| option | what it is | values | emoji | pairs | conceptual-captions |\n| --- | --- | --- | --- | --- | --- |',
    ...lines,
    '',
    '| option | what it is | values | default |\n| --- | --- | --- | --- |',
    ...settings,
  ].join('\n');
}

describe('options of hopgrad train', () => {
  it('are documented as the table has them', () => {
    const page = readFileSync(new URL('../../../docs/training.md', import.meta.url), 'utf8');
    const unaligned = page.replaceAll(/ +(?=\|)/g, ' ').replaceAll(/-{3,}/g, '---');
    assert.ok(unaligned.includes(documented()), `docs/training.md should have:\n\n${documented()}`);
  });

  it('have presets that pass their own checks, for models that exist', () => {
    for (const preset of Object.values(presets)) {
      assert.equal(checkTrainOptions(preset), preset);
      if (preset.model !== 'heads') assert.ok(modelConfig(preset).embed_dim > 0);
    }
  });

  it('each refuse nonsense, and null where it means nothing', () => {
    for (const [key, { whenNull }] of Object.entries(trainTable)) {
      const nope = ['pretrained', 'distillFrom'].includes(key) ? [] : ['nope']; // any text is a path
      for (const value of [Number.NaN, Infinity, -1, {}, undefined, '', ...nope])
        assert.equal(optionMistakes({ ...presets.emoji, [key]: value }).length > 0, true, `${key} ${value}`);
      const mistakes = optionMistakes({ ...presets.emoji, [key]: null });
      assert.equal(mistakes.length, whenNull ? 0 : 1, key);
    }
  });

  /** What the flags come to. */
  const parsed = (...args: string[]) => {
    const command = addTrainFlags(new Command().exitOverride().configureOutput({ writeErr: () => {} }));
    return command.parse(args, { from: 'user' }).opts();
  };

  it('come from the preset of the data, then --preset, then --method, then their own flags', () => {
    const resolved = (args: string[], ownData = false) => resolveTrainOptions(parsed(...args), { ownData });
    assert.deepEqual(resolved([]), presets.emoji);
    assert.deepEqual(resolved([], true), presets.pairs);
    assert.deepEqual(resolved(['--preset', 'conceptual-captions'], true), presets['conceptual-captions']);
    const clip = resolved(['--method', 'clip', '--hopfield', '--hopfield-from', '100%', '--lr', '0.5']);
    assert.deepEqual([clip.loss, clip.hopfield, clip.hopfieldFrom, clip.lr], ['infonce', true, '100%', 0.5]);
    assert.equal(resolved(['--no-hopfield']).hopfield, false);
    assert.throws(() => resolved(['--model', 'nope']), /--model nope; expected one of RN50, /);
  });

  it('have the two ways to say a step of many batches: the whole and its pieces, or a piece and how many', () => {
    const sizes = (...args: string[]) => {
      const { batchSize, microBatch } = resolveTrainOptions(parsed(...args), { ownData: true });
      return [batchSize, microBatch];
    };
    assert.deepEqual(sizes('--batch-size', '512', '--micro-batch', '32'), [512, 32]);
    assert.deepEqual(sizes('--batch-size', '32', '--accum-freq', '16'), [512, 32]);
    assert.deepEqual(sizes('--accum-freq', '1'), [64, null]);
    assert.throws(() => sizes('--accum-freq', '0'), /--accum-freq 0/);
    assert.throws(() => sizes('--accum-freq', '2', '--micro-batch', '8'), /--accum-freq 2 with --micro-batch 8/);
    assert.throws(() => sizes('--memory-size', '8', '--no-hopfield'), /--memory-size 8 without Hopfield/);
  });

  it('ask for batch norm by the whole batch where it is so, and are refused where pieces have their own', () => {
    const resolved = (...args: string[]) => resolveTrainOptions(parsed(...args), { ownData: true });
    for (const name of ['--sync-batchnorm', '--use-bn-sync']) {
      const whole = [[], ['--grad-checkpointing'], ['--micro-batch', '64'], ['--accum-freq', '1']];
      for (const args of whole)
        assert.deepEqual(resolved(name, ...args), { ...resolved(...args), syncBatchnorm: true });
      for (const args of [
        ['--micro-batch', '63'],
        ['--accum-freq', '2'],
      ])
        assert.throws(
          () => resolved(name, ...args),
          /--sync-batchnorm with pieces of \d+ of \d+ pairs; expected .*pieces/,
        );
    }
  });

  it('about how a run is carried out can be chosen anew', () => {
    const before = resolveSettings(parsed('--workers', '2', '--save-minutes', '0.5'));
    assert.deepEqual(before, { ...defaultSettings, workers: 2, saveMinutes: 0.5 });
    assert.deepEqual(resolveSettings(parsed('--keep-checkpoints', '1'), before), { ...before, keepCheckpoints: 1 });
    assert.throws(() => resolveSettings(parsed('--keep-checkpoints', '0')), /--keep-checkpoints 0/);
    assert.throws(() => resolveSettings(parsed('--max-bad-share', '2')), /--max-bad-share 2; expected a share/);
  });
});
