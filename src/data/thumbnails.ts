/** Small pictures for pages, as data URIs: the one place where they are made. */
import { DataError } from '../tensor/errors.js';
import type { ImageInput } from './decode.js';
import { loadSharp } from './sharp.js';
import type { Source } from './source.js';

export interface ThumbnailOptions {
  /** Pixels of the longer side, at most: small pictures stay as they are. */
  side: number;
  /** Of the WebP, 1 … 100. */
  quality?: number;
}

/** A picture as a data URI of WebP. @throws DataError when it cannot be read, or sharp is missing */
export async function thumbnail(image: ImageInput, { side, quality = 85 }: ThumbnailOptions): Promise<string> {
  const sharp = await loadSharp();
  const options = { failOn: 'error', density: 144 } as const;
  try {
    const opened =
      'pixels' in image
        ? sharp(image.pixels.data, { raw: { ...image.pixels, channels: image.pixels.channels as 1 | 2 | 3 | 4 } })
        : sharp('bytes' in image ? image.bytes : image.path, options);
    const shown = opened
      .autoOrient()
      .toColourspace('srgb')
      .resize(side, side, { fit: 'inside', withoutEnlargement: true });
    return `data:image/webp;base64,${(await shown.webp({ quality }).toBuffer()).toString('base64')}`;
  } catch (error) {
    throw new DataError('thumbnail', {
      received: (error as Error).message.trim().split('\n')[0]!,
      expected: 'a whole picture in a known format',
      cause: error as Error,
    });
  }
}

/**
 * Thumbnails of some rows of a source, in their order; null for a picture that cannot be read (any more).
 * @param indices the rows' own numbers
 * @param onMissing told of each such row, and why
 */
export async function thumbnails(
  source: Source,
  indices: readonly number[],
  options: ThumbnailOptions & { onMissing: (name: string, why: string) => void },
): Promise<(string | null)[]> {
  const places = new Map<number, number[]>();
  indices.forEach((index, place) => {
    places.set(index, [...(places.get(index) ?? []), place]);
  });
  const found: (string | null)[] = indices.map(() => null);
  if (places.size === 0) return found;
  for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false })) {
    const wanted = places.get(row.index);
    if (!wanted) continue;
    places.delete(row.index);
    try {
      if ('bad' in row) options.onMissing(row.name, row.bad);
      else {
        const shown = await thumbnail(row.image, options);
        for (const place of wanted) found[place] = shown;
      }
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      options.onMissing(row.name, error.received);
    }
    if (places.size === 0) break;
  }
  for (const index of places.keys()) options.onMissing(`row ${index}`, `not in ${source.name}`);
  return found;
}
