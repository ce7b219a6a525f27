/** The fused kernels of the wasm device, family by family. */
import type { FusedGradients, FusedKernels } from '../device.js';
import { adamW } from './adamw.js';
import { attention, attentionGrad } from './attention.js';
import type { Context } from './context.js';
import { batchNorms } from './norm.js';
import { sumSquares } from './reduce.js';
import { layerNorms, softmaxes } from './rows.js';

export function fusedKernels(context: Context): FusedKernels & FusedGradients {
  return {
    ...softmaxes(context),
    ...layerNorms(context),
    ...batchNorms(context),
    attention: (q, k, v, s) => attention(context, q, k, v, s),
    attentionGrad: (g, q, k, v, p, s) => attentionGrad(context, g, q, k, v, p, s),
    sumSquares: (xs) => sumSquares(context, xs),
    adamW: (all, s) => {
      for (const one of all) adamW(context, one, s);
    },
  };
}
