/** Searching an index: by words, by a picture, by both. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { ImageInput } from '../data/decode.js';
import { prepare } from '../data/preparer.js';
import { normaliser } from '../data/transforms.js';
import { bestOf } from '../evaluate/ranks.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { DataError } from '../tensor/errors.js';
import type { ReadyModel } from './model.js';
import type { PictureIndex } from './picture-index.js';

export interface Query {
  words?: string | undefined;
  /** A picture that need not be in the index. */
  picture?: ImageInput | undefined;
  /** A picture of the index, by its place. */
  like?: number | undefined;
}

export interface Match {
  /** Its place in the index. */
  at: number;
  name: string;
  /** Cosine of picture and query, −1 … 1. */
  similarity: number;
}

/**
 * The pictures of an index by their cosine to a query:
 *
 *     q = norm(Σ norm(e)),   s_i = ⟨v_i, q⟩
 *
 * e the embedding of the words, of the picture, or of both; v_i the unit vectors of the index. Every picture is compared: one
 * product of [pictures, dim] with [dim], which finds the best for certain (docs/search.md has the times).
 */
export class Finder {
  readonly #vectors: Tensor;
  /** Without the vectors, which are on the device: twice in memory is too much for a million. */
  readonly index: Omit<PictureIndex, 'vectors'>;

  /** @throws DataError when the vectors are not the model's */
  constructor(
    index: PictureIndex,
    readonly ready: ReadyModel,
  ) {
    const { vectors, ...rest } = index;
    const { pictures, dim } = rest;
    this.index = rest;
    const own = ready.model.config.embed_dim;
    if (own !== dim)
      throw new DataError('search', {
        received: `vectors of ${dim} numbers in the index, of ${own} from ${ready.path}`,
        expected: 'an index made with the same model',
      });
    this.#vectors = tensor(vectors, { shape: [pictures.length, dim], device: ready.model.logit_inv_tau.device });
  }

  /** The `top` best, best first; a picture of the index does not find itself. @throws DataError for a picture that cannot be read */
  async find({ words, picture, like }: Query, top: number): Promise<Match[]> {
    const pixels = picture && (await this.#pixels(picture));
    const { model, tokenizer } = this.ready;
    const scores = noGrad(() =>
      scoped(() => {
        const parts: Tensor[] = [];
        if (words !== undefined) parts.push(embedTexts(model, tokenizer, [words]));
        if (pixels) parts.push(model.encodeImage(pixels));
        if (like !== undefined) parts.push(this.#vectors.slice([[like, like + 1]]));
        const query = parts.map((part) => part.l2Normalize()).reduce((sum, part) => sum.add(part));
        return this.#vectors.matmul(query.l2Normalize(), { transposeB: true });
      }),
    );
    const values = await scores.data();
    scores.dispose();
    pixels?.dispose();
    const found = bestOf(values, top + (like === undefined ? 0 : 1)).filter((at) => at !== like);
    return found.slice(0, top).map((at) => ({ at, name: this.index.pictures[at]!.name, similarity: values[at]! }));
  }

  /** A picture as those of the index were shown, [1, 3, S, S]. */
  async #pixels(image: ImageInput): Promise<Tensor> {
    const transform = this.index.shown;
    const prepared = await prepare({ image, transform });
    if ('error' in prepared)
      throw new DataError('search', { received: prepared.error, expected: 'a picture to search with' });
    const values = new Float32Array(prepared.pixels.length);
    normaliser(transform)(prepared.pixels, values, 0);
    return tensor(values, {
      shape: [1, 3, transform.size, transform.size],
      device: this.ready.model.logit_inv_tau.device,
    });
  }
}
