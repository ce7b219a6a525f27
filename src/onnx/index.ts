/**
 * Functions and models as files of ONNX, which run where hopgrad does not.
 * @module hopgrad/onnx
 */
export { type CloobFiles, cloobToOnnx } from './cloob.js';
export { exportedOps } from './operators.js';
export { type OnnxInput, type OnnxOptions, toOnnx } from './to-onnx.js';
