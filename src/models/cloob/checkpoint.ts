/** Model checkpoints: weights under the official names in a safetensors file. */
import { CheckpointError } from '../../tensor/errors.js';
import type { CloobConfig } from './config.js';
import { CloobModel } from './model.js';
import { readSafetensors, writeSafetensors } from './safetensors.js';
import { ClipTokenizer } from './tokenizer.js';

export interface SaveOptions {
  model: CloobModel;
  /** Written along, so that the file alone can embed text. */
  tokenizer?: ClipTokenizer;
  /** Further facts, as text by key. */
  metadata?: Record<string, string>;
}

export interface LoadedCheckpoint {
  model: CloobModel;
  tokenizer: ClipTokenizer | null;
  metadata: Record<string, string>;
}

/**
 * Writes the model's state dict as safetensors, with its configuration (and the tokenizer) in the metadata.
 * The official code loads it with safetensors' `load_file` and `load_state_dict(…, strict=False)`.
 * @throws DataError when the file cannot be written
 */
export async function saveCheckpoint(path: string, { model, tokenizer, metadata = {} }: SaveOptions): Promise<void> {
  await writeSafetensors(path, model.stateDict(), {
    ...metadata,
    format: 'pt',
    config: JSON.stringify(model.config),
    ...(tokenizer && { tokenizer: JSON.stringify(tokenizer.toJSON()) }),
  });
}

/**
 * Reads weights into `model`, or into a new model of the configuration that the file carries.
 * A `module.` prefix, which data-parallel training leaves, is dropped.
 * @throws DataError for an unreadable file; CheckpointError listing missing, unexpected and mismatched entries
 */
export async function loadCheckpoint(path: string, { model }: { model?: CloobModel } = {}): Promise<LoadedCheckpoint> {
  const { tensors, metadata } = readSafetensors(path);
  const state = Object.fromEntries(
    Object.entries(tensors).map(([name, value]) => [name.replace(/^module\./, ''), value]),
  );
  const target = model ?? new CloobModel(readConfig(path, metadata));
  target.loadStateDict(state);
  const tokenizer = metadata.tokenizer ? ClipTokenizer.fromJSON(JSON.parse(metadata.tokenizer)) : null;
  return { model: target, tokenizer, metadata };
}

function readConfig(path: string, metadata: Record<string, string>): CloobConfig {
  if (metadata.config) return JSON.parse(metadata.config) as CloobConfig;
  throw new CheckpointError('loadCheckpoint', {
    received: `${path} without a configuration`,
    expected: 'a checkpoint written by saveCheckpoint, or a model to load into',
    hint: "Pass { model: createModel('RN50') }, of the architecture the weights belong to.",
  });
}
