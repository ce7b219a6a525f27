/**
 * WebDataset: captioned pictures in tar shards. Files that share their path up to the first dot of its last part are one
 * sample: `000012.jpg` with `000012.txt`, or with `000012.json` holding a caption; `000012.cls` holds a class number.
 *
 * Shards are read as streams from front to end, in a new seeded order each epoch; samples leave through a pool from which
 * a seeded generator picks. Memory: the pool (at most `pool` samples and `poolBytes` bytes) and one sample.
 *
 * @source the WebDataset format, https://github.com/webdataset/webdataset; defaults after open_clip
 */
import { createReadStream } from 'node:fs';
import { access, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { expand } from 'brace-expansion';
import { extract } from 'tar-stream';
import { DataError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { type BadRow, captioned, epochOrder, type Order, type Row, type Source } from './source.js';

export interface WebDatasetOptions {
  /** Most samples in the pool that mixes them. Default 1000; 1 keeps the order within shards. */
  pool?: number;
  /** Most bytes of pictures in the pool. Default 256 MiB. */
  poolBytes?: number;
  /** Key of the caption in `.json` files. Default `caption`. */
  captionKey?: string;
  /** Samples in all shards, when known. Default: from `sizes.json` or `__len__` beside the first shard, if there. */
  samples?: number;
}

const imageSuffixes = ['jpg', 'jpeg', 'png', 'webp'];
const wordSuffixes = ['txt', 'json', 'cls'];

/** One sample's files by suffix. */
interface Sample {
  key: string;
  files: Map<string, Buffer>;
}

/** Key and suffix of a file in a shard; undefined for files that are no part of a sample. */
function keyOf(name: string): { key: string; suffix: string } | undefined {
  const match = /^((?:.*\/)?[^./][^./]*)\.([^/]*)$/.exec(name.replace(/^\.\//, ''));
  return match ? { key: match[1]!, suffix: match[2]!.toLowerCase() } : undefined;
}

async function bytesOf(entry: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of entry) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

/** The samples of one shard in order. Throws what the file or the tar reader throws when the shard is broken. */
async function* samplesOf(path: string): AsyncGenerator<Sample> {
  const file = createReadStream(path, { highWaterMark: 1 << 18 });
  const entries = extract();
  const fail = (error: Error) => void entries.destroy(error);
  const bytes = /\.t?gz$/.test(path) ? file.on('error', fail).pipe(createGunzip()) : file;
  bytes.on('error', fail).pipe(entries);
  let sample: Sample | undefined;
  try {
    for await (const entry of entries) {
      const part = entry.header.type === 'file' ? keyOf(entry.header.name) : undefined;
      if (!part || ![...imageSuffixes, ...wordSuffixes].includes(part.suffix)) {
        entry.resume();
        continue;
      }
      if (sample && sample.key !== part.key) {
        yield sample;
        sample = undefined;
      }
      sample ??= { key: part.key, files: new Map() };
      sample.files.set(part.suffix, await bytesOf(entry));
    }
    if (sample) yield sample;
  } finally {
    file.destroy();
  }
}

/** The caption in a sample: its text file, else its JSON file. Undefined when it has neither. */
function captionOf(files: Map<string, Buffer>, captionKey: string): string | undefined {
  const text = files.get('txt') ?? files.get('json');
  if (!text || files.has('txt')) return text?.toString('utf8');
  const value: unknown = JSON.parse(text.toString('utf8'))?.[captionKey];
  return typeof value === 'string' ? value : '';
}

/** A sample as a row, or as a bad one that says what it lacks. */
function rowOf({ files }: Sample, index: number, name: string, captionKey: string): Row | BadRow {
  const suffix = imageSuffixes.find((image) => files.has(image));
  if (!suffix) return { index, name, bad: `no picture (${imageSuffixes.join(', ')})` };
  const row = { index, name, image: { bytes: files.get(suffix)! } };
  try {
    const caption = captionOf(files, captionKey);
    const label = files.has('cls') ? Number(files.get('cls')!.toString('utf8')) : undefined;
    if (label !== undefined && !(Number.isInteger(label) && label >= 0))
      return { index, name, bad: 'no class number in .cls' };
    const labelled = label === undefined ? row : { ...row, label };
    if (caption !== undefined) return captioned({ ...labelled, caption });
    return label === undefined ? { index, name, bad: 'no caption (txt, json) or class (cls)' } : labelled;
  } catch (error) {
    return { index, name, bad: `JSON that cannot be read (${(error as Error).message})` };
  }
}

/** Samples numbered: shards in the order they are named, 2³² numbers each. A broken shard ends with a bad row. */
async function* shardRows(shard: number, path: string, captionKey: string): AsyncGenerator<Row | BadRow> {
  let index = shard * 2 ** 32;
  try {
    for await (const sample of samplesOf(path)) {
      yield rowOf(sample, index, `${path}/${sample.key}`, captionKey);
      index++;
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    yield {
      index,
      name: path,
      bad: code === 'ENOENT' ? 'no such shard' : `broken shard, the rest is lost (${message})`,
    };
  }
}

const bytesIn = (row: Row | BadRow) => ('image' in row && 'bytes' in row.image ? row.image.bytes.length : 0);

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
    bytes -= bytesIn(row);
    return row;
  };
  for await (const row of rows) {
    pool.push(row);
    bytes += bytesIn(row);
    while (pool.length > 0 && (pool.length >= most || bytes > mostBytes)) yield leave();
  }
  while (pool.length > 0) yield leave();
}

/** Samples in all shards by the files that stand beside them: `sizes.json` {shard: count}, or `__len__`, one number. */
async function knownSize(shards: string[]): Promise<number | undefined> {
  const beside = (name: string) => readFile(join(dirname(shards[0]!), name), 'utf8').catch(() => undefined); // may be absent
  const [sizes, length] = [await beside('sizes.json'), await beside('__len__')];
  if (sizes === undefined) return length === undefined ? undefined : Number.parseInt(length, 10);
  try {
    const counts = JSON.parse(sizes) as Record<string, number>;
    const total = shards.reduce((sum, shard) => sum + Number(counts[basename(shard)]), 0);
    return Number.isNaN(total) ? undefined : total; // lists other shards
  } catch (error) {
    throw new DataError('webdataset', {
      received: `${join(dirname(shards[0]!), 'sizes.json')}: ${(error as Error).message}`,
      expected: 'an object of sample counts by shard name',
    });
  }
}

/** Paths of the shards that a pattern names: `data/shard-{000..127}.tar`; several patterns joined by `::`. */
export function expandShards(pattern: string): string[] {
  return pattern.split('::').flatMap((part) => expand(part));
}

/**
 * Captioned or labelled pictures in the tar shards that `pattern` names, see the top of this file. Shards that are
 * missing or broken, and samples without picture or caption, become bad rows.
 * @throws DataError when none of the shards exists
 */
export async function webDatasetSource(pattern: string, options: WebDatasetOptions = {}): Promise<Source> {
  const { pool = 1000, poolBytes = 2 ** 28, captionKey = 'caption' } = options;
  const shards = expandShards(pattern);
  const exist = await Promise.all(
    shards.map((path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    ),
  );
  if (!exist.includes(true))
    throw new DataError('webdataset', {
      received: `${pattern}: none of ${shards.length} shards exists, the first is ${shards[0]}`,
      expected: 'paths of tar files, such as shard-{000..127}.tar',
    });
  async function* inOrder(order: Order) {
    for (const shard of epochOrder(shards.length, order)) yield* shardRows(shard, shards[shard]!, captionKey);
  }
  return {
    name: pattern,
    size: options.samples ?? (await knownSize(shards)),
    rows: (order) =>
      order.shuffle
        ? mixed(inOrder(order), new Random(order.seed).fork(`pool of epoch ${order.epoch}`), pool, poolBytes)
        : inOrder(order),
  };
}
