/**
 * What a locked encoder gives for every picture or caption, computed once and kept on disk. The name of a file is a digest of
 * everything that its numbers depend on, so that no other run can take it for its own.
 */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { EmbeddingTable } from '../data/embeddings.js';
import { Loader, type LoaderOptions } from '../data/loader.js';
import type { BadRow, Row, Source } from '../data/source.js';
import { stampOf } from '../data/stamp.js';
import { openSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import type { Module } from '../nn/module.js';
import { DataError, HopgradError, UsageError } from '../tensor/errors.js';
import type { Tables } from './learner.js';
import type { TrainOptions } from './options.js';
import { type Output, say, withProgress } from './progress.js';
import { weightsDigest } from './weights-digest.js';

/** Raised when the same key may come to other numbers: another way to decode, to cut or to compute. */
const version = 1;

export interface TowerCacheOptions extends Pick<LoaderOptions, 'workers' | 'maxBadShare' | 'log'> {
  /** Where prepared data are kept. */
  cache: string;
  /** Digest of the data, and how it is read. */
  data: unknown;
  /** Ends the work between two batches; what is done is kept. */
  signal?: AbortSignal | undefined;
  output?: Output;
}

/**
 * Tables of the towers that are locked, from the cache or computed now.
 * @returns null when the signal ended the work
 * @throws DataError when too many pictures cannot be used, or the cache cannot be written; UsageError for captions that change
 */
export async function lockedTables(
  { model, tokenizer }: { model: CloobModel; tokenizer: ClipTokenizer },
  source: Source,
  { lockImage, lockText }: Pick<TrainOptions, 'lockImage' | 'lockText'>,
  options: TowerCacheOptions,
): Promise<Partial<Tables> | null> {
  const { training } = model;
  model.eval();
  const image = lockImage && (await imageTable(model, source, options));
  const text = image !== null && lockText && (await textTable(model, tokenizer, source, options));
  if (training) model.train();
  return image === null || text === null ? null : { ...(image && { image }), ...(text && { text }) };
}

/** Rows without a vector are bad ones: why was told when the table was made. */
export const embeddedRows = (source: Source, table: EmbeddingTable): Source => ({
  ...source,
  async *rows(order) {
    for await (const row of source.rows(order))
      yield 'bad' in row || table.has(row.index)
        ? row
        : { index: row.index, name: row.name, bad: 'it could not be embedded' };
  },
});

async function imageTable(
  model: CloobModel,
  source: Source,
  options: TowerCacheOptions,
): Promise<EmbeddingTable | null> {
  const shown = preprocessing(model.config);
  const { size: side } = shown;
  const { device } = model.logit_inv_tau;
  const pictures = createHash('sha256');
  for await (const row of inOrder(source))
    pictures.update(JSON.stringify('bad' in row ? row.index : [row.index, await stampOf(row.image)]));
  const key = await keyOf('image', model.visual, {
    shown,
    data: options.data,
    pictures: pictures.digest('hex'),
    device,
  });
  const seen = new Set<number>();
  /** Each picture once, those that are known left out. */
  const once = (known: ReadonlySet<number>): Source => ({
    ...source,
    async *rows(order) {
      for await (const row of source.rows(order)) {
        if (known.has(row.index) || seen.has(row.index)) continue;
        seen.add(row.index);
        yield row;
      }
    },
  });
  return cached(key, model.config.embed_dim, 'pictures', source.size, options, async function* (known) {
    const { workers, maxBadShare, log } = options;
    const loader = new Loader(once(new Set(known)), {
      ...{ batchSize: 64, transform: shown, mayBeEmpty: known.length > 0 },
      ...(workers !== undefined && { workers }),
      ...(maxBadShare !== undefined && { maxBadShare }),
      ...(log && { log }),
    });
    try {
      for await (const { images, count, indices } of loader.batches({ epoch: 0 })) {
        const x = noGrad(() =>
          scoped(() => model.visual.forward(tensor(images, { shape: [count, 3, side, side], device }))),
        );
        yield { keys: indices, vectors: x };
      }
    } finally {
      await loader.close();
    }
  });
}

async function textTable(
  model: CloobModel,
  tokenizer: ClipTokenizer,
  source: Source,
  options: TowerCacheOptions,
): Promise<EmbeddingTable | null> {
  const captions = await captionsThatStay(source);
  const { context_length: contextLength } = model.config;
  const { device } = model.logit_inv_tau;
  const words = createHash('sha256').update(JSON.stringify(captions));
  const key = await keyOf('text', model.transformer, {
    ...{ words: words.digest('hex'), contextLength, device },
    tokenizer: createHash('sha256').update(JSON.stringify(tokenizer.toJSON())).digest('hex'),
  });
  const table = await cached(
    key,
    model.config.embed_dim,
    'captions',
    captions.length,
    options,
    async function* (known) {
      for (let start = known.length; start < captions.length; start += 64) {
        const some = captions.slice(start, start + 64);
        const ids = tokenizer.tokenize(some, { contextLength });
        const x = noGrad(() =>
          scoped(() => model.transformer.forward(tensor(ids, { shape: [some.length, contextLength], device }))),
        );
        yield { keys: some.map((_, i) => start + i), vectors: x };
      }
    },
  );
  return table?.renamed((place) => captions[place]!) ?? null;
}

const inOrder = (source: Source, epoch = 0): AsyncIterable<Row | BadRow> | Iterable<Row | BadRow> =>
  source.rows({ seed: 0, epoch, shuffle: false });

/** Every caption once. @throws UsageError where a row says something else in another epoch */
async function captionsThatStay(source: Source): Promise<string[]> {
  const found = new Set<string>();
  const first: string[] = [];
  for await (const row of inOrder(source)) {
    if (!('caption' in row) || !row.caption) continue;
    found.add(row.caption);
    if (first.length < 100) first.push(row.caption);
  }
  let at = 0;
  for await (const row of inOrder(source, 1)) {
    if (at === first.length) break;
    if (!('caption' in row) || !row.caption) continue;
    if (row.caption !== first[at++])
      throw new UsageError('train', {
        received: `--cache-embeddings with --lock-text for ${source.name}, whose captions are drawn anew in every epoch`,
        expected: 'captions that stay: data of your own, or --lock-image',
      });
  }
  return [...found];
}

/** A digest of all that the vectors depend on. */
async function keyOf(tower: string, module: Module, facts: object): Promise<string> {
  const all = { version, tower, weights: await weightsDigest(module), ...facts };
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

interface Part {
  keys: number[];
  /** [keys, dim], disposed of here. */
  vectors: Tensor;
}

/** Seconds between two savings of what there is so far. */
const savePeriod = 60;

/** The table of a key: what the cache has of it, and what `compute` gives for all others than the known keys. */
async function cached(
  key: string,
  dim: number,
  what: string,
  total: number | undefined,
  { cache, signal, output }: TowerCacheOptions,
  compute: (known: number[]) => AsyncGenerator<Part>,
): Promise<EmbeddingTable | null> {
  const path = join(cache, 'towers', `${key.slice(0, 32)}.safetensors`);
  const found = readKnown(path, key, dim, output);
  const table = () => new EmbeddingTable(join32(found.vectors), dim, found.keys);
  if (found.complete) {
    say(`Embeddings of ${found.keys.length} ${what}, computed before: ${path}`, output);
    return table();
  }
  const save = async (complete: boolean) => {
    const [count, device] = [found.keys.length, 'reference'];
    const rows = tensor(Int32Array.from(found.keys), { device });
    const embeddings = tensor(join32(found.vectors), { shape: [count, dim], device });
    await writeSafetensors(path, { rows, embeddings }, { format, key, complete: String(complete) });
  };
  makeFolder(join(cache, 'towers'));
  const stopped = await withProgress(
    `Embedding ${what} once`,
    total,
    async ({ update }) => {
      let saved = performance.now();
      for await (const { keys, vectors } of compute([...found.keys])) {
        found.keys.push(...keys);
        found.vectors.push((await vectors.data()) as Float32Array);
        vectors.dispose();
        update(found.keys.length);
        if (signal?.aborted) return true;
        if (performance.now() - saved < 1000 * savePeriod) continue;
        await save(false);
        saved = performance.now();
      }
      return false;
    },
    { ...(output && { output }), done: found.keys.length },
  );
  await save(!stopped);
  return stopped ? null : table();
}

const format = 'hopgrad tower 1';

interface Known {
  keys: number[];
  vectors: Float32Array[];
  complete: boolean;
}

/** What a file of the cache holds; nothing when there is none, or one that is damaged or of something else, which is told. */
function readKnown(path: string, key: string, dim: number, output: Output | undefined): Known {
  const nothing = { keys: [], vectors: [], complete: false };
  if (!existsSync(path)) return nothing;
  try {
    const file = openSafetensors(path);
    try {
      const [rows, embeddings] = ['rows', 'embeddings'].map((name) => file.tensors.get(name));
      const [keys, vectors] = [rows?.read(), embeddings?.read()];
      const fits =
        file.metadata.format === format &&
        file.metadata.key === key &&
        file.checksum !== undefined &&
        keys instanceof Int32Array &&
        vectors instanceof Float32Array &&
        vectors.length === keys.length * dim &&
        vectors.every((value) => Number.isFinite(value));
      if (!fits) throw new DataError('cache', { received: `${path}, which is of something else` });
      return { keys: [...keys], vectors: [vectors], complete: file.metadata.complete === 'true' };
    } finally {
      file.close();
    }
  } catch (error) {
    if (!(error instanceof HopgradError)) throw error;
    say(`Embeddings are computed again: ${error.message}`, output);
    return nothing;
  }
}

function join32(parts: readonly Float32Array[]): Float32Array {
  if (parts.length === 1) return parts[0]!;
  const joined = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new DataError('cache', {
      received: `${path}: ${(error as Error).message}`,
      expected: 'a writable folder',
      hint: 'Name another with --cache.',
    });
  }
}
