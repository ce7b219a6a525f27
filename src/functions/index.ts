/** Functions beyond the methods of tensors: a bundle takes only those that it names. */
export * from './conv1d.js';
export * from './diagonals.js';
export * from './einsum.js';
export * from './linear-algebra.js';
export * from './moves.js';
export { maskedSelect, nonzero, oneHot, takeAlongAxis } from './picking.js';
export { type MaxPool2dOptions, maxPool2d } from './pooling.js';
export * from './random.js';
export * from './scans.js';
export * from './sorting.js';
