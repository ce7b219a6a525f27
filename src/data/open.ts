/** Data sets as they are named on a command line, and as a run remembers them. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename, relative, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Colour } from '../models/cloob/config.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { cocoSource } from './coco.js';
import { type EmbeddingPairs, embeddingSource, readEmbeddingPairs } from './embeddings.js';
import { type EmojiData, emojiSource, prepareEmoji } from './emoji-source.js';
import { folderSource, imageFiles, imagesSource } from './folder.js';
import { prepareIcons } from './icons-source.js';
import { jsonLinesSource } from './json-lines.js';
import { type LabelledName, labelledNames, labelledSet } from './labelled.js';
import { mixture } from './mixture.js';
import { expandShards } from './shards.js';
import { firstRows, requireCaptions, type Source } from './source.js';
import { type TableOptions, tableSource } from './table.js';
import { webDatasetSource } from './webdataset.js';

/** How a list of pictures is read. */
export type Columns = Pick<
  TableOptions,
  'separator' | 'imageColumn' | 'captionColumn' | 'quotes' | 'encoding' | 'folder'
>;

/** A data set as it is asked for. All of it is plain JSON. */
export interface DataRequest {
  /**
   * `emoji` (the embedded data), `icons` (`hopgrad data icons` installs them), a labelled set (`mnist`, `fashion-mnist`, `openclipart`), a folder of pictures, tar shards
   * (`shard-{000..127}.tar`), a table (`pairs.tsv`; of `.csv` files the separator is a comma unless another is given), JSON
   * lines (`pairs.jsonl`), or captions of COCO (`captions_val2017.json`). Several, joined by `::`, are mixed.
   */
  path: string;
  /** Of embeddings from elsewhere, those of the texts; `path` has those of the pictures. Both are .npy or .safetensors. */
  texts?: string;
  /** How a table is read, or other lists of pictures, as far as it applies to them. `folder`: where the pictures are. */
  columns?: Columns;
  /** Of several data sets joined by `::`, how often an epoch has each of their rows. Default once. */
  factors?: number[];
  /** Whether subfolders are classes. Default false: a folder is a heap of pictures. */
  classes?: boolean;
  /** Part of an idx set. */
  split?: 't10k' | 'train';
  /** Of the emoji and icons, the split inside the training data. */
  validation?: boolean;
  /** Samples in shards that do not say so themselves. */
  samples?: number;
  /** Only so many rows an epoch, the first in its order; of the emoji, of each of its sets. Default all. */
  limit?: number;
}

/** A data set as a run remembers it: enough to open it again, and to tell whether it is still the same. */
export interface DataSpec extends DataRequest {
  /** Absolute, unless it is the name of a set. */
  path: string;
  /**
   * SHA-256 of what the data is: of a table its bytes (not of its pictures), of a folder or shards the names and lengths of
   * the files, of a labelled set the names of its rows, of the emoji their drawings and the split.
   */
  digest: string;
  /** Rows an epoch, bad ones included; null when not known before reading. */
  rows: number | null;
}

export interface OpenedData {
  source: Source;
  spec: DataSpec;
  /** The whole of the embedded data, or of the icons, when that is what was opened. */
  emoji?: EmojiData;
  /** The embeddings, when these are what was opened. */
  embeddings?: EmbeddingPairs;
}

export interface OpenOptions {
  /** Pixels a side at which the emoji are drawn. Default 32. */
  size?: number;
  /** What they are laid on; null: opacity is dropped. Default white. */
  background?: Colour | null | undefined;
  /** Where the drawn emoji are kept. Default `.cache`. */
  cacheFolder?: string;
  /** Called while emoji are drawn. */
  onProgress?: (done: number, total: number) => void;
}

const isFolder = (path: string) =>
  stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
/** Whether all that a path joins are tar shards. */
export const isShards = (path: string) => path.split('::').every((part) => /\.(tar|tgz|tar\.gz)\}?$/i.test(part));
/** Whether a path names drawings that come with hopgrad, or by it: the embedded emoji, or icons. Alone they have test sets of their own. */
export const isDrawn = (path: string) => path === 'emoji' || path === 'icons';
const isTable = (path: string) => /\.(csv|tsv|txt)$/i.test(path);
const isJsonLines = (path: string) => /\.jsonl$/i.test(path);
const isCoco = (path: string) => /\.json$/i.test(path);
const asLabelled = (path: string) => labelledNames.find((name): name is LabelledName => name === path);

/**
 * Opens what a path or name stands for.
 * @param request with a `digest`, as a {@link DataSpec} has one: the data must still be what it was
 * @throws DataError when nothing of the kind is there, it cannot be read, or it has changed
 */
export async function openData(
  request: DataRequest & Partial<DataSpec>,
  options: OpenOptions = {},
): Promise<OpenedData> {
  const { digest: expected, rows: _, ...wanted } = request;
  const { digest, ...opened } = await open(wanted, options);
  const { path } = wanted;
  const named = opened.emoji !== undefined || (asLabelled(path) !== undefined && !(await isFolder(path)));
  const spec = {
    ...wanted,
    path: named
      ? path
      : path
          .split('::')
          .map((part) => (isDrawn(part) ? part : resolve(part)))
          .join('::'),
    ...(wanted.texts !== undefined && { texts: resolve(wanted.texts) }),
    digest: await digest(),
    rows: opened.source.size ?? null,
  };
  if (expected !== undefined && spec.digest !== expected)
    throw new DataError('openData', {
      received: `${path}${wanted.texts === undefined ? '' : ` with ${wanted.texts}`}, which has changed since the run began`,
      expected: 'the same data',
      hint: 'Bring the data back as it was, or begin a new run.',
    });
  return { ...opened, spec };
}

/** Only the source of `openData`. */
export async function openSource(path: string, request: Omit<DataRequest, 'path'> = {}): Promise<Source> {
  return (await open({ ...request, path }, {})).source;
}

/** What was opened, and how to tell whether it is the same another time. */
type Opened = Omit<OpenedData, 'spec'> & { digest: () => Promise<string> };

async function open(request: DataRequest, options: OpenOptions): Promise<Opened> {
  const { limit } = request;
  const opened = await openWhole(request, options);
  if (limit === undefined) return opened;
  if (!opened.emoji) return { ...opened, source: firstRows(opened.source, limit) };
  const sets = Object.entries(opened.emoji.split).map(([set, rows]) => [set, rows.slice(0, limit)]);
  return openedEmoji({ ...opened.emoji, split: Object.fromEntries(sets) });
}

const openedEmoji = (emoji: EmojiData): Opened => ({
  source: emojiSource(emoji, emoji.split.train, 'sampled'),
  emoji,
  digest: async () => emoji.digest,
});

async function openWhole(request: DataRequest, options: OpenOptions): Promise<Opened> {
  if (isMixture(request)) return openMixture(request, options);
  const { path, validation = false } = request;
  if (request.texts === undefined && isDrawn(path) && !(await isFolder(path))) {
    const { cacheFolder = '.cache' } = options;
    const prepare = path === 'emoji' ? prepareEmoji : prepareIcons;
    return openedEmoji(await prepare({ ...options, cacheFolder, validation }));
  }
  const opened = await openOne(request);
  return { ...opened, digest: () => digestOf(request, opened.source) };
}

async function openOne(request: DataRequest): Promise<Pick<OpenedData, 'source' | 'embeddings'>> {
  const { path, texts, columns, split, samples, factors } = request;
  if (texts !== undefined) {
    const embeddings = readEmbeddingPairs(path, texts);
    return { source: embeddingSource(path, embeddings), embeddings };
  }
  if (factors)
    throw new UsageError('openSource', {
      received: `${factors.length} factors for one data set, ${path}`,
      expected: 'several, joined by ::',
    });
  if (await isFolder(path)) return { source: await (request.classes ? folderSource(path) : imagesSource(path)) };
  const labelled = asLabelled(path);
  if (labelled) return { source: await labelledSet(labelled, split ? { split } : {}) };
  if (isShards(path)) return { source: await webDatasetSource(path, samples === undefined ? {} : { samples }) };
  if (isTable(path))
    return { source: await tableSource(path, { ...(/\.csv$/i.test(path) && { separator: ',' }), ...columns }) };
  if (isJsonLines(path)) return { source: await jsonLinesSource(path, columns) };
  if (isCoco(path)) return { source: await cocoSource(path, columns) };
  throw new DataError('openSource', {
    received: `"${path}"`,
    expected: `a folder of pictures, shards (.tar), a table (.csv, .tsv), JSON lines (.jsonl), captions of COCO (.json), or one of emoji, icons, ${labelledNames.join(', ')}`,
  });
}

/** What of {@link Columns} says anything about what a path names, or about one of the data sets that it joins. */
export function columnsOf(path: string): (keyof Columns)[] {
  const parts = path.split('::');
  if (parts.some(isTable)) return ['separator', 'imageColumn', 'captionColumn', 'quotes', 'encoding', 'folder'];
  if (parts.some(isJsonLines)) return ['imageColumn', 'captionColumn', 'folder'];
  return parts.some(isCoco) ? ['folder'] : [];
}

/** Shards that are joined without factors are one set of shards. */
const isMixture = ({ path, texts, factors }: DataRequest) =>
  texts === undefined && path.includes('::') && (factors !== undefined || !isShards(path));

/** The data sets that a request joins, each as a request of its own. */
function partsOf({ path, columns, samples }: DataRequest): DataRequest[] {
  const paths = path.split('::');
  const known = paths.filter(isShards).length === 1; // else it is not said whose number it is
  return paths.map((part) => ({
    path: part,
    ...(columns && { columns }),
    ...(samples !== undefined && known && isShards(part) && { samples }),
  }));
}

/** Several as one. Drawings among them are trained on as they are alone; test sets of their own they have not. */
async function openMixture(request: DataRequest, options: OpenOptions): Promise<Opened> {
  const parts = partsOf(request);
  const { path, factors = parts.map(() => 1) } = request;
  if (factors.length !== parts.length)
    throw new UsageError('openSource', {
      received: `${factors.length} factors for ${parts.length} data sets, ${path}`,
      expected: 'one for each',
    });
  const opened: Opened[] = [];
  for (const part of parts) opened.push(await open(part, options));
  for (const { source } of opened) await requireCaptions(source);
  return {
    source: mixture(
      path,
      opened.map(({ source }, i) => ({ source, factor: factors[i]! })),
    ),
    async digest() {
      const hash = createHash('sha256');
      for (const part of opened) hash.update(await part.digest());
      return hash.update(JSON.stringify(request.factors ?? null)).digest('hex');
    },
  };
}

async function digestOf(request: DataRequest, source: Source): Promise<string> {
  const hash = createHash('sha256');
  const { path, texts } = request;
  if (texts !== undefined) {
    for (const file of [path, texts]) {
      await pipeline(createReadStream(file), hash, { end: false });
      hash.update(' ');
    }
    return hash.digest('hex');
  }
  const list = async (files: Iterable<string>, nameOf: (file: string) => string) => {
    for (const file of files) {
      const length = await stat(file).then(
        ({ size }) => size,
        () => 'missing',
      );
      hash.update(JSON.stringify([nameOf(file), length]));
    }
  };
  if (await isFolder(path)) await list(await imageFiles(path), (file) => relative(path, file));
  else if (asLabelled(path))
    for await (const { name } of source.rows({ seed: 0, epoch: 0, shuffle: false })) hash.update(JSON.stringify(name));
  else if (isShards(path)) await list(expandShards(path), (file) => basename(file));
  else await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Whether two specs are the same data, read the same way, wherever it lies. */
export function sameData(a: DataSpec, b: DataSpec): boolean {
  const identity = ({ digest, columns = {} }: DataSpec) => {
    const {
      separator = null,
      imageColumn = 'filepath',
      captionColumn = 'title',
      quotes = null,
      encoding = null,
    } = columns;
    return JSON.stringify([digest, separator, imageColumn, captionColumn, quotes, encoding]);
  };
  return identity(a) === identity(b);
}
