/** What training needs of a data set, wherever it comes from. */

/** Images and captions that belong together, row by row. */
export interface PairBatch {
  count: number;
  /** Normalised pixels, [count, 3, size, size], row-major. */
  images: Float32Array;
  captions: string[];
  /** Where the next batch of the epoch begins: what to pass to {@link PairSource.batches}. */
  next: number;
}

/**
 * Pairs to train on. The batches of an epoch are a pure function of the source's seed and the epoch, so a run can be
 * continued from any place.
 */
export interface PairSource {
  /** For logs: what the data is. */
  readonly name: string;
  /** Number of images, undefined when not known before reading. */
  readonly size: number | undefined;
  /** Batches in an epoch, undefined when not known beforehand; fewer come when rows turn out to be broken. */
  readonly batchesPerEpoch: number | undefined;
  /** Texts that a tokenizer may be trained on: training captions only. */
  captions(): Iterable<string> | AsyncIterable<string>;
  /** The batches of an epoch, from a batch's `next` on; 0 is the beginning. */
  batches(epoch: number, from?: number): AsyncIterable<PairBatch>;
  /** Ends workers and closes files. */
  close(): Promise<void>;
}
