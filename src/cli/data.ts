/** The flags that describe tables and shards of pictures, named as in the official code. */
import type { Command } from 'commander';
import { openSource } from '../data/open.js';
import type { Source } from '../data/source.js';
import { parseNumber } from './parse.js';

export interface TableFlags {
  csvImgKey?: string;
  csvCaptionKey?: string;
  csvSeparator?: string;
  maxBadShare?: number;
}

export function addTableFlags(command: Command): Command {
  return command
    .option('--csv-img-key <column>', 'column of picture paths (default: filepath)')
    .option('--csv-caption-key <column>', 'column of captions (default: title)')
    .option('--csv-separator <mark>', 'between columns (default: tab, or comma for .csv)')
    .option('--max-bad-share <n>', 'largest tolerated share of broken rows (default: 0.1)', parseNumber);
}

/** Opens a table, shards or a folder. @throws DataError */
export function openData(
  path: string,
  flags: TableFlags,
  { classes = false, split = 't10k' as 't10k' | 'train' } = {},
): Promise<Source> {
  const { csvImgKey, csvCaptionKey, csvSeparator } = flags;
  return openSource(path, {
    classes,
    split,
    table: {
      ...(csvImgKey !== undefined && { imageColumn: csvImgKey }),
      ...(csvCaptionKey !== undefined && { captionColumn: csvCaptionKey }),
      ...(csvSeparator !== undefined && { separator: csvSeparator.replace('\\t', '\t') }),
    },
  });
}
