/** Captions as COCO publishes them: one JSON file of images and annotations, several captions a picture. */
import { existsSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseJson, readFileBytes } from '../formats/files.js';
import { DataError, describeValue, printable } from '../tensor/errors.js';
import { CaptionedRows } from './captioned-rows.js';
import type { Source } from './source.js';
import type { TableOptions } from './table.js';

const op = 'coco';

/** Largest file: the captions of train2017 have 92 MB. */
const mostBytes = 2 ** 28;
/** Most values in it, so that what it becomes in memory stays near a GiB; train2017 has some 4 million. */
const mostValues = 2 ** 24;
/** Deepest nesting: JSON.parse takes 60 bytes for each open bracket. */
const mostDepth = 100;

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

function parseBounded(path: string): unknown {
  const bytes = readFileBytes(op, path, mostBytes);
  let [values, depth, deepest, inText] = [0, 0, 0, false];
  for (let i = 0; i < bytes.length; i++) {
    const char = bytes[i];
    if (inText) {
      if (char === backslash) i++;
      else if (char === quote) inText = false;
    } else if (char === quote) inText = true;
    else if (char === comma) values++;
    else if (char === openList || char === openObject) {
      values++;
      deepest = Math.max(deepest, ++depth);
    } else if (char === closeList || char === closeObject) depth--;
  }
  if (values > mostValues || deepest > mostDepth)
    throw new DataError(op, {
      received: `${path} of ${values} values, nested ${deepest} deep`,
      expected: `at most ${mostValues}, nested ${mostDepth} deep`,
    });
  return parseJson(op, path, new TextDecoder().decode(bytes));
}

const [quote, backslash, comma] = [0x22, 0x5c, 0x2c];
const [openList, closeList, openObject, closeObject] = [0x5b, 0x5d, 0x7b, 0x7d];

/** Where pictures lie when nothing is said: beside the captions, or where COCO's own archives put them. */
function guessFolder(path: string, files: readonly string[]): string {
  const beside = dirname(path);
  const split = /^captions_(.+)\.json$/.exec(basename(path))?.[1];
  const inside =
    split === undefined ? [] : [join(beside, split), join(beside, '..', split), join(beside, '..', 'images', split)];
  const folders = [beside, ...inside];
  const found = folders.find((folder) => files.some((file) => existsSync(resolve(folder, file))));
  if (found !== undefined) return found;
  throw new DataError(op, {
    received: printable(`${path}: ${files[0]} is not in ${folders.join(', ')}`, 1000),
    expected: 'the pictures',
    hint: 'Name their folder with --img-folder.',
  });
}

/**
 * Reads `{"images": [{"id", "file_name"}], "annotations": [{"image_id", "caption"}]}`. Each caption is a row, in the order of
 * the file; those that name no picture of it, or have no words, are bad ones.
 *
 * @param options `folder`: where the pictures are. Default: beside the file, or, of `captions_val2017.json`, in `val2017` beside
 * it, beside its folder, or in `images` there
 * @throws DataError when the file cannot be read, is nothing of the kind, or no picture is where they should be
 */
export async function cocoSource(
  path: string,
  { folder, log = console.warn }: Pick<TableOptions, 'folder' | 'log'> = {},
): Promise<Source & { size: number }> {
  const value = parseBounded(path);
  const { images, annotations } = isObject(value) ? value : {};
  const captioned = Array.isArray(annotations) && annotations.some((one) => isObject(one) && 'caption' in one);
  if (!Array.isArray(images) || !captioned)
    throw new DataError(op, {
      received: `${path}, which has no ${Array.isArray(images) ? 'annotations with captions' : 'list of images'}`,
      expected: 'captions as COCO has them (captions_val2017.json)',
      hint: 'Other JSON can be written as lines (.jsonl), or as a table.',
    });
  const files = new Map<unknown, string>();
  for (const image of images)
    if (isObject(image) && typeof image.file_name === 'string' && image.file_name) files.set(image.id, image.file_name);
  if (files.size === 0)
    throw new DataError(op, { received: `${path} without names of pictures`, expected: 'file_name' });
  const some = [...files.values()].slice(0, 10);
  const rows = new CaptionedRows(path, folder ?? guessFolder(path, some));
  (annotations as unknown[]).forEach((annotation, i) => {
    const [place, mark] = [`annotation ${i + 1}`, `#${i + 1}`];
    const { image_id: id, caption } = isObject(annotation) ? annotation : {};
    const file = files.get(id);
    if (file === undefined) rows.addBad(place, mark, `image_id ${describeValue(id)} of no picture`);
    else if (typeof caption !== 'string') rows.addBad(place, mark, `caption ${describeValue(caption)}, no text`);
    else rows.add(place, mark, file, caption);
  });
  return rows.source((text) => log(printable(`${path}: ${text}`, 2000)));
}
