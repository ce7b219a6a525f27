/** The options of a training checked, alone and beside each other, and what follows from them; train-table.ts says what they are. */
import { existsSync } from 'node:fs';
import { readJson } from '../formats/files.js';
import { type CloobConfig, resolveConfig } from '../models/cloob/config.js';
import { UsageError } from '../tensor/errors.js';
import { type Option, percent } from './option-kinds.js';
import { type RunSettings, settingsTable } from './settings.js';
import { type TrainOptions, trainTable } from './train-table.js';

export { addedOptions, methods, presets, presetTexts } from './presets.js';
export { defaultSettings, type RunSettings, settingsTable } from './settings.js';
export {
  type LossName,
  lossNames,
  type SchedulerName,
  schedulers,
  type TrainOptions,
  trainTable,
} from './train-table.js';

/** "--batch-size" of batchSize. */
export const flagOf = (key: string) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** A value that an option cannot have. */
export interface Mistake {
  received: string;
  expected: string;
  hint?: string;
}

/** Every value of a table that is missing, unknown or out of range. */
export function tableMistakes(table: Record<string, Option>, values: Record<string, unknown>): Mistake[] {
  const wrong = Object.entries(table)
    .filter(([key, { kind, whenNull }]) => !(kind.ok(values[key]) || (values[key] === null && whenNull)))
    .map(([key, { kind }]) => ({ received: `${flagOf(key)} ${values[key]}`, expected: kind.range }));
  const unknown = Object.keys(values).filter((key) => !Object.hasOwn(table, key));
  return [...wrong, ...unknown.map((key) => ({ received: flagOf(key), expected: 'no such option' }))];
}

/** Every mistake in the options of a training, those of values that do not fit each other included. */
export function optionMistakes(options: Record<string, unknown>): Mistake[] {
  const mistakes = tableMistakes(trainTable, options);
  const { loss, batchSize, learnableInvTau, initInvTau, model, pretrained, memorySize, hopfield } =
    options as unknown as TrainOptions;
  const { lockImage, lockText, unlockLast, cacheEmbeddings, distillFrom = null } = options as unknown as TrainOptions;
  if (model === 'pretrained' && pretrained === null)
    mistakes.push({ received: '--model pretrained', expected: '--pretrained with it, which has the sizes' });
  if (batchSize === 1 && loss !== 'siglip')
    mistakes.push({
      received: '--batch-size 1',
      expected: 'at least 2',
      hint: 'It must be: the other pairs of the batch are the negatives of these losses.',
    });
  if (unlockLast > 0 && !lockImage && !lockText)
    mistakes.push({ received: `--unlock-last ${unlockLast}`, expected: '--lock-image or --lock-text with it' });
  const { syncBatchnorm, microBatch } = options as unknown as TrainOptions;
  if (syncBatchnorm && microBatch !== null && microBatch < batchSize)
    mistakes.push({
      received: `--sync-batchnorm with pieces of ${microBatch} of ${batchSize} pairs`,
      expected: 'no pieces, whose statistics are their own',
      hint: '--grad-checkpointing saves memory and is exact for batch norm; vision transformers have none, and need no such flag.',
    });
  if (lockImage && lockText && unlockLast === 0)
    mistakes.push({
      received: '--lock-image with --lock-text',
      expected: 'one of them, or --unlock-last with them: nothing is trained otherwise',
    });
  if (cacheEmbeddings && ((!lockImage && !lockText) || unlockLast > 0))
    mistakes.push({
      received: `--cache-embeddings${unlockLast > 0 ? ` with --unlock-last ${unlockLast}` : ''}`,
      expected: '--lock-image or --lock-text with it, and nothing of the encoder unlocked: its embeddings must stay',
    });
  if (cacheEmbeddings && distillFrom !== null)
    mistakes.push({
      received: '--cache-embeddings with --distill-from',
      expected: 'one of the two: the teacher looks at every picture again',
    });
  if (memorySize > 0 && hopfield === false)
    mistakes.push({
      received: `--memory-size ${memorySize} without Hopfield memories`,
      expected: '--hopfield with it',
    });
  if (learnableInvTau === true && (initInvTau < 1 || initInvTau > 100))
    mistakes.push({ received: `--init-inv-tau ${initInvTau}`, expected: 'a number in [1, 100] when it is learnt' });
  return mistakes;
}

/** @throws UsageError that lists every mistake with its flag */
export function checkTrainOptions(options: TrainOptions): TrainOptions {
  failOn(optionMistakes(options as unknown as Record<string, unknown>));
  return options;
}

/** @throws UsageError that lists every mistake with its flag */
export function checkSettings(settings: RunSettings): RunSettings {
  failOn(tableMistakes(settingsTable, settings as unknown as Record<string, unknown>));
  return settings;
}

/** @throws UsageError that lists all mistakes, if there are any */
export function failOn(mistakes: readonly Mistake[], op = 'train'): void {
  const [first, ...others] = mistakes;
  if (!first) return;
  if (others.length === 0) throw new UsageError(op, first);
  const all = mistakes.map(({ received, expected }) => `${received} (expected ${expected})`);
  throw new UsageError(op, { received: all.join(', ') });
}

/** The step at which Hopfield retrieval begins, of `total`; never when it is off. */
export function firstHopfieldStep({ hopfield, hopfieldFrom: from }: TrainOptions, total: number): number {
  if (!hopfield) return Infinity;
  if (typeof from === 'string') return Math.round(percent(from) * total);
  return from < 1 ? Math.round(from * total) : from;
}

/** Sizes of the model that the options name. @throws UsageError, DataError, DomainError for a file that describes none */
export function modelConfig({ model, center }: Pick<TrainOptions, 'model' | 'center'>): CloobConfig {
  if (!model.endsWith('.json')) return { ...resolveConfig(model), center };
  if (!existsSync(model))
    throw new UsageError('train', { received: `--model ${model}`, expected: 'a file that exists' });
  return { ...resolveConfig(readJson('train', model, 2 ** 20) as CloobConfig), center };
}
