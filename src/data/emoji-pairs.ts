/** The embedded data made ready: drawn, split, as batches for training and as sets for evaluation. */
import { DataError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { augmentInto, normaliseInto } from './augment.js';
import { epochBatches } from './batches.js';
import {
  type Concept,
  type Drawing,
  dataVersions,
  heldOutStyle,
  loadConcepts,
  loadDrawings,
  type Split,
  sampleCaption,
  splitDrawings,
  trainingStyles,
} from './emoji.js';
import type { PairBatch, PairSource } from './pairs.js';
import { type Images, rasterise } from './rasterise.js';

export interface EmojiData {
  concepts: Concept[];
  drawings: Drawing[];
  images: Images;
  split: Split;
  /** Whether the pictures came from the cache. */
  cached: boolean;
}

/**
 * Loads, draws (or reads from the cache) and splits the embedded data.
 * @param validation split inside the training data: for tuning
 * @throws DataError when packages are missing, the cache cannot be written, or a drawing cannot be rendered
 */
export async function prepareEmoji({
  size = 32,
  cacheFolder,
  validation = false,
  onProgress,
}: {
  size?: number;
  cacheFolder: string;
  validation?: boolean;
  onProgress?: (done: number, total: number) => void;
}): Promise<EmojiData> {
  const concepts = loadConcepts();
  const drawings = [...trainingStyles, heldOutStyle].flatMap((style) => loadDrawings(style, concepts));
  const key = JSON.stringify(dataVersions());
  const { broken, cached, ...images } = await rasterise(drawings, {
    size,
    cacheFolder,
    key,
    ...(onProgress && { onProgress }),
  });
  if (broken.length > 0) {
    const names = broken.slice(0, 5).map((i) => `${concepts[drawings[i]!.concept]!.name} (${drawings[i]!.style})`);
    throw new DataError('prepareEmoji', {
      received: `${broken.length} drawings that cannot be rendered: ${names.join(', ')}${broken.length > 5 ? ', …' : ''}`,
      expected: 'all of them to render',
      hint: 'The data packages are fixed in package-lock.json: npm ci installs the right ones.',
    });
  }
  return { concepts, drawings, images, split: splitDrawings(concepts, drawings, { validation }), cached };
}

/** The training drawings as a source: augmented views, and a caption drawn anew at every visit. */
export function emojiPairs(data: EmojiData, { batchSize, seed }: { batchSize: number; seed: number }): PairSource {
  const { concepts, drawings, images, split } = data;
  const conceptOfRow = split.train.map((i) => drawings[i]!.concept);
  const order = (epoch: number) => epochBatches(conceptOfRow, { batchSize, seed, epoch });
  const length = 3 * images.size ** 2;
  const make = (rows: readonly number[], next: number, random: Random): PairBatch => {
    const batch: PairBatch = { count: rows.length, images: new Float32Array(rows.length * length), captions: [], next };
    rows.forEach((row, i) => {
      augmentInto(batch.images, i * length, images, split.train[row]!, random);
      batch.captions.push(sampleCaption(concepts[conceptOfRow[row]!]!, random));
    });
    return batch;
  };
  return {
    name: 'embedded emoji',
    size: split.train.length,
    batchesPerEpoch: order(0).length,
    *captions() {
      for (const concept of new Set(conceptOfRow)) {
        const { name, keywords } = concepts[concept]!;
        yield* [name, `a drawing of ${name}`, ...keywords];
      }
    },
    async *batches(epoch, from = 0) {
      const random = new Random(seed);
      for (const [index, rows] of order(epoch).entries())
        if (index >= from) yield make(rows, index + 1, random.fork(`views of epoch ${epoch}, batch ${index}`));
    },
    async close() {},
  };
}

/** Pixels of some drawings, normalised, unaugmented: [rows, 3, size, size]. */
export function pixelsOf({ images }: EmojiData, rows: readonly number[]): Float32Array {
  const length = 3 * images.size ** 2;
  const pixels = new Float32Array(rows.length * length);
  rows.forEach((row, i) => {
    normaliseInto(pixels, i * length, images, row);
  });
  return pixels;
}
