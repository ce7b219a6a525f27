/**
 * What every data set looks like to the loader: rows in an order that is a pure function of (seed, epoch).
 * Tables, folders, tar shards, the embedded emoji and pictures in memory implement {@link Source}; so may users.
 */
import { DataError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import type { ImageInput } from './decode.js';
import type { TransformOptions } from './transforms.js';

/** One picture with its words or its class. */
export interface Row {
  /** The row's own number, the same in every epoch: it seeds the augmentation. */
  index: number;
  /** Where a row comes several times an epoch: which time it is, instead of the number for the augmentation. */
  visit?: string;
  /** What a person can find it by: a path, a line of a table, a shard and key. */
  name: string;
  image: ImageInput;
  caption?: string;
  label?: number;
  /** Rows of one group, such as pictures of one thing, are no negatives of each other: a training batch holds one of them. */
  group?: string | number;
}

/** A row that cannot be used, and why. The loader counts, logs and skips it. */
export interface BadRow {
  index: number;
  name: string;
  bad: string;
}

/** Which order of rows is meant: it depends on these alone. */
export interface Order {
  seed: number;
  epoch: number;
  /** False: the order of the files. */
  shuffle: boolean;
}

/** Rows of pictures with captions or labels, in an order that a seed and an epoch determine. */
export interface Source {
  /** What it is, for messages. */
  readonly name: string;
  /** Rows an epoch, bad ones included; undefined when not known before reading. */
  readonly size?: number | undefined;
  /** Names of the labels 0, 1, … */
  readonly classNames?: readonly string[];
  /** How training pictures vary, where random crops are not right. */
  readonly view?: TransformOptions['view'];
  /** Texts for a vocabulary, where these are not the rows' captions. */
  captions?(): Iterable<string>;
  /** All rows once, in an order that depends on nothing but `order`. */
  rows(order: Order): Iterable<Row | BadRow> | AsyncIterable<Row | BadRow>;
}

/** 0 … count − 1 in the order of an epoch. */
export function epochOrder(count: number, { seed, epoch, shuffle }: Order): Iterable<number> {
  const positions = Array.from({ length: count }, (_, i) => i);
  return shuffle ? new Random(seed).fork(`order of epoch ${epoch}`).shuffle(positions) : positions;
}

/** A source of rows that are all known: they stay in memory, their pictures need not. */
export function listSource(
  name: string,
  rows: readonly (Row | BadRow)[],
  classNames?: readonly string[],
): Source & { size: number } {
  return {
    name,
    size: rows.length,
    ...(classNames && { classNames }),
    *rows(order) {
      for (const at of epochOrder(rows.length, order)) yield rows[at]!;
    },
  };
}

/** The first rows of a source in the order of each epoch, at most `count`. */
export function firstRows(source: Source, count: number): Source {
  return {
    ...source,
    size: source.size === undefined ? undefined : Math.min(count, source.size),
    async *rows(order) {
      let left = count;
      if (left > 0)
        for await (const row of source.rows(order)) {
          yield row;
          if (--left === 0) return;
        }
    },
  };
}

/** A row, or a bad one when its caption is empty. */
export function captioned(row: Row & { caption: string }): Row | BadRow {
  return row.caption.trim() ? row : { index: row.index, name: row.name, bad: 'empty caption' };
}

/** Texts that a tokenizer may be trained on, in the order of the source; no picture is decoded. */
export async function* captionsOf(source: Source): AsyncGenerator<string> {
  if (source.captions) yield* source.captions();
  else
    for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false }))
      if ('caption' in row && row.caption) yield row.caption;
}

/** @throws DataError when the first usable row has no caption: better told now than after hours */
export async function requireCaptions(source: Source): Promise<void> {
  for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false })) {
    if ('bad' in row) continue;
    checkCaptions([row.caption ?? ''], [row.name]);
    return;
  }
}

/** @throws DataError that names the first row without a caption */
export function checkCaptions(captions: readonly string[], names: readonly string[]): void {
  const wordless = captions.indexOf('');
  if (wordless >= 0)
    throw new DataError('captions', {
      received: `${names[wordless]} without words`,
      expected: 'pictures with captions',
      hint: 'Labelled folders are for zero-shot and probe; list pictures with captions in a table.',
    });
}
