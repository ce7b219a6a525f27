/** The flags of `hopgrad train`, made from the table of options, and named as in the official code and open_clip. */
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { UsageError } from '../tensor/errors.js';
import type { Kind, Option as TableOption } from '../train/option-kinds.js';
import { withoutEffect } from '../train/option-needs.js';
import {
  checkSettings,
  checkTrainOptions,
  defaultSettings,
  failOn,
  flagOf,
  methods,
  presets,
  presetTexts,
  type RunSettings,
  settingsTable,
  type TrainOptions,
  trainTable,
} from '../train/options.js';
import { parseNumber, parseShareOrSteps, parseWhole } from './parse.js';

/** What commander makes of the flags; only flags that were given are there. */
export type TrainFlags = Partial<TrainOptions> &
  Partial<RunSettings> & {
    method?: keyof typeof methods;
    preset?: keyof typeof presets;
    /** Batches of `--batch-size` that make a step. */
    accumFreq?: number;
    /** Another name of `--pretrained`. */
    initFrom?: string;
    /** open_clip's name of `--sync-batchnorm`. */
    useBnSync?: boolean;
  };

const parsers: Partial<Record<Kind['type'], (text: string) => unknown>> = {
  number: parseNumber,
  whole: parseWhole,
  'share or steps': parseShareOrSteps,
};

/** The values of an option that presets give, in words. */
function defaultText(key: string, { whenNull }: TableOption): string {
  if (key in defaultSettings) return String(defaultSettings[key as keyof RunSettings] ?? whenNull);
  const shown = (name: keyof typeof presets) => presets[name][key as keyof TrainOptions] ?? whenNull;
  return shown('emoji') === shown('pairs')
    ? String(shown('emoji'))
    : `${shown('emoji')}, of your own data ${shown('pairs')}`;
}

/** Adds the flags of one group of the table. */
function addGroup(command: Command, group: TableOption['group']): void {
  for (const [key, option] of Object.entries({ ...trainTable, ...settingsTable }).filter(
    ([, o]) => o.group === group,
  )) {
    const { kind, mark, help } = option;
    if (kind.type === 'switch') command.option(flagOf(key), help);
    else {
      const flag = new Option(`${flagOf(key)} <${mark}>`, `${help} (default: ${defaultText(key, option)})`);
      const parser = parsers[kind.type];
      if (kind.choices) flag.choices(kind.choices);
      else if (parser) flag.argParser(parser);
      command.addOption(flag);
    }
    if (key === 'hopfield') command.option('--no-hopfield', 'compare embeddings as they are, whatever the method');
  }
}

/** Adds the flags that describe a training and how it is carried out. */
export function addTrainFlags(command: Command): Command {
  const texts = Object.entries(presetTexts).map(([name, text]) => `${name}: ${text}`);
  addGroup(command, 'Data');
  command
    .optionsGroup('Objective:')
    .addOption(
      new Option('--preset <name>', `options that belong together; ${texts.join('; ')} (default: by the data)`).choices(
        Object.keys(presets),
      ),
    )
    .addOption(
      new Option('--method <name>', 'cloob: InfoLOOB with Hopfield; clip: InfoNCE (default: cloob)').choices(
        Object.keys(methods),
      ),
    );
  addGroup(command, 'Objective');
  command.optionsGroup('Model and optimisation:');
  addGroup(command, 'Model and optimisation');
  command.addOption(
    new Option(
      '--accum-freq <n>',
      'as in open_clip: n batches make one step, exactly that of a batch n times as large',
    ).argParser(parseWhole),
  );
  command.option('--init-from <path>', 'the same as --pretrained');
  command.option('--use-bn-sync', 'the same as --sync-batchnorm, as in open_clip');
  command.optionsGroup('Run:');
  addGroup(command, 'Run');
  return command;
}

/** Names of the flags that fix a training: they cannot be given again when it is resumed. */
export const trainingFlags = [
  ...Object.keys(trainTable),
  ...['method', 'preset', 'accumFreq', 'initFrom', 'useBnSync'],
];

const chosen = <T extends object>(flags: object, table: Record<keyof T & string, unknown>): Partial<T> =>
  Object.fromEntries(Object.entries(flags).filter(([key]) => Object.hasOwn(table, key))) as Partial<T>;

/**
 * Options from flags over a preset: the one that is named, else that of the data. `--loss` and `--hopfield` win over
 * `--method`.
 * @throws UsageError for values out of range, all of them
 */
export function resolveTrainOptions(
  flags: TrainFlags,
  { ownData, embeddings = false }: { ownData: boolean; embeddings?: boolean },
): TrainOptions {
  const { method, preset = embeddings ? 'embeddings' : ownData ? 'pairs' : 'emoji' } = flags;
  const given = chosen<TrainOptions>(flags, trainTable);
  if (flags.initFrom !== undefined) {
    if (given.pretrained !== undefined)
      throw new UsageError('train', { received: '--init-from with --pretrained', expected: 'one: they are the same' });
    given.pretrained = flags.initFrom;
  }
  const sizes = given.pretrained !== undefined && { model: 'pretrained' };
  const options: TrainOptions = { ...presets[preset], ...(method && methods[method]), ...sizes, ...given };
  if (flags.accumFreq !== undefined) {
    const { accumFreq } = flags;
    if (accumFreq < 1 || given.microBatch !== undefined)
      throw new UsageError('train', {
        received: `--accum-freq ${accumFreq}${given.microBatch === undefined ? '' : ` with --micro-batch ${given.microBatch}`}`,
        expected: 'a whole number ≥ 1, or --micro-batch with the --batch-size of the whole step',
      });
    if (accumFreq > 1) options.microBatch = options.batchSize;
    options.batchSize *= accumFreq;
  }
  if (flags.useBnSync) options.syncBatchnorm = true;
  // Files are found again from anywhere.
  if (options.model.endsWith('.json')) options.model = resolve(options.model);
  for (const key of ['pretrained', 'distillFrom'] as const)
    if (options[key] && !/^https?:/.test(options[key])) options[key] = resolve(options[key]);
  if ((options.model === 'heads') !== embeddings)
    throw new UsageError('train', {
      received: embeddings ? `--model ${options.model} on given embeddings` : '--model heads',
      expected: 'heads on embeddings, given by --image-embeddings and --text-embeddings',
    });
  const all = { ...checkTrainOptions(options), ...resolveSettings(flags) };
  failOn(withoutEffect({ ...flags, ...given }, all));
  return options;
}

/** Settings from flags over those that a run had, or the defaults. @throws UsageError */
export function resolveSettings(flags: TrainFlags, before: RunSettings = defaultSettings): RunSettings {
  return checkSettings({ ...defaultSettings, ...before, ...chosen<RunSettings>(flags, settingsTable) });
}

/** "CLOOB", "CLIP", or the cell of the grid: "InfoNCE + Hopfield". */
export function methodName({ loss, hopfield }: TrainOptions): string {
  for (const [name, method] of Object.entries(methods))
    if (method.loss === loss && method.hopfield === hopfield) return name.toUpperCase();
  const names = { infoloob: 'InfoLOOB', infonce: 'InfoNCE', dcl: 'DCL', siglip: 'SigLIP' };
  return `${names[loss]}${hopfield ? ' + Hopfield' : ''}`;
}
