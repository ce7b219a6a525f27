/** Scaled dot-product attention over several heads, without moving the heads to an axis of their own. */
import type { AttentionSpec, Storage } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

const attentionOp = defineBuiltIn<AttentionSpec>({
  name: 'attention',
  equation: 'Y = P V, P = softmax(scale · Q Kᵀ), per head; causal: P_ij = 0 for j > i',
  derivative: 'V̄ = Pᵀ Ȳ, P̄ = Ȳ Vᵀ, S̄ = P ⊙ (P̄ − Σ_j P̄ ⊙ P), Q̄ = scale · S̄ K, K̄ = scale · S̄ᵀ Q',
  shapes: '[batch, queries, width], [batch, keys, width], [batch, keys, width] → [batch, queries, width]',
  source: 'Vaswani et al. 2017, arXiv 1706.03762',
  int32: 'float32',
  saves: { inputs: [0, 1, 2] },
  kernel([q, k, v], { device, params, save }) {
    const { output, probabilities } = fused(device).attention(q as Storage, k as Storage, v as Storage, params);
    save(probabilities, [params.batch, params.heads, params.queries, params.keys]);
    return output;
  },
  vjp({ gradOutput, inputs, extra, params: s }) {
    const split = (x: Tensor) => x.reshape([s.batch, x.shape[1]!, s.heads, s.headDim]).permute([0, 2, 1, 3]);
    const join = (x: Tensor) => x.permute([0, 2, 1, 3]).reshape([s.batch, x.shape[2]!, s.heads * s.headDim]);
    const [q, k, v, g] = [...inputs, gradOutput].map(split) as [Tensor, Tensor, Tensor, Tensor];
    const [p = probabilities(q, k, s)] = extra;
    const pGrad = g.matmul(v, { transposeB: true });
    const sGrad = p.mul(pGrad.sub(pGrad.mul(p).sum({ axis: -1, keepDims: true }))).mul(s.scale);
    return [
      join(sGrad.matmul(k)),
      join(sGrad.matmul(q, { transposeA: true })),
      join(p.matmul(g, { transposeA: true })),
    ];
  },
  fusedVjp({ gradOutput: { storage }, inputs: [q, k, v], extra: [p], params, shapes }) {
    const { attentionGrad } = storage.device.fused;
    const grads = attentionGrad?.(storage, q!.storage, k!.storage, v!.storage, p!.storage, params);
    return grads
      ? [new Tensor(grads.q, shapes[0]!), new Tensor(grads.k, shapes[1]!), new Tensor(grads.v, shapes[2]!)]
      : null;
  },
  test: { tolerance32: 1e-4 },
});

/** P = softmax(scale · Q Kᵀ), [batch, heads, queries, keys], 0 where a causal query must not see a key. */
function probabilities(q: Tensor, k: Tensor, s: AttentionSpec): Tensor {
  const logits = q.matmul(k, { transposeB: true }).mul(s.scale);
  return (s.causal ? futureMask(logits, s).where(-Infinity, logits) : logits).softmax();
}

/** 1 where the key lies after the query, [queries, keys]. */
function futureMask(like: Tensor, { queries, keys }: AttentionSpec): Tensor {
  const mask = Int32Array.from({ length: queries * keys }, (_, i) => Number(i % keys > Math.floor(i / keys)));
  return new Tensor(like.storage.device.upload(mask), [queries, keys]);
}

/**
 * Multi-head attention of queries [batch, queries, heads · headDim] over keys and values [batch, keys, heads · headDim].
 *
 * @param scale  factor on the logits; default 1/√headDim
 * @param causal query i sees keys 0…i only; needs as many queries as keys
 * @throws ShapeError, DomainError
 * @source Vaswani et al. 2017, arXiv 1706.03762
 */
export function attention(
  q: Tensor,
  k: Tensor,
  v: Tensor,
  options: { heads: number; causal?: boolean; scale?: number },
): Tensor {
  const { heads, causal = false, scale } = checkOptions('attention', options, ['heads', 'causal', 'scale']);
  for (const [name, x] of Object.entries({ queries: q, keys: k, values: v })) checkTensor('attention', name, x);
  const [batch, queries, width] = q.shape as [number, number, number];
  const keys = k.shape[1] as number;
  const fits = (x: Tensor) => x.rank === 3 && x.shape[0] === batch && x.shape[1] === keys && x.shape[2] === width;
  if (q.rank !== 3 || !fits(k) || !fits(v) || (causal && queries !== keys))
    throw new ShapeError('attention', {
      received: `queries ${formatShape(q.shape)}, keys ${formatShape(k.shape)} and values ${formatShape(v.shape)}`,
      expected: `[batch, tokens, width] with equal batch and width${causal ? ', and as many queries as keys (causal)' : ''}`,
    });
  if (!Number.isInteger(heads) || heads < 1 || width % heads !== 0)
    throw new DomainError('attention', {
      received: `${describeValue(heads)} heads for width ${width}`,
      expected: 'a divisor of the width',
    });
  const headDim = width / heads;
  return attentionOp([q, k, v], {
    batch,
    heads,
    queries,
    keys,
    headDim,
    scale: scale ?? 1 / Math.sqrt(headDim),
    causal,
  });
}
