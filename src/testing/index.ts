/** hopgrad/testing: gradient checks, trials of registered ops, and generators for fast-check, which only they need. */
export { broadcastableShapes, type ShapeOptions, shapes, type TensorArbitraryOptions, tensors } from './arbitraries.js';
export {
  assertGradients,
  type CheckMode,
  type CheckOptions,
  checkGradients,
  type GradientFailure,
  GradientReport,
} from './check-gradients.js';
export { type ConformanceCase, type ConformanceOptions, conformanceCases, type Outcome } from './conformance.js';
export { asFunction, type DrawnTrial, drawTrial, expectedOutput, trialTensors } from './trials.js';
