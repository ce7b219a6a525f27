/** Attention, one query at a time. */
import type { AttentionSpec } from '../../kernels/device.js';
import type { Oracle } from './oracle.js';

export const attention: Oracle<AttentionSpec> = {
  draw(random) {
    const causal = random.int(2) === 1;
    const queries = 1 + random.int(3);
    const s = { batch: 1 + random.int(2), heads: 1 + random.int(2), headDim: 1 + random.int(3), queries, causal };
    const keys = causal ? queries : 1 + random.int(3);
    const width = s.heads * s.headDim;
    const shapes = [
      [s.batch, queries, width],
      [s.batch, keys, width],
      [s.batch, keys, width],
    ];
    return { shapes, params: { ...s, keys, scale: 0.7 } };
  },
  oracle([q, k, v], s) {
    const width = s.heads * s.headDim;
    const y = new Array<number>(s.batch * s.queries * width).fill(0);
    for (let b = 0; b < s.batch; b++)
      for (let h = 0; h < s.heads; h++)
        for (let i = 0; i < s.queries; i++) {
          const seen = s.causal ? i + 1 : s.keys;
          const weights = Array.from({ length: seen }, (_, j) => {
            let dot = 0;
            for (let d = 0; d < s.headDim; d++)
              dot +=
                q!.data[(b * s.queries + i) * width + h * s.headDim + d]! *
                k!.data[(b * s.keys + j) * width + h * s.headDim + d]!;
            return Math.exp(s.scale * dot);
          });
          const total = weights.reduce((a, w) => a + w, 0);
          for (let d = 0; d < s.headDim; d++)
            for (let j = 0; j < seen; j++)
              y[(b * s.queries + i) * width + h * s.headDim + d]! +=
                (weights[j]! / total) * v!.data[(b * s.keys + j) * width + h * s.headDim + d]!;
        }
    return y;
  },
};
