/**
 * Tensors with gradients. Layers are in hopgrad/nn, CLOOB in hopgrad/models/cloob.
 * @module hopgrad
 */
export { detectAnomaly } from './autograd/anomaly.js';
export { type CaptureOptions, capture } from './autograd/capture.js';
export { checkpoint } from './autograd/checkpoint.js';
export {
  arange,
  eye,
  full,
  manualSeed,
  ones,
  type RandomOptions,
  randn,
  type TensorOptions,
  tensor,
  uniform,
  zeros,
} from './autograd/create.js';
export { hessian, hvp, jacobian, jvp, vjp, vmap } from './autograd/derivatives.js';
export {
  type GradientOf,
  type GradOptions,
  grad,
  scoped,
  type Tree,
  ValueAndGrad,
  valueAndGrad,
} from './autograd/functional.js';
export { type BackwardOptions, noGrad } from './autograd/graph.js';
export { defineOp, type OpDefinition, type OpFunction, type VjpContext } from './autograd/op.js';
export * from './autograd/ops/index.js';
export {
  defineOwnBinary as defineBinary,
  defineOwnUnary as defineUnary,
  type OwnBinary,
  type OwnUnary,
} from './autograd/own-kernel.js';
export { type NestedArray, type Operand, Tensor } from './autograd/tensor.js';
export * from './functions/index.js';
export { describe } from './inspect/describe.js';
export { graphText, toDot } from './inspect/graph-text.js';
export { Profile, type ProfileRow, profile } from './inspect/profile.js';
export { registeredOps } from './inspect/registered-ops.js';
export type { Graphed, GraphOptions } from './inspect/steps.js';
export type { Device, DeviceName, MemoryInfo } from './kernels/device.js';
export { withDevice } from './kernels/devices.js';
export { device, type InitOptions, init, memory } from './kernels/init.js';
export type { DType, TypedArray } from './tensor/dtype.js';
export * from './tensor/errors.js';
export { Random, type RandomState } from './tensor/random.js';
export type { Shape } from './tensor/shape.js';
