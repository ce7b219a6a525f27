/** Embeddings that were computed elsewhere: files of a row a picture or text, and both kinds as pairs. */
import { createHash } from 'node:crypto';
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { distinct } from '../evaluate/ranks.js';
import { openNpy } from '../formats/npy.js';
import { openSafetensors } from '../formats/safetensors.js';
import type { StoredTensor } from '../formats/stored.js';
import { bytesOf } from '../tensor/bytes.js';
import { DataError, printable } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { epochOrder, type Row, type Source } from './source.js';

const op = 'embeddings';

/** A table of vectors: what stands for a tower that is not trained. */
export class EmbeddingTable {
  readonly dim: number;
  readonly #values: Float32Array;
  readonly #keys: readonly (number | string)[] | null;
  readonly #places: ReadonlyMap<number | string, number> | null;

  /**
   * @param values [count, dim], row-major
   * @param keys   what each row is of: numbers of rows, or captions. Default 0, 1, …
   */
  constructor(values: Float32Array, dim: number, keys?: readonly (number | string)[]) {
    this.dim = dim;
    this.#values = values;
    this.#keys = keys ?? null;
    this.#places = keys ? new Map(keys.map((key, place) => [key, place])) : null;
  }

  get count(): number {
    return this.#values.length / this.dim;
  }

  has(key: number | string): boolean {
    return this.#places ? this.#places.has(key) : (key as number) < this.count;
  }

  /** The same vectors under other keys. */
  renamed(name: (key: number) => string): EmbeddingTable {
    const keys = this.#keys ?? Array.from({ length: this.count }, (_, place) => place);
    return new EmbeddingTable(
      this.#values,
      this.dim,
      keys.map((key) => name(key as number)),
    );
  }

  /** The vectors of some keys: [keys, dim] on a device. @throws DataError for a key that is not there */
  rows(keys: readonly (number | string)[], device: string): Tensor {
    const { dim } = this;
    const found = new Float32Array(keys.length * dim);
    for (const [i, key] of keys.entries()) {
      if (!this.has(key))
        throw new DataError(op, {
          received: `${typeof key === 'string' ? `the caption ${printable(key)}` : `row ${key}`} and no vector of it`,
          expected: `one of ${this.count}`,
        });
      const place = this.#places ? this.#places.get(key)! : (key as number);
      found.set(this.#values.subarray(place * dim, (place + 1) * dim), i * dim);
    }
    return tensor(found, { shape: [keys.length, dim], device });
  }

  /** For each row the first that has the same numbers: one picture may stand in several pairs. */
  same(): { of: number[]; firsts: number[] } {
    const { dim, count } = this;
    const digest = (row: number) =>
      createHash('sha1')
        .update(bytesOf(this.#values.subarray(row * dim, (row + 1) * dim)))
        .digest('base64');
    return distinct(Array.from({ length: count }, (_, row) => digest(row)));
  }
}

/** Whether a file is one that {@link readEmbeddings} reads, by its name. */
export const isEmbeddings = (path: string) => /\.(npy|safetensors)$/i.test(path);

/**
 * Reads embeddings, a row each: `.npy` (numpy.save), or `.safetensors` with one matrix, or one called `embeddings`, as
 * `hopgrad embed` writes. All become float32.
 * @throws DataError for files of anything else, and numbers that are not finite, by row
 */
export function readEmbeddings(path: string): EmbeddingTable {
  const fail = (received: string, expected: string): never => {
    throw new DataError(op, { received: `${path}: ${received}`, expected });
  };
  const asTable = ({ shape, read }: StoredTensor): EmbeddingTable => {
    const [count, dim] = shape;
    if (shape.length !== 2 || !count || !dim) return fail(`shape ${formatShape(shape)}`, '[rows, numbers a row]');
    const stored = read();
    const values = stored instanceof Float32Array ? stored : new Float32Array(stored); // what float32 cannot hold becomes infinite, and is refused
    const at = values.findIndex((value) => !Number.isFinite(value));
    if (at >= 0)
      fail(`row ${Math.floor(at / dim)} (from 0) has ${values[at]} in column ${at % dim}`, 'finite numbers of float32');
    return new EmbeddingTable(values, dim);
  };
  if (/\.npy$/i.test(path)) {
    const file = openNpy(path);
    try {
      return asTable(file);
    } finally {
      file.close();
    }
  }
  if (!/\.safetensors$/i.test(path)) fail('a file of another kind', '.npy or .safetensors');
  const file = openSafetensors(path);
  try {
    const matrices = [...file.tensors].filter(([, { shape }]) => shape.length === 2);
    const chosen = file.tensors.get('embeddings') ?? (matrices.length === 1 ? matrices[0]![1] : undefined);
    const names = [...file.tensors.keys()].slice(0, 5).map((name) => printable(name));
    return asTable(chosen ?? fail(`the tensors ${names.join(', ')}`, 'one matrix, or one called embeddings'));
  } finally {
    file.close();
  }
}

/** Embeddings of pictures and of texts, row by row. */
export interface EmbeddingPairs {
  images: EmbeddingTable;
  texts: EmbeddingTable;
}

/** Reads both sides. @throws DataError what {@link readEmbeddings} throws, and for sides of different length */
export function readEmbeddingPairs(imagePath: string, textPath: string): EmbeddingPairs {
  const [images, texts] = [readEmbeddings(imagePath), readEmbeddings(textPath)];
  if (images.count !== texts.count)
    throw new DataError(op, {
      received: `${images.count} rows in ${imagePath} and ${texts.count} in ${textPath}`,
      expected: 'as many: row i of both are a pair',
    });
  return { images, texts };
}

/** Pairs as rows without pictures. Those of one picture are a group. */
export function embeddingSource(name: string, { images }: EmbeddingPairs): Source & { size: number } {
  const { of } = images.same();
  return {
    name,
    size: images.count,
    *rows(order): Generator<Row> {
      for (const index of epochOrder(images.count, order))
        yield { index, name: `row ${index} of ${name}`, image: nothing, group: of[index]! };
    },
  };
}

const nothing = { bytes: new Uint8Array() };
