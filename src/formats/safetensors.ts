/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header with dtype, shape and byte range of
 * every tensor, then the bytes. Read and written one tensor at a time, so memory stays near the largest one.
 *
 * @source https://github.com/huggingface/safetensors, "Format"
 */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { deviceByName } from '../kernels/devices.js';
import type { Bytes } from '../tensor/bytes.js';
import { type DType, dtypeOf } from '../tensor/dtype.js';
import { DataError, DomainError, describeValue, printable, UsageError } from '../tensor/errors.js';
import { sizeOf } from '../tensor/shape.js';
import { checksumKey, readSums, seal, verifySum, withSums } from './checksums.js';
import { asDataError, type ByteSource, canSum, chunkBytes, crc32, fileSystem, guarded, openNow } from './files.js';
import { HalfTensor, type HalfType, halfNames } from './half.js';
import {
  encodeFloats,
  type FloatStorage,
  type StoredTensor,
  storedType,
  storedTypes,
  type WeightFile,
} from './stored.js';

export interface SafetensorsFile {
  /** Free text by key, from `__metadata__`. */
  metadata: Record<string, string>;
  tensors: Record<string, Tensor>;
}

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

const damageHint = 'The file is damaged: take another copy of it, or an earlier checkpoint.';

/** The format's own limit. */
const maxHeaderBytes = 100_000_000;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isEntry(value: unknown): value is Entry {
  if (!isRecord(value)) return false;
  const { dtype, shape, data_offsets: range } = value;
  return (
    typeof dtype === 'string' &&
    Array.isArray(shape) &&
    shape.every(isCount) &&
    isCount(sizeOf(shape)) &&
    Array.isArray(range) &&
    range.length === 2 &&
    range.every(isCount)
  );
}

/**
 * Opens a safetensors file: its header is read and checked, its tensors wait to be read.
 * @param source a path, the bytes of a file, or bytes that are open already (closing the file closes them)
 * @throws DataError when it is missing, truncated or malformed, or has an element type that is not supported
 */
export function openSafetensors(source: string | URL | Uint8Array | ArrayBuffer | ByteSource): WeightFile {
  const op = 'readSafetensors';
  const bytes = typeof source === 'object' && 'read' in source ? source : openNow(op, source);
  try {
    return { ...parse(bytes, bytes.name, op), close: bytes.close };
  } catch (error) {
    bytes.close();
    throw asDataError(op, bytes.name, error);
  }
}

/** What a file is that is no safetensors, by its first bytes. */
function otherFormat(head: Uint8Array): string | undefined {
  if (head[8] === 0x7b) return undefined; // {, after the header's length
  const starts = (...bytes: number[]) => bytes.every((byte, i) => head[i] === byte);
  if (starts(0x50, 0x4b, 3, 4)) return 'a zip archive, such as torch.save writes';
  return starts(0x80, 2) ? 'a pickle, such as PyTorch before 1.6 wrote' : undefined;
}

/** A key that an object of valid JSON has twice; parsing would keep the last one without a word. */
function repeatedKey(json: string): string | undefined {
  const open: (Set<string> | null)[] = []; // keys of the objects around, null for lists
  for (let i = 0; i < json.length; i++) {
    const char = json[i];
    if (char === '{') open.push(new Set());
    else if (char === '[') open.push(null);
    else if (char === '}' || char === ']') open.pop();
    if (char !== '"') continue;
    let end = i + 1;
    for (; json[end] !== '"'; end++) if (json[end] === '\\') end++;
    const text = json.slice(i, end + 1);
    i = end;
    let after = end + 1;
    while (json.charCodeAt(after) <= 0x20) after++; // white space
    const keys = open.at(-1);
    if (!keys || json[after] !== ':') continue;
    const key = JSON.parse(text) as string;
    if (keys.has(key)) return key;
    keys.add(key);
    i = after;
  }
  return undefined;
}

function parse(bytes: ByteSource, label: string, op: string): Omit<WeightFile, 'close'> {
  const fail = (received: string, expected = 'a safetensors file', hint?: string): never => {
    throw new DataError(op, { received: `${label}: ${received}`, expected, ...(hint && { hint }) });
  };
  if (bytes.size < 8) fail(`${bytes.size} bytes`);
  const other = otherFormat(bytes.read(0, Math.min(9, bytes.size)));
  if (other) fail(other, undefined, 'loadCheckpoint reads files of torch.save; npx hopgrad convert rewrites them.');
  const headerSize = Number(new DataView(bytes.read(0, 8).buffer).getBigUint64(0, true));
  if (headerSize > Math.min(bytes.size - 8, maxHeaderBytes))
    fail(`a header of ${headerSize} bytes in a file of ${bytes.size}`);
  let header: unknown;
  let json = '';
  try {
    json = new TextDecoder('utf-8', { fatal: true }).decode(bytes.read(8, headerSize));
    header = JSON.parse(json);
  } catch (error) {
    fail(`a header that is no JSON (${(error as Error).message})`);
  }
  const repeated = repeatedKey(json);
  if (repeated !== undefined) fail(`the key ${JSON.stringify(printable(repeated))} twice`, 'every name once');
  if (!isRecord(header)) return fail('a header that is no JSON object');
  const { __metadata__: metadata = {}, ...rest } = header;
  if (!isRecord(metadata) || !Object.values(metadata).every((value) => typeof value === 'string'))
    fail('__metadata__ that is no object of texts');
  const entries = Object.entries(rest).map(([name, entry]): [string, Entry] =>
    isEntry(entry)
      ? [name, entry]
      : fail(`entry ${JSON.stringify(printable(name))}: ${describeValue(entry)}`, '{ dtype, shape, data_offsets }'),
  );
  const start = 8 + headerSize;
  checkRanges(
    entries,
    bytes.size - start,
    (type, name) => storedType(op, type, `${label}: ${printable(name)}`).bytes,
    fail,
  );
  const damaged = (received: string, expected: string) => fail(received, expected, damageHint);
  const sums = readSums(bytes.read(0, start), metadata as Record<string, string>, entries.length, damaged);
  const tensors = new Map(
    entries.map(
      (
        [
          name,
          {
            dtype,
            shape,
            data_offsets: [from, to],
          },
        ],
        i,
      ): [string, StoredTensor] => {
        const what = `${label}: ${printable(name)}`;
        const raw = () => {
          const found = bytes.read(start + from, to - from);
          if (sums)
            verifySum(found, sums[i]!, (received, expected) => damaged(`${printable(name)}: ${received}`, expected));
          return found;
        };
        const read = () => guarded(op, what, () => storedType(op, dtype, what).decode(raw(), what));
        return [name, { type: dtype, shape, read, bytes: () => guarded(op, what, raw) }];
      },
    ),
  );
  const { [checksumKey]: words, ...facts } = metadata as Record<string, string>;
  return { metadata: facts, tensors, ...(words && { checksum: words.slice(0, 8) }) };
}

/** Byte ranges must have the size of their tensors and follow each other without gap or overlap to the file's end. */
function checkRanges(
  entries: [string, Entry][],
  dataSize: number,
  bytesOf: (type: string, name: string) => number,
  fail: (received: string, expected: string) => never,
): void {
  let position = 0;
  const inOrder = [...entries].sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  for (const [name, { dtype, shape, data_offsets }] of inOrder) {
    const end = position + sizeOf(shape) * bytesOf(dtype, name);
    if (data_offsets[0] !== position || data_offsets[1] !== end)
      fail(`${printable(name)} at bytes ${data_offsets.join(' to ')}`, `bytes ${position} to ${end}`);
    position = end;
  }
  if (position !== dataSize) fail(`${dataSize} bytes of tensors`, `the ${position} bytes that the header describes`);
}

export interface ReadOptions {
  /** Default: the default device. float64 without a device, or for one that has none, goes to reference. */
  device?: string;
  /** Reads only the names it accepts. Default: all. */
  select?: (name: string) => boolean;
}

/**
 * Reads a safetensors file. Half precision widens to float32, or with `half: 'keep'` stays as it is, two bytes a number, as
 * HalfTensor; whole numbers become int32.
 * @param source a path, or the bytes of a file
 * @throws DataError when the file is missing, truncated or malformed, or has numbers that are not supported
 */
export function readSafetensors(
  source: string | URL | Uint8Array | ArrayBuffer,
  options: ReadOptions & { half: 'keep' },
): { metadata: Record<string, string>; tensors: Record<string, Tensor | HalfTensor> };
export function readSafetensors(
  source: string | URL | Uint8Array | ArrayBuffer,
  options?: ReadOptions & { half?: 'widen' },
): SafetensorsFile;
export function readSafetensors(
  source: string | URL | Uint8Array | ArrayBuffer,
  { device, select = () => true, half = 'widen' }: ReadOptions & { half?: 'widen' | 'keep' } = {},
): { metadata: Record<string, string>; tensors: Record<string, Tensor | HalfTensor> } {
  if (half !== 'widen' && half !== 'keep')
    throw new UsageError('readSafetensors', { received: `half ${describeValue(half)}`, expected: "'widen' or 'keep'" });
  const file = openSafetensors(source);
  try {
    const tensors = [...file.tensors].flatMap(([name, stored]): [string, Tensor | HalfTensor][] => {
      if (!select(name)) return [];
      const { type, shape } = stored;
      if (half === 'keep' && (type === 'F16' || type === 'BF16')) {
        const bits = new Uint16Array(stored.bytes!().buffer);
        return [[name, new HalfTensor(type === 'F16' ? 'float16' : 'bfloat16', shape, bits)]];
      }
      const data = stored.read();
      const lacks = device !== undefined && !deviceByName(device).dtypes.includes(dtypeOf(data));
      return [[name, tensor(data, { shape, device: lacks ? 'reference' : device })]];
    });
    return { metadata: file.metadata, tensors: Object.fromEntries(tensors) };
  } finally {
    file.close();
  }
}

const storedName: Record<DType | HalfType, string> = { float32: 'F32', float64: 'F64', int32: 'I32', ...halfNames };

/** How numbers are written. */
export interface WriteOptions {
  /** How float32 tensors are stored: as they are (default), or rounded to a half precision. */
  floats?: FloatStorage;
  /** Refuse numbers that are not finite. Default false. */
  finite?: boolean;
}

/**
 * The bytes before the tensors: length and JSON, padded so that data begins at a multiple of 8.
 * @param tensors anything with the type and shape of the tensors to come, in their order
 */
export function safetensorsHeader(
  tensors: Record<string, { dtype: DType | HalfType; shape: readonly number[] }>,
  metadata: Record<string, string>,
  { floats = 'F32' }: WriteOptions = {},
): Uint8Array {
  if (Object.hasOwn(tensors, '__metadata__'))
    throw new DataError('writeSafetensors', {
      received: 'a tensor called __metadata__',
      expected: 'another name: this one is taken by the format',
    });
  const entries: [string, unknown][] = [['__metadata__', metadata]];
  let offset = 0;
  for (const [name, { dtype, shape }] of Object.entries(tensors)) {
    const type = dtype === 'float32' ? floats : storedName[dtype];
    const end = offset + sizeOf(shape) * storedTypes.get(type)!.bytes;
    entries.push([name, { dtype: type, shape, data_offsets: [offset, end] }]);
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries(entries)));
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}

/**
 * Writes tensors as a safetensors file, half precision as it is, with checksums: under a temporary name first, so that a crash leaves no half file.
 * @throws DataError when the file cannot be written; DomainError for numbers that are not finite, where that is asked
 */
export async function writeSafetensors(
  path: string,
  tensors: Record<string, Tensor | HalfTensor>,
  metadata: Record<string, string> = {},
  options: WriteOptions = {},
): Promise<void> {
  const fs = fileSystem('writeSafetensors');
  const values = Object.entries(tensors);
  const room = values.map(() => 0);
  const header = safetensorsHeader(tensors, withSums(metadata, room), options);
  const partial = `${path}.partial`;
  const attempt = <T>(action: () => T): T => {
    try {
      return action();
    } catch (error) {
      throw new DataError('writeSafetensors', {
        received: `${path}: ${(error as Error).message}`,
        expected: 'a writable file',
      });
    }
  };
  const file = attempt(() => fs.openSync(partial, 'w'));
  const write = (bytes: Uint8Array) => {
    for (let done = 0; done < bytes.length; )
      done += fs.writeSync(file, bytes, done, Math.min(bytes.length - done, chunkBytes));
  };
  try {
    attempt(() => write(header));
    for (const [i, [name, value]] of values.entries()) {
      const bytes = await bytesOf(path, name, value, options);
      attempt(() => write(bytes));
      room[i] = crc32(bytes, 0);
    }
    const sealed = seal(safetensorsHeader(tensors, withSums(metadata, room), options)); // as long as the first
    attempt(() => fs.writeSync(file, sealed, 0, sealed.length, 0));
    attempt(() => fs.fsyncSync(file));
  } catch (error) {
    fs.rmSync(partial, { force: true });
    throw error;
  } finally {
    fs.closeSync(file);
  }
  attempt(() => fs.renameSync(partial, path));
}

/** What {@link writeSafetensors} writes, as bytes: where there are no files, as in a page. Checksums are Node's alone. */
export async function safetensorsBytes(
  tensors: Record<string, Tensor | HalfTensor>,
  metadata: Record<string, string> = {},
  options: WriteOptions = {},
): Promise<Bytes> {
  const parts: Uint8Array[] = [];
  for (const [name, value] of Object.entries(tensors)) parts.push(await bytesOf('bytes', name, value, options));
  const summed = () =>
    withSums(
      metadata,
      parts.map((part) => crc32(part, 0)),
    );
  const header = canSum()
    ? seal(safetensorsHeader(tensors, summed(), options))
    : safetensorsHeader(tensors, metadata, options);
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, header.length));
  let position = 0;
  for (const part of [header, ...parts]) {
    bytes.set(part, position);
    position += part.length;
  }
  return bytes;
}

/** The bytes of one tensor as they are stored. */
async function bytesOf(path: string, name: string, value: Tensor | HalfTensor, options: WriteOptions) {
  const half = value instanceof HalfTensor;
  const data = half ? value.bits : await value.data();
  if (options.finite) checkFinite(path, name, half ? value.toFloat32() : data);
  return data instanceof Float32Array
    ? encodeFloats(data, options.floats ?? 'F32')
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function checkFinite(path: string, name: string, data: ArrayLike<number>): void {
  for (let i = 0; i < data.length; i++)
    if (!Number.isFinite(data[i]))
      throw new DomainError('writeSafetensors', {
        received: `${data[i]} at position ${i} of ${name}`,
        expected: `finite numbers to write to ${path}`,
        hint: 'Nothing was written over.',
      });
}
