/** Labelled pictures for zero-shot and probe: opened, embedded, their classes checked. */
import type { Command } from 'commander';
import { type OpenedData, openData } from '../data/open.js';
import { DataError } from '../tensor/errors.js';
import { type EmbeddedPictures, type EmbedOptions, embedSource } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import { addReadingFlags, type ReadingFlags, readingOptions } from './data.js';
import type { ReadyModel } from './model.js';
import { parseCount, parseNumber } from './parse.js';

export interface LabelledFlags extends ReadingFlags {
  limit?: number;
  json?: boolean;
}

export const labelledPaths =
  'folder with a subfolder a class, shards with .cls files, or mnist, fashion-mnist, openclipart';

/** The flags that name labelled pictures. */
export function addLabelledFlags(command: Command): Command {
  command
    .option('--limit <n>', 'use only this many pictures of each set, drawn at random', parseCount)
    .option('--max-bad-share <n>', 'largest tolerated share of broken rows (default: 0.1)', parseNumber)
    .option('--json', 'print the results as JSON');
  return addReadingFlags(command);
}

/** Opens pictures with classes. @throws DataError */
export function openLabelled(path: string, split: 't10k' | 'train'): Promise<OpenedData> {
  return openData({ path, classes: true, split });
}

/** Embeds pictures with classes. @throws DataError also for a picture without a class, or whose class has no name */
export async function embedLabelled(
  { model }: ReadyModel,
  { source }: OpenedData,
  flags: LabelledFlags,
  names: readonly string[] | undefined = source.classNames,
): Promise<EmbeddedPictures> {
  const options: EmbedOptions = { ...readingOptions(flags), ...(flags.limit !== undefined && { limit: flags.limit }) };
  const embedded = await withProgress('Embedding pictures', undefined, ({ update }) =>
    embedSource(model, source, { ...options, onProgress: (done, total) => update(done, '', total) }),
  );
  const classes = names?.length ?? Number.POSITIVE_INFINITY;
  const odd = embedded.labels.findIndex((label) => label < 0 || label >= classes);
  if (odd >= 0)
    throw new DataError('classes', {
      received:
        embedded.labels[odd]! < 0
          ? `${embedded.names[odd]} without a class`
          : `class ${embedded.labels[odd]} of ${embedded.names[odd]}`,
      expected: names ? `classes 0 … ${classes - 1}, one for each name` : labelledPaths,
    });
  return embedded;
}
