/** The embedded data, or icons, made ready: drawn, split, and as sources for training and evaluation. */
import { createHash } from 'node:crypto';
import type { Colour } from '../models/cloob/config.js';
import { DataError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import {
  type Concept,
  type Drawing,
  heldOutStyle,
  keywordLine,
  loadConcepts,
  loadDrawings,
  type Split,
  sampleCaption,
  splitDrawings,
  trainingStyles,
} from './emoji.js';
import { type Images, rasterise } from './rasterise.js';
import { epochOrder, type Order, type Row, type Source } from './source.js';

/** Drawings of concepts: the embedded emoji, or icons. */
export interface EmojiData {
  /** What they are, for people. */
  name: string;
  /** What each set of the split tests. */
  titles: Record<string, string>;
  concepts: Concept[];
  drawings: Drawing[];
  images: Images;
  split: Split;
  /** Of the drawings' text and the split: what the data is, however it was drawn. */
  digest: string;
}

/**
 * Loads, draws (or reads from the cache) and splits the embedded data.
 * @param validation split inside the training data: for tuning
 * @throws DataError when packages are missing, the cache cannot be written, or a drawing cannot be rendered
 */
export async function prepareEmoji({
  size = 32,
  background,
  cacheFolder,
  validation = false,
  onProgress,
}: {
  size?: number;
  background?: Colour | null | undefined;
  cacheFolder: string;
  validation?: boolean;
  onProgress?: ((done: number, total: number) => void) | undefined;
}): Promise<EmojiData> {
  const concepts = loadConcepts();
  const drawings = [...trainingStyles, heldOutStyle].flatMap((style) => loadDrawings(style, concepts));
  const { broken, cached, ...images } = await rasterise(drawings, {
    size,
    ...(background !== undefined && { background }),
    cacheFolder,
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
  const split = splitDrawings(concepts, drawings, { validation });
  const hash = createHash('sha256').update(JSON.stringify([concepts, split]));
  for (const { svg } of drawings) hash.update(svg);
  return { name: 'embedded emoji', titles: emojiTitles, concepts, drawings, images, split, digest: hash.digest('hex') };
}

const emojiTitles = {
  A: 'concepts trained on, in a style never seen',
  B: 'concepts never trained on, in a style trained on',
  C: 'concepts never trained on, in a style never seen',
};

/** What is said about a drawing: something else at every visit (`sampleCaption`), its name, or its keywords. */
export type EmojiWords = 'sampled' | 'names' | 'keywords';

/** Some drawings of the embedded data as a source. Drawings of one concept are a group. */
export function emojiSource(
  { name, concepts, drawings, images }: EmojiData,
  rows: readonly number[],
  words: EmojiWords,
): Source & { size: number } {
  const { size } = images;
  const length = 3 * size ** 2;
  const conceptOf = (row: number) => concepts[drawings[row]!.concept]!;
  const caption = (row: number, { seed, epoch }: Order) => {
    if (words === 'sampled')
      return sampleCaption(
        conceptOf(row),
        new Random(seed).fork(`caption of row ${row} in epoch ${epoch}`),
        drawings[row]!.variant,
      );
    return words === 'names' ? conceptOf(row).name : keywordLine(conceptOf(row));
  };
  return {
    name,
    size: rows.length,
    view: 'turned',
    *captions() {
      for (const concept of new Set(rows.map(conceptOf)))
        yield* [concept.name, `a drawing of ${concept.name}`, ...concept.keywords];
      yield* new Set(rows.flatMap((row) => drawings[row]!.variant ?? []));
    },
    *rows(order): Generator<Row> {
      for (const at of epochOrder(rows.length, order)) {
        const index = rows[at]!;
        const { concept, style } = drawings[index]!;
        const data = images.data.subarray(index * length, (index + 1) * length);
        yield {
          index,
          name: `${concepts[concept]!.name} (${style})`,
          image: { pixels: { data, width: size, height: size, channels: 3, mode: 'RGB' } },
          caption: caption(index, order),
          group: concept,
        };
      }
    },
  };
}
