/** Embeddings of the pictures of any source, with what belongs to them. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { Loader } from '../data/loader.js';
import type { Source } from '../data/source.js';
import type { CloobModel } from '../models/cloob/model.js';
import { say } from './progress.js';

export interface EmbeddedPictures {
  /** [rows, dim], as the image encoder gives them. */
  features: Tensor;
  captions: string[];
  /** Classes; −1 for rows without one. */
  labels: number[];
  /** What a person can find each row by. */
  names: string[];
  /** Rows that could not be used, and why. */
  bad: ReadonlyMap<string, string>;
}

export interface EmbedOptions {
  batchSize?: number;
  /** Largest tolerated share of bad rows. Default that of the loader. */
  maxBadShare?: number;
  /** Where skipped rows are reported. Default the terminal, above the bar. */
  log?: (message: string) => void;
  /** Only this many rows, drawn at random. */
  limit?: number;
  onProgress?: (done: number, total: number | undefined) => void;
}

/**
 * Embeds all usable pictures of a source, resized and cropped as the official evaluation does. The model is put into
 * evaluation mode.
 * @throws DataError when the source has no usable rows or too many bad ones
 */
export async function embedSource(
  model: CloobModel,
  source: Source,
  { batchSize = 64, maxBadShare, log = say, limit = Infinity, onProgress = () => {} }: EmbedOptions = {},
): Promise<EmbeddedPictures> {
  model.eval();
  const { image_resolution: size } = model.config;
  const { device } = model.logit_inv_tau;
  const loader = new Loader(source, {
    batchSize,
    transform: { size },
    shuffle: limit !== Infinity,
    ...(maxBadShare !== undefined && { maxBadShare }),
    log,
  });
  const parts: Tensor[] = [];
  const found = { captions: [] as string[], labels: [] as number[], names: [] as string[] };
  const total = source.size === undefined ? undefined : Math.min(limit, source.size);
  try {
    for await (const { images, count, captions, labels, names } of loader.epoch(0)) {
      const pixels = { shape: [count, 3, size, size], device };
      parts.push(noGrad(() => scoped(() => model.encodeImage(tensor(images, pixels)))));
      found.captions.push(...captions);
      found.labels.push(...labels);
      found.names.push(...names);
      onProgress(found.names.length, total);
      if (found.names.length >= limit) break;
    }
    const count = Math.min(limit, found.names.length);
    for (const list of Object.values(found)) list.length = count;
    return { features: noGrad(() => concat(parts).slice([[0, count]])), ...found, bad: loader.badRows };
  } finally {
    await loader.close();
  }
}
