/** Captioned pictures listed in a table: CSV, TSV. */
import { createReadStream } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse } from 'csv-parse';
import { DataError } from '../tensor/errors.js';
import { type BadRow, captioned, listSource, type Row, type Source } from './source.js';

export interface TableOptions {
  /** What stands between columns. Default tab, as in the official code. */
  separator?: string;
  /** Name of the column of picture paths. Default `filepath`. */
  imageColumn?: string;
  /** Name of the column of captions. Default `title`. */
  captionColumn?: string;
  /** Paths are relative to this folder. Default: the table's own. */
  folder?: string;
}

const visible = (separator: string) => (separator === '\t' ? 'tab' : `"${separator}"`);

/** Positions of the wanted columns in the header line. */
function columnsOf(path: string, header: string[], separator: string, wanted: string[]): number[] {
  const at = wanted.map((column) => header.indexOf(column));
  if (at.every((position) => position >= 0)) return at;
  const other = header.length === 1 && [',', '\t', ';'].find((mark) => mark !== separator && header[0]!.includes(mark));
  throw new DataError('table', {
    received: `${path} has the columns ${header.map((column) => JSON.stringify(column)).join(', ')}`,
    expected: wanted.join(' and '),
    hint: other
      ? `The separator seems to be ${visible(other)}, not ${visible(separator)} (--csv-separator).`
      : 'Name the columns with --csv-img-key and --csv-caption-key.',
  });
}

/** Records of the table with the line each ends at, header first. */
async function* records(path: string, separator: string): AsyncGenerator<{ record: string[]; line: number }> {
  const parser = createReadStream(path)
    .on('error', (error) => parser.destroy(error))
    .pipe(
      parse({
        delimiter: separator,
        bom: true,
        relax_quotes: true,
        relax_column_count: true,
        skip_empty_lines: true,
        info: true,
      }),
    );
  try {
    for await (const { record, info } of parser) yield { record, line: info.lines };
  } catch (error) {
    throw new DataError('table', {
      received: `${path}: ${(error as Error).message}`,
      expected: 'a readable table, quotes in pairs',
    });
  }
}

/**
 * Reads a table whose first line names the columns. Quoted fields may hold separators and line breaks.
 * Pictures are read later, when their turn comes; rows without a path or caption are bad rows.
 *
 * @throws DataError when the file cannot be read, lacks a column, has no rows, or ends inside quotes
 */
export async function tableSource(path: string, options: TableOptions = {}): Promise<Source & { size: number }> {
  const { separator = '\t', imageColumn = 'filepath', captionColumn = 'title', folder = dirname(path) } = options;
  const rows: (Row | BadRow)[] = [];
  let columns: number[] | undefined;
  for await (const { record, line } of records(path, separator)) {
    if (!columns) {
      columns = columnsOf(path, record, separator, [imageColumn, captionColumn]);
      continue;
    }
    const [image, caption] = columns.map((at) => record[at] ?? '') as [string, string];
    const row = { index: rows.length, name: `${path}:${line} (${image || 'no path'})` };
    const file = resolve(folder, image); // several captions of one picture are no negatives of each other
    if (image) rows.push(captioned({ ...row, image: { path: file }, caption, group: file }));
    else rows.push({ ...row, bad: 'no picture path' });
  }
  if (rows.length === 0)
    throw new DataError('table', { received: `${path} with no rows`, expected: 'a header line and at least one row' });
  return listSource(path, rows);
}
