/** The kernels by number. The order is that of the names in ../kernels.ts. */
import { adamW } from './adamw';
import { attention, attentionGrad } from './attention';
import { convolve, convolveInputGrad, convolveWeightGrad, flipWeight } from './conv';
import { elementwise, fill } from './elementwise';
import { matmul } from './gemm';
import { gather, moveRows, scatterAdd } from './move';
import { batchNorm, batchNormColumns, batchNormColumnsGrad, batchNormGrad } from './norm';
import { avgPool, avgPoolGrad } from './pooling';
import { argReduce, joinParts, reduceColumns, reducePart, reduceRows } from './reduce';
import { layerNorm, layerNormGrad, softmaxes, sumParts } from './rows';

export function execute(kernel: i32, chunk: i32): void {
  switch (kernel) {
    case 0: elementwise(chunk); break;
    case 1: fill(chunk); break;
    case 2: matmul(chunk); break;
    case 3: convolve(chunk); break;
    case 4: convolveWeightGrad(chunk); break;
    case 5: convolveInputGrad(chunk); break;
    case 6: flipWeight(chunk); break;
    case 7: avgPool(chunk); break;
    case 8: avgPoolGrad(chunk); break;
    case 9: reduceRows(chunk); break;
    case 10: reducePart(chunk); break;
    case 11: joinParts(chunk); break;
    case 12: reduceColumns(chunk); break;
    case 13: argReduce(chunk); break;
    case 14: moveRows(chunk); break;
    case 15: gather(chunk); break;
    case 16: scatterAdd(chunk); break;
    case 17: softmaxes(chunk); break;
    case 18: layerNorm(chunk); break;
    case 19: layerNormGrad(chunk); break;
    case 20: sumParts(chunk); break;
    case 21: batchNorm(chunk); break;
    case 22: batchNormGrad(chunk); break;
    case 23: attention(chunk); break;
    case 24: attentionGrad(chunk); break;
    case 25: adamW(chunk); break;
    case 26: batchNormColumns(chunk); break;
    default: batchNormColumnsGrad(chunk);
  }
}
