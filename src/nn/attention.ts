/** Attention in which each query sees some keys only. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { largestOf } from '../tensor/dtype.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';

/**
 * Multi-head attention of queries over those keys that a mask lets them see:
 *
 * y = P V per head, P = softmax(Q Kᵀ/√d) over the keys with M ≠ 0, 0 elsewhere.
 *
 * A query that sees nothing gives 0, and gets a gradient of 0. Derivatives are those of `attention`, with P as it is here.
 *
 * | symbol | code    | shape                                                                           |
 * |--------|---------|---------------------------------------------------------------------------------|
 * | Q      | q       | [batch, queries, heads · d]                                                     |
 * | K, V   | k, v    | [batch, keys, heads · d]                                                        |
 * | M      | mask    | [queries, keys], [batch, queries, keys] or [batch, heads, queries, keys], axes of 1 repeat: [batch, 1, keys] hides padding |
 *
 * Without a mask use `attention`, which has fused kernels.
 * @param causal query i sees keys 0…i at most
 * @throws ShapeError, DomainError
 * @source Vaswani et al. 2017, arXiv 1706.03762
 */
export function maskedAttention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  mask: Tensor,
  { heads, causal = false }: { heads: number; causal?: boolean },
): Tensor {
  const op = 'maskedAttention';
  if (![q, k, v].every((x) => x.rank === 3 && x.shape[0] === q.shape[0] && x.shape[2] === q.shape[2]))
    throw new ShapeError(op, {
      received: `queries ${formatShape(q.shape)}, keys ${formatShape(k.shape)} and values ${formatShape(v.shape)}`,
      expected: '[batch, tokens, width] with equal batch and width',
    });
  const [batch, queries, width] = q.shape as [number, number, number];
  const keys = k.shape[1]!;
  if (!Number.isInteger(heads) || heads < 1 || width % heads !== 0)
    throw new DomainError(op, { received: `${heads} heads for width ${width}`, expected: 'a divisor of the width' });
  const split = (x: Tensor) => x.reshape([batch, x.shape[1]!, heads, width / heads]).permute([0, 2, 1, 3]);
  const seen = visible(op, mask, [batch, heads, queries, keys], causal);
  const logits = split(q)
    .matmul(split(k), { transposeB: true })
    .div(Math.sqrt(width / heads)); // [batch, heads, queries, keys]
  // A finite lowest number, so that a row of them has a softmax; what is hidden is 0 in any case.
  const p = seen.where(seen.where(logits, -largestOf[logits.dtype]).softmax(), 0);
  return p.matmul(split(v)).permute([0, 2, 1, 3]).reshape([batch, queries, width]);
}

/** A mask as a condition that broadcasts to [batch, heads, queries, keys], what comes later hidden when `causal`. */
function visible(op: string, mask: Tensor, shape: readonly [number, number, number, number], causal: boolean): Tensor {
  const [batch, , queries, keys] = shape;
  const rank = mask.rank;
  const four =
    rank === 2 ? [1, 1, ...mask.shape] : rank === 3 ? [mask.shape[0]!, 1, ...mask.shape.slice(1)] : mask.shape;
  if (four.length !== 4 || four.some((size, axis) => size !== 1 && size !== shape[axis]))
    throw new ShapeError(op, {
      received: `a mask of shape ${formatShape(mask.shape)}`,
      expected: `[${queries}, ${keys}], [${batch}, ${queries}, ${keys}] or ${formatShape(shape)}, or 1 along an axis`,
      hint: 'To hide padding, reshape a mask [batch, keys] to [batch, 1, keys].',
    });
  const seen = mask.detach().reshape(four);
  if (!causal) return seen;
  if (queries !== keys)
    throw new ShapeError(op, { received: `${queries} queries and ${keys} keys`, expected: 'as many (causal)' });
  const past = Int32Array.from({ length: queries * keys }, (_, i) => Number(i % keys <= Math.floor(i / keys)));
  return tensor(past, { shape: [queries, keys], device: mask.device }).where(seen, 0);
}
