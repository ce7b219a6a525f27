/** The vision transformer and the text transformer of CLIP and CLOOB. */

import { arange } from '../../autograd/create.js';
import { gather } from '../../autograd/ops/gather.js';
import type { Tensor } from '../../autograd/tensor.js';
import * as init from '../../nn/init.js';
import { Conv2d, Embedding } from '../../nn/layers.js';
import { adopt, Module, type Parameter } from '../../nn/module.js';
import { LayerNorm } from '../../nn/norms.js';
import { Transformer } from '../../nn/transformer.js';
import { ShapeError } from '../../tensor/errors.js';
import { formatShape } from '../../tensor/shape.js';
import { type CloobConfig, visionHeads } from './config.js';

/**
 * Vision transformer: patches and a class token through a transformer; the class token's result is projected.
 * @source Dosovitskiy et al. 2021, arXiv 2010.11929, with CLIP's norm before the transformer
 */
export class VisualTransformer extends Module {
  readonly class_embedding: Parameter;
  /** [1 + patches, width] */
  readonly positional_embedding: Parameter;
  /** [width, embed_dim] */
  readonly proj: Parameter;
  readonly conv1: Conv2d;
  readonly ln_pre: LayerNorm;
  readonly transformer: Transformer;
  readonly ln_post: LayerNorm;

  constructor(config: CloobConfig, where: init.Placement) {
    super();
    const { vision_width: width, embed_dim, image_resolution } = config;
    const patch = config.vision_patch_size!;
    const std = 1 / Math.sqrt(width);
    const patches = (image_resolution / patch) ** 2;
    this.class_embedding = adopt(init.normal([width], std, where));
    this.positional_embedding = adopt(init.normal([patches + 1, width], std, where));
    this.proj = adopt(init.normal([width, embed_dim], std, where));
    this.conv1 = new Conv2d(3, width, patch, { stride: patch, bias: false, ...where });
    this.ln_pre = new LayerNorm(width, where);
    this.transformer = new Transformer({
      width,
      layers: config.vision_layers as number,
      heads: visionHeads(config),
      quick: config.activation !== 'gelu',
      ...where,
    });
    this.ln_post = new LayerNorm(width, where);
  }

  /** @param images [batch, 3, height, width] → [batch, embed_dim] */
  forward(images: Tensor): Tensor {
    const [batch] = images.shape as [number];
    const patches = this.conv1.forward(images).flatten(2).transpose(); // [batch, patches, width]
    const classToken = this.class_embedding.expand([batch, 1, this.class_embedding.size]);
    const tokens = classToken.concat(patches, { axis: 1 }).add(this.positional_embedding); // [batch, 1 + patches, width]
    const x = this.transformer.forward(this.ln_pre.forward(tokens));
    return this.ln_post
      .forward(
        x
          .slice([
            [0, null],
            [0, 1],
          ])
          .squeeze(1),
      )
      .matmul(this.proj);
  }
}

/**
 * Text transformer: causal, read at the end token, which has the highest id of its sequence.
 * @source Radford et al. 2021, arXiv 2103.00020, section 2.4
 */
export class TextTransformer extends Module {
  /** [context_length, width] */
  readonly positional_embedding: Parameter;
  /** [width, embed_dim] */
  readonly text_projection: Parameter;
  readonly transformer: Transformer;
  readonly token_embedding: Embedding;
  readonly ln_final: LayerNorm;

  constructor(config: CloobConfig, where: init.Placement) {
    super();
    const { transformer_width: width, transformer_layers: layers, transformer_heads: heads } = config;
    const std = 1 / Math.sqrt(width);
    this.positional_embedding = adopt(init.normal([config.context_length, width], 0.01, where));
    this.text_projection = adopt(init.normal([width, config.embed_dim], std, where));
    this.transformer = new Transformer({
      width,
      layers,
      heads,
      causal: true,
      quick: config.activation !== 'gelu',
      std: { attention: std, projection: std / Math.sqrt(2 * layers), hidden: 1 / Math.sqrt(2 * width) },
      ...where,
    });
    this.token_embedding = new Embedding(config.vocab_size, width, { std: 0.02, ...where });
    this.ln_final = new LayerNorm(width, where);
  }

  /**
   * @param tokens int32 [batch, length], length ≤ context_length → [batch, embed_dim]
   * @throws ShapeError for longer sequences
   */
  forward(tokens: Tensor): Tensor {
    const x = this.states(tokens);
    const [batch, length, width] = x.shape as [number, number, number];
    // Row b · length + position of the highest id: the end token of sequence b.
    const rows = arange(0, batch * length, length, { dtype: 'int32', device: tokens.device }).add(
      tokens.argmax({ axis: 1 }),
    );
    return gather(x.reshape([batch * length, width]), rows).matmul(this.text_projection);
  }

  /** What the transformer makes of every token: int32 [batch, length] → [batch, length, width]. */
  states(tokens: Tensor): Tensor {
    const [, length] = tokens.shape as [number, number];
    const [context] = this.positional_embedding.shape as [number];
    if (tokens.rank !== 2 || length > context)
      throw new ShapeError('encodeText', {
        received: `tokens ${formatShape(tokens.shape)}`,
        expected: `[batch, length] with length ≤ ${context}`,
        hint: 'tokenizer.tokenize(texts, { contextLength }) makes them.',
      });
    const embedded = this.token_embedding.forward(tokens).add(this.positional_embedding.slice([[0, length]]));
    return this.ln_final.forward(this.transformer.forward(embedded));
  }
}
