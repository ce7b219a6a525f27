/** Attention, one head of one image a chunk, read in place: no head is moved to an axis of its own. */
import { multiply } from './gemm';
import { address, number, scratchPart, size } from './pool';
import { softmaxGradRow, softmaxRow } from './rows';

/** Where a head's floats begin in [batch, tokens, width], in bytes. */
// @ts-ignore: decorator
@inline function head(chunk: i32, heads: i32, tokens: i32, width: i32, d: i32): usize {
  return (<usize>(chunk / heads) * <usize>tokens * <usize>width + <usize>(chunk % heads) * <usize>d) << 2;
}

/**
 * P = softmax(scale · Q Kᵀ), Y = P V, Q [queries, d], K and V [keys, d].
 * Arguments: q, k, v, y, p; heads, queries, keys, d; scale, causal; scratch, bytes of it a thread.
 */
export function attention(chunk: i32): void {
  const heads = size(5);
  const queries = size(6);
  const keys = size(7);
  const d = size(8);
  const width = heads * d;
  const scratch = scratchPart(address(11), address(12));
  const q = head(chunk, heads, queries, width, d);
  const k = head(chunk, heads, keys, width, d);
  const p = address(4) + ((<usize>chunk * <usize>queries * <usize>keys) << 2);
  multiply(address(0) + q, width, 1, address(1) + k, 1, width, p, keys, queries, keys, d, false, scratch);
  for (let i = 0; i < queries; i++) {
    const row = p + ((<usize>i * <usize>keys) << 2);
    const seen = size(10) ? min(keys, i + 1) : keys;
    softmaxRow(row, row, seen, <f32>number(9));
    for (let j = seen; j < keys; j++) store<f32>(row + (<usize>j << 2), 0);
  }
  multiply(p, keys, 1, address(2) + k, width, 1, address(3) + q, width, queries, d, keys, false, scratch);
}

/**
 * V̄ = Pᵀ Ȳ, S̄ = scale · P ⊙ (P̄ − Σ P̄ ⊙ P) with P̄ = Ȳ Vᵀ, Q̄ = S̄ K, K̄ = S̄ᵀ Q.
 * Arguments: ȳ, q, k, v, p, q̄, k̄, v̄; heads, queries, keys, d; scale; scratch, bytes of it a thread.
 */
export function attentionGrad(chunk: i32): void {
  const heads = size(8);
  const queries = size(9);
  const keys = size(10);
  const d = size(11);
  const width = heads * d;
  const s = scratchPart(address(13), address(14));
  const scratch = s + ((<usize>queries * <usize>keys + 16) << 2);
  const q = head(chunk, heads, queries, width, d);
  const k = head(chunk, heads, keys, width, d);
  const p = address(4) + ((<usize>chunk * <usize>queries * <usize>keys) << 2);
  multiply(p, 1, keys, address(0) + q, width, 1, address(7) + k, width, keys, d, queries, false, scratch);
  multiply(address(0) + q, width, 1, address(3) + k, 1, width, s, keys, queries, keys, d, false, scratch);
  for (let i = 0; i < queries; i++) {
    const row = (<usize>i * <usize>keys) << 2;
    softmaxGradRow(s + row, p + row, s + row, keys, <f32>number(12));
  }
  multiply(s, keys, 1, address(2) + k, width, 1, address(5) + q, width, queries, d, keys, false, scratch);
  multiply(s, 1, keys, address(1) + q, width, 1, address(6) + k, width, keys, d, queries, false, scratch);
}
