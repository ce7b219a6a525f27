/**
 * The files of a tar archive, read front to back. By hand: the packages that were tried hang on crafted sizes, or lose the
 * files right before a break, and how many of them depends on timing.
 *
 * @source POSIX.1-2017, pax, "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Basic Tar Format"
 */

/** A file, with its bytes when they were wanted. */
export interface TarFile {
  name: string;
  size: number;
  data: Uint8Array | null;
}

const blockBytes = 512;
/** Most bytes of a name or of an extended header. */
const mostHeaderBytes = 2 ** 20;

/** Bytes taken from a stream in pieces of any size. */
class Queue {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  async #next(): Promise<Buffer | null> {
    const { done, value } = await this.#chunks.next();
    return done ? null : Buffer.from(value.buffer, value.byteOffset, value.length);
  }

  /** The next bytes; null at the end. Throws when the end comes amidst them. */
  async take(length: number): Promise<Buffer | null> {
    const parts = [this.#rest];
    let have = this.#rest.length;
    while (have < length) {
      const chunk = await this.#next();
      if (!chunk) {
        if (have === 0) return null;
        throw new Error('it ends early');
      }
      parts.push(chunk);
      have += chunk.length;
    }
    const all = parts.length === 1 ? this.#rest : Buffer.concat(parts);
    this.#rest = all.subarray(length);
    return all.subarray(0, length);
  }

  /** Passes over bytes without keeping them. */
  async skip(length: number): Promise<void> {
    let left = length;
    while (left > this.#rest.length) {
      left -= this.#rest.length;
      const chunk = await this.#next();
      if (!chunk) throw new Error('it ends early');
      this.#rest = chunk;
    }
    this.#rest = this.#rest.subarray(left);
  }
}

const textOf = (bytes: Uint8Array) => {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
};

/** A number: octal digits, or from a first byte of 0x80 on, in binary. */
function numberOf(field: Buffer): number {
  let value = Number.NaN;
  if (field[0] === 0x80) value = field.subarray(1).reduce((sum, byte) => sum * 256 + byte, 0);
  else {
    const digits = /^ *([0-7]*)[ \0]*$/.exec(field.toString('latin1'));
    if (digits) value = digits[1] ? Number.parseInt(digits[1], 8) : 0;
  }
  if (Number.isSafeInteger(value)) return value;
  throw new Error('a header with a size that is none');
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20; // the sum itself counts as spaces
  for (let i = 0; i < blockBytes; i++) if (i < 148 || i >= 156) sum += block[i]!;
  if (numberOf(block.subarray(148, 156)) !== sum) throw new Error('a damaged header, or no tar archive');
}

/** The records `length key=value\n` of an extended header that matter here. */
function extended(bytes: Buffer): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const digits = bytes.subarray(at, space < 0 ? at : space).toString('latin1');
    const end = at + Number(digits);
    if (!/^\d{1,9}$/.test(digits) || end > bytes.length || end <= space + 1)
      throw new Error('a damaged extended header');
    const record = new TextDecoder().decode(bytes.subarray(space + 1, end - 1));
    if (record.startsWith('path=')) found.path = record.slice('path='.length);
    if (record.startsWith('size=')) {
      found.size = Number(record.slice('size='.length));
      if (!Number.isSafeInteger(found.size) || found.size < 0)
        throw new Error('an extended header with a size that is none');
    }
    at = end;
  }
  return found;
}

/**
 * The regular files of an archive in order. Blocks of zeros are passed over, so archives joined end to end are read whole.
 * @param wants whether a file's bytes are wanted; they are then in memory
 * @throws Error where the archive is broken or ends early; all before has been given
 */
export async function* tarFiles(
  chunks: AsyncIterable<Uint8Array>,
  wants: (name: string, size: number) => boolean,
): AsyncGenerator<TarFile> {
  const queue = new Queue(chunks);
  let next: { path?: string; size?: number } = {};
  for (let block = await queue.take(blockBytes); block; block = await queue.take(blockBytes)) {
    if (block.every((byte) => byte === 0)) continue;
    checkSum(block);
    const type = String.fromCharCode(block[156]!);
    if ('123456'.includes(type)) {
      next = {}; // links, devices and folders have no bytes, whatever their size says
      continue;
    }
    const isMeta = 'xgLK'.includes(type);
    const size = isMeta ? numberOf(block.subarray(124, 136)) : (next.size ?? numberOf(block.subarray(124, 136)));
    const padding = (blockBytes - (size % blockBytes)) % blockBytes;
    if (isMeta) {
      if (size > mostHeaderBytes) throw new Error(`a header of ${size} bytes`);
      const data = (await queue.take(size)) ?? Buffer.alloc(0);
      if (type === 'x') next = extended(data);
      if (type === 'L') next = { ...next, path: textOf(data) };
      await queue.skip(padding);
      continue;
    }
    const prefix = block.subarray(257, 263).toString('latin1') === 'ustar\0' ? textOf(block.subarray(345, 500)) : '';
    const name = next.path ?? `${prefix}${prefix && '/'}${textOf(block.subarray(0, 100))}`;
    next = {};
    const isFile = '\x000 7'.includes(type) && !name.endsWith('/');
    let data: Uint8Array | null = null;
    if (isFile && wants(name, size)) {
      data = (await queue.take(size)) ?? Buffer.alloc(0);
      if (data.length < size) throw new Error('it ends early');
    } else await queue.skip(size);
    await queue.skip(padding);
    if (isFile) yield { name, size, data };
  }
}
