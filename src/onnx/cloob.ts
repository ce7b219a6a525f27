/** A model of CLOOB as the files that transformers.js, ONNX Runtime and others read. */
import { arange } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { filesBeside } from '../models/cloob/beside.js';
import { isTransformer } from '../models/cloob/config.js';
import type { CloobModel } from '../models/cloob/model.js';
import type { ClipTokenizer } from '../models/cloob/tokenizer.js';
import type { Bytes } from '../tensor/bytes.js';
import { UsageError } from '../tensor/errors.js';
import { toOnnx } from './to-onnx.js';

/** Files by their paths in the folder of the model. */
export type CloobFiles = Record<string, Bytes | string>;

/**
 * Both encoders as files of ONNX, with what prepares pictures and texts for them, in the form in which transformers.js
 * reads CLIP:
 *
 * | file                      | what                                                                             |
 * |---------------------------|----------------------------------------------------------------------------------|
 * | onnx/vision_model.onnx    | pixel_values [batch, 3, side, side] → image_embeds [batch, embed_dim]            |
 * | onnx/text_model.onnx      | input_ids int64 [batch, context_length] → text_embeds [batch, embed_dim]         |
 * | config.json               | sizes of the model                                                               |
 * | preprocessor_config.json  | size, mean and deviation of pictures                                             |
 * | tokenizer.json, tokenizer_config.json | the vocabulary; pad to `context_length`, by whatever follows the end token |
 *
 * Embeddings are those of the model in evaluation mode: centred where the model centres, not of unit length.
 * @throws UsageError for a model without a tokenizer
 */
export async function cloobToOnnx(model: CloobModel, tokenizer: ClipTokenizer | null): Promise<CloobFiles> {
  if (!tokenizer)
    throw new UsageError('cloobToOnnx', {
      received: 'a model without a tokenizer',
      expected: 'the tokenizer that its text encoder was trained with',
    });
  const { config } = model;
  const { image_resolution: side, context_length: length } = config;
  const shared = { names: model.stateDict(), device: model.logit_inv_tau.device };
  const training = [...model.namedModules()].filter(([, module]) => module.training);
  model.eval();
  try {
    const vision = await toOnnx((images) => model.encodeImage(images), {
      inputs: [{ name: 'pixel_values', shape: [null, 3, side, side] }],
      output: 'image_embeds',
      ...shared,
    });
    const text = await toOnnx((tokens) => textEmbeddings(model, tokens), {
      inputs: [{ name: 'input_ids', shape: [null, length], type: 'int64' }],
      output: 'text_embeds',
      ...shared,
    });
    return { 'onnx/vision_model.onnx': vision, 'onnx/text_model.onnx': text, ...filesAround(model, tokenizer) };
  } finally {
    for (const [, module] of training) module.training = true;
  }
}

/** encodeText, with the end token picked by a mask: rows of a flattened batch would depend on its size. */
function textEmbeddings(model: CloobModel, tokens: Tensor): Tensor {
  const { transformer } = model;
  const states = transformer.states(tokens); // [batch, length, width]
  const positions = arange(0, tokens.shape[1]!, 1, { dtype: 'int32', device: tokens.device });
  const end = positions.equal(tokens.argmax({ axis: 1, keepDims: true })); // [batch, length]
  const read = states.mul(end.unsqueeze(2).cast(states.dtype)).sum({ axis: 1 }).matmul(transformer.text_projection);
  return model.text_center?.forward(read) ?? read;
}

function filesAround({ config }: CloobModel, tokenizer: ClipTokenizer): Record<string, string> {
  const files = filesBeside('hugging-face', config, tokenizer);
  const whole = JSON.parse(files['config.json']!);
  // A residual network has no counterpart among CLIP's classes there; the graph is run all the same.
  if (!isTransformer(config)) {
    const { model_type, image_size, projection_dim } = whole.vision_config;
    whole.vision_config = { model_type, image_size, projection_dim };
  }
  return {
    'config.json': `${JSON.stringify(whole, null, 2)}\n`,
    'preprocessor_config.json': files['preprocessor_config.json']!,
    'tokenizer_config.json': files['tokenizer_config.json']!,
    'tokenizer.json': `${JSON.stringify(tokenizerJson(tokenizer), null, 2)}\n`,
  };
}

/** The tokenizer in the format of Hugging Face's `tokenizers`: CLIP's, as published, with this vocabulary. */
function tokenizerJson({ tokens, merges, startId, endId }: ClipTokenizer): object {
  const [start, end] = [tokens[startId]!, tokens[endId]!];
  const special = (id: number) => ({
    ...{ id, content: tokens[id], single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [special(startId), special(endId)],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        {
          type: 'Split',
          pattern: { Regex: "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
          behavior: 'Removed',
          invert: true,
        },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: {
      type: 'RobertaProcessing',
      sep: [end, endId],
      cls: [start, startId],
      trim_offsets: false,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      ...{ dropout: null, unk_token: end, continuing_subword_prefix: '', end_of_word_suffix: '</w>', fuse_unk: false },
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: merges.map((pair) => pair.join(' ')),
    },
  };
}
