/**
 * WebDataset: captioned pictures in tar shards. Files that share their path up to the first dot of its last part are one
 * sample: `000012.jpg` with `000012.txt`, or with `000012.json` holding a caption; `000012.cls` holds a class number. Names
 * with further dots (`my.photo.jpg`, `my.photo.txt`) belong together up to the last one.
 *
 * Shards are read as streams from front to end, in a new seeded order each epoch; samples leave through a pool from which
 * a seeded generator picks. Memory: the pool (at most `pool` samples and `poolBytes` bytes), samples whose other files have
 * not come yet (at most 10,000 and 256 MiB), and one sample.
 *
 * @source the WebDataset format, https://github.com/webdataset/webdataset; defaults after open_clip
 */
import { createReadStream, existsSync } from 'node:fs';
import { access } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { openFile, parseJson, readFileBytes, unpackedLimit } from '../formats/files.js';
import { tarFiles } from '../formats/tar.js';
import { DataError, printable } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { imageExtensions } from './folder.js';
import { expandShards, type Shards } from './shards.js';
import { type BadRow, captioned, epochOrder, type Order, type Row, type Source } from './source.js';

/** How shards are read and mixed. */
export interface WebDatasetOptions {
  /** Most samples in the pool that mixes them. Default 1000; 1 keeps the order within shards. */
  pool?: number;
  /** Most bytes of pictures in the pool. Default 256 MiB. */
  poolBytes?: number;
  /** Key of the caption in `.json` files. Default `caption`. */
  captionKey?: string;
  /** Samples in all shards, when known. Default: from `sizes.json` or `__len__` beside the first shard, if there. */
  samples?: number;
  /** Where is told what was passed over or put together, once each. Default console.warn. */
  log?: (message: string) => void;
}

/** Of a sample with several pictures the first of these counts. */
const imageSuffixes = [...imageExtensions].map((ending) => ending.slice(1));
const wordSuffixes = ['txt', 'json', 'cls'];
const isKnown = (suffix: string) => imageSuffixes.includes(suffix) || wordSuffixes.includes(suffix);

/** Larger files are no part of a sample. */
const mostFileBytes = 2 ** 28;
/** Samples and bytes that may wait for their other files. */
const mostHeld = { samples: 10_000, bytes: 2 ** 28 };

/** One sample's files by suffix. */
interface Sample {
  key: string;
  /** How many samples of that key came right before. */
  copy: number;
  files: Map<string, Uint8Array>;
}

/** Key and suffix of a file in a shard; undefined for names without a suffix and hidden files. */
function keyOf(name: string): { key: string; suffix: string } | undefined {
  const match = /^((?:.*\/)?[^./][^/]*)$/s.exec(name.replace(/^\.\//, ''));
  if (!match) return undefined;
  const path = match[1]!;
  const start = path.lastIndexOf('/') + 1;
  const [first, last] = [path.indexOf('.', start), path.lastIndexOf('.')];
  if (first < 0) return undefined;
  const suffix = path.slice(first + 1).toLowerCase();
  const ending = path.slice(last + 1).toLowerCase();
  // More dots: `0001.seg.json` is a further file of 0001, `my.photo.jpg` a picture called my.photo.
  return isKnown(suffix) || !isKnown(ending)
    ? { key: path.slice(0, first), suffix }
    : { key: path.slice(0, last), suffix: ending };
}

/** The bytes of a shard, unpacked. Throws when they are many times those of the file. */
async function* contents(path: string): AsyncGenerator<Uint8Array> {
  openFile('webdataset', path).close(); // no pipe or device
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  if (!/\.t?gz$/i.test(path)) return yield* file; // closes it when the rest is not wanted
  const unpacked = createGunzip();
  file.on('error', (error) => unpacked.destroy(error)).pipe(unpacked);
  let bytes = 0;
  try {
    for await (const chunk of unpacked) {
      bytes += (chunk as Uint8Array).length;
      if (bytes > unpackedLimit(file.bytesRead)) throw new Error(`${file.bytesRead} bytes grew to ${bytes}`);
      yield chunk as Uint8Array;
    }
  } finally {
    file.destroy();
  }
}

const isWhole = ({ files }: Sample) =>
  imageSuffixes.some((suffix) => files.has(suffix)) && wordSuffixes.some((suffix) => files.has(suffix));
const bytesIn = ({ files }: Sample) => [...files.values()].reduce((sum, { length }) => sum + length, 0);

/** Samples whose other files have not come yet, the oldest first. */
class Held {
  readonly #samples = new Map<string, Sample>();
  #bytes = 0;

  take(key: string): Sample | undefined {
    const sample = this.#samples.get(key);
    if (sample) {
      this.#samples.delete(key);
      this.#bytes -= bytesIn(sample);
    }
    return sample;
  }

  /** Adds one, and gives what has no room: an older one of its name, or itself. Those that came first are awaited first. */
  *add(sample: Sample): Generator<Sample> {
    const same = this.take(sample.key);
    if (same) yield same;
    if (this.#samples.size >= mostHeld.samples || this.#bytes >= mostHeld.bytes) return yield sample;
    this.#samples.set(sample.key, sample);
    this.#bytes += bytesIn(sample);
  }

  all(): Iterable<Sample> {
    return this.#samples.values();
  }
}

/**
 * The samples of one shard in order, those that stay incomplete last. Throws what the file or the tar reader throws when
 * the shard is broken, after the samples before the break.
 */
async function* samplesOf(path: string, say: (what: string, message: string) => void): AsyncGenerator<Sample> {
  const wants = (name: string, size: number) => isKnown(keyOf(name)?.suffix ?? '') && size <= mostFileBytes;
  const held = new Held();
  let sample: Sample | undefined;
  let failure: unknown; // told after what was read
  try {
    for await (const { name, data } of tarFiles(contents(path), wants)) {
      const part = keyOf(name);
      if (!part || !data) {
        if (part) say(`.${part.suffix}`, `files ending in .${part.suffix} are passed over, the first is ${name}`);
        continue;
      }
      const isAgain = sample?.key === part.key && sample.files.has(part.suffix);
      if (isAgain) say('twice', `samples of the same name follow each other, the first are ${part.key}; all are kept`);
      if (sample && (sample.key !== part.key || isAgain)) {
        if (isWhole(sample)) yield sample;
        else
          for (const left of held.add(sample)) {
            say(
              'left',
              `the files of ${left.key} and others stand too far apart; tar --sort=name packs them side by side`,
            );
            yield left;
          }
        const copy: number = isAgain ? sample.copy + 1 : 0;
        sample = isAgain ? { key: part.key, copy, files: new Map() } : undefined;
      }
      if (!sample) {
        sample = held.take(part.key);
        if (sample)
          say('apart', `the files of ${part.key} and others do not stand side by side; tar --sort=name packs them so`);
        if (sample?.files.has(part.suffix)) {
          yield sample;
          sample = undefined;
        }
      }
      sample ??= { key: part.key, copy: 0, files: new Map() };
      sample.files.set(part.suffix, data);
    }
    if (sample && !isWhole(sample)) yield* held.add(sample);
  } catch (error) {
    failure = error;
  }
  if (sample && isWhole(sample)) yield sample;
  for (const rest of held.all()) {
    // Without a picture, and further dots in its name: a further file of another sample.
    const isFurther = basename(rest.key).includes('.') && !imageSuffixes.some((suffix) => rest.files.has(suffix));
    if (!isFurther) yield rest;
  }
  if (failure) throw failure;
}

/** The caption in a sample: its text file, else its JSON file. Undefined when it has neither. */
function captionOf(files: Sample['files'], captionKey: string): string | undefined {
  const text = files.get('txt') ?? files.get('json');
  if (!text || files.has('txt')) return text && textOf(text);
  const value: unknown = JSON.parse(textOf(text))?.[captionKey];
  return typeof value === 'string' ? value : '';
}

const textOf = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A sample as a row, or as a bad one that says what it lacks. */
function rowOf({ files }: Sample, index: number, name: string, captionKey: string): Row | BadRow {
  const suffix = imageSuffixes.find((image) => files.has(image));
  if (!suffix) return { index, name, bad: `no picture (${imageSuffixes.join(', ')})` };
  const row = { index, name, image: { bytes: files.get(suffix)! } };
  try {
    const caption = captionOf(files, captionKey);
    const digits = files.has('cls') ? textOf(files.get('cls')!) : undefined;
    if (digits !== undefined && !/^\s*\d{1,9}\s*$/.test(digits)) return { index, name, bad: 'no class number in .cls' };
    const label = digits === undefined ? undefined : Number(digits);
    const labelled = label === undefined ? row : { ...row, label };
    if (caption !== undefined) return captioned({ ...labelled, caption });
    return label === undefined ? { index, name, bad: 'no caption (txt, json) or class (cls)' } : labelled;
  } catch (error) {
    return { index, name, bad: printable(`JSON that cannot be read (${(error as Error).message})`) };
  }
}

/** Samples numbered: shards in the order they are named, 2³² numbers each. A broken shard ends with a bad row. */
async function* shardRows(
  shard: number,
  path: string,
  captionKey: string,
  say: (what: string, message: string) => void,
): AsyncGenerator<Row | BadRow> {
  let index = shard * 2 ** 32;
  const shown = printable(path, 1000);
  if (!existsSync(path)) return yield { index, name: shown, bad: 'no such shard' };
  try {
    for await (const sample of samplesOf(path, (what, message) => say(what, `${shown}: ${printable(message)}`))) {
      const name = printable(`${path}/${sample.key}${sample.copy ? ` (${sample.copy + 1})` : ''}`, 1000);
      yield rowOf(sample, index, name, captionKey);
      index++;
    }
  } catch (error) {
    yield { index, name: shown, bad: printable(`broken shard, the rest is lost (${(error as Error).message})`) };
  }
}

const pictureBytes = (row: Row | BadRow) => ('image' in row && 'bytes' in row.image ? row.image.bytes.length : 0);

/** Rows mixed: each newcomer joins the pool, and while that is over its limits a random row leaves it. */
async function* mixed(
  rows: AsyncIterable<Row | BadRow>,
  random: Random,
  most: number,
  mostBytes: number,
): AsyncGenerator<Row | BadRow> {
  const pool: (Row | BadRow)[] = [];
  let bytes = 0;
  const leave = () => {
    const at = random.int(pool.length);
    const row = pool[at]!;
    pool[at] = pool.at(-1)!;
    pool.pop();
    bytes -= pictureBytes(row);
    return row;
  };
  for await (const row of rows) {
    pool.push(row);
    bytes += pictureBytes(row);
    while (pool.length > 0 && (pool.length >= most || bytes > mostBytes)) yield leave();
  }
  while (pool.length > 0) yield leave();
}

/** Samples in all shards by the files that stand beside them: `sizes.json` {shard: count}, or `__len__`, one number. */
function knownSize(shards: Shards): number | undefined {
  const beside = (name: string) => {
    const path = join(dirname(shards.at(0)), name);
    return existsSync(path) ? textOf(readFileBytes('webdataset', path, 2 ** 27)) : undefined;
  };
  const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
  const [sizes, length] = [beside('sizes.json'), beside('__len__')];
  if (sizes === undefined) return length !== undefined && /^\s*\d{1,15}\s*$/.test(length) ? Number(length) : undefined;
  const name = join(dirname(shards.at(0)), 'sizes.json');
  const counts = parseJson('webdataset', name, sizes);
  if (typeof counts !== 'object' || counts === null || Array.isArray(counts))
    throw new DataError('webdataset', { received: name, expected: 'an object of sample counts by shard name' });
  let total = 0;
  for (const path of shards) {
    const shard = basename(path);
    const count: unknown = Object.hasOwn(counts, shard) ? (counts as Record<string, unknown>)[shard] : undefined;
    if (!isCount(count)) return undefined; // lists other shards
    total += count;
  }
  return total;
}

/** Whether one of the shards exists, looked for from the front: usually it is the first. */
async function someExists(shards: Shards): Promise<boolean> {
  for (const path of shards)
    if (
      await access(path).then(
        () => true,
        () => false,
      )
    )
      return true;
  return false;
}

/**
 * Captioned or labelled pictures in the tar shards that `pattern` names, see the top of this file. Shards that are
 * missing or broken, and samples without picture or caption, become bad rows.
 * @throws DataError when none of the shards exists
 */
export async function webDatasetSource(pattern: string, options: WebDatasetOptions = {}): Promise<Source> {
  const { pool = 1000, poolBytes = 2 ** 28, captionKey = 'caption', log = console.warn } = options;
  const shards = expandShards(pattern);
  if (!(await someExists(shards)))
    throw new DataError('webdataset', {
      received: `${printable(pattern)}: none of ${shards.count} shards exists, the first is ${printable(shards.at(0))}`,
      expected: 'paths of tar files, such as shard-{000..127}.tar',
    });
  const said = new Set<string>();
  const say = (what: string, message: string) => {
    if (!said.has(what) && said.size < 20) log(message);
    said.add(what);
  };
  async function* inOrder(order: Order) {
    for (const shard of epochOrder(shards.count, order)) yield* shardRows(shard, shards.at(shard), captionKey, say);
  }
  return {
    name: pattern,
    size: options.samples ?? knownSize(shards),
    rows: (order) =>
      order.shuffle
        ? mixed(inOrder(order), new Random(order.seed).fork(`pool of epoch ${order.epoch}`), pool, poolBytes)
        : inOrder(order),
  };
}
