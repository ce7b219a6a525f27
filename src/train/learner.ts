/** What is trained, and what it is fed: pictures and words, or rows of tables where a tower is not trained. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import type { EmbeddingPairs, EmbeddingTable } from '../data/embeddings.js';
import type { Batch } from '../data/loader.js';
import { checkCaptions } from '../data/source.js';
import type { WriteOptions } from '../formats/safetensors.js';
import { saveCheckpoint } from '../models/cloob/checkpoint.js';
import { type HeadsModel, saveHeads } from '../models/cloob/heads.js';
import type { CloobModel, EncodeOptions } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import type { TwoTowers } from '../models/cloob/two-towers.js';

/** What a batch is to both sides: pixels and token ids, or rows of tables. */
export interface Inputs {
  image: Tensor;
  text: Tensor;
}

/** Unit embeddings, [batch, embed_dim] each. */
export interface Embedded {
  images: Tensor;
  texts: Tensor;
}

export interface Learner {
  readonly model: TwoTowers;
  /** @param device default the model's @throws DataError for a picture without words */
  inputs(batch: Batch, device?: string): Inputs;
  encode(inputs: Inputs, options: EncodeOptions): Embedded;
  /** How often a step of so many pairs calls `onPiece`: forward and, of what is trained, backward; 0 in one piece. */
  pieces(count: number, microBatch: number | null): number;
  /** Writes the weights, with all that using them needs. @throws DataError, DomainError */
  save(path: string, metadata: Record<string, string>, options?: WriteOptions): Promise<void>;
}

/** Encoders of pictures and words; of a locked one a table may stand for what it gives. */
export class PictureLearner implements Learner {
  readonly model: CloobModel;
  readonly tokenizer: ClipTokenizer;
  readonly #tables: Partial<Tables>;

  constructor({
    model,
    tokenizer,
    tables = {},
  }: { model: CloobModel; tokenizer: ClipTokenizer; tables?: Partial<Tables> }) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.#tables = tables;
  }

  inputs({ images, captions, count, names, indices }: Batch, device: string = this.model.logit_inv_tau.device): Inputs {
    const { image_resolution: size, context_length: contextLength } = this.model.config;
    const { dtype } = this.model.logit_inv_tau;
    checkCaptions(captions, names);
    const tokens = () =>
      tensor(this.tokenizer.tokenize(captions, { contextLength }), { shape: [count, contextLength], device });
    return {
      image:
        this.#tables.image?.rows(indices, device) ?? tensor(images, { shape: [count, 3, size, size], dtype, device }),
      text: this.#tables.text?.rows(captions, device) ?? tokens(),
    };
  }

  encode({ image, text }: Inputs, options: EncodeOptions): Embedded {
    const { model } = this;
    const { image: images, text: texts } = this.#tables;
    return {
      images: (images ? model.imagesFrom(image) : model.encodeImage(image, options)).l2Normalize(),
      texts: (texts ? model.textsFrom(text) : model.encodeText(text, options)).l2Normalize(),
    };
  }

  pieces(count: number, microBatch: number | null): number {
    if (microBatch === null || microBatch >= count) return 0;
    const { image, text } = this.#tables;
    const encoders = [...(image ? [] : [this.model.visual]), ...(text ? [] : [this.model.transformer])];
    const passes = encoders.map((encoder) => (encoder.parameters().some((p) => p.requiresGrad) ? 2 : 1));
    return Math.ceil(count / microBatch) * passes.reduce((sum, own) => sum + own, 0);
  }

  save(path: string, metadata: Record<string, string>, options: WriteOptions = {}): Promise<void> {
    const { model, tokenizer } = this;
    return saveCheckpoint(path, { model, tokenizer, metadata, ...options });
  }
}

/** By row of the data for images, by caption for texts. */
export interface Tables {
  image: EmbeddingTable;
  text: EmbeddingTable;
}

/** Heads on embeddings from elsewhere. */
export class HeadsLearner implements Learner {
  readonly model: HeadsModel;
  readonly #pairs: EmbeddingPairs;

  constructor(model: HeadsModel, pairs: EmbeddingPairs) {
    this.model = model;
    this.#pairs = pairs;
  }

  inputs({ indices }: Batch, device: string = this.model.logit_inv_tau.device): Inputs {
    const { images, texts } = this.#pairs;
    return { image: images.rows(indices, device), text: texts.rows(indices, device) };
  }

  encode({ image, text }: Inputs): Embedded {
    return { images: this.model.imagesFrom(image).l2Normalize(), texts: this.model.textsFrom(text).l2Normalize() };
  }

  pieces(): number {
    return 0;
  }

  save(path: string, metadata: Record<string, string>, options: WriteOptions = {}): Promise<void> {
    return saveHeads(path, { model: this.model, metadata, ...options });
  }
}
