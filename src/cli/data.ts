/** The flags that describe tables and shards of pictures, named as in the official code. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import { type Columns, columnsOf, type DataRequest } from '../data/open.js';
import type { Colour } from '../models/cloob/config.js';
import { UsageError } from '../tensor/errors.js';
import type { EmbedOptions } from '../train/embed-source.js';
import { parseColour, parseNumber, parseWhole } from './parse.js';
import { ownWorkers, ranks } from './ranks.js';

export interface TableFlags {
  csvImgKey?: string;
  csvCaptionKey?: string;
  csvSeparator?: string;
  imgFolder?: string | undefined;
  csvQuotes?: 'on' | 'off';
  encoding?: string;
  maxBadShare?: number;
}

/** The flags about tables, and how much of one may be broken. */
export function addTableFlags(command: Command): Command {
  return addColumnFlags(command).option(
    '--max-bad-share <n>',
    'largest tolerated share of broken rows (default: 0.1)',
    parseNumber,
  );
}

/** Those of {@link addTableFlags} that say what the columns are. */
export function addColumnFlags(command: Command): Command {
  return command
    .option('--csv-img-key <column>', 'column, or key of .jsonl, of picture paths (default: filepath)')
    .option('--csv-caption-key <column>', 'column, or key of .jsonl, of captions (default: title)')
    .option('--img-folder <folder>', 'what these paths are relative to (default: the folder of the table)')
    .option('--csv-separator <mark>', 'between columns (default: tab, or comma for .csv)')
    .addOption(
      new Option('--csv-quotes <on|off>', 'whether fields may be quoted (default: on; with tabs, if some are)').choices(
        ['on', 'off'],
      ),
    )
    .option('--encoding <name>', 'of the table (default: UTF-8, other lines as Windows-1252)');
}

/** Names of the flags of {@link addColumnFlags}. */
export function columnFlags(): string[] {
  return addColumnFlags(new Command()).options.map((option) => option.attributeName());
}

/** Names of the flags of {@link addTableFlags} and {@link addReadingFlags}. */
export function pictureFlags(): string[] {
  return addReadingFlags(addTableFlags(new Command())).options.map((option) => option.attributeName());
}

export interface ReadingFlags {
  workers?: number;
  background?: Colour | null;
  maxBadShare?: number;
}

/** The flags about how pictures are read, for commands that embed them. */
export function addReadingFlags(command: Command): Command {
  return command
    .option('--workers <n>', 'threads that read pictures (default: one fewer than processors)', parseWhole)
    .option(
      '--background <colour>',
      'white, black or #rrggbb under transparent parts, none to drop their opacity as the official code does (default: the checkpoint’s)',
      parseColour,
    );
}

/** What {@link embedSource} takes from these flags. */
export function readingOptions({ workers, background, maxBadShare }: ReadingFlags): EmbedOptions {
  const threads = workers ?? ownWorkers();
  return {
    ...(threads !== undefined && { workers: threads }),
    ...(ranks().size > 1 && { ranks: ranks() }),
    ...(background !== undefined && { background }),
    ...(maxBadShare !== undefined && { maxBadShare }),
  };
}

/** The flags of a list of pictures, as {@link Columns} has them. */
export function columnsFrom(flags: TableFlags): Columns {
  const { csvImgKey, csvCaptionKey, csvSeparator, csvQuotes, encoding, imgFolder } = flags;
  return {
    ...(csvImgKey !== undefined && { imageColumn: csvImgKey }),
    ...(csvCaptionKey !== undefined && { captionColumn: csvCaptionKey }),
    ...(csvSeparator !== undefined && { separator: csvSeparator.replace('\\t', '\t') }),
    ...(csvQuotes !== undefined && { quotes: csvQuotes === 'on' }),
    ...(encoding !== undefined && { encoding }),
    ...(imgFolder !== undefined && { folder: resolve(imgFolder) }),
  };
}

const flagNames: Record<keyof Columns, string> = {
  imageColumn: '--csv-img-key',
  captionColumn: '--csv-caption-key',
  separator: '--csv-separator',
  quotes: '--csv-quotes',
  encoding: '--encoding',
  folder: '--img-folder',
};

/**
 * The data that a path or name and the flags of its table stand for.
 * @param others the command's other data, which the flags may be meant for
 * @throws UsageError for flags that say nothing about any of them
 */
export function dataRequest(path: string, flags: TableFlags = {}, others: readonly string[] = []): DataRequest {
  const given = columnsFrom(flags);
  const own = new Set(columnsOf(path));
  const theirs = new Set(others.flatMap(columnsOf));
  const keys = Object.keys(given) as (keyof Columns)[];
  const unused = keys.filter((key) => !own.has(key) && !theirs.has(key));
  if (unused.length > 0)
    throw new UsageError('data', {
      received: `${unused.map((key) => flagNames[key]).join(', ')} for ${[path, ...others].join(' and ')}`,
      expected: `no such flag: ${whatApplies}`,
    });
  const columns = Object.fromEntries(Object.entries(given).filter(([key]) => own.has(key as keyof Columns)));
  return Object.keys(columns).length > 0 ? { path, columns } : { path };
}

const whatApplies =
  'tables (.csv, .tsv, .txt) take all flags of columns, .jsonl --csv-img-key, --csv-caption-key and --img-folder, COCO’s .json --img-folder, other data none';
