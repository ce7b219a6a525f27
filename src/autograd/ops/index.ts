/** All built-in ops. Importing this adds their methods to Tensor and enters them into the registry. */
export * from './activations.js';
export * from './arithmetic.js';
export * from './attention.js';
export * from './cast.js';
export * from './compare.js';
export * from './conv.js';
export * from './explog.js';
export * from './gather.js';
export * from './matmul.js';
export * from './norm.js';
export * from './reduce.js';
export * from './shape.js';
export * from './slicing.js';
export * from './softmax.js';
export * from './trig.js';
