/** Captioned pictures listed in a table: TSV, CSV. */
import { dirname } from 'node:path';
import { DataError, printable } from '../tensor/errors.js';
import { CaptionedRows, Tally } from './captioned-rows.js';
import type { Source } from './source.js';
import { inspectText, textRows } from './table-text.js';

/** How a table of picture paths and captions is read. */
export interface TableOptions {
  /** What stands between columns. Default tab, as in the official code. */
  separator?: string;
  /** Name of the column of picture paths. Default `filepath`. */
  imageColumn?: string;
  /** Name of the column of captions. Default `title`. */
  captionColumn?: string;
  /** Paths are relative to this folder. Default: the table's own. */
  folder?: string;
  /**
   * Whether fields may be quoted, to hold separators, line breaks and (doubled) quotation marks. Default: yes, but between
   * tabs only when the text shows it, which is told. Then `"Hello," she said` is a caption like any other.
   */
  quotes?: boolean;
  /**
   * Encoding, a name that TextDecoder knows. Default: UTF-8 (UTF-16 with a byte order mark); lines that are not are read as
   * Windows-1252, which is told.
   */
  encoding?: string;
  /** Where guesses and the number of bad rows are told. Default console.warn. */
  log?: (message: string) => void;
}

const visible = (separator: string) => (separator === '\t' ? 'tab' : `"${printable(separator, 20)}"`);

/** Positions of the wanted columns in the header line. */
function columnsOf(path: string, header: string[], separator: string, wanted: [string, string]): [number, number] {
  const [image, caption] = wanted.map((name) => header.indexOf(name)) as [number, number];
  if (image >= 0 && caption >= 0) return [image, caption];
  const other = header.length === 1 && [',', '\t', ';'].find((mark) => mark !== separator && header[0]!.includes(mark));
  const shown = header.slice(0, 50).map((column) => JSON.stringify(printable(column, 100)));
  throw new DataError('table', {
    received: `${path} has the columns ${shown.join(', ')}`,
    expected: wanted.join(' and '),
    hint: other
      ? `The separator seems to be ${visible(other)}, not ${visible(separator)} (--csv-separator).`
      : 'Name the columns with --csv-img-key and --csv-caption-key.',
  });
}

/**
 * Reads a table whose first line names the columns; lines end with LF, CR LF or, in a text without LF, CR. Pictures are
 * read later, when their turn comes. Rows that cannot be read, have more or fewer columns than the header, or lack a path
 * or caption are bad rows: none is repaired in silence, and none takes others along.
 *
 * @throws DataError when the file cannot be read, is no text, lacks a column, or has no rows
 */
export async function tableSource(path: string, options: TableOptions = {}): Promise<Source & { size: number }> {
  const { separator = '\t', imageColumn = 'filepath', captionColumn = 'title', folder = dirname(path) } = options;
  const { log = console.warn } = options;
  const say = (text: string) => log(printable(`${path}: ${text}`, 2000));
  const format = inspectText(path, separator, options);
  if (format.quotes && options.quotes === undefined && separator === '\t')
    say('its fields are quoted, as some hold quotation marks or line breaks; --csv-quotes off reads them as they are');
  const rows = new CaptionedRows(path, folder);
  const tally = new Tally();
  let header: string[] | undefined;
  let columns: [number, number] = [0, 0];
  for await (const row of textRows(path, separator, format)) {
    const { line } = row;
    if (row.guessed) tally.add('guessed', `line ${line}`);
    if (row.lines > 1) tally.add('long', `line ${line}`);
    if ('bad' in row) {
      if (!header)
        throw new DataError('table', { received: `${path}: ${row.bad} in line 1`, expected: 'names of columns' });
      rows.addBad(`line ${line}`, `:${line}`, row.bad);
    } else if (!header) {
      header = row.fields.map((name, i) => (i === 0 ? name.replace(/^\ufeff/, '') : name));
      columns = columnsOf(path, header, separator, [imageColumn, captionColumn]);
    } else if (row.fields.length !== header.length)
      rows.addBad(`line ${line}`, `:${line}`, `${row.fields.length} columns instead of ${header.length}`);
    else {
      const [image, caption] = columns.map((at) => row.fields[at]!) as [string, string];
      rows.add(`line ${line}`, `:${line}`, image, caption);
    }
  }
  if (rows.size === 0)
    throw new DataError('table', { received: `${path} with no rows`, expected: 'a header line and at least one row' });
  tally.tell('guessed', (count, first) =>
    say(`${count} rows are not UTF-8 and were read as Windows-1252 (the first in ${first}); --encoding names another`),
  );
  tally.tell('long', (count, first) => say(`${count} quoted fields run over several lines (the first in ${first})`));
  return rows.source(say);
}
