/** One file, and so one process, for all that needs ONNX Runtime: npm installs it once. */
import './to-onnx.js';
import './cloob.js';
