/**
 * The names that others give the same weights. Reading brings them all to the official names of CLOOB, which are this
 * package's own; writing goes back.
 *
 * | layout       | text encoder     | queries, keys, values             | projections  | ln τ⁻¹        |
 * | ------------ | ---------------- | --------------------------------- | ------------ | ------------- |
 * | cloob        | `transformer.…`  | one matrix, `in_proj_weight`      | [width, dim] | logit_inv_tau |
 * | openai       | beside `visual`  | one matrix                        | [width, dim] | logit_scale   |
 * | open-clip    | as openai's, or `text.…` of its custom text encoder      | | [width, dim] | logit_scale   |
 * | hugging-face | `text_model.…`   | `q_proj`, `k_proj`, `v_proj`      | [dim, width] | logit_scale   |
 */
import type { Tensor } from '../../autograd/tensor.js';
import type { StoredTensor } from '../../formats/stored.js';
import type { TypedArray } from '../../tensor/dtype.js';
import { CheckpointError, UsageError } from '../../tensor/errors.js';
import { type CloobConfig, isTransformer } from './config.js';

export const layouts = ['cloob', 'openai', 'open-clip', 'hugging-face'] as const;
export type Layout = (typeof layouts)[number];

type Stored = ReadonlyMap<string, StoredTensor>;

/** What training leaves before every name: PyTorch's data-parallel module, `torch.compile`, Lightning. */
const prefixes = ['module.', '_orig_mod.', 'model.'];
/** Sizes that CLIP's archives keep among the weights, and buffers that nothing here uses. */
const notWeights =
  /^(input_resolution|context_length|vocab_size)$|\.num_batches_tracked$|(^|\.)(position_ids|attn_mask)$/;
/** The text encoder's members in CLIP's layout, where they stand beside `visual`. */
const textMember = /^(transformer\.resblocks\.|positional_embedding$|text_projection$|token_embedding\.|ln_final\.)/;

/**
 * Weights under the official names, and the layout they were in. Names that belong to no layout stay as they are.
 * @param path for messages
 * @throws CheckpointError when two entries are the same weight
 */
export function readLayout(path: string, tensors: Stored): { layout: Layout; tensors: Map<string, StoredTensor> } {
  const entries = withoutPrefixes([...tensors]).filter(([name]) => !notWeights.test(name));
  const names = new Set(entries.map(([name]) => name));
  if (names.has('text_model.embeddings.token_embedding.weight'))
    return { layout: 'hugging-face', tensors: fromHuggingFace(new Map(entries)) };
  const custom = names.has('text.token_embedding.weight');
  const isClip = custom || names.has('text_projection');
  const rename = (name: string) => {
    if (name === 'logit_scale') return 'logit_inv_tau';
    const member = custom && name.startsWith('text.') ? name.slice('text.'.length) : name;
    return textMember.test(member) ? `transformer.${member}` : name;
  };
  const named = new Map(isClip ? entries.map(([name, value]) => [rename(name), value]) : entries);
  if (named.size === entries.length)
    return { layout: custom ? 'open-clip' : isClip ? 'openai' : 'cloob', tensors: named };
  throw new CheckpointError('loadCheckpoint', {
    received: `${path} with the names of two layouts for one weight`,
    expected: 'every weight once',
  });
}

/** Without what stands before every name. */
function withoutPrefixes<T>(entries: [string, T][]): [string, T][] {
  const common = prefixes.find((prefix) => entries.length > 0 && entries.every(([name]) => name.startsWith(prefix)));
  return common ? withoutPrefixes(entries.map(([name, value]) => [name.slice(common.length), value])) : entries;
}

/** An official weight in the layout of Hugging Face: one entry or three along the first axis, and whether transposed. */
interface Parts {
  names: string[];
  transposed?: boolean;
}

const block: Record<string, string> = {
  ln_1: 'layer_norm1',
  ln_2: 'layer_norm2',
  'mlp.c_fc': 'mlp.fc1',
  'mlp.c_proj': 'mlp.fc2',
  'attn.out_proj': 'self_attn.out_proj',
};
const single: Record<string, Parts> = {
  logit_inv_tau: { names: ['logit_scale'] },
  'visual.class_embedding': { names: ['vision_model.embeddings.class_embedding'] },
  'visual.positional_embedding': { names: ['vision_model.embeddings.position_embedding.weight'] },
  'visual.proj': { names: ['visual_projection.weight'], transposed: true },
  'visual.conv1.weight': { names: ['vision_model.embeddings.patch_embedding.weight'] },
  'transformer.positional_embedding': { names: ['text_model.embeddings.position_embedding.weight'] },
  'transformer.text_projection': { names: ['text_projection.weight'], transposed: true },
  'transformer.token_embedding.weight': { names: ['text_model.embeddings.token_embedding.weight'] },
};
/** Norms that have a weight and a bias; `pre_layrnorm` is spelt so. */
const norms: Record<string, string> = {
  'visual.ln_pre': 'vision_model.pre_layrnorm',
  'visual.ln_post': 'vision_model.post_layernorm',
  'transformer.ln_final': 'text_model.final_layer_norm',
};

/** Where Hugging Face keeps an official weight; null for what a CLIPModel does not have. */
function huggingFace(name: string): Parts | null {
  if (single[name]) return single[name];
  const [, stem, kind] = /^(.*)\.(weight|bias)$/.exec(name) ?? [];
  if (stem && norms[stem]) return { names: [`${norms[stem]}.${kind}`] };
  const [, tower, index, member] = /^(visual|transformer)\.transformer\.resblocks\.(\d+)\.(.*)$/.exec(name) ?? [];
  if (!tower || !member) return null;
  const layer = `${tower === 'visual' ? 'vision' : 'text'}_model.encoder.layers.${index}`;
  const [, packed] = /^attn\.in_proj_(weight|bias)$/.exec(member) ?? [];
  if (packed) return { names: ['q', 'k', 'v'].map((letter) => `${layer}.self_attn.${letter}_proj.${packed}`) };
  const own = block[member.slice(0, -kind!.length - 1)];
  return own ? { names: [`${layer}.${own}.${kind}`] } : null;
}

/** The official names of a vision transformer's CLOOB. */
function officialNames(visionLayers: number, textLayers: number): string[] {
  const both = (stem: string) => [`${stem}.weight`, `${stem}.bias`];
  const layers = (tower: string, count: number) =>
    Array.from({ length: count }, (_, i) => `${tower}.transformer.resblocks.${i}`).flatMap((layer) => [
      ...[`${layer}.attn.in_proj_weight`, `${layer}.attn.in_proj_bias`],
      ...Object.keys(block).flatMap((member) => both(`${layer}.${member}`)),
    ]);
  return [
    ...Object.keys(single),
    ...Object.keys(norms).flatMap(both),
    ...layers('visual', visionLayers),
    ...layers('transformer', textLayers),
  ];
}

function fromHuggingFace(stored: Stored): Map<string, StoredTensor> {
  const layers = (tower: string) =>
    new Set(
      [...stored.keys()].map((name) => new RegExp(`^${tower}_model\\.encoder\\.layers\\.(\\d+)\\.`).exec(name)?.[1]),
    ).size - 1; // one is undefined, of the other names
  const left = new Map(stored);
  const result = new Map<string, StoredTensor>();
  for (const name of officialNames(layers('vision'), layers('text'))) {
    const { names, transposed } = huggingFace(name)!;
    const parts = names.map((part) => stored.get(part));
    const isWhole = (list: readonly (StoredTensor | undefined)[]): list is StoredTensor[] =>
      list.every((part) => part && `${part.shape.slice(1)}` === `${list[0]!.shape.slice(1)}`);
    if (!isWhole(parts)) continue; // what lacks or does not fit is told by name
    for (const part of names) left.delete(part);
    result.set(name, transposed ? transpose(parts[0]!) : stack(parts));
  }
  return new Map([...result, ...left]);
}

/** Tensors below each other along the first axis. */
function stack(parts: readonly StoredTensor[]): StoredTensor {
  const [first] = parts as [StoredTensor];
  if (parts.length === 1) return first;
  const [, ...rest] = first.shape;
  const rows = parts.reduce((sum, { shape }) => sum + (shape[0] ?? 0), 0);
  return {
    type: first.type,
    shape: [rows, ...rest],
    read() {
      const read = parts.map((part) => part.read());
      const Kind = read[0]!.constructor as new (length: number) => TypedArray;
      const joined = new Kind(read.reduce((sum, { length }) => sum + length, 0));
      let at = 0;
      for (const part of read) {
        joined.set(part, at);
        at += part.length;
      }
      return joined;
    },
  };
}

/** A matrix with its axes exchanged. */
function transpose(matrix: StoredTensor): StoredTensor {
  const [rows = 0, columns = 0] = matrix.shape;
  if (matrix.shape.length !== 2) return matrix; // a wrong shape is told when shapes are compared
  return {
    type: matrix.type,
    shape: [columns, rows],
    read() {
      const given = matrix.read();
      const turned = given.slice();
      for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) turned[j * rows + i] = given[i * columns + j]!;
      return turned;
    },
  };
}

/**
 * A state dict under the names of another layout.
 * @throws UsageError for a model that the layout cannot hold: a residual net in that of Hugging Face, centring in any
 */
export function writeLayout(
  layout: Layout,
  state: Record<string, Tensor>,
  config: CloobConfig,
): Record<string, Tensor> {
  if (layout === 'cloob') return state;
  const refuse = (received: string, hint: string) =>
    new UsageError('convert', {
      received: `${received} to write as ${layout}`,
      expected: 'a model that CLIP has',
      hint,
    });
  if (config.center === 'batch')
    throw refuse('centred embeddings', 'Train with --center off for weights that go elsewhere.');
  if (layout === 'hugging-face') {
    if (!isTransformer(config)) throw refuse('a residual net', 'Its CLIPModel has vision transformers only.');
    return Object.fromEntries(Object.entries(state).flatMap(([name, value]) => split(huggingFace(name)!, value)));
  }
  const rename = (name: string) =>
    name === 'logit_inv_tau'
      ? 'logit_scale'
      : name.startsWith('transformer.')
        ? name.slice('transformer.'.length)
        : name;
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [rename(name), value]));
}

function split({ names, transposed }: Parts, value: Tensor): [string, Tensor][] {
  if (transposed) return [[names[0]!, value.transpose()]];
  const parts = names.length === 1 ? [value] : value.split(value.shape[0]! / names.length);
  return parts.map((part, i) => [names[i]!, part]);
}
