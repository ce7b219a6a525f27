/** The flags that describe tables and shards of pictures, named as in the official code. */
import { resolve } from 'node:path';
import { Command, Option } from 'commander';
import type { DataRequest } from '../data/open.js';
import type { Colour } from '../models/cloob/config.js';
import type { EmbedOptions } from '../train/embed-source.js';
import { parseColour, parseNumber, parseWhole } from './parse.js';

export interface TableFlags {
  csvImgKey?: string;
  csvCaptionKey?: string;
  csvSeparator?: string;
  imgFolder?: string;
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
  return {
    ...(workers !== undefined && { workers }),
    ...(background !== undefined && { background }),
    ...(maxBadShare !== undefined && { maxBadShare }),
  };
}

/** The data that a path or name and the flags of its table stand for. */
export function dataRequest(path: string, flags: TableFlags = {}): DataRequest {
  const { csvImgKey, csvCaptionKey, csvSeparator, csvQuotes, encoding, imgFolder } = flags;
  const columns = {
    ...(csvImgKey !== undefined && { imageColumn: csvImgKey }),
    ...(csvCaptionKey !== undefined && { captionColumn: csvCaptionKey }),
    ...(csvSeparator !== undefined && { separator: csvSeparator.replace('\\t', '\t') }),
    ...(csvQuotes !== undefined && { quotes: csvQuotes === 'on' }),
    ...(encoding !== undefined && { encoding }),
    ...(imgFolder !== undefined && { folder: resolve(imgFolder) }),
  };
  return Object.keys(columns).length > 0 ? { path, columns } : { path };
}
