/** Embedded pictures in a file: made by `hopgrad embed`, searched by `hopgrad search`. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { readSafetensors, writeSafetensors } from '../formats/safetensors.js';
import { DataError } from '../tensor/errors.js';
import { embedSource } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import { openData, type TableFlags } from './data.js';
import type { ReadyModel } from './model.js';

export interface PictureIndex {
  /** Unit vectors, [pictures, dim]. */
  embeddings: Tensor;
  /** Path or name of every picture. */
  names: string[];
  /** The weights that made the vectors. */
  checkpoint: string;
}

/** Embeds what `pictures` names. @throws DataError */
export async function embedPictures(pictures: string, flags: TableFlags, ready: ReadyModel): Promise<PictureIndex> {
  const source = await openData(pictures, flags);
  const tolerance = flags.maxBadShare === undefined ? {} : { maxBadShare: flags.maxBadShare };
  const { features, names } = await withProgress('Embedding pictures', source.size, ({ update }) =>
    embedSource(ready.model, source, { ...tolerance, onProgress: (done) => update(done) }),
  );
  return { embeddings: noGrad(() => features.l2Normalize()), names, checkpoint: resolve(ready.path) };
}

export async function writeIndex(path: string, { embeddings, names, checkpoint }: PictureIndex): Promise<void> {
  await writeSafetensors(path, { embeddings }, { names: JSON.stringify(names), checkpoint });
}

/** @throws DataError when the file is missing or no index */
export function readIndex(path: string): PictureIndex {
  if (!existsSync(path))
    throw new DataError('search', {
      received: `no index ${path}`,
      expected: 'a file that hopgrad embed wrote',
      hint: 'Make one (hopgrad embed FOLDER), or name the pictures with --images.',
    });
  const { tensors, metadata } = readSafetensors(path);
  const { embeddings } = tensors;
  if (!embeddings || !metadata.names || !metadata.checkpoint)
    throw new DataError('search', {
      received: `${path} without embeddings`,
      expected: 'a file that hopgrad embed wrote',
    });
  return { embeddings, names: JSON.parse(metadata.names) as string[], checkpoint: metadata.checkpoint };
}
