/** Embeddings of the pictures of any source, with what belongs to them: the one way from pictures to vectors. */
import { createHash } from 'node:crypto';
import { tensor, zeros } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { type Batch, Loader, type LoaderOptions } from '../data/loader.js';
import type { Source } from '../data/source.js';
import { Group } from '../distributed/group.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { type CloobConfig, type Colour, type Preprocessing, preprocessing } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
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
  /** Those among whom the pictures are divided; all get the same. Default: this process does all. */
  ranks?: Group;
}

/** A row of a batch, without its picture. */
export interface BatchRow {
  name: string;
  caption: string;
  label: number;
  index: number;
  /** Of the pixels that the model saw. */
  digest: string;
}

export interface PictureEncoder {
  loader: Loader;
  /** The features of a batch, [of, dim], as the image encoder gives them, and its rows: those of all ranks, in their order. */
  encode(batch: Batch): { features: Tensor; rows: BatchRow[] };
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
    ranks = new Group(),
    ...options
  }: Omit<EmbedOptions, 'limit' | 'onProgress'> & Partial<LoaderOptions>,
): PictureEncoder {
  model.eval();
  const transform = shownAs(model.config, { background });
  const { device } = model.logit_inv_tau;
  const side = transform.size;
  return {
    loader: new Loader(source, { ...options, batchSize, transform, log, ranks }),
    encode(batch) {
      const { images, count, places } = batch;
      const own = noGrad(() =>
        scoped(() =>
          count === 0
            ? zeros([0, model.config.embed_dim], { device })
            : model.encodeImage(tensor(images, { shape: [count, 3, side, side], device })),
        ),
      );
      if (ranks.size === 1) return { features: own, rows: rowsOf(batch) };
      const found = ranks.gatherJson(rowsOf(batch).map((row, i) => ({ place: places[i]!, row }))).flat();
      const order = [...found.keys()].sort((a, b) => found[a]!.place - found[b]!.place);
      const features = scoped(() => ranks.joinRows(own).gather(tensor(Int32Array.from(order), { device })));
      own.dispose();
      return { features, rows: order.map((at) => found[at]!.row) };
    },
  };
}

const rowsOf = ({ images, count, captions, labels, names, indices }: Batch): BatchRow[] => {
  const length = images.length / count;
  return names.map((name, i) => ({
    ...{ name, caption: captions[i]!, label: labels[i]!, index: indices[i]! },
    digest: digestOf(images.subarray(i * length, (i + 1) * length)),
  }));
};

/** Unit embeddings of texts, [texts, dim], divided among ranks. */
export function embedTextsOn(
  ranks: Group | undefined,
  model: CloobModel,
  tokenizer: ClipTokenizer,
  texts: readonly string[],
): Tensor {
  if (!ranks || ranks.size === 1) return embedTexts(model, tokenizer, texts);
  const share = Math.ceil(texts.length / ranks.size);
  const mine = texts.slice(ranks.rank * share, (ranks.rank + 1) * share);
  const { device } = model.logit_inv_tau;
  const own = mine.length === 0 ? zeros([0, model.config.embed_dim], { device }) : embedTexts(model, tokenizer, mine);
  const all = scoped(() => ranks.joinRows(own));
  own.dispose();
  return all;
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
  const found: BatchRow[] = [];
  const total = source.size === undefined ? undefined : Math.min(limit, source.size);
  try {
    for await (const batch of loader.batches({ epoch: 0 })) {
      const { features, rows } = encode(batch);
      parts.push(features);
      found.push(...rows);
      onProgress(found.length, total);
      if (found.length >= limit) break;
    }
    found.length = Math.min(limit, found.length);
    return {
      features: noGrad(() => scoped(() => concat(parts).slice([[0, found.length]]))),
      captions: found.map(({ caption }) => caption),
      labels: found.map(({ label }) => label),
      names: found.map(({ name }) => name),
      indices: found.map(({ index }) => index),
      digests: found.map(({ digest }) => digest),
      bad: loader.badRows,
    };
  } finally {
    for (const part of parts) part.dispose();
    await loader.close();
  }
}

const digestOf = (pixels: Float32Array) => createHash('sha1').update(bytesOf(pixels)).digest('base64');
