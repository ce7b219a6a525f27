/**
 * What looking at neighbours reaches: no text encoder, only the training pictures that are most alike. By raw pixels, or by
 * histograms of oriented gradients (hog.ts), it is the bar that training must clear; by trained embeddings it is the same method with better eyes.
 */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { bestOf, rankOf } from './ranks.js';

/** Scores of every query for every candidate, row-major [n, n]; query i's partner is candidate i. */
export interface Scores {
  n: number;
  data: Float64Array;
}

/** Ranks of the partners ({@link rankOf}): of candidates for each query, and of queries for each candidate. */
export function ranksBothWays({ n, data }: Scores): { forward: Int32Array; backward: Int32Array } {
  const column = (j: number) => Float64Array.from({ length: n }, (_, i) => data[i * n + j]!);
  return {
    forward: Int32Array.from({ length: n }, (_, i) => rankOf(data.subarray(i * n, (i + 1) * n), [i])),
    backward: Int32Array.from({ length: n }, (_, j) => rankOf(column(j), [j])),
  };
}

/**
 * Raw pixels as vectors whose products are centred cosines: each picture minus its own mean, at unit length.
 * @param pixels [count, dim], row-major
 * @returns [count, dim]
 */
export function pixelFeatures(pixels: ArrayLike<number>, count: number): Tensor {
  return noGrad(() =>
    scoped(() => {
      const x = tensor(Float32Array.from(pixels), { shape: [count, pixels.length / count] });
      return x.sub(x.mean({ axis: 1, keepDims: true })).l2Normalize();
    }),
  );
}

/** Calls `visit` with every query's cosines to all known pictures; features are unit vectors, [rows, dim]. */
async function eachSimilarity(
  known: Tensor,
  queries: Tensor,
  visit: (query: number, similarities: ArrayLike<number>) => void,
): Promise<void> {
  const chunk = 256; // queries at a time: memory stays bounded
  const [count, width] = [queries.shape[0]!, known.shape[0]!];
  for (let start = 0; start < count; start += chunk) {
    const end = Math.min(count, start + chunk);
    const cosines = noGrad(() => scoped(() => queries.slice([[start, end]]).matmul(known, { transposeB: true })));
    const values = await cosines.data(); // [end − start, known]
    cosines.dispose();
    for (let i = start; i < end; i++) visit(i, values.subarray((i - start) * width, (i - start + 1) * width));
  }
}

/** Pictures by their features, unit vectors [rows, dim], with something about each. */
export interface Described<T> {
  features: Tensor;
  about: readonly T[];
}

/**
 * Picture → concept by the most similar known picture: score_ij is the largest cosine of query i to a known picture of
 * query j's concept (−1 when there is none). The concepts of the queries are distinct.
 */
export async function neighbourScores(known: Described<number>, queries: Described<number>): Promise<Scores> {
  const n = queries.about.length;
  const scores = { n, data: new Float64Array(n * n).fill(-1) };
  const column = new Map(queries.about.map((concept, j) => [concept, j]));
  const columns = known.about.map((concept) => column.get(concept));
  await eachSimilarity(known.features, queries.features, (i, similarities) => {
    columns.forEach((j, k) => {
      if (j !== undefined) scores.data[i * n + j] = Math.max(scores.data[i * n + j]!, similarities[k]!);
    });
  });
  return scores;
}

const wordsOf = (text: string) => new Set(text.toLowerCase().match(/\p{L}+/gu) ?? []);

/** ln(documents / (1 + documents with the word)), never below 0. */
function inverseFrequency(documents: readonly Set<string>[]): (word: string) => number {
  const frequency = new Map<string, number>();
  for (const document of documents) for (const word of document) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  return (word) => Math.max(0, Math.log(documents.length / (1 + (frequency.get(word) ?? 0))));
}

/**
 * Pictures → captions by word overlap: the words of the 10 most similar known pictures, weighted by similarity and inverse
 * document frequency (tf-idf), against the words of each candidate caption.
 * @param known    with all the words about each picture
 * @param queries  features of pictures, [n, dim]
 * @param captions the candidates
 * @returns [n, captions], row-major
 */
export async function captionScores(
  known: Described<string>,
  queries: Tensor,
  captions: readonly string[],
): Promise<Float64Array> {
  const width = captions.length;
  const scores = new Float64Array(queries.shape[0]! * width);
  const documents = known.about.map(wordsOf);
  const weight = inverseFrequency(documents);
  const candidates = captions.map(wordsOf);
  const norms = candidates.map((words) => Math.sqrt([...words].reduce((sum, word) => sum + weight(word) ** 2, 0)) || 1);
  await eachSimilarity(known.features, queries, (i, similarities) => {
    const bag = new Map<string, number>();
    for (const k of bestOf(similarities, 10))
      for (const word of documents[k]!) bag.set(word, (bag.get(word) ?? 0) + similarities[k]! * weight(word));
    candidates.forEach((words, j) => {
      scores[i * width + j] =
        [...words].reduce((sum, word) => sum + (bag.get(word) ?? 0) * weight(word), 0) / norms[j]!;
    });
  });
  return scores;
}

/** {@link captionScores} of queries with the caption of each, which are the candidates. */
export async function neighbourCaptionScores(known: Described<string>, queries: Described<string>): Promise<Scores> {
  return { n: queries.about.length, data: await captionScores(known, queries.features, queries.about) };
}
