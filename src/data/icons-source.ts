/** Icons made ready: drawn, doubles folded, split. */
import { createHash } from 'node:crypto';
import type { Colour } from '../models/cloob/config.js';
import type { EmojiData } from './emoji-source.js';
import { foldAlike, smallFeatures, splitIcons } from './icon-split.js';
import { type IconSource, iconFolder, iconSources, loadIcons } from './icons.js';
import { rasterise } from './rasterise.js';

const titles = {
  A: 'names trained on, in a set never seen',
  B: 'names with a word never trained on, in sets trained on',
  C: 'names with a word never trained on, in a set never seen',
  D: 'known words in a combination never trained on, in sets trained on',
};

/**
 * Loads, draws (or reads from the cache), folds and splits the icons.
 * @param validation split inside the training data: for tuning
 * @throws DataError when sets are missing or under another licence, or the cache cannot be written
 */
export async function prepareIcons({
  size = 32,
  background,
  cacheFolder,
  validation = false,
  sources = iconSources,
  onProgress,
}: {
  size?: number;
  background?: Colour | null | undefined;
  cacheFolder: string;
  validation?: boolean;
  sources?: readonly IconSource[];
  onProgress?: ((done: number, total: number) => void) | undefined;
}): Promise<EmojiData & { found: number; folded: number }> {
  const { concepts, drawings: all, found } = loadIcons(iconFolder(cacheFolder), sources);
  const { broken, cached, ...images } = await rasterise(all, {
    size,
    ...(background !== undefined && { background }),
    cacheFolder,
    ...(onProgress && { onProgress }),
  });
  const features = smallFeatures(images);
  const unreadable = new Set(broken);
  const kept = foldAlike(all, features).filter((row) => !unreadable.has(row));
  const length = 3 * images.size ** 2;
  const pick = <T extends Uint8Array | Float32Array>(from: T, into: T, width: number) => {
    for (const [i, row] of kept.entries()) into.set(from.subarray(row * width, (row + 1) * width), i * width);
    return into;
  };
  const data = pick(images.data, new Uint8Array(kept.length * length), length);
  const keptFeatures = pick(features, new Float32Array(kept.length * 256), 256);
  const drawings = kept.map((row) => all[row]!);
  const split = await splitIcons({ concepts, drawings, features: keptFeatures, sources, validation });
  const hash = createHash('sha256').update(JSON.stringify([concepts, split]));
  for (const { svg } of drawings) hash.update(svg);
  return {
    ...{ name: 'icons', titles, concepts, drawings, split, found },
    images: { count: kept.length, size: images.size, data },
    digest: hash.digest('hex'),
    folded: all.length - kept.length,
  };
}
