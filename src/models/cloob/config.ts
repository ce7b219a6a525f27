/** Sizes of models: the official ones, small ones for the embedded data, or your own. */
import { DomainError, describeValue, UsageError } from '../../tensor/errors.js';

/** A model's sizes, with the names of the official configuration files. */
export interface CloobConfig {
  /** Size of the shared embedding space. */
  embed_dim: number;
  /** Height and width of the input images, pixels. */
  image_resolution: number;
  /** Four numbers: blocks in the residual net's stages. One number: layers of a vision transformer. */
  vision_layers: readonly [number, number, number, number] | number;
  /** Channels after the residual net's stem, or width of the vision transformer. */
  vision_width: number;
  /** Patch size of the vision transformer, pixels; null for the residual net. */
  vision_patch_size?: number | null;
  /** Attention heads of the image encoder. Default: one for every 64 of its width, as the official models have. */
  vision_heads?: number;
  /** How much the residual net's stem shrinks the image: 4 (official: stride 2, then pooling) or 1 for small images. */
  stem_reduction?: 4 | 1;
  /** 'batch': the batch's mean is taken off both kinds of embeddings, see nn's Center. Default: not, as published. */
  center?: 'batch' | 'off';
  /** Between the two linear layers of a transformer's block: x σ(1.702 x), as officially, or x Φ(x). Default quick_gelu. */
  activation?: Activation;
  /** Longest token sequence, start and end included. */
  context_length: number;
  vocab_size: number;
  transformer_width: number;
  transformer_heads: number;
  transformer_layers: number;
  /** Mean of the channels of 0 … 1 pixels, subtracted before the image encoder. Default: `clipMean`. */
  image_mean?: Colour;
  /** Their deviation, which divides. Default: `clipStd`. */
  image_std?: Colour;
  /** Colour 0 … 255 laid under transparent parts; null: opacity is dropped, as the official code does. Default white. */
  image_background?: Colour | null;
}

export type Activation = 'quick_gelu' | 'gelu';

/** Red, green and blue. */
export type Colour = readonly [number, number, number];

/** Mean and deviation of each channel of 0 … 1 pixels, as CLIP and the official CLOOB use them. */
export const clipMean: Colour = [0.48145466, 0.4578275, 0.40821073];
export const clipStd: Colour = [0.26862954, 0.26130258, 0.27577711];

/** How pictures become what the image encoder of a model sees. */
export interface Preprocessing {
  /** Pixels a side. */
  size: number;
  mean: Colour;
  std: Colour;
  background: Colour | null;
}

/** What a configuration says about its pictures, with the defaults where it is silent. */
export function preprocessing(config: CloobConfig): Preprocessing {
  const { image_resolution: size, image_mean: mean = clipMean, image_std: std = clipStd } = config;
  const { image_background: background = [255, 255, 255] } = config;
  return { size, mean, std, background };
}

const text = { context_length: 77, vocab_size: 49408, transformer_layers: 12 };
const resNet = { vision_patch_size: null, image_resolution: 224, ...text };
const base = { transformer_width: 512, transformer_heads: 8 };

/** Between the embedded data and the published models: sentences as captions, their vocabulary learnt from them. */
const small = {
  embed_dim: 256,
  vision_patch_size: null,
  context_length: 32,
  vocab_size: 4096,
  transformer_width: 256,
  transformer_heads: 4,
  transformer_layers: 3,
};

/** Every named model. The `emoji-*` ones are for the embedded 32×32 data and its small vocabulary. */
export const configs = {
  RN50: { embed_dim: 1024, vision_layers: [3, 4, 6, 3], vision_width: 64, ...resNet, ...base },
  RN101: { embed_dim: 512, vision_layers: [3, 4, 23, 3], vision_width: 64, ...resNet, ...base },
  RN50x4: {
    ...resNet,
    embed_dim: 640,
    image_resolution: 288,
    vision_layers: [4, 6, 10, 6],
    vision_width: 80,
    transformer_width: 640,
    transformer_heads: 10,
  },
  RN50x16: {
    ...resNet,
    embed_dim: 768,
    image_resolution: 384,
    vision_layers: [6, 8, 18, 8],
    vision_width: 96,
    transformer_width: 768,
    transformer_heads: 12,
  },
  'ViT-B-32': {
    embed_dim: 512,
    image_resolution: 224,
    vision_layers: 12,
    vision_width: 768,
    vision_patch_size: 32,
    ...text,
    ...base,
  },
  'ViT-B-16': {
    embed_dim: 512,
    image_resolution: 224,
    vision_layers: 12,
    vision_width: 768,
    vision_patch_size: 16,
    ...text,
    ...base,
  },
  'emoji-resnet': {
    embed_dim: 128,
    image_resolution: 32,
    vision_layers: [1, 1, 1, 1],
    vision_width: 24,
    vision_patch_size: null,
    vision_heads: 4,
    stem_reduction: 4,
    context_length: 16,
    vocab_size: 1024,
    transformer_width: 128,
    transformer_heads: 4,
    transformer_layers: 1,
  },
  'emoji-vit': {
    embed_dim: 128,
    image_resolution: 32,
    vision_layers: 3,
    vision_width: 128,
    vision_patch_size: 4,
    vision_heads: 4,
    context_length: 16,
    vocab_size: 1024,
    transformer_width: 128,
    transformer_heads: 4,
    transformer_layers: 2,
  },
  'small-64': { ...small, image_resolution: 64, vision_layers: [1, 1, 1, 1], vision_width: 32 },
  'small-112': { ...small, image_resolution: 112, vision_layers: [2, 2, 2, 2], vision_width: 32 },
  'small-224': { ...small, image_resolution: 224, vision_layers: [2, 2, 2, 2], vision_width: 32 },
} as const satisfies Record<string, CloobConfig>;

/** Configurations that {@link createModel} knows by name. */
export type ModelName = keyof typeof configs;

/** @throws UsageError for an unknown name; DomainError for sizes that fit no model */
export function resolveConfig(nameOrConfig: string | CloobConfig): CloobConfig {
  if (typeof nameOrConfig !== 'string') return checkConfig(nameOrConfig);
  if (Object.hasOwn(configs, nameOrConfig)) return configs[nameOrConfig as ModelName];
  throw new UsageError('createModel', {
    received: `unknown model ${JSON.stringify(nameOrConfig)}`,
    expected: `one of ${Object.keys(configs).join(', ')}`,
    hint: 'Or pass a configuration object.',
  });
}

/** Whether the image encoder is a vision transformer (else a residual net). */
export function isTransformer(config: CloobConfig): boolean {
  return typeof config.vision_layers === 'number';
}

/** Heads of the image encoder: of the vision transformer's layers, or of the residual net's attention pool. */
export function visionHeads(config: CloobConfig): number {
  return (
    config.vision_heads ??
    Math.max(1, Math.floor(isTransformer(config) ? config.vision_width / 64 : config.vision_width / 2))
  );
}

function checkConfig(config: CloobConfig): CloobConfig {
  const fail = (received: string, expected: string): never => {
    throw new DomainError('createModel', {
      received,
      expected,
      hint: 'Compare with the configurations of the named models.',
    });
  };
  if (config === null || typeof config !== 'object') fail(String(config), 'a model name or a configuration object');
  const sizes = [
    'embed_dim',
    'image_resolution',
    'vision_width',
    'context_length',
    'vocab_size',
    'transformer_width',
    'transformer_heads',
    'transformer_layers',
  ] as const;
  for (const key of sizes)
    if (!Number.isSafeInteger(config[key]) || config[key] < 1)
      fail(`${key} ${describeValue(config[key])}`, 'a whole number ≥ 1');
  const isWhole = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 1;
  const layers = config.vision_layers;
  if (Array.isArray(layers) ? layers.length !== 4 || !layers.every(isWhole) : !isWhole(layers))
    fail(`vision_layers ${describeValue(layers)}`, 'four whole numbers (residual net) or one (vision transformer)');
  const patch = config.vision_patch_size;
  if (isTransformer(config) && (!isWhole(patch) || config.image_resolution % patch !== 0))
    fail(
      `vision_patch_size ${describeValue(patch)} for image_resolution ${config.image_resolution}`,
      'a divisor of the resolution',
    );
  if (config.transformer_width % config.transformer_heads !== 0)
    fail(
      `${config.transformer_heads} transformer_heads for transformer_width ${config.transformer_width}`,
      'a divisor of the width',
    );
  if (config.center !== undefined && config.center !== 'batch' && config.center !== 'off')
    fail(`center ${JSON.stringify(config.center)}`, "'batch' or 'off'");
  const { activation } = config;
  if (activation !== undefined && activation !== 'quick_gelu' && activation !== 'gelu')
    fail(`activation ${JSON.stringify(activation)}`, "'quick_gelu' or 'gelu'");
  const heads = config.vision_heads;
  if (heads !== undefined && !isWhole(heads)) fail(`vision_heads ${describeValue(heads)}`, 'a whole number ≥ 1');
  const stem = config.stem_reduction;
  if (stem !== undefined && stem !== 1 && stem !== 4) fail(`stem_reduction ${describeValue(stem)}`, '4 or 1');
  const colour = (
    key: 'image_mean' | 'image_std' | 'image_background',
    ok: (value: number) => boolean,
    values: string,
  ) => {
    const value: unknown = config[key];
    if (value === undefined || (value === null && key === 'image_background')) return;
    if (!(Array.isArray(value) && value.length === 3 && value.every((v) => Number.isFinite(v) && ok(v))))
      fail(`${key} ${describeValue(value)}`, `three numbers, ${values}`);
  };
  colour('image_mean', () => true, 'of 0 … 1 pixels');
  colour('image_std', (v) => v > 0, 'above 0');
  colour('image_background', (v) => v >= 0 && v <= 255, '0 … 255');
  if (config.context_length < 3) fail(`context_length ${config.context_length}`, 'at least 3: start, one token, end');
  return config;
}
