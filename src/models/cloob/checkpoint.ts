/** Model checkpoints: weights under the official names, in a safetensors file or a file of torch.save. */
import { tensor } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import { asDataError, type FileInput, parseJson } from '../../formats/files.js';
import { safetensorsBytes, type WriteOptions, writeSafetensors } from '../../formats/safetensors.js';
import type { StoredTensor } from '../../formats/stored.js';
import { withScope } from '../../kernels/scope.js';
import { assign, checkState } from '../../nn/module.js';
import type { Bytes } from '../../tensor/bytes.js';
import { CheckpointError, describeValue, printable } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import { type BesideFacts, readBeside } from './beside.js';
import { type Activation, type CloobConfig, type Colour, preprocessing, resolveConfig } from './config.js';
import { inferConfig } from './infer-config.js';
import { type Layout, readLayout, writeLayout } from './layouts.js';
import { CloobModel, type CreateModelOptions } from './model.js';
import { ClipTokenizer } from './tokenizer.js';
import { openWeights } from './weight-files.js';

const op = 'loadCheckpoint';

/** What is written into a checkpoint. */
export interface SaveOptions extends WriteOptions {
  model: CloobModel;
  /** Written along, so that the file alone can embed text. */
  tokenizer?: ClipTokenizer;
  /** Whose names the weights get. Default this package's own, those of the official CLOOB. */
  layout?: Layout;
  /** What transparent pictures are laid on, 0 … 255, for whoever uses the file; null: opacity is dropped. Default the model's. */
  background?: Colour | null | undefined;
  /** Further facts, as text by key. */
  metadata?: Record<string, string>;
}

/** Into what weights are loaded, and how strictly. */
export interface LoadOptions extends Pick<CreateModelOptions, 'dtype' | 'device'> {
  /** Loads into this model. Default: a new one, of the configuration that the file carries or its shapes tell. */
  model?: CloobModel;
  /**
   * When false, missing and unexpected names are passed over and told in the result; shapes must fit always, and some
   * name must match. Default true.
   */
  strict?: boolean;
  /**
   * What the transformers' layers were trained with, where neither the file nor a configuration beside it says so: CLIP and
   * CLOOB have QuickGELU, most of open_clip's models exact GELU, and their files look alike. Default quick_gelu.
   */
  activation?: Activation;
}

/** A model with the weights of a file, and which names of both met. */
export interface LoadedCheckpoint {
  model: CloobModel;
  tokenizer: ClipTokenizer | null;
  /** Names that were loaded, names of the model that the file lacks, and names of the file that the model lacks. */
  matched: string[];
  missing: string[];
  unexpected: string[];
  /** Texts that the file carries; `epoch` and `name` for a checkpoint of the official training code. */
  metadata: Record<string, string>;
}

/** What the weights expect of pictures, said in full: defaults may change, these weights will not. */
function imageFacts(config: CloobConfig, other: Colour | null | undefined): Partial<CloobConfig> {
  const { mean, std, background: own } = preprocessing(config);
  const background = other === undefined ? own : other;
  return { image_mean: mean, image_std: std, image_background: background };
}

/**
 * Writes the model's state dict as safetensors, with its configuration (and the tokenizer) in the metadata.
 *
 * The official code loads it: `model.load_state_dict(safetensors.torch.load_file(path))`. Names and shapes are the
 * official ones; the counters `num_batches_tracked` are left out, which PyTorch allows. Checksums go along, which
 * loadCheckpoint verifies.
 * @throws DataError when the file cannot be written; DomainError for weights that are not finite, with `finite`
 */
export async function saveCheckpoint(path: string, { floats, finite, ...contents }: SaveOptions): Promise<void> {
  const { tensors, facts } = stored(contents);
  await writeSafetensors(path, tensors, facts, { ...(floats && { floats }), ...(finite && { finite }) });
}

/**
 * The file that {@link saveCheckpoint} writes, as bytes: for a page, which gives it to its visitor. The commands of hopgrad
 * and loadCheckpoint read it.
 * @throws DomainError for weights that are not finite, with `finite`
 */
export function checkpointBytes({ floats, finite, ...contents }: SaveOptions): Promise<Bytes> {
  const { tensors, facts } = stored(contents);
  return safetensorsBytes(tensors, facts, { ...(floats && { floats }), ...(finite && { finite }) });
}

function stored({ model, tokenizer, metadata = {}, layout = 'cloob', background }: SaveOptions) {
  const state = model.stateDict();
  const official = { ...state, logit_inv_tau: state.logit_inv_tau!.reshape([]) };
  const facts = {
    ...metadata,
    format: 'pt',
    config: JSON.stringify({ ...model.config, ...imageFacts(model.config, background) }),
    ...(tokenizer && { tokenizer: JSON.stringify(tokenizer.toJSON()) }),
  };
  return { tensors: writeLayout(layout, official, model.config), facts };
}

/**
 * Reads the weights of a model, tensor by tensor: memory stays near the model and the largest tensor.
 *
 * Files: safetensors; `torch.save` of a state dict or of the official `{ epoch, name, state_dict, optimizer,
 * scheduler }`, in any precision; several files with an index (`….index.json`); folders as they are downloaded. Names: the
 * official ones, those of CLIP, of open_clip and of Hugging Face (`layouts.ts`), also after `module.`, `_orig_mod.` and
 * `model.` of data-parallel training, torch.compile and Lightning. Heads and activation come from the configuration that the
 * file carries or that lies beside it (`config.json`, `open_clip_config.json`).
 * @param input a path; in pages too: bytes, a Blob (a chosen file), a URL or a Response. Files of torch.save need Node
 * @throws DataError for an unreadable file; CheckpointError listing missing, unexpected and mismatched entries, with
 * the model unchanged
 */
export async function loadCheckpoint(
  input: FileInput,
  { model, strict = true, activation, ...where }: LoadOptions = {},
): Promise<LoadedCheckpoint> {
  const file = await openWeights(input);
  try {
    const path = file.name;
    const { layout, tensors: stored } = readLayout(path, file.tensors);
    const beside = () => ({ ...readBeside(file.folder, layout), ...(activation && { activation }) });
    const config = model ? null : readConfig(path, file.metadata, stored, strict, beside());
    const target = model ?? new CloobModel(config!, { ...where, blank: strict });
    const tokenizer = readTokenizer(path, file.metadata, target.config);
    const own = target.stateDict();
    const { missing, unexpected } = checkState(`${op} ${path}`, shapesOf(Object.entries(own)), shapesOf(stored), {
      strict,
    });
    for (const [name, parameter] of Object.entries(own)) overwrite(parameter, stored.get(name));
    const matched = Object.keys(own).filter((name) => stored.has(name));
    return { model: target, tokenizer, matched, missing, unexpected, metadata: file.metadata };
  } finally {
    file.close();
  }
}

/**
 * The configuration and the tokenizer of a file that {@link loadCheckpoint} reads, without its weights.
 * @throws DataError, CheckpointError
 */
export async function describeCheckpoint(
  input: FileInput,
  { activation }: Pick<LoadOptions, 'activation'> = {},
): Promise<{ config: CloobConfig; tokenizer: ClipTokenizer | null }> {
  const file = await openWeights(input);
  try {
    const { layout, tensors } = readLayout(file.name, file.tensors);
    const beside = { ...readBeside(file.folder, layout), ...(activation && { activation }) };
    const config = readConfig(file.name, file.metadata, tensors, true, beside);
    return { config, tokenizer: readTokenizer(file.name, file.metadata, config) };
  } finally {
    file.close();
  }
}

const shapesOf = (entries: Iterable<[string, { shape: readonly number[] }]>) =>
  new Map([...entries].map(([name, { shape }]) => [name, shape]));

function overwrite(target: Tensor, stored: StoredTensor | undefined): void {
  if (!stored) return;
  const { dtype, device } = target;
  withScope(
    () => assign(target, tensor(stored.read(), { shape: stored.shape, dtype, device })),
    () => false,
  );
}

function readConfig(
  path: string,
  metadata: Record<string, string>,
  stored: ReadonlyMap<string, StoredTensor>,
  strict: boolean,
  beside: BesideFacts,
): CloobConfig {
  if (metadata.heads !== undefined)
    throw new CheckpointError(op, {
      received: `${path}, which has heads on given embeddings`,
      expected: 'encoders of pictures and words',
      hint: 'loadHeads reads it, and hopgrad eval with --image-embeddings and --text-embeddings.',
    });
  const shapes = shapesOf(stored);
  const empty = [...shapes].find(([, shape]) => shape.includes(0));
  if (empty)
    throw new CheckpointError(op, {
      received: `${path}: ${printable(empty[0])} of shape [${empty[1]}]`,
      expected: 'weights with elements',
    });
  const config = metadata.config ? checkedConfig(path, metadata.config, beside) : inferConfig(shapes, beside);
  const elements = [...shapes.values()].reduce((sum, shape) => sum + sizeOf(shape), 0);
  const most = strict ? elements : Math.max(elements, mostRandomElements);
  const asked = leastElements(config);
  if (asked > most || layersOf(config) > Math.max(shapes.size, 1000))
    throw new CheckpointError(op, {
      received: `${path}: a configuration of ${layersOf(config)} layers and at least ${asked} weights`,
      expected: `at most the ${elements} that the file holds`,
    });
  return config;
}

/** Most weights of a model that a file describes without holding them all. */
const mostRandomElements = 2 ** 28;

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const layersOf = ({ vision_layers: layers, transformer_layers }: CloobConfig) =>
  transformer_layers + (typeof layers === 'number' ? layers : sum(layers));

/**
 * A lower bound of a model's weights, its matrices only: what a configuration asks for is weighed before it is built.
 * Twelve squares of the width are the products of one transformer layer.
 */
export function leastElements(config: CloobConfig): number {
  const { transformer_width: text, vision_width: width, embed_dim, vision_layers: layers } = config;
  const words = 12 * text ** 2 * config.transformer_layers + text * (config.vocab_size + config.context_length);
  if (typeof layers === 'number') {
    const positions = (config.image_resolution / config.vision_patch_size!) ** 2;
    return words + width * (12 * width * layers + positions + 3 * config.vision_patch_size! ** 2 + embed_dim);
  }
  // A bottleneck of stage s has one 3 × 3 convolution between w = width·2^s channels, and one from w to 4w.
  const stages = layers.map((blocks, s) => blocks * 13 * (width * 2 ** s) ** 2);
  const pooled = 32 * width;
  return words + sum(stages) + pooled * (3 * pooled + embed_dim + (config.image_resolution / 32) ** 2);
}

/** A configuration that a file carries. @throws CheckpointError that names the file */
function checkedConfig(path: string, json: string, { activation }: BesideFacts): CloobConfig {
  const name = `${path}: metadata config`;
  return asCheckpointError(name, () => {
    const config = parseJson(op, name, json) as CloobConfig;
    if (typeof config === 'object') return resolveConfig(activation ? { ...config, activation } : config);
    throw new CheckpointError(op, { received: `${name} ${describeValue(config)}`, expected: 'an object of sizes' });
  });
}

/** What parts of a checkpoint throw, as an error of the checkpoint. */
function asCheckpointError<T>(name: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (error instanceof CheckpointError) throw error;
    const { received, expected } = asDataError(op, name, error);
    const told = received.startsWith(name) ? received : `${name}: ${received}`;
    throw new CheckpointError(op, { received: told, ...(expected && { expected }), cause: error });
  }
}

function readTokenizer(
  path: string,
  { tokenizer: json }: Record<string, string>,
  { vocab_size }: CloobConfig,
): ClipTokenizer | null {
  if (!json) return null;
  const name = `${path}: metadata tokenizer`;
  return asCheckpointError(name, () => {
    const tokenizer = ClipTokenizer.fromJSON(parseJson(op, name, json) as { merges: string[] });
    if (tokenizer.vocabSize <= vocab_size) return tokenizer;
    throw new CheckpointError(op, {
      received: `${name}: ${tokenizer.vocabSize} tokens`,
      expected: `at most the ${vocab_size} that the model knows`,
    });
  });
}
