/**
 * Where bytes come from: a path, memory, or what browsers and fetch hand over. Files of strangers are read through here:
 * only regular files are opened, every read is checked against the size, and whatever else fails becomes a DataError
 * that names the file.
 */
import { DataError, describeValue, HopgradError, printable } from '../tensor/errors.js';

/** Bytes that are read piece by piece. */
export interface ByteSource {
  /** For messages: the path, the address, or how many bytes there are. */
  readonly name: string;
  readonly size: number;
  /** A copy of some bytes. @throws DataError when there are not that many */
  read(position: number, length: number): Uint8Array;
  close(): void;
}

/** What {@link openInput} opens. In Node a text is a path or an address, elsewhere an address. */
export type FileInput = string | URL | Uint8Array | ArrayBuffer | Blob | Response;

/** Any failure as a typed error that names the file: errors of hopgrad stay what they are. */
export function asDataError(op: string, name: string, error: unknown): HopgradError {
  if (error instanceof HopgradError) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new DataError(op, { received: `${name}: ${reason}`, expected: 'a whole file of its format', cause: error });
}

/** Runs a reader, turning whatever it throws into a typed error. */
export function guarded<T>(op: string, name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw asDataError(op, name, error);
  }
}

/** Text that must be JSON. @throws DataError that names it */
export function parseJson(op: string, name: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new DataError(op, { received: `${name} is no JSON (${(error as Error).message})`, expected: 'JSON' });
  }
}

/**
 * Most bytes that a packed file may grow to. Pictures hardly shrink, texts and labels tenfold or so; a file that grows a
 * hundredfold was made to fill the memory.
 */
export const unpackedLimit = (packedBytes: number) => 100 * packedBytes + 2 ** 24;

/** A module of Node, found without an import: browsers load these modules too. */
function builtin<T>(name: string): T | undefined {
  const node = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process;
  return node?.getBuiltinModule?.(name) as T | undefined;
}

/**
 * Node's file system. Left out of the declarations, which must do without Node's types.
 * @internal
 * @throws DataError where there is none
 */
export function fileSystem(op: string): typeof import('node:fs') {
  const fs = builtin<typeof import('node:fs')>('node:fs');
  if (fs) return fs;
  throw new DataError(op, {
    received: 'a file name where there is no file system',
    expected: 'Node',
    hint: 'Pass the bytes, a Blob, a URL or a Response instead.',
  });
}

/** Whether {@link crc32} works here. */
export const canSum = () => builtin('node:zlib') !== undefined;

/** CRC-32 of bytes, going on from the sum of those before. Node only. */
export function crc32(bytes: Uint8Array, before: number): number {
  return builtin<typeof import('node:zlib')>('node:zlib')!.crc32(bytes, before);
}

/** Most bytes of one read or write call. */
export const chunkBytes = 2 ** 30;

/** What a path leads to when it is no file; reading a pipe or a device may never end. */
function kindOf(found: import('node:fs').Stats): string {
  if (found.isDirectory()) return 'a folder';
  return found.isFIFO() ? 'a pipe' : found.isSocket() ? 'a socket' : 'a device';
}

/**
 * What a path leads to, when that is a file.
 * @internal
 * @throws DataError for folders, pipes and devices, and when it is unreadable
 */
export function regularFile(op: string, path: string | URL): import('node:fs').Stats {
  // Who gives data for a path reads how they begin.
  const unreadable = (reason: string) =>
    new DataError(op, {
      received: `${printable(String(path), 1000)}: ${printable(reason, 1000)}`,
      expected: 'a readable file',
    });
  let found: import('node:fs').Stats;
  try {
    found = fileSystem(op).statSync(path);
  } catch (error) {
    throw error instanceof HopgradError ? error : unreadable((error as Error).message);
  }
  if (!found.isFile()) throw unreadable(kindOf(found));
  return found;
}

/** @throws DataError when it is no regular file or cannot be opened */
export function openFile(op: string, path: string | URL): ByteSource {
  const fs = fileSystem(op);
  const name = String(path);
  regularFile(op, path);
  const file = guarded(op, name, () => fs.openSync(path, 'r'));
  const { size } = fs.fstatSync(file);
  const fill = (bytes: Uint8Array, position: number) => {
    for (let done = 0; done < bytes.length; ) {
      const count = fs.readSync(file, bytes, done, Math.min(bytes.length - done, chunkBytes), position + done);
      if (count === 0) throw new DataError(op, { received: `${name}: became shorter while it was read` });
      done += count;
    }
    return bytes;
  };
  return {
    ...{ name, size, close: () => fs.closeSync(file) },
    read: (position, length) => {
      checkRange(op, name, size, position, length);
      return guarded(op, name, () => fill(new Uint8Array(length), position));
    },
  };
}

function checkRange(op: string, name: string, size: number, position: number, length: number): void {
  if (position >= 0 && length >= 0 && position + length <= size) return;
  throw new DataError(op, {
    received: `${name}: ends at byte ${size}`,
    expected: `bytes ${position} to ${position + length}`,
    hint: 'Was it copied or written completely?',
  });
}

/** Bytes in memory. Reads are copies, so that every view is aligned. */
export function openBytes(op: string, bytes: Uint8Array, name = `${bytes.length} bytes`): ByteSource {
  const read = (position: number, length: number): Uint8Array => {
    checkRange(op, name, bytes.length, position, length);
    return new Uint8Array(bytes.subarray(position, position + length));
  };
  return { name, size: bytes.length, read, close: () => {} };
}

/** Opens what needs no waiting. @throws DataError for anything else */
export function openNow(op: string, source: string | URL | Uint8Array | ArrayBuffer): ByteSource {
  if (typeof source === 'string' || source instanceof URL) return openFile(op, source);
  if (source instanceof Uint8Array) return openBytes(op, source);
  if (source instanceof ArrayBuffer) return openBytes(op, new Uint8Array(source));
  throw new DataError(op, { received: describeValue(source), expected: 'a path or bytes' });
}

/**
 * Opens any input. Blobs and answers of servers are taken into memory whole.
 * @throws DataError when it cannot be read, or is something else
 */
export async function openInput(op: string, input: FileInput): Promise<ByteSource> {
  const isAddress = typeof input === 'string' && /^(https?|blob|data|file):/i.test(input);
  const source = isAddress ? new URL(input) : input;
  try {
    if (source instanceof URL && source.protocol !== 'file:') return await openResponse(op, await fetch(source));
    if (source instanceof Response) return await openResponse(op, source);
    if (source instanceof Blob) {
      const name = 'name' in source ? String(source.name) : `a Blob of ${source.size} bytes`;
      return openBytes(op, new Uint8Array(await source.arrayBuffer()), name);
    }
  } catch (error) {
    throw asDataError(
      op,
      input instanceof Blob ? 'a Blob' : input instanceof Response ? input.url : String(input),
      error,
    );
  }
  if (
    typeof source === 'string' ||
    source instanceof URL ||
    source instanceof Uint8Array ||
    source instanceof ArrayBuffer
  )
    return openNow(op, source);
  throw new DataError(op, {
    received: describeValue(source),
    expected: 'a path, a URL, bytes (Uint8Array or ArrayBuffer), a Blob or a Response',
  });
}

async function openResponse(op: string, response: Response): Promise<ByteSource> {
  const name = response.url || 'a Response';
  if (!response.ok)
    throw new DataError(op, { received: `${name}: ${response.status} ${response.statusText}`, expected: 'a file' });
  return openBytes(op, new Uint8Array(await response.arrayBuffer()), name);
}

/** All bytes of a regular file. @throws DataError also when there are more than `most` */
export function readFileBytes(op: string, path: string, most: number): Uint8Array {
  const file = openFile(op, path);
  try {
    if (file.size > most)
      throw new DataError(op, { received: `${path} of ${file.size} bytes`, expected: `at most ${most}` });
    return file.read(0, file.size);
  } finally {
    file.close();
  }
}

/** A regular file as text, UTF-8. @throws DataError also when it has more than `most` bytes */
export const readText = (op: string, path: string, most: number): string =>
  new TextDecoder().decode(readFileBytes(op, path, most));

/** A regular file of JSON. @throws DataError also when it has more than `most` bytes */
export const readJson = (op: string, path: string, most: number): unknown =>
  parseJson(op, path, readText(op, path, most));
