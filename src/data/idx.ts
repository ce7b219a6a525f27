/** The idx format of MNIST and its relatives: a big-endian header, then bytes; plain or gzip. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { guarded, readFileBytes, unpackedLimit } from '../formats/files.js';
import { DataError } from '../tensor/errors.js';
import { listSource, type Source } from './source.js';

/** An array of unsigned bytes with its shape. */
export interface IdxArray {
  shape: number[];
  data: Uint8Array;
}

/** @throws DataError for a damaged file, or one that grows out of proportion */
function unpack(name: string, bytes: Uint8Array): Uint8Array {
  const most = unpackedLimit(bytes.length);
  return guarded('idx', name, () => {
    try {
      return gunzipSync(bytes, { maxOutputLength: most });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_BUFFER_TOO_LARGE') throw error;
      throw new DataError('idx', {
        received: `${name} of ${bytes.length} bytes grows beyond ${most} bytes`,
        expected: 'a file that was packed, not made to fill the memory',
      });
    }
  });
}

/**
 * Reads an idx array: two zero bytes, type 8 (unsigned byte), number of axes, their lengths as 32-bit integers, values.
 * @throws DataError when the bytes are something else, or fewer or more than the header says
 */
export function readIdx(name: string, bytes: Uint8Array): IdxArray {
  const raw = bytes[0] === 0x1f && bytes[1] === 0x8b ? unpack(name, bytes) : bytes;
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const axes = raw[3] ?? 0;
  if (raw.length < 4 || view.getUint16(0) !== 0 || raw[2] !== 8 || raw.length < 4 + 4 * axes)
    throw new DataError('idx', { received: `${name}, not an idx file of bytes`, expected: 'a header 0 0 8 axes' });
  const shape = Array.from({ length: axes }, (_, axis) => view.getUint32(4 + 4 * axis));
  const data = raw.subarray(4 + 4 * axes);
  const count = shape.reduce((product, length) => product * length, 1);
  if (data.length !== count)
    throw new DataError('idx', {
      received: `${name} with ${data.length} bytes`,
      expected: `${shape.join(' × ')} of them`,
    });
  return { shape, data };
}

/** Which files of the idx format are read, and what their labels are called. */
export interface IdxOptions {
  /** `t10k` (test) or `train`: how the file names begin. Default `t10k`. */
  split?: 't10k' | 'train';
  classNames: readonly string[];
  /** Light on dark becomes dark on light, as pictures on paper are. Default true. */
  invert?: boolean;
}

/** Largest file that is read, 1 GiB: MNIST has 47 MB. */
const mostBytes = 2 ** 30;

function readFirst(paths: string[]): IdxArray {
  const path = paths.find((candidate) => existsSync(candidate));
  if (path) return readIdx(path, readFileBytes('idx', path, mostBytes));
  throw new DataError('idx', { received: `no file ${paths.join(' or ')}`, expected: 'an idx file' });
}

/**
 * Labelled grey pictures from `{split}-images-idx3-ubyte` and `{split}-labels-idx1-ubyte` in a folder, with or without .gz.
 * @throws DataError when files are missing or broken, or do not fit each other or the class names
 */
export async function idxSource(folder: string, options: IdxOptions): Promise<Source & { size: number }> {
  const { split = 't10k', classNames, invert = true } = options;
  const file = (what: string) => ['', '.gz'].map((end) => join(folder, `${split}-${what}-ubyte${end}`));
  const [images, labels] = [readFirst(file('images-idx3')), readFirst(file('labels-idx1'))];
  const [count, height, width] = images.shape as [number, number, number];
  if (images.shape.length !== 3 || labels.shape.length !== 1 || labels.shape[0] !== count)
    throw new DataError('idx', {
      received: `pictures [${images.shape}], labels [${labels.shape}] in ${folder}`,
      expected: '[count, height, width] and [count]',
    });
  const highest = labels.data.reduce((most, label) => Math.max(most, label), 0);
  if (highest >= classNames.length)
    throw new DataError('idx', {
      received: `label ${highest} in ${folder}`,
      expected: `labels below ${classNames.length}, the number of class names`,
    });
  const ink = invert ? images.data.map((v) => 255 - v) : images.data;
  const rows = Array.from({ length: count }, (_, index) => {
    const data = ink.subarray(index * height * width, (index + 1) * height * width);
    const pixels = { data, width, height, channels: 1, mode: 'L' as const };
    return { index, name: `${split} ${index} of ${folder}`, image: { pixels }, label: labels.data[index]! };
  });
  return listSource(folder, rows, classNames);
}
