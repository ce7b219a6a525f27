/** Attention, one head of one image a chunk, read in place: no head is moved to an axis of its own. */
import { multiply } from './gemm';
import { bytesOf } from './lanes';
import { Chunk, scratchPart } from './pool';
import { softmaxGradRow, softmaxRow } from './rows';

/** Where a head's floats begin in [batch, tokens, width], in bytes. */
// @ts-ignore: decorator
@inline function head<T>(chunk: i32, heads: i32, tokens: i32, width: i32, d: i32): usize {
  return (<usize>(chunk / heads) * <usize>tokens * <usize>width + <usize>(chunk % heads) * <usize>d) << alignof<T>();
}

/**
 * P = softmax(scale · Q Kᵀ), Y = P V, Q [queries, d], K and V [keys, d].
 */
export function attention<T>(
  chunk: Chunk, q: usize, k: usize, v: usize, y: usize, p: usize, heads: i32, queries: i32, keys: i32, d: i32,
  scale: f64, causal: bool, scratch: usize, scratchBytes: usize,
): void {
  const width = heads * d;
  const work = scratchPart(scratch, scratchBytes);
  const query = head<T>(chunk, heads, queries, width, d);
  const key = head<T>(chunk, heads, keys, width, d);
  p += ((<usize>chunk * <usize>queries * <usize>keys) << alignof<T>());
  multiply<T>(q + query, width, 1, k + key, 1, width, p, keys, queries, keys, d, false, work);
  for (let i = 0; i < queries; i++) {
    const row = p + ((<usize>i * <usize>keys) << alignof<T>());
    const seen = causal ? min(keys, i + 1) : keys;
    softmaxRow<T>(row, row, seen, <T>scale);
    for (let j = seen; j < keys; j++) store<T>(row + bytesOf<T>(j), 0);
  }
  multiply<T>(p, keys, 1, v + key, width, 1, y + query, width, queries, d, keys, false, work);
}

/**
 * V̄ = Pᵀ Ȳ, S̄ = scale · P ⊙ (P̄ − Σ P̄ ⊙ P) with P̄ = Ȳ Vᵀ, Q̄ = S̄ K, K̄ = S̄ᵀ Q.
 */
export function attentionGrad<T>(
  chunk: Chunk, gradOutput: usize, q: usize, k: usize, v: usize, p: usize, gradQ: usize, gradK: usize, gradV: usize,
  heads: i32, queries: i32, keys: i32, d: i32, scale: f64, scratch: usize, scratchBytes: usize,
): void {
  const width = heads * d;
  const s = scratchPart(scratch, scratchBytes);
  const work = s + ((<usize>queries * <usize>keys + 16) << alignof<T>());
  const query = head<T>(chunk, heads, queries, width, d);
  const key = head<T>(chunk, heads, keys, width, d);
  p += ((<usize>chunk * <usize>queries * <usize>keys) << alignof<T>());
  multiply<T>(p, 1, keys, gradOutput + query, width, 1, gradV + key, width, keys, d, queries, false, work);
  multiply<T>(gradOutput + query, width, 1, v + key, 1, width, s, keys, queries, keys, d, false, work);
  for (let i = 0; i < queries; i++) {
    const row = (<usize>i * <usize>keys) << alignof<T>();
    softmaxGradRow<T>(s + row, p + row, s + row, keys, <T>scale);
  }
  multiply<T>(s, keys, 1, k + key, width, 1, gradQ + query, width, queries, d, keys, false, work);
  multiply<T>(s, 1, keys, q + query, width, 1, gradK + key, width, keys, d, queries, false, work);
}
