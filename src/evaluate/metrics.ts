/** How well two lists of embeddings find each other: ranks and recall, in bounded memory. */

import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { chanceOfRecall, rankOf } from './ranks.js';

/** Recall and rank statistics of one direction of search. */
export interface RankMetrics {
  /** Queries. */
  count: number;
  /** Share of queries whose partner is among the first k, by k, in [0, 1]. */
  recall: Record<number, number>;
  /** Rank of the partner, 1 being first. */
  medianRank: number;
  meanRank: number;
}

/** How well partners are found, both ways. */
export interface RetrievalMetrics {
  imageToText: RankMetrics;
  textToImage: RankMetrics;
}

/** What retrieval is measured at, and what counts as found. */
export interface RetrievalOptions {
  /** Cut-offs, default 1, 5 and 10. */
  ks?: readonly number[];
  /** Rows of the similarity matrix that exist at a time. Default 1024. */
  chunk?: number;
  /**
   * Which image and which text belong together, where that is not row by row: a picture with five captions has five pairs.
   * Any text of an image is a right answer to it, any image of a text to that.
   */
  pairs?: readonly (readonly [image: number, text: number])[];
}

/**
 * Recall and rank statistics from ranks counted from 0.
 * @throws DomainError for cut-offs that are no whole numbers ≥ 1
 */
export function rankMetrics(ranks: ArrayLike<number>, ks: readonly number[] = [1, 5, 10]): RankMetrics {
  for (const k of ks)
    if (!Number.isInteger(k) || k < 1)
      throw new DomainError('rankMetrics', { received: `k = ${k}`, expected: 'whole numbers ≥ 1' });
  const sorted = Float64Array.from(ranks).sort();
  const count = sorted.length;
  const middle = (sorted[Math.floor((count - 1) / 2)]! + sorted[Math.floor(count / 2)]!) / 2;
  return {
    count,
    recall: Object.fromEntries(ks.map((k) => [k, count ? sorted.filter((rank) => rank < k).length / count : 0])),
    medianRank: count ? middle + 1 : Number.NaN,
    meanRank: count ? sorted.reduce((sum, rank) => sum + rank, 0) / count + 1 : Number.NaN,
  };
}

/**
 * Where each query finds its partner: rank_i = #{j ≠ i : s_ij ≥ s_ii}, 0 being first, s = queries · candidatesᵀ.
 *
 * Ties count against the model, so that embeddings which all coincide are worth nothing.
 * @param queries    [n, dim], unit length
 * @param candidates [n, dim], unit length; row i is the partner of query i
 * @param chunk      rows of s that exist at a time: memory is chunk × n
 * @returns n ranks
 * @throws ShapeError unless both are [n, dim]
 */
export async function partnerRanks(queries: Tensor, candidates: Tensor, chunk = 1024): Promise<Int32Array> {
  if (queries.rank !== 2 || formatShape(queries.shape) !== formatShape(candidates.shape))
    throw new ShapeError('partnerRanks', {
      received: `shapes ${formatShape(queries.shape)} and ${formatShape(candidates.shape)}`,
      expected: '[pairs, dim] twice',
    });
  const right = Array.from({ length: queries.shape[0]! }, (_, i) => [i]);
  return searchRanks(queries, candidates, right, chunk);
}

/** For every query the rank of the best of its right candidates ({@link rankOf}) among all; a block of rows at a time. */
async function searchRanks(
  queries: Tensor,
  candidates: Tensor,
  right: readonly (readonly number[])[],
  chunk: number,
): Promise<Int32Array> {
  const [n, m] = [queries.shape[0]!, candidates.shape[0]!];
  const ranks = new Int32Array(n);
  for (let start = 0; start < n; start += chunk) {
    const end = Math.min(n, start + chunk);
    const similarity = noGrad(() =>
      scoped(() => queries.slice([[start, end]]).matmul(candidates, { transposeB: true })),
    );
    const scores = await similarity.data(); // [end − start, m]
    similarity.dispose();
    for (let i = start; i < end; i++)
      ranks[i] = rankOf(scores.subarray((i - start) * m, (i - start + 1) * m), right[i]!);
  }
  return ranks;
}

/** For every image its texts and for every text its images, each once. */
function partners(pairs: readonly (readonly [number, number])[]): [number[][], number[][]] {
  const sides: [Set<number>[], Set<number>[]] = [[], []];
  for (const [image, text] of pairs) {
    (sides[0][image] ??= new Set()).add(text);
    (sides[1][text] ??= new Set()).add(image);
  }
  return [sides[0].map((own) => [...own]), sides[1].map((own) => [...own])];
}

/**
 * Retrieval both ways on embeddings as the encoders give them; they are normalised here. Hopfield retrieval takes no
 * part, as in the official evaluation.
 *
 * | symbol | code   | shape          |                                                               |
 * |--------|--------|----------------|---------------------------------------------------------------|
 * | X      | images | [images, dim]  | row i belongs to row i of `texts`, unless `pairs` says others |
 * | Y      | texts  | [texts, dim]   |                                                               |
 *
 * Every image is a query once, and every text.
 * @throws ShapeError; DomainError, also for an image or text that `pairs` leaves without partner
 */
export async function retrievalMetrics(
  images: Tensor,
  texts: Tensor,
  { ks = [1, 5, 10], chunk = 1024, pairs }: RetrievalOptions = {},
): Promise<RetrievalMetrics> {
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new DomainError('retrievalMetrics', { received: `chunk ${chunk}`, expected: 'a whole number ≥ 1' });
  const [x, y] = noGrad(() => [images.l2Normalize(), texts.l2Normalize()] as const);
  if (!pairs)
    return {
      imageToText: rankMetrics(await partnerRanks(x, y, chunk), ks),
      textToImage: rankMetrics(await partnerRanks(y, x, chunk), ks),
    };
  if (x.rank !== 2 || y.rank !== 2 || x.shape[1] !== y.shape[1])
    throw new ShapeError('retrievalMetrics', {
      received: `shapes ${formatShape(x.shape)} and ${formatShape(y.shape)}`,
      expected: '[images, dim] and [texts, dim]',
    });
  const [ofImages, ofTexts] = partners(pairs);
  const whole = (sides: number[][], count: number) =>
    sides.length === count && Array.from({ length: count }, (_, i) => sides[i]).every((own) => own && own.length > 0);
  if (!whole(ofImages, x.shape[0]!) || !whole(ofTexts, y.shape[0]!))
    throw new DomainError('retrievalMetrics', {
      received: `pairs that do not cover ${x.shape[0]} images and ${y.shape[0]} texts`,
      expected: 'a pair for every image and every text, and for no others',
    });
  return {
    imageToText: rankMetrics(await searchRanks(x, y, ofImages, chunk), ks),
    textToImage: rankMetrics(await searchRanks(y, x, ofTexts, chunk), ks),
  };
}

/** What a random order reaches, the mean over the queries of {@link chanceOfRecall}. */
export function chanceOfPairs(
  pairs: NonNullable<RetrievalOptions['pairs']>,
  ks: readonly number[] = [1, 5, 10],
): { imageToText: Record<number, number>; textToImage: Record<number, number> } {
  const [ofImages, ofTexts] = partners(pairs);
  const recall = (sides: readonly (readonly number[])[], candidates: number, k: number) =>
    sides.reduce((sum, { length }) => sum + chanceOfRecall(length, candidates, k), 0) / sides.length;
  const all = (sides: number[][], candidates: number) =>
    Object.fromEntries(ks.map((k) => [k, recall(sides, candidates, k)]));
  return { imageToText: all(ofImages, ofTexts.length), textToImage: all(ofTexts, ofImages.length) };
}
