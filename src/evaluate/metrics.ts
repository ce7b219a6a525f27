/** How well two lists of embeddings find each other: ranks and recall, in bounded memory. */

import { scoped } from '../autograd/functional.js';
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';

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

export interface RetrievalMetrics {
  imageToText: RankMetrics;
  textToImage: RankMetrics;
}

export interface RetrievalOptions {
  /** Cut-offs, default 1, 5 and 10. */
  ks?: readonly number[];
  /** Rows of the similarity matrix that exist at a time. Default 1024. */
  chunk?: number;
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
  const n = queries.shape[0]!;
  const ranks = new Int32Array(n);
  for (let start = 0; start < n; start += chunk) {
    const end = Math.min(n, start + chunk);
    const similarity = noGrad(() =>
      scoped(() => queries.slice([[start, end]]).matmul(candidates, { transposeB: true })),
    );
    const scores = await similarity.data(); // [end − start, n]
    similarity.dispose();
    for (let i = start; i < end; i++) {
      const row = (i - start) * n;
      const own = scores[row + i]!;
      let rank = -1; // the partner itself is counted below
      for (let j = 0; j < n; j++) if (!(scores[row + j]! < own)) rank++;
      ranks[i] = rank;
    }
  }
  return ranks;
}

/**
 * Retrieval both ways on embeddings as the encoders give them; they are normalised here. Hopfield retrieval takes no
 * part, as in the official evaluation.
 *
 * | symbol | code   | shape    |                                     |
 * |--------|--------|----------|-------------------------------------|
 * | X      | images | [n, dim] | row i belongs to row i of `texts`   |
 * | Y      | texts  | [n, dim] |                                     |
 *
 * @throws ShapeError, DomainError
 */
export async function retrievalMetrics(
  images: Tensor,
  texts: Tensor,
  { ks = [1, 5, 10], chunk = 1024 }: RetrievalOptions = {},
): Promise<RetrievalMetrics> {
  if (!Number.isInteger(chunk) || chunk < 1)
    throw new DomainError('retrievalMetrics', { received: `chunk ${chunk}`, expected: 'a whole number ≥ 1' });
  const [x, y] = noGrad(() => [images.l2Normalize(), texts.l2Normalize()] as const);
  return {
    imageToText: rankMetrics(await partnerRanks(x, y, chunk), ks),
    textToImage: rankMetrics(await partnerRanks(y, x, chunk), ks),
  };
}
