/**
 * Gradient checks, trials of registered ops, and generators for fast-check, which only they need.
 * @module hopgrad/testing
 */
export { broadcastableShapes, type ShapeOptions, shapes, type TensorArbitraryOptions, tensors } from './arbitraries.js';
export { assertGradients, type CheckOptions, checkGradients } from './check-gradients.js';
export { allClose, assertClose, type CloseOptions, CloseReport } from './close.js';
export { type ConformanceCase, type ConformanceOptions, conformanceCases, type Outcome } from './conformance.js';
export { type CheckMode, type GradientFailure, GradientReport } from './report.js';
export { asFunction, type DrawnTrial, drawTrial, expectedOutput, trialTensors } from './trials.js';
