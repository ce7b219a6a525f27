/** The model that a tab can train in half a minute, and what a run of it is asked. */
import type { CloobConfig } from 'hopgrad/models/cloob';

/** Small enough for some hundred steps in half a minute on one thread; centred, so that memories can take part early. */
export const config: CloobConfig = {
  embed_dim: 64,
  image_resolution: 32,
  vision_layers: [1, 1, 1, 1],
  vision_width: 8,
  vision_patch_size: null,
  vision_heads: 4,
  stem_reduction: 4,
  center: 'batch',
  context_length: 10,
  vocab_size: 700,
  transformer_width: 64,
  transformer_heads: 2,
  transformer_layers: 1,
};

export interface RunOptions {
  /** Of the weights, and of what is drawn in which order. */
  seed: number;
  /** Pairs in a batch, 2 … number of concepts. */
  batch: number;
  /** τ⁻¹. */
  invTau: number;
  /** β, where memories take part. */
  beta: number;
  loss: 'infoloob' | 'infonce';
  /** Whether Hopfield memories answer before pairs are compared. */
  hopfield: boolean;
  /** Steps after which they do: fresh embeddings nearly coincide, and memories average what is nearly equal. */
  from: number;
}

/**
 * Learning rate after the warm-up. With 1e-3, 2e-3 and 4e-3 300 steps of 64 pairs (InfoLOOB, no memories, 128 concepts, one seed) found
 * 34, 30 and 23 % of the held-out drawings: the first two are alike.
 */
export const peakRate = 2e-3;

/** Which similarities are looked at: of the embeddings, or of what the image or the text memory answers. */
export type View = 'plain' | 'image' | 'text';
