/** The CLOOB model: two encoders into one space, and the temperature between them. */
import type { Tensor } from '../../autograd/tensor.js';
import { Center } from '../../nn/center.js';
import * as init from '../../nn/init.js';
import { inMicroBatches } from '../../nn/micro-batches.js';
import { adopt, type Parameter } from '../../nn/module.js';
import type { DType } from '../../tensor/dtype.js';
import { DomainError, DTypeError, ShapeError } from '../../tensor/errors.js';
import { Random } from '../../tensor/random.js';
import { formatShape } from '../../tensor/shape.js';
import { type CloobConfig, isTransformer, resolveConfig } from './config.js';
import { ModifiedResNet } from './resnet.js';
import { TextTransformer, VisualTransformer } from './transformers.js';
import { TwoTowers } from './two-towers.js';

/** How a new model is made. */
export interface CreateModelOptions {
  /** Seed of the initial weights. Default 0. */
  seed?: number;
  /** Default float32; float64 lives on wasm and reference. */
  dtype?: DType;
  /** Default: the default device. */
  device?: string;
  /** τ⁻¹ to begin with, in [1, 100]. Default 30. */
  initInvTau?: number;
  /** Zero weights, made at once: for a model whose weights come from elsewhere. Default false. */
  blank?: boolean;
}

/** How a batch is encoded. */
export interface EncodeOptions {
  /** Rows encoded at a time, see {@link inMicroBatches}; centring is over all rows. Default: all. */
  microBatch?: number | null;
  /** Called after each piece, see {@link inMicroBatches}. */
  onPiece?: (() => void) | undefined;
}

/**
 * Image encoder, text encoder and ln τ⁻¹. Member names are those of the official checkpoints.
 *
 * Encoders return raw embeddings; `.l2Normalize()` them for the losses and for retrieval.
 */
export class CloobModel extends TwoTowers {
  /** ln τ⁻¹, one element. Trained only by those who pass `invTau()` to the loss. */
  readonly logit_inv_tau: Parameter;
  readonly visual: ModifiedResNet | VisualTransformer;
  readonly transformer: TextTransformer;
  /** Centring of image and of text embeddings, where the configuration says so. */
  readonly image_center: Center | null;
  readonly text_center: Center | null;

  constructor(
    readonly config: CloobConfig,
    { seed = 0, initInvTau = 30, ...where }: CreateModelOptions = {},
  ) {
    super();
    if (!(initInvTau > 0))
      throw new DomainError('createModel', { received: `initInvTau ${initInvTau}`, expected: 'a positive number' });
    const placement: init.Placement = { ...where, random: new Random(seed) };
    this.logit_inv_tau = adopt(init.constant([1], Math.log(initInvTau), placement), { decay: false });
    this.visual = isTransformer(config)
      ? new VisualTransformer(config, placement)
      : new ModifiedResNet(config, placement);
    this.transformer = new TextTransformer(config, placement);
    const center = () => (config.center === 'batch' ? new Center(config.embed_dim, where) : null);
    this.image_center = center();
    this.text_center = center();
  }

  /**
   * @param images [batch, 3, resolution, resolution], normalised with CLIP's mean and deviation
   * @returns [batch, embed_dim], centred where the configuration says so, not normalised
   * @throws ShapeError for other shapes
   */
  encodeImage(images: Tensor, { microBatch, onPiece }: EncodeOptions = {}): Tensor {
    const side = this.config.image_resolution;
    if (images.rank !== 4 || images.shape[1] !== 3 || images.shape[2] !== side || images.shape[3] !== side)
      throw new ShapeError('encodeImage', {
        received: `images ${formatShape(images.shape)}`,
        expected: `[batch, 3, ${side}, ${side}]`,
        hint: 'Channels come first; resize and crop to the resolution of the model.',
      });
    const embedded = microBatch
      ? inMicroBatches((x) => this.visual.forward(x), images, { size: microBatch, ...(onPiece && { onPiece }) })
      : this.visual.forward(images);
    return this.imagesFrom(embedded);
  }

  imagesFrom(embedded: Tensor): Tensor {
    return this.image_center?.forward(embedded) ?? embedded;
  }

  textsFrom(embedded: Tensor): Tensor {
    return this.text_center?.forward(embedded) ?? embedded;
  }

  /**
   * @param tokens int32 [batch, length], length ≤ context_length; the end token must have the highest id
   * @returns [batch, embed_dim], centred where the configuration says so, not normalised
   * @throws ShapeError, DTypeError, DomainError (an id outside the vocabulary)
   */
  encodeText(tokens: Tensor, { microBatch, onPiece }: EncodeOptions = {}): Tensor {
    if (tokens.dtype !== 'int32')
      throw new DTypeError('encodeText', {
        received: `${tokens.dtype} tokens`,
        expected: 'int32',
        hint: 'ClipTokenizer.tokenize gives them.',
      });
    const embedded = microBatch
      ? inMicroBatches((x) => this.transformer.forward(x), tokens, { size: microBatch, ...(onPiece && { onPiece }) })
      : this.transformer.forward(tokens);
    return this.textsFrom(embedded);
  }

  /**
   * Whether both encoders compute their blocks again in backward instead of keeping what is inside them: the same numbers
   * in less memory, for one more forward pass. Off at first.
   */
  setGradCheckpointing(on = true): this {
    const towers = [this.visual instanceof ModifiedResNet ? this.visual : this.visual.transformer];
    for (const tower of [...towers, this.transformer.transformer]) tower.gradCheckpointing = on;
    return this;
  }
}

/**
 * Makes a model with fresh weights, initialised as the official code does.
 *
 * @param nameOrConfig RN50, RN101, RN50x4, RN50x16, ViT-B-32, ViT-B-16, a small one, or a configuration object
 * @throws UsageError, DomainError
 * @example const model = createModel('emoji-resnet', { seed: 1 })
 */
export function createModel(nameOrConfig: string | CloobConfig, options?: CreateModelOptions): CloobModel {
  return new CloobModel(resolveConfig(nameOrConfig), options);
}
