/**
 * The CLOOB model, its tokenizer, checkpoints and evaluation.
 * @module hopgrad/models/cloob
 */
import '../../autograd/ops/index.js'; // the methods of tensors, for those who import nothing else

export {
  ajneStatistic,
  alignment,
  type Distribution,
  effectiveEigenvalues,
  retrievalEntropy,
  type SimilarityStatistics,
  similarityStatistics,
  uniformity,
} from '../../evaluate/embedding-statistics.js';
export { imageNetTemplates } from '../../evaluate/imagenet-templates.js';
export {
  type LabelledFeatures,
  type LinearClassifier,
  type LinearProbeOptions,
  type LinearProbeResult,
  linearProbe,
  logisticRegression,
  probeAccuracy,
} from '../../evaluate/linear-probe.js';
export { type PairMemory, retrievedEmbeddings } from '../../evaluate/memory.js';
export {
  partnerRanks,
  type RankMetrics,
  type RetrievalMetrics,
  type RetrievalOptions,
  rankMetrics,
  retrievalMetrics,
} from '../../evaluate/metrics.js';
export { parseClassNames, parseTemplates, readClassNames, readTemplates } from '../../evaluate/prompts.js';
export {
  type Classification,
  classify,
  embedTexts,
  fillTemplate,
  type PromptTemplate,
  zeroShotClassifier,
} from '../../evaluate/zero-shot.js';
export { readSafetensors, type WriteOptions, writeSafetensors } from '../../formats/safetensors.js';
export { openTorchFile, type TorchFile, TorchTensor } from '../../formats/torch-file.js';
export {
  checkpointBytes,
  type LoadedCheckpoint,
  type LoadOptions,
  loadCheckpoint,
  type SaveOptions,
  saveCheckpoint,
} from './checkpoint.js';
export { cleanText } from './clean-text.js';
export { type CloobConfig, configs, type ModelName, type Preprocessing, preprocessing } from './config.js';
export { type HeadsConfig, HeadsModel, loadHeads, saveHeads } from './heads.js';
export { CloobModel, type CreateModelOptions, createModel, type EncodeOptions } from './model.js';
export { ClipTokenizer, type TokenizeOptions } from './tokenizer.js';
