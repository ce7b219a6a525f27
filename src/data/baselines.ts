/**
 * What looking at neighbours reaches on the test sets. By raw pixels it is the bar that training must clear; by trained
 * embeddings it is the same method with better eyes.
 */
import { tensor } from '../autograd/create.js';
import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Images } from './rasterise.js';

/** Scores of every query for every candidate, row-major [n, n]; query i's partner is candidate i. */
export interface Scores {
  n: number;
  data: Float64Array;
}

/**
 * Ranks of the partners, 0 being first: of candidates for each query, and of queries for each candidate. Ties count
 * against the method.
 */
export function ranksBothWays({ n, data }: Scores): { forward: Int32Array; backward: Int32Array } {
  const forward = new Int32Array(n).fill(-1); // the partner itself is counted below
  const backward = new Int32Array(n).fill(-1);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) {
      if (!(data[i * n + j]! < data[i * n + i]!)) forward[i]!++;
      if (!(data[i * n + j]! < data[j * n + j]!)) backward[j]!++;
    }
  return { forward, backward };
}

/** Unit vectors of pictures, [rows, dim], by whose cosines neighbours are found. */
export type Features = (rows: readonly number[]) => Tensor;

/** Raw pixels, each picture minus its own mean: dim = 3 · size². */
export function pixelFeatures(images: Images): Features {
  return (rows) => centred(images, rows);
}

function centred({ data, size }: Images, rows: readonly number[]): Tensor {
  const length = 3 * size * size;
  const pixels = new Float32Array(rows.length * length);
  rows.forEach((row, i) => {
    pixels.set(data.subarray(row * length, (row + 1) * length), i * length);
  });
  const x = tensor(pixels, { shape: [rows.length, length] });
  return x.sub(x.mean({ axis: 1, keepDims: true })).l2Normalize();
}

/** Calls `visit` with every query's cosines to all training pictures. */
async function eachSimilarity(
  features: Features,
  train: readonly number[],
  queries: readonly number[],
  visit: (query: number, similarities: ArrayLike<number>) => void,
): Promise<void> {
  const chunk = 256; // queries at a time: memory stays bounded
  const known = noGrad(() => scoped(() => features(train)));
  for (let start = 0; start < queries.length; start += chunk) {
    const rows = queries.slice(start, start + chunk);
    const cosines = noGrad(() => scoped(() => features(rows).matmul(known, { transposeB: true }))); // [chunk, train]
    const values = await cosines.data();
    cosines.dispose();
    for (let i = 0; i < rows.length; i++) visit(start + i, values.subarray(i * train.length, (i + 1) * train.length));
  }
  known.dispose();
}

/**
 * Picture → concept by the most similar training picture: score_ij is the largest cosine of query i to a training
 * picture of query j's concept (−1 when there is none).
 * @param conceptOf concept of a row; the queries' concepts are distinct
 */
export async function neighbourScores(
  features: Features,
  train: readonly number[],
  queries: readonly number[],
  conceptOf: (row: number) => number,
): Promise<Scores> {
  const n = queries.length;
  const scores = { n, data: new Float64Array(n * n).fill(-1) };
  const column = new Map(queries.map((row, j) => [conceptOf(row), j]));
  const columns = train.map((row) => column.get(conceptOf(row)));
  await eachSimilarity(features, train, queries, (i, similarities) => {
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
 * Picture → caption by word overlap: the words of the 10 most similar training pictures, weighted by similarity and
 * inverse document frequency, against the words of each candidate caption.
 * @param trainText all the words about a training picture
 * @param captions  candidates, caption i belonging to query i
 */
export async function neighbourCaptionScores(
  features: Features,
  train: readonly number[],
  queries: readonly number[],
  trainText: (row: number) => string,
  captions: readonly string[],
): Promise<Scores> {
  const n = queries.length;
  const scores = { n, data: new Float64Array(n * n) };
  const documents = train.map((row) => wordsOf(trainText(row)));
  const weight = inverseFrequency(documents);
  const candidates = captions.map(wordsOf);
  const norms = candidates.map((words) => Math.sqrt([...words].reduce((sum, word) => sum + weight(word) ** 2, 0)) || 1);
  await eachSimilarity(features, train, queries, (i, similarities) => {
    const nearest = documents
      .map((_, k) => k)
      .sort((a, b) => similarities[b]! - similarities[a]!)
      .slice(0, 10);
    const bag = new Map<string, number>();
    for (const k of nearest)
      for (const word of documents[k]!) bag.set(word, (bag.get(word) ?? 0) + similarities[k]! * weight(word));
    candidates.forEach((words, j) => {
      scores.data[i * n + j] =
        [...words].reduce((sum, word) => sum + (bag.get(word) ?? 0) * weight(word), 0) / norms[j]!;
    });
  });
  return scores;
}
