/** Embeddings of earlier steps, for memories larger than the batch. */
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Placement } from '../nn/init.js';
import * as init from '../nn/init.js';
import { assign, Buffer, Module } from '../nn/module.js';
import type { StoredPatterns } from '../nn/retrieved-pairs.js';
import { CheckpointError } from '../tensor/errors.js';

/**
 * The last pairs of unit embeddings, oldest first, without their history: a first-in-first-out queue as MoCo has for
 * negatives, here for the patterns of Hopfield memories. Nothing can be learnt through them, and they are as old as
 * the weights that made them. An experiment: the paper's memories are those of the batch.
 *
 * @source the queue: He et al. 2020, MoCo, arXiv 1911.05722
 */
export class PatternQueue extends Module {
  /** [size, dim]; the last `filled` rows are patterns. */
  readonly images: Buffer;
  readonly texts: Buffer;
  #filled = 0;

  constructor(size: number, dim: number, placement: Placement) {
    super();
    this.images = new Buffer(init.constant([size, dim], 0, placement));
    this.texts = new Buffer(init.constant([size, dim], 0, placement));
  }

  get size(): number {
    return this.images.shape[0]!;
  }

  /** Pairs in the queue. */
  get filled(): number {
    return this.#filled;
  }

  /** @throws CheckpointError for more than there is room for */
  set filled(count: number) {
    if (count > this.size)
      throw new CheckpointError('resume', { received: `${count} stored pairs`, expected: `at most ${this.size}` });
    this.#filled = count;
  }

  /** Puts the pairs of a step, [batch, dim] each, at the end; the oldest leave when it is full. */
  push(images: Tensor, texts: Tensor): void {
    const { size } = this;
    noGrad(() => {
      for (const [queue, added] of [
        [this.images, images],
        [this.texts, texts],
      ] as const) {
        const count = added.shape[0]!;
        assign(queue, queue.concat(added.detach()).slice([[count, count + size]]));
      }
    });
    this.#filled = Math.min(size, this.#filled + images.shape[0]!);
  }

  /** What is stored; null while there is nothing. */
  patterns(): StoredPatterns | null {
    if (this.#filled === 0) return null;
    const rows = [[this.size - this.#filled, this.size]] as const;
    return { images: this.images.detach().slice(rows), texts: this.texts.detach().slice(rows) };
  }
}
