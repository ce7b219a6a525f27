/** What the tests of hostile files share: a process that reads, builders of archives and pickles, and mutations. */
import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';

export interface Outcome {
  /** What came out, in words. */
  result?: string;
  error?: string;
  /** Whether the error is one of hopgrad's. */
  typed?: boolean;
  stack?: string;
  /** How far the process outgrew the largest size it had before. */
  grownKiB: number;
}

/** A process that reads hostile bytes. Call inside `describe`. */
export function readerProcess({ heapMiB = 512 } = {}) {
  let child: ChildProcess | undefined;
  const start = async () => {
    const script = fileURLToPath(new URL('./reader-process.js', import.meta.url));
    child = fork(script, { serialization: 'advanced', execArgv: [`--max-old-space-size=${heapMiB}`] });
    await new Promise((ready) => child!.once('message', ready));
    return child;
  };
  after(() => child?.kill());

  /** How reading ends; fails when the process dies or has not ended in time. */
  async function read(reader: string, input: Uint8Array | string, limitMs = 20_000): Promise<Outcome> {
    const own = child ?? (await start());
    const outcome = await new Promise<Outcome | string>((resolve) => {
      const timer = setTimeout(() => settle(`no answer after ${limitMs} ms`), limitMs);
      const onExit = (code: number | null, signal: string | null) => settle(`the process died (${code ?? signal})`);
      const settle = (what: Outcome | string) => {
        clearTimeout(timer);
        own.off('exit', onExit).off('message', settle);
        resolve(what);
      };
      own.once('message', settle).once('exit', onExit);
      own.send(typeof input === 'string' ? { reader, path: input } : { reader, bytes: input });
    });
    if (typeof outcome !== 'string') return outcome;
    own.kill('SIGKILL');
    child = undefined;
    return assert.fail(`${reader}: ${outcome}`);
  }

  /** A right result or a typed, short error; nothing else, and no growth beyond the limit. */
  async function survives(reader: string, input: Uint8Array | string, mostMiB = 256): Promise<Outcome> {
    const outcome = await read(reader, input);
    if (outcome.error !== undefined) {
      assert.ok(outcome.typed, `${reader}: ${outcome.stack ?? outcome.error}`);
      assert.ok(outcome.error.length < 5000, `an error of ${outcome.error.length} characters`);
    }
    assert.ok(outcome.grownKiB < mostMiB * 1024, `${reader} took ${Math.round(outcome.grownKiB / 1024)} MiB`);
    return outcome;
  }

  /** Survives, and is refused with a message like this. */
  async function refuses(reader: string, input: Uint8Array | string, message: RegExp): Promise<void> {
    const { error, result } = await survives(reader, input);
    assert.match(error ?? `it gave ${result}`, message);
  }

  return { read, survives, refuses };
}

const latin1 = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

/** Bytes from texts (a character a byte), numbers and bytes. */
export const bytesOf = (...parts: (string | number | Uint8Array)[]): Uint8Array =>
  Buffer.concat(parts.map((p) => (typeof p === 'number' ? Uint8Array.of(p) : typeof p === 'string' ? latin1(p) : p)));

const u16 = (n: number) => Uint8Array.of(n, n >> 8);
const u32 = (n: number) => Uint8Array.of(n, n >> 8, n >> 16, n >> 24);

/** A zip archive of stored entries, as torch.save writes it, with right sums. */
export function zip(entries: Record<string, Uint8Array>): Uint8Array {
  const files: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const common = bytesOf(u16(0), u16(0), u16(0), u16(0), u32(crc32(data)), u32(data.length), u32(data.length));
    const local = bytesOf('PK\x03\x04', u16(20), common, u16(name.length), u16(0), name, data);
    directory.push(
      bytesOf('PK\x01\x02', u16(20), u16(20), common, u16(name.length), u16(0), u16(0), u16(0), u16(0), u32(0)),
      bytesOf(u32(offset), name),
    );
    files.push(local);
    offset += local.length;
  }
  const central = bytesOf(...directory);
  const count = u16(Object.keys(entries).length);
  return bytesOf(...files, central, 'PK\x05\x06', u32(0), count, count, u32(central.length), u32(offset), u16(0));
}

/** A file of torch.save around a pickle. */
export const torchFile = (pickle: Uint8Array, storages: Record<string, Uint8Array> = {}) =>
  zip({
    'x/data.pkl': pickle,
    ...Object.fromEntries(Object.entries(storages).map(([key, data]) => [`x/data/${key}`, data])),
  });

/** Pickles by their opcodes. */
export const pickled = {
  text: (value: string) => bytesOf('X', u32(value.length), value),
  int: (value: number) => bytesOf('J', u32(value)),
  global: (module: string, name: string) => `c${module}\n${name}\n`,
  long: (bytes: Uint8Array) => bytesOf(0x8b, u32(bytes.length), bytes),
  /** A list of two lists of two lists …: a few bytes of which any text takes 2^depth. */
  nested: (depth: number) =>
    bytesOf(']q\x00', ...Array.from({ length: depth }, (_, i) => bytesOf('](h', i, 'h', i, 'eq', i + 1))),
};

export interface Mutation {
  kind: 'set' | 'insert' | 'remove' | 'cut' | 'number' | 'copy';
  at: number;
  value: number;
}

/** Numbers that readers stumble over. */
const numbers = [
  0n,
  1n,
  0x7fn,
  0xffn,
  0xffffn,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** Some changes of bytes; `at` is a share of the length in millionths. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(
      'set' as const,
      'set' as const,
      'insert' as const,
      'remove' as const,
      'cut' as const,
      'number' as const,
      'copy' as const,
    ),
    at: fc.nat(999_999),
    value: fc.nat(255),
  }),
  { minLength: 1, maxLength: 4 },
);

export function mutate(original: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  let bytes = Uint8Array.from(original);
  for (const { kind, at: share, value } of changes) {
    const at = Math.floor((share / 1e6) * bytes.length);
    if (kind === 'set' && at < bytes.length) bytes[at] = value;
    if (kind === 'insert') bytes = bytesOf(bytes.subarray(0, at), value, bytes.subarray(at)) as Uint8Array<ArrayBuffer>;
    if (kind === 'remove')
      bytes = bytesOf(bytes.subarray(0, at), bytes.subarray(at + 1 + (value % 16))) as Uint8Array<ArrayBuffer>;
    if (kind === 'cut') bytes = bytes.slice(0, at);
    if (kind === 'copy')
      bytes.copyWithin(at, Math.floor((value / 256) * bytes.length), Math.floor((value / 256) * bytes.length) + 32);
    if (kind === 'number') {
      const number = numbers[value % numbers.length]!;
      const width = value & 16 ? 8 : 4;
      for (let i = 0; i < width && at + i < bytes.length; i++) bytes[at + i] = Number((number >> BigInt(8 * i)) & 255n);
    }
  }
  return bytes;
}
