import type { KernelIdentity } from '../source/identity.js';

/** The numbers of the kernels, in the order of assembly/kernels.ts. */
const names = [
  'elementwise',
  'fill',
  'matmul',
  'convolve',
  'convolveWeightGrad',
  'convolveInputGrad',
  'flipWeight',
  'avgPool',
  'avgPoolGrad',
  'reduceRows',
  'reducePart',
  'joinParts',
  'reduceColumns',
  'argReduce',
  'moveRows',
  'gather',
  'scatterAdd',
  'softmaxes',
  'layerNorm',
  'layerNormGrad',
  'sumParts',
  'batchNorm',
  'batchNormGrad',
  'attention',
  'attentionGrad',
  'adamW',
  'batchNormColumns',
  'batchNormColumnsGrad',
] as const;

export const kernel = Object.fromEntries(names.map((name, i) => [name, i])) as Record<(typeof names)[number], number>;

/** The numbers of the elementwise operations by the names of their scalar kernels, in the order of assembly/elementwise.ts. */
export const operationNames: readonly string[] = [
  'same',
  'add',
  'sub',
  'mul',
  'div',
  'maximum',
  'minimum',
  'equal',
  'greater',
  'less',
  'greaterEqual',
  'lessEqual',
  'neg',
  'abs',
  'sign',
  'square',
  'sqrt',
  'rsqrt',
  'reciprocal',
  'exp',
  'log',
  'tanh',
  'sigmoid',
  'relu',
  'gelu',
  'quickGelu',
  'erf',
  'softplus',
  'tanhGrad',
  'sigmoidGrad',
  'reluGrad',
  'geluGrad',
  'quickGeluGrad',
  'erfGrad',
  'softplusGrad',
  'squareGrad',
  'sqrtGrad',
  'rsqrtGrad',
  'reciprocalGrad',
  'absGrad',
  'pow',
  'sin',
  'cos',
  'log1p',
  'expm1',
  'sinGrad',
  'cosGrad',
];

/** −1 when there is none: a user's kernel is never one of these, whatever its name. */
export function operationNumber({ builtIn, name }: KernelIdentity): number {
  return builtIn ? operationNames.indexOf(name) : -1;
}
/** Choosing between two operands by a float32 or int32 condition. */
export const selectFloat = operationNames.length;
export const selectInt = operationNames.length + 1;
