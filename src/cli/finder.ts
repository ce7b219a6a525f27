/** Searching an index: by words, by a picture, by both. */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { ImageInput } from '../data/decode.js';
import { prepare } from '../data/preparer.js';
import { normaliser } from '../data/transforms.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { DataError } from '../tensor/errors.js';
import type { ReadyModel } from './model.js';
import { Nearest } from './nearest.js';
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
 * e the embedding of the words, of the picture, or of both; v_i the unit vectors of the index. What is found are the best for
 * certain: see {@link Nearest} (docs/search.md has the times).
 */
export class Finder {
  readonly #nearest: Nearest;
  readonly index: Omit<PictureIndex, 'vectors'>;

  /** @throws DataError when the vectors are not the model's */
  constructor(
    index: PictureIndex,
    readonly ready: ReadyModel,
  ) {
    const { vectors, ...rest } = index;
    const { dim } = rest;
    this.index = rest;
    const own = ready.model.config.embed_dim;
    if (own !== dim)
      throw new DataError('search', {
        received: `vectors of ${dim} numbers in the index, of ${own} from ${ready.path}`,
        expected: 'an index made with the same model',
      });
    this.#nearest = new Nearest(vectors, dim);
  }

  /** The `top` best, best first; a picture of the index does not find itself. @throws DataError for a picture that cannot be read */
  async find({ words, picture, like }: Query, top: number): Promise<Match[]> {
    const pixels = picture && (await this.#pixels(picture));
    const { model, tokenizer } = this.ready;
    const query = noGrad(() =>
      scoped(() => {
        const parts: Tensor[] = [];
        if (words !== undefined) parts.push(embedTexts(model, tokenizer, [words]));
        if (pixels) parts.push(model.encodeImage(pixels));
        if (like !== undefined) parts.push(this.#vector(like));
        return parts
          .map((part) => part.l2Normalize())
          .reduce((sum, part) => sum.add(part))
          .l2Normalize();
      }),
    );
    const values = await query.data();
    query.dispose();
    pixels?.dispose();
    const found = this.#nearest.find(values, top + (like === undefined ? 0 : 1)).filter(({ at }) => at !== like);
    return found
      .slice(0, top)
      .map(({ at, product }) => ({ at, name: this.index.pictures[at]!.name, similarity: product }));
  }

  /** The embedding of a picture of the index, [1, dim]. */
  #vector(at: number): Tensor {
    const { vectors, dim } = this.#nearest;
    return tensor(vectors.slice(at * dim, (at + 1) * dim), {
      shape: [1, dim],
      device: this.ready.model.logit_inv_tau.device,
    });
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
