/** hopgrad/models/cloob: the CLOOB model, its tokenizer, checkpoints and evaluation. */
export { type LoadedCheckpoint, loadCheckpoint, type SaveOptions, saveCheckpoint } from './checkpoint.js';
export { type CloobConfig, configs, type ModelName } from './config.js';
export { CloobModel, type CreateModelOptions, createModel } from './model.js';
export { readSafetensors, writeSafetensors } from './safetensors.js';
export { ClipTokenizer, cleanText, type TokenizeOptions } from './tokenizer.js';
