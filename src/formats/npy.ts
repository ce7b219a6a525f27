/**
 * NumPy's format of one array: `\x93NUMPY`, a version, the length of a header, the header (a dict of Python with `descr`,
 * `fortran_order` and `shape`), then the elements.
 *
 * @source https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import type { TypedArray } from '../tensor/dtype.js';
import { DataError, printable } from '../tensor/errors.js';
import { sizeOf } from '../tensor/shape.js';
import { asDataError, type ByteSource, guarded, openNow } from './files.js';
import { type StoredTensor, storedTypes } from './stored.js';

const op = 'readNpy';

/** An array of a file: its description at once, its numbers when asked. */
export interface NpyFile extends StoredTensor {
  close(): void;
}

/** NumPy's own limit on headers of strangers. */
const mostHeaderBytes = 10_000;

/** By the names of NumPy, after the mark of the byte order. */
const types: Record<string, string> = {
  ...{ f8: 'F64', f4: 'F32', f2: 'F16', b1: 'BOOL' },
  ...{ i8: 'I64', u8: 'U64', i4: 'I32', u4: 'U32', i2: 'I16', u2: 'U16', i1: 'I8', u1: 'U8' },
};

/**
 * Opens a file of `numpy.save`: its header is read and checked, its numbers wait to be read. They come out row by row,
 * whichever order the file has them in.
 * @param source a path, or the bytes of a file
 * @throws DataError when it is missing, truncated or malformed, or has elements that are no numbers of this machine's byte order
 */
export function openNpy(source: string | URL | Uint8Array | ArrayBuffer): NpyFile {
  const bytes = openNow(op, source);
  try {
    return { ...parse(bytes), close: bytes.close };
  } catch (error) {
    bytes.close();
    throw asDataError(op, bytes.name, error);
  }
}

function parse(bytes: ByteSource): StoredTensor {
  const fail = (received: string, expected = 'a file of numpy.save'): never => {
    throw new DataError(op, { received: `${bytes.name}: ${received}`, expected });
  };
  const head = bytes.read(0, Math.min(12, bytes.size));
  if (new TextDecoder('latin1').decode(head.subarray(0, 6)) !== '\x93NUMPY' || head.length < 12)
    fail(head[0] === 0x50 && head[1] === 0x4b ? 'a zip archive, such as numpy.savez writes' : 'no array of NumPy');
  const version = head[6]!;
  if (version < 1 || version > 3) fail(`version ${version}`, 'version 1, 2 or 3');
  const view = new DataView(head.buffer);
  const [length, from] = version === 1 ? [view.getUint16(8, true), 10] : [view.getUint32(8, true), 12];
  if (length > Math.min(mostHeaderBytes, bytes.size - from))
    fail(`a header of ${length} bytes in a file of ${bytes.size}`);
  const { descr, fortran, shape } = parseHeader(new TextDecoder().decode(bytes.read(from, length)), fail);
  const [order, kind] = [descr[0]!, types[descr.slice(1)]];
  if (!kind) return fail(`elements of type ${printable(descr)}`, `numbers: ${Object.keys(types).join(', ')}`);
  if (order === '>')
    fail(`type ${descr}, with the largest byte first`, 'little-endian: x.astype(x.dtype.newbyteorder("<"))');
  const { bytes: width, decode } = storedTypes.get(kind)!;
  const [start, expected] = [from + length, sizeOf(shape) * width];
  if (bytes.size - start !== expected)
    fail(`${bytes.size - start} bytes of elements`, `${expected}, for shape (${shape.join(', ')}) of ${descr}`);
  if (fortran && shape.length > 2) fail(`Fortran order of ${shape.length} axes`, 'at most 2: numpy.ascontiguousarray');
  const read = () =>
    guarded(op, bytes.name, () => {
      const values = decode(bytes.read(start, expected), bytes.name);
      return fortran && shape.length === 2 && values.length > 0
        ? transposed(values, shape as [number, number])
        : values;
    });
  return { type: kind, shape, read };
}

/** One entry of the header; what stands for text, truth and a tuple of numbers in Python. */
const entry = /\s*'(\w{1,20})'\s*:\s*(?:'([^'\\]{0,20})'|(True|False)|\(([\d\s,]{0,1000})\))\s*(,|(?=\}))/y;

function parseHeader(
  text: string,
  fail: (received: string, expected?: string) => never,
): { descr: string; fortran: boolean; shape: number[] } {
  const found = new Map<string, string | boolean | number[]>();
  const body = text.trim();
  let at = 1;
  while (body[0] === '{' && at < body.length - 1) {
    entry.lastIndex = at;
    const match = entry.exec(body);
    if (!match) break;
    const [all, key, word, truth, sizes] = match;
    if (found.has(key!)) fail(`a header with ${key} twice`);
    found.set(key!, word ?? (truth !== undefined ? truth === 'True' : sizesOf(sizes!, fail)));
    at += all.length;
  }
  const ended = /^\s*\}$/.test(body.slice(at));
  const [descr, fortran, shape] = ['descr', 'fortran_order', 'shape'].map((key) => found.get(key));
  if (!ended || typeof descr !== 'string' || typeof fortran !== 'boolean' || !Array.isArray(shape) || found.size !== 3)
    return fail(
      `the header ${printable(body, 200)}`,
      "{'descr': '<f4', 'fortran_order': False, 'shape': (rows, columns)}, plain numbers and not a structure of several",
    );
  return { descr, fortran, shape };
}

function sizesOf(text: string, fail: (received: string) => never): number[] {
  const parts = text.split(',').map((part) => part.trim());
  if (parts.at(-1) === '') parts.pop(); // (3,) and ()
  const sizes = parts.map(Number);
  if (!parts.every((part) => /^\d+$/.test(part)) || !Number.isSafeInteger(sizeOf(sizes)))
    fail(`the shape (${printable(text)})`);
  return sizes;
}

/** [rows, columns] row by row, of numbers that come column by column. */
function transposed<T extends TypedArray>(values: T, [rows, columns]: [number, number]): TypedArray {
  const result = values.slice();
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) result[row * columns + column] = values[column * rows + row]!;
  return result;
}
