/** CLOOB on embeddings from elsewhere: a trained projection of each side into a shared space. */

import { tensor } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import type { FileInput } from '../../formats/files.js';
import { parseJson } from '../../formats/files.js';
import { openSafetensors, type WriteOptions, writeSafetensors } from '../../formats/safetensors.js';
import { Center } from '../../nn/center.js';
import * as init from '../../nn/init.js';
import { Linear } from '../../nn/layers.js';
import { adopt, type Parameter } from '../../nn/module.js';
import { CheckpointError, DomainError, describeValue } from '../../tensor/errors.js';
import { Random } from '../../tensor/random.js';
import type { CreateModelOptions } from './model.js';
import { type SharedSpace, TwoTowers } from './two-towers.js';

const op = 'loadHeads';

/** Sizes of two heads. */
export interface HeadsConfig extends SharedSpace {
  /** Numbers of a given image embedding. */
  image_features: number;
  /** Numbers of a given text embedding. */
  text_features: number;
}

/**
 * A linear head on given embeddings of images, one on those of texts, and ln τ⁻¹:
 *
 * $$ x = W_x f_x + b_x, \qquad y = W_y f_y + b_y $$
 *
 * | symbol   | code               | is                                                       |
 * |----------|--------------------|----------------------------------------------------------|
 * | f_x, f_y | features           | what frozen encoders gave, [batch, image_features] …     |
 * | W_x, b_x | image_head         | trained, [embed_dim, image_features] and [embed_dim]     |
 * | W_y, b_y | text_head          | trained                                                  |
 * | x, y     | return             | raw embeddings; `.l2Normalize()` them for the losses     |
 *
 * @source Zhai et al. 2022, "LiT", arXiv 2111.07991: contrastive training on locked towers, here with both locked
 */
export class HeadsModel extends TwoTowers {
  readonly logit_inv_tau: Parameter;
  readonly image_head: Linear;
  readonly text_head: Linear;
  readonly image_center: Center | null;
  readonly text_center: Center | null;

  /** @throws DomainError for sizes that are no whole numbers ≥ 1 */
  constructor(
    readonly config: HeadsConfig,
    { seed = 0, initInvTau = 30, ...where }: Omit<CreateModelOptions, 'blank'> = {},
  ) {
    super();
    checkHeadsConfig(config);
    const placement: init.Placement = { ...where, random: new Random(seed) };
    const { embed_dim, image_features, text_features } = config;
    this.logit_inv_tau = adopt(init.constant([1], Math.log(initInvTau), placement), { decay: false });
    this.image_head = new Linear(image_features, embed_dim, placement);
    this.text_head = new Linear(text_features, embed_dim, placement);
    const center = () => (config.center === 'batch' ? new Center(embed_dim, where) : null);
    this.image_center = center();
    this.text_center = center();
  }

  /** @param features [batch, image_features] @throws ShapeError for other shapes */
  imagesFrom(features: Tensor): Tensor {
    const projected = this.image_head.forward(features);
    return this.image_center?.forward(projected) ?? projected;
  }

  /** @param features [batch, text_features] @throws ShapeError for other shapes */
  textsFrom(features: Tensor): Tensor {
    const projected = this.text_head.forward(features);
    return this.text_center?.forward(projected) ?? projected;
  }
}

/** Most numbers of a row: what is beyond is no embedding, and a damaged file must not fill the memory. */
const mostNumbers = 2 ** 20;

function checkHeadsConfig(config: HeadsConfig): void {
  for (const key of ['embed_dim', 'image_features', 'text_features'] as const) {
    const size: unknown = config[key];
    if (!Number.isSafeInteger(size) || (size as number) < 1 || (size as number) > mostNumbers)
      throw new DomainError('HeadsModel', {
        received: `${key} ${describeValue(size)}`,
        expected: `a whole number, 1 … ${mostNumbers}`,
      });
  }
  const { center } = config;
  if (center !== undefined && center !== 'batch' && center !== 'off')
    throw new DomainError('HeadsModel', { received: `center ${JSON.stringify(center)}`, expected: "'batch' or 'off'" });
}

/** Writes heads as safetensors with their sizes in the metadata. @throws DataError, DomainError as {@link writeSafetensors} */
export async function saveHeads(
  path: string,
  { model, metadata = {}, ...options }: { model: HeadsModel; metadata?: Record<string, string> } & WriteOptions,
): Promise<void> {
  await writeSafetensors(path, model.stateDict(), { ...metadata, heads: JSON.stringify(model.config) }, options);
}

/**
 * Reads what `hopgrad train --image-embeddings … --text-embeddings …` has saved, in evaluation mode or not as you set it.
 * @param path a file of weights; in pages its bytes
 * @throws DataError for an unreadable file; CheckpointError for one of something else
 */
export function loadHeads(
  path: Extract<FileInput, string | URL | Uint8Array | ArrayBuffer>,
  where: Pick<CreateModelOptions, 'device'> = {},
): { model: HeadsModel; metadata: Record<string, string> } {
  const file = openSafetensors(path);
  try {
    const { heads, ...metadata } = file.metadata;
    const name = typeof path === 'string' ? path : 'the file';
    if (heads === undefined)
      throw new CheckpointError(op, { received: `${name} without heads`, expected: 'heads on given embeddings' });
    const config = parseJson(op, `${name}: metadata heads`, heads) as HeadsConfig;
    const elements = [...file.tensors.values()].reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    if (!(config?.embed_dim * (config?.image_features + config?.text_features) <= elements))
      throw new CheckpointError(op, {
        received: `${name} of ${elements} numbers, for heads ${heads.slice(0, 200)}`,
        expected: 'sizes of its weights',
      });
    const model = new HeadsModel(config, where);
    const state: Record<string, Tensor> = {};
    const device = model.logit_inv_tau.device;
    for (const [key, stored] of file.tensors) state[key] = tensor(stored.read(), { shape: stored.shape, device });
    model.loadStateDict(state);
    for (const value of Object.values(state)) value.dispose();
    return { model, metadata };
  } finally {
    file.close();
  }
}
