/** The configurations that others keep in files beside the weights: read, and written for them. */
import { fileSystem, readJson } from '../../formats/files.js';
import { type Activation, type CloobConfig, type Colour, preprocessing, visionHeads } from './config.js';
import type { Layout } from './layouts.js';
import type { ClipTokenizer } from './tokenizer.js';

const op = 'loadCheckpoint';

/** What a configuration beside the weights says that shapes do not tell. */
export interface BesideFacts
  extends Pick<Partial<CloobConfig>, 'vision_heads' | 'transformer_heads' | 'image_mean' | 'image_std'> {
  activation?: Activation;
}

/**
 * Reads the configuration beside weights: `config.json` and `preprocessor_config.json` of Hugging Face,
 * `open_clip_config.json` of open_clip. Nothing where there is none.
 * @throws DataError for one that is no JSON
 */
export function readBeside(folder: string | null, layout: Layout): BesideFacts {
  if (folder === null || layout === 'cloob') return {};
  const read = (name: string): Json => {
    const path = folder + name;
    if (!fileSystem(op).existsSync(path)) return {};
    return asObject(readJson(op, path, 2 ** 24));
  };
  if (layout !== 'hugging-face') {
    const { model_cfg, preprocess_cfg } = read('open_clip_config.json');
    return model_cfg === undefined ? {} : openClipFacts(asObject(model_cfg), asObject(preprocess_cfg));
  }
  const { vision_config, text_config } = read('config.json');
  const [vision, text, pictures] = [asObject(vision_config), asObject(text_config), read('preprocessor_config.json')];
  const act = vision.hidden_act ?? text.hidden_act;
  return {
    ...heads(vision.num_attention_heads, text.num_attention_heads),
    ...(act !== undefined && { activation: act === 'gelu' ? 'gelu' : 'quick_gelu' }),
    ...colours(pictures.image_mean, pictures.image_std),
  };
}

type Json = Record<string, unknown>;
const asObject = (value: unknown): Json => (value !== null && typeof value === 'object' ? (value as Json) : {});

/** open_clip's defaults: exact GELU unless `quick_gelu`, heads of 64. */
function openClipFacts(model: Json, pictures: Json): BesideFacts {
  const [vision, text] = [asObject(model.vision_cfg), asObject(model.text_cfg)];
  const { width, head_width = 64 } = vision;
  const own = typeof width === 'number' && typeof head_width === 'number' ? width / head_width : undefined;
  return {
    activation: model.quick_gelu === true ? 'quick_gelu' : 'gelu',
    ...heads(typeof vision.layers === 'number' ? own : undefined, text.heads),
    ...colours(pictures.mean, pictures.std),
  };
}

const heads = (vision: unknown, text: unknown): BesideFacts => ({
  ...(typeof vision === 'number' && { vision_heads: vision }),
  ...(typeof text === 'number' && { transformer_heads: text }),
});
const colours = (mean: unknown, std: unknown): BesideFacts => ({
  ...(Array.isArray(mean) && { image_mean: mean as unknown as Colour }),
  ...(Array.isArray(std) && { image_std: std as unknown as Colour }),
});

/**
 * The files that go beside weights of a layout, text by name: the configuration, how pictures are prepared, and with Hugging
 * Face's the vocabulary, if there is one.
 */
export function filesBeside(
  layout: Layout,
  config: CloobConfig,
  tokenizer: ClipTokenizer | null,
): Record<string, string> {
  const { size, mean, std } = preprocessing(config);
  const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
  const { embed_dim, vocab_size, context_length, transformer_width, transformer_heads, transformer_layers } = config;
  const { vision_width, vision_layers, vision_patch_size } = config;
  const quick = config.activation !== 'gelu';
  if (layout === 'open-clip') {
    const vision_cfg = {
      ...{ image_size: size, layers: vision_layers, width: vision_width, patch_size: vision_patch_size ?? null },
      head_width: typeof vision_layers === 'number' ? vision_width / visionHeads(config) : 64,
    };
    const text_cfg = {
      ...{ context_length, vocab_size, width: transformer_width },
      ...{ heads: transformer_heads, layers: transformer_layers },
    };
    return {
      'open_clip_config.json': json({
        model_cfg: { embed_dim, quick_gelu: quick, vision_cfg, text_cfg },
        preprocess_cfg: { mean, std },
      }),
    };
  }
  if (layout !== 'hugging-face') return {};
  const hidden_act = quick ? 'quick_gelu' : 'gelu';
  const tower = (width: number, heads: number, layers: number) => ({
    ...{ hidden_size: width, intermediate_size: 4 * width, num_attention_heads: heads, num_hidden_layers: layers },
    ...{ hidden_act, projection_dim: embed_dim, layer_norm_eps: 1e-5 },
  });
  const [bos_token_id, eos_token_id] = [vocab_size - 2, vocab_size - 1];
  return {
    'config.json': json({
      ...{ architectures: ['CLIPModel'], model_type: 'clip', projection_dim: embed_dim },
      text_config: {
        ...tower(transformer_width, transformer_heads, transformer_layers),
        ...{ model_type: 'clip_text_model', vocab_size, max_position_embeddings: context_length },
        ...{ bos_token_id, eos_token_id, pad_token_id: 0 },
      },
      vision_config: {
        ...tower(vision_width, visionHeads(config), vision_layers as number),
        ...{ model_type: 'clip_vision_model', image_size: size, patch_size: vision_patch_size },
      },
    }),
    'preprocessor_config.json': json({
      ...{ image_processor_type: 'CLIPImageProcessor', do_resize: true, do_center_crop: true, do_rescale: true },
      ...{ do_normalize: true, do_convert_rgb: true, resample: 3, size: { shortest_edge: size } },
      ...{ crop_size: { height: size, width: size }, image_mean: mean, image_std: std },
    }),
    ...(tokenizer && {
      'vocab.json': json(Object.fromEntries(tokenizer.tokens.map((token, id) => [token, id]))),
      'merges.txt': `#version: 0.2\n${tokenizer.merges.map((pair) => pair.join(' ')).join('\n')}\n`,
      'tokenizer_config.json': json({
        ...{ tokenizer_class: 'CLIPTokenizer', model_max_length: context_length, do_lower_case: true },
        ...{ bos_token: '<|startoftext|>', eos_token: '<|endoftext|>', unk_token: '<|endoftext|>' },
      }),
    }),
  };
}
