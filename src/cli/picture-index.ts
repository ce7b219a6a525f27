/** Embedded pictures in a file: made by `hopgrad embed`, searched by `hopgrad search`. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { type DataRequest, type DataSpec, openData } from '../data/open.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { DataError } from '../tensor/errors.js';
import { type EmbedOptions, embedSource } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import { shownAs } from './data.js';
import type { ReadyModel } from './model.js';

export interface PictureIndex {
  /** Unit vectors, [pictures, dim]. */
  embeddings: Tensor;
  /** Path or name of every picture. */
  names: string[];
  /** Its row in the data. */
  rows: number[];
  /** The weights that made the vectors. */
  checkpoint: string;
  /** The pictures; null in an index that does not say. */
  data: DataSpec | null;
}

/** Embeds the pictures that `request` names. @throws DataError */
export async function embedPictures(
  request: DataRequest,
  options: EmbedOptions,
  { model, path }: ReadyModel,
): Promise<PictureIndex> {
  const { source, spec } = await openData(request, shownAs(model.config, options));
  const { features, names, indices } = await withProgress('Embedding pictures', source.size, ({ update }) =>
    embedSource(model, source, { ...options, onProgress: (done) => update(done) }),
  );
  const embeddings = noGrad(() => features.l2Normalize());
  features.dispose();
  return { embeddings, names, rows: indices, checkpoint: resolve(path), data: spec };
}

/** Writes an index, which {@link readIndex} reads. @throws DataError when it cannot be written */
export async function writeIndex(path: string, { embeddings, ...facts }: PictureIndex): Promise<void> {
  const { names, rows, checkpoint, data } = facts;
  await writeSafetensors(
    path,
    { embeddings },
    {
      names: JSON.stringify(names),
      rows: JSON.stringify(rows),
      checkpoint,
      ...(data && { data: JSON.stringify(data) }),
    },
  );
}

/** @throws DataError when the file is missing or no index */
export function readIndex(path: string): PictureIndex {
  if (!existsSync(path))
    throw new DataError('search', {
      received: `no index ${path}`,
      expected: 'a file that hopgrad embed wrote',
      hint: 'Make one (npx hopgrad embed FOLDER), or name the pictures with --images.',
    });
  const fail = (received: string): never => {
    throw new DataError('search', { received: `${path} ${received}`, expected: 'a file that hopgrad embed wrote' });
  };
  const { tensors, metadata } = readSafetensors(path);
  const { embeddings } = tensors;
  if (embeddings?.rank !== 2 || !metadata.names || !metadata.checkpoint) return fail('without embeddings');
  const parse = (key: string): unknown => {
    try {
      return JSON.parse(metadata[key] ?? 'null');
    } catch (error) {
      return fail(`with ${key} that are no JSON (${(error as Error).message})`);
    }
  };
  const list = <T>(key: string, ok: (value: unknown) => boolean): T[] => {
    const value = parse(key);
    if (Array.isArray(value) && value.length === embeddings.shape[0] && value.every(ok)) return value as T[];
    return fail(`without ${key} for its ${embeddings.shape[0]} vectors`);
  };
  return {
    embeddings,
    names: list<string>('names', (value) => typeof value === 'string'),
    rows: metadata.rows ? list<number>('rows', Number.isSafeInteger) : [],
    checkpoint: metadata.checkpoint,
    data: parse('data') as DataSpec | null,
  };
}
