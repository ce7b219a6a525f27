/** hopgrad/testing: gradient checks, fast-check generators, and trials of registered ops. Needs fast-check. */
export { broadcastableShapes, type ShapeOptions, shapes, type TensorArbitraryOptions, tensors } from './arbitraries.js';
export {
  assertGradients,
  type CheckMode,
  type CheckOptions,
  checkGradients,
  type GradientFailure,
  type GradientReport,
} from './check-gradients.js';
export { type ConformanceCase, type ConformanceOptions, conformanceCases, type Outcome } from './conformance.js';
export { asFunction, type DrawnTrial, drawTrial, expectedOutput, trialTensors } from './trials.js';
