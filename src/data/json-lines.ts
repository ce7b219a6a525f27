/** Captioned pictures in JSON lines (.jsonl): an object a line, with a path and a caption or a list of captions. */
import { dirname } from 'node:path';
import { DataError, describeValue, printable } from '../tensor/errors.js';
import { CaptionedRows } from './captioned-rows.js';
import type { Source } from './source.js';
import type { TableOptions } from './table.js';
import { textLines } from './table-text.js';

/** The keys of the lines have the names that the columns of a table have. */
export type JsonLinesOptions = Pick<TableOptions, 'imageColumn' | 'captionColumn' | 'folder' | 'log'>;

const op = 'jsonl';

/** The object of a line, or why there is none. */
function objectOf(text: string | null): Record<string, unknown> | string {
  if (text === null) return 'no UTF-8';
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return printable(`no JSON (${(error as Error).message})`);
  }
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isObject ? (value as Record<string, unknown>) : 'no JSON object';
}

/**
 * Reads lines such as `{"filepath": "a.jpg", "title": "a cat"}` or `{"filepath": "a.jpg", "title": ["a cat", "asleep"]}`,
 * whatever else they have. Each caption is a row. Lines that are none of this are bad rows, and take no others along.
 *
 * @throws DataError when the file cannot be read, its first object lacks a key, or no line is an object
 */
export async function jsonLinesSource(
  path: string,
  options: JsonLinesOptions = {},
): Promise<Source & { size: number }> {
  const { imageColumn = 'filepath', captionColumn = 'title', folder = dirname(path), log = console.warn } = options;
  const rows = new CaptionedRows(path, folder);
  let objects = 0;
  for await (const { line, text } of textLines(path)) {
    const [place, mark] = [`line ${line}`, `:${line}`];
    const value = objectOf(text);
    if (typeof value === 'string') {
      rows.addBad(place, mark, value);
      continue;
    }
    if (objects++ === 0) checkKeys(path, value, [imageColumn, captionColumn]);
    const image = Object.hasOwn(value, imageColumn) ? value[imageColumn] : undefined;
    const caption = Object.hasOwn(value, captionColumn) ? value[captionColumn] : undefined;
    const captions = Array.isArray(caption) ? caption : [caption];
    if (typeof image !== 'string') rows.addBad(place, mark, `${imageColumn} ${describeValue(image)}, no path`);
    else if (captions.length === 0) rows.addBad(place, mark, 'no caption');
    else
      captions.forEach((words, i) => {
        const own = captions.length > 1 ? `${mark}, caption ${i + 1}` : mark;
        if (typeof words === 'string') rows.add(place, own, image, words);
        else rows.addBad(place, own, `${captionColumn} ${describeValue(words)}, no text`);
      });
  }
  if (objects === 0)
    throw new DataError(op, {
      received: `${path} without a line that is a JSON object`,
      expected: `lines such as {"${imageColumn}": "a.jpg", "${captionColumn}": "a cat"}`,
    });
  return rows.source((text) => log(printable(`${path}: ${text}`, 2000)));
}

function checkKeys(path: string, object: Record<string, unknown>, wanted: [string, string]): void {
  if (wanted.every((key) => Object.hasOwn(object, key))) return;
  const keys = Object.keys(object).slice(0, 50);
  throw new DataError(op, {
    received: `${path} has the keys ${keys.map((key) => JSON.stringify(printable(key, 100))).join(', ')}`,
    expected: wanted.join(' and '),
    hint: 'Name them with --csv-img-key and --csv-caption-key.',
  });
}
