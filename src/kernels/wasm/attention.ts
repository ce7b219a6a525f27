/** Attention: the arguments of assembly/attention.ts. */
import type { AttentionSpec, Storage } from '../device.js';
import { at, type Context } from './context.js';
import { packed } from './gemm.js';
import * as kernel from './generated/calls.js';

/** Bytes of the packed factors of a head's products. */
const factors = ({ queries, keys, headDim }: AttentionSpec) => 2 * packed(Math.max(queries, keys, headDim));

export function attention({ engine, allocate }: Context, q: Storage, k: Storage, v: Storage, s: AttentionSpec) {
  const output = allocate('float32', q.size);
  const probabilities = allocate('float32', s.batch * s.heads * s.queries * s.keys);
  engine.withScratch(factors(s), (scratch, scratchBytes) =>
    engine.call(kernel.attention, s.batch * s.heads, {
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
  const grads = {
    q: allocate('float32', q.size),
    k: allocate('float32', k.size),
    v: allocate('float32', v.size),
  };
  engine.withScratch(4 * (s.queries * s.keys + 16) + factors(s), (scratch, scratchBytes) =>
    engine.call(kernel.attentionGrad, s.batch * s.heads, {
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
