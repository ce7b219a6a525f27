/** Attention: the arguments of assembly/attention.ts. */
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import type { AttentionSpec, Storage } from '../device.js';
import { at, type Context } from './context.js';
import { packed } from './gemm.js';
import * as kernel from './generated/calls.js';

/** Bytes of the packed factors of a head's products. */
const factors = ({ queries, keys, headDim }: AttentionSpec, dtype: DType) =>
  2 * packed(Math.max(queries, keys, headDim), dtype);

export function attention({ engine, allocate }: Context, q: Storage, k: Storage, v: Storage, s: AttentionSpec) {
  const { dtype } = q;
  const output = allocate(dtype, q.size);
  const probabilities = allocate(dtype, s.batch * s.heads * s.queries * s.keys);
  engine.withScratch(factors(s, dtype), (scratch, scratchBytes) =>
    engine.call(kernel.attention, s.batch * s.heads, {
      dtype,
      q: at(q),
      k: at(k),
      v: at(v),
      y: at(output),
      p: at(probabilities),
      heads: s.heads,
      queries: s.queries,
      keys: s.keys,
      d: s.headDim,
      scale: s.scale,
      causal: s.causal,
      scratch,
      scratchBytes,
    }),
  );
  return { output, probabilities };
}

export function attentionGrad(
  { engine, allocate }: Context,
  gradOutput: Storage,
  q: Storage,
  k: Storage,
  v: Storage,
  probabilities: Storage,
  s: AttentionSpec,
) {
  const { dtype } = q;
  const grads = {
    q: allocate(dtype, q.size),
    k: allocate(dtype, k.size),
    v: allocate(dtype, v.size),
  };
  engine.withScratch(bytesPerElement[dtype] * (s.queries * s.keys + 16) + factors(s, dtype), (scratch, scratchBytes) =>
    engine.call(kernel.attentionGrad, s.batch * s.heads, {
      dtype,
      gradOutput: at(gradOutput),
      q: at(q),
      k: at(k),
      v: at(v),
      p: at(probabilities),
      gradQ: at(grads.q),
      gradK: at(grads.k),
      gradV: at(grads.v),
      heads: s.heads,
      queries: s.queries,
      keys: s.keys,
      d: s.headDim,
      scale: s.scale,
      scratch,
      scratchBytes,
    }),
  );
  return grads;
}
