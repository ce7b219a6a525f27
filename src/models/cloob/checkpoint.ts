/** Model checkpoints: weights under the official names, in a safetensors file or a file of torch.save. */
import { tensor } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import { openSafetensors, type WriteOptions, writeSafetensors } from '../../formats/safetensors.js';
import { openFile, type StoredTensor, type WeightFile } from '../../formats/stored.js';
import { openTorchFile, TorchTensor } from '../../formats/torch-file.js';
import { withScope } from '../../kernels/scope.js';
import { assign, checkState } from '../../nn/module.js';
import { CheckpointError, DataError } from '../../tensor/errors.js';
import { type CloobConfig, resolveConfig } from './config.js';
import { inferConfig } from './infer-config.js';
import { CloobModel, type CreateModelOptions } from './model.js';
import { ClipTokenizer } from './tokenizer.js';

export interface SaveOptions extends WriteOptions {
  model: CloobModel;
  /** Written along, so that the file alone can embed text. */
  tokenizer?: ClipTokenizer;
  /** Further facts, as text by key. */
  metadata?: Record<string, string>;
}

export interface LoadOptions extends Pick<CreateModelOptions, 'dtype' | 'device'> {
  /** Loads into this model. Default: a new one, of the configuration that the file carries or its shapes tell. */
  model?: CloobModel;
  /** When false, missing and unexpected names are passed over; shapes must fit always. Default true. */
  strict?: boolean;
}

export interface LoadedCheckpoint {
  model: CloobModel;
  tokenizer: ClipTokenizer | null;
  /** Texts that the file carries; `epoch` and `name` for a checkpoint of the official training code. */
  metadata: Record<string, string>;
}

/**
 * Writes the model's state dict as safetensors, with its configuration (and the tokenizer) in the metadata.
 *
 * The official code loads it: `model.load_state_dict(safetensors.torch.load_file(path))`. Names and shapes are the
 * official ones; the counters `num_batches_tracked` are left out, which PyTorch allows.
 * @throws DataError when the file cannot be written
 */
export async function saveCheckpoint(
  path: string,
  { model, tokenizer, metadata = {}, floats }: SaveOptions,
): Promise<void> {
  const state = model.stateDict();
  const official = { ...state, logit_inv_tau: state.logit_inv_tau!.reshape([]) };
  const facts = {
    ...metadata,
    format: 'pt',
    config: JSON.stringify(model.config),
    ...(tokenizer && { tokenizer: JSON.stringify(tokenizer.toJSON()) }),
  };
  await writeSafetensors(path, official, facts, floats ? { floats } : {});
}

/**
 * Reads the weights of a model, tensor by tensor: memory stays near the model and the largest tensor.
 *
 * Files: safetensors; `torch.save` of a state dict or of the official `{ epoch, name, state_dict, optimizer,
 * scheduler }`, in any precision. Names: the official ones, also with the prefix `module.` of data-parallel training,
 * and those of CLIP and of the official `build_model`, where the text encoder has no module of its own.
 * @throws DataError for an unreadable file; CheckpointError listing missing, unexpected and mismatched entries, with
 * the model unchanged
 */
export async function loadCheckpoint(
  path: string,
  { model, strict = true, ...where }: LoadOptions = {},
): Promise<LoadedCheckpoint> {
  const file = await openWeights(path);
  try {
    const stored = officialNames(file.tensors);
    const target = model ?? new CloobModel(readConfig(path, file.metadata, stored), { ...where, blank: strict });
    const own = target.stateDict();
    const shapes = (entries: Iterable<[string, { shape: readonly number[] }]>) =>
      new Map([...entries].map(([name, { shape }]) => [name, shape]));
    checkState(`loadCheckpoint ${path}`, shapes(Object.entries(own)), shapes(stored), { strict });
    for (const [name, parameter] of Object.entries(own)) overwrite(parameter, stored.get(name));
    return { model: target, tokenizer: readTokenizer(path, file.metadata), metadata: file.metadata };
  } finally {
    file.close();
  }
}

function overwrite(target: Tensor, stored: StoredTensor | undefined): void {
  if (!stored) return;
  const { dtype, device } = target;
  withScope(
    () => assign(target, tensor(stored.read(), { shape: stored.shape, dtype, device })),
    () => false,
  );
}

/** Opens either kind of file, told apart by the first bytes. */
async function openWeights(path: string): Promise<WeightFile> {
  const source = openFile('loadCheckpoint', path);
  const head = source.read(0, Math.min(9, source.size));
  source.close();
  const isSafetensors = head[8] === 0x7b; // '{' after the header's length
  if (isSafetensors || head.length < 9) return openSafetensors(path);
  const { value, close } = await openTorchFile(path);
  const isStateDict = (x: unknown): x is Map<string, TorchTensor> =>
    x instanceof Map && x.size > 0 && [...x].every(([k, v]) => typeof k === 'string' && v instanceof TorchTensor);
  const saved = value instanceof Map && value.has('state_dict') ? value.get('state_dict') : value;
  if (isStateDict(saved)) return { tensors: saved, metadata: value === saved ? {} : facts(value), close };
  close();
  throw new DataError('loadCheckpoint', {
    received: `${path} without a state dict`,
    expected: 'a dictionary of tensors by name, or one under the key state_dict',
    hint: 'Save model.state_dict() with torch.save.',
  });
}

/** The numbers and texts beside a state dict, as text. */
function facts(value: unknown): Record<string, string> {
  const plain = [...(value as Map<unknown, unknown>)].filter(([, v]) => typeof v === 'number' || typeof v === 'string');
  return Object.fromEntries(plain.map(([key, v]) => [String(key), String(v)]));
}

/** Sizes that CLIP's archives keep among the weights, and counters that nothing here uses. */
const notWeights = /^(input_resolution|context_length|vocab_size)$|\.num_batches_tracked$/;
/** The text encoder's members in CLIP's layout, where they stand beside `visual`. */
const textMember = /^(transformer\.resblocks\.|positional_embedding$|text_projection$|token_embedding\.|ln_final\.)/;

/** Entries under the names that CloobModel has. */
function officialNames(tensors: ReadonlyMap<string, StoredTensor>): Map<string, StoredTensor> {
  const prefixed = [...tensors.keys()].every((name) => name.startsWith('module.'));
  const entries = [...tensors]
    .map(([name, value]): [string, StoredTensor] => [prefixed ? name.slice('module.'.length) : name, value])
    .filter(([name]) => !notWeights.test(name));
  const isClipLayout = entries.some(([name]) => name === 'text_projection');
  const rename = (name: string) =>
    name === 'logit_scale' ? 'logit_inv_tau' : textMember.test(name) ? `transformer.${name}` : name;
  return new Map(isClipLayout ? entries.map(([name, value]) => [rename(name), value]) : entries);
}

/** Text that must be JSON. @throws CheckpointError */
function parseFact(path: string, key: string, json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new CheckpointError('loadCheckpoint', {
      received: `${path}: metadata ${key} is no JSON (${(error as Error).message})`,
      expected: 'what saveCheckpoint writes',
    });
  }
}

function readConfig(
  path: string,
  metadata: Record<string, string>,
  stored: ReadonlyMap<string, StoredTensor>,
): CloobConfig {
  if (metadata.config) return resolveConfig(parseFact(path, 'config', metadata.config) as CloobConfig);
  return inferConfig(new Map([...stored].map(([name, { shape }]) => [name, shape])));
}

function readTokenizer(path: string, { tokenizer }: Record<string, string>): ClipTokenizer | null {
  if (!tokenizer) return null;
  return ClipTokenizer.fromJSON(parseFact(path, 'tokenizer', tokenizer) as { merges: string[] });
}
