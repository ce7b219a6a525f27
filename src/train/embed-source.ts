/** Embeddings of the pictures of any source, with what belongs to them: the one way from pictures to vectors. */
import { createHash } from 'node:crypto';
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { type Batch, Loader, type LoaderOptions } from '../data/loader.js';
import type { Source } from '../data/source.js';
import { type CloobConfig, type Colour, type Preprocessing, preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import { bytesOf } from '../tensor/bytes.js';
import { DomainError } from '../tensor/errors.js';
import { say } from './progress.js';

export interface EmbeddedPictures {
  /** [rows, dim], as the image encoder gives them. */
  features: Tensor;
  captions: string[];
  /** Classes; −1 for rows without one. */
  labels: number[];
  /** What a person can find each row by. */
  names: string[];
  /** The rows' own numbers in the source. */
  indices: number[];
  /** Of the pixels that the model saw: rows of one picture have the same, whatever file it came from. */
  digests: string[];
  /** Rows that could not be used, and why. */
  bad: ReadonlyMap<string, string>;
}

export interface EmbedOptions extends Pick<LoaderOptions, 'workers' | 'maxBadShare'> {
  batchSize?: number;
  /** Where skipped rows are reported. Default the terminal, above the bar. */
  log?: (message: string) => void;
  /** Under transparent parts, instead of what the model's configuration names; null: opacity is dropped. */
  background?: Colour | null;
  /** Only this many rows, drawn at random. */
  limit?: number;
  onProgress?: (done: number, total: number | undefined) => void;
}

export interface PictureEncoder {
  loader: Loader;
  /** The features of a batch, [count, dim], as the image encoder gives them. */
  encode(batch: Batch): Tensor;
}

/** How a model of this configuration is shown pictures, as far as the options do not say otherwise. */
export const shownAs = (config: CloobConfig, { background }: Pick<EmbedOptions, 'background'>): Preprocessing => ({
  ...preprocessing(config),
  ...(background !== undefined && { background }),
});

/** Reads a source as the model wants to be shown it ({@link embedSource}), batch by batch. Close the loader when done. */
export function pictureEncoder(
  model: CloobModel,
  source: Source,
  {
    batchSize = 64,
    log = say,
    background,
    ...options
  }: Omit<EmbedOptions, 'limit' | 'onProgress'> & Partial<LoaderOptions>,
): PictureEncoder {
  model.eval();
  const transform = shownAs(model.config, { background });
  const { device } = model.logit_inv_tau;
  const side = transform.size;
  return {
    loader: new Loader(source, { ...options, batchSize, transform, log }),
    encode: ({ images, count }) =>
      noGrad(() => scoped(() => model.encodeImage(tensor(images, { shape: [count, 3, side, side], device })))),
  };
}

/**
 * Embeds all usable pictures of a source, resized and cropped as the official evaluation does, with the mean, deviation and
 * background that the model's configuration names. The model is put into evaluation mode.
 * @throws DataError when the source has no usable rows or too many bad ones; DomainError for a limit below 1
 */
export async function embedSource(
  model: CloobModel,
  source: Source,
  { limit = Infinity, onProgress = () => {}, ...options }: EmbedOptions = {},
): Promise<EmbeddedPictures> {
  if (!(limit >= 1))
    throw new DomainError('embed', { received: `a limit of ${limit}`, expected: 'at least 1 picture' });
  const { loader, encode } = pictureEncoder(model, source, { shuffle: limit !== Infinity, ...options });
  const parts: Tensor[] = [];
  const found = { captions: [] as string[], labels: [] as number[], names: [] as string[] };
  const own = { indices: [] as number[], digests: [] as string[] };
  const total = source.size === undefined ? undefined : Math.min(limit, source.size);
  try {
    for await (const batch of loader.batches({ epoch: 0 })) {
      const { images, count, captions, labels, names, indices } = batch;
      parts.push(encode(batch));
      found.captions.push(...captions);
      found.labels.push(...labels);
      found.names.push(...names);
      own.indices.push(...indices);
      const length = images.length / count;
      for (let i = 0; i < count; i++) own.digests.push(digestOf(images.subarray(i * length, (i + 1) * length)));
      onProgress(found.names.length, total);
      if (found.names.length >= limit) break;
    }
    const count = Math.min(limit, found.names.length);
    for (const list of [...Object.values(found), ...Object.values(own)]) list.length = count;
    return {
      features: noGrad(() => scoped(() => concat(parts).slice([[0, count]]))),
      ...found,
      ...own,
      bad: loader.badRows,
    };
  } finally {
    for (const part of parts) part.dispose();
    await loader.close();
  }
}

const digestOf = (pixels: Float32Array) => createHash('sha1').update(bytesOf(pixels)).digest('base64');
