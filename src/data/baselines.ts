/** What simple methods reach on the same test sets: the bar that training must clear. */
import type { Images } from './rasterise.js';

/** Images as centred unit vectors: each minus its own mean, divided by its norm. */
function centred({ data, size }: Images, rows: readonly number[]): Float32Array[] {
  const length = 3 * size * size;
  return rows.map((row) => {
    const vector = Float32Array.from(data.subarray(row * length, (row + 1) * length));
    const mean = vector.reduce((sum, v) => sum + v, 0) / length;
    let norm = 0;
    for (let i = 0; i < length; i++) {
      vector[i]! -= mean;
      norm += vector[i]! ** 2;
    }
    const scale = norm > 0 ? 1 / Math.sqrt(norm) : 0;
    for (let i = 0; i < length; i++) vector[i]! *= scale;
    return vector;
  });
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/**
 * Picture → concept by the most similar training picture (cosine of centred raw pixels): the rank of the right concept
 * among all, for each query, 0 being first.
 * @param conceptOf concept of a row of `images`
 */
export function pixelNeighbourRanks(
  images: Images,
  train: readonly number[],
  queries: readonly number[],
  conceptOf: (row: number) => number,
): number[] {
  const known = centred(images, train);
  return centred(images, queries).map((query, q) => {
    const best = new Map<number, number>();
    known.forEach((vector, i) => {
      const concept = conceptOf(train[i]!);
      best.set(concept, Math.max(best.get(concept) ?? -1, dot(query, vector)));
    });
    const own = best.get(conceptOf(queries[q]!)) ?? -1;
    let rank = 0;
    for (const similarity of best.values()) if (similarity > own) rank++;
    return rank;
  });
}

/**
 * Picture → caption by word overlap: the captions of the 10 most similar training pictures, each word weighted by
 * inverse document frequency, against each candidate caption. Ranks as above; ties count against the method.
 */
export function pixelCaptionRanks(
  images: Images,
  train: readonly number[],
  queries: readonly number[],
  captionOf: (row: number) => string,
): number[] {
  const words = (row: number) =>
    new Set(
      captionOf(row)
        .toLowerCase()
        .match(/\p{L}+/gu) ?? [],
    );
  const documents = train.map(words);
  const frequency = new Map<string, number>();
  for (const document of documents) for (const word of document) frequency.set(word, (frequency.get(word) ?? 0) + 1);
  const idf = (word: string) => Math.log(documents.length / (1 + (frequency.get(word) ?? 0)));
  const known = centred(images, train);
  const candidates = queries.map(words);
  const norms = candidates.map(
    (document) => Math.sqrt([...document].reduce((sum, word) => sum + idf(word) ** 2, 0)) || 1,
  );
  return centred(images, queries).map((query, q) => {
    const nearest = known
      .map((vector, i) => ({ i, similarity: dot(query, vector) }))
      .sort((a, b) => b.similarity - a.similarity)
      .slice(0, 10);
    const bag = new Map<string, number>();
    for (const { i, similarity } of nearest)
      for (const word of documents[i]!) bag.set(word, (bag.get(word) ?? 0) + similarity * idf(word));
    const scores = candidates.map(
      (document, k) => [...document].reduce((sum, word) => sum + (bag.get(word) ?? 0) * idf(word), 0) / norms[k]!,
    );
    return scores.filter((score, k) => k !== q && score >= scores[q]!).length;
  });
}
