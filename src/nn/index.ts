/**
 * Layers, modern Hopfield retrieval, contrastive losses and optimisation.
 * @module hopgrad/nn
 */
export { HalfTensor, type HalfType, toHalf } from '../formats/half.js';
export { GELU, LeakyReLU, QuickGELU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Tanh } from './activations.js';
export { maskedAttention } from './attention.js';
export { type AverageOptions, ExponentialMovingAverage } from './average.js';
export { Center } from './center.js';
export { Dropout, dropout } from './dropout.js';
export { type HopfieldOptions, hopfieldEnergy, hopfieldRetrieve } from './hopfield.js';
export { HopfieldLayer, type HopfieldLayerOptions } from './hopfield-layer.js';
export * as init from './init.js';
export { Conv2d, Embedding, Linear } from './layers.js';
export {
  type CloobOptions,
  type ContrastiveOptions,
  clipLoss,
  cloobLoss,
  type DistillationOptions,
  dclLoss,
  distillationLoss,
  infoLoobLoss,
  infoNceLoss,
  sigLipLoss,
} from './losses.js';
export { inMicroBatches } from './micro-batches.js';
export { Buffer, Module, Parameter } from './module.js';
export { BatchNorm1d, BatchNorm2d, type BatchNormOptions, GroupNorm, LayerNorm, RMSNorm } from './norms.js';
export { Adafactor, type AdafactorOptions } from './optim/adafactor.js';
export { Adam, AdamW, type AdamWOptions, type AdamWState } from './optim/adamw.js';
export { clipGradNorm, clipGradValue } from './optim/clip.js';
export { EquationOptimizer, type Update } from './optim/equation.js';
export { LAMB, type LambOptions } from './optim/lamb.js';
export { type Evaluation, type LbfgsOptions, type LbfgsResult, minimizeLbfgs, type Objective } from './optim/lbfgs.js';
export { Lion, type LionOptions } from './optim/lion.js';
export {
  type Design,
  type Numbers,
  Optimizer,
  type OptimizerOptions,
  type OptimizerState,
  type ParameterGroup,
  type Range,
} from './optim/optimizer.js';
export {
  chained,
  constantRate,
  cosineHardRestarts,
  cosineWarmup,
  exponentialDecay,
  linearRate,
  oneCycle,
  type Schedule,
  stepDecay,
  type WarmupOptions,
} from './optim/schedules.js';
export { SGD, type SGDOptions } from './optim/sgd.js';
export { AvgPool2d, MaxPool2d } from './pooling.js';
export {
  type RetrievalForm,
  type RetrievedPairs,
  type RetrievedSimilarities,
  retrievalOperations,
  retrievedSimilarities,
  retrievePairs,
  type StoredPatterns,
} from './retrieved-pairs.js';
export { load, save, type Training } from './save.js';
export { Flatten, type Layer, Sequential } from './sequential.js';
export {
  binaryCrossEntropyWithLogits,
  type CrossEntropyOptions,
  crossEntropy,
  huberLoss,
  l1Loss,
  mseLoss,
  type ReductionOptions,
  tripletMarginLoss,
} from './supervised.js';
export { MultiheadAttention, ResidualAttentionBlock, Transformer, type TransformerOptions } from './transformer.js';
