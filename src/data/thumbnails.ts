/** Small pictures for pages: the one place where they are made. */
import { regularFile } from '../formats/files.js';
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

/** A thumbnail as WebP, or why there is none. */
export type Thumbnail = Buffer | DataError;

/** A thumbnail as a page may hold it. */
export const dataUri = (webp: Buffer): string => `data:image/webp;base64,${webp.toString('base64')}`;

/** A picture as WebP: whatever the file is, and whatever is in it, only pixels come out. */
export async function thumbnail(image: ImageInput, { side, quality = 85 }: ThumbnailOptions): Promise<Thumbnail> {
  try {
    const sharp = await loadSharp();
    if ('path' in image) regularFile('thumbnail', image.path); // pipes may never end
    const opened =
      'pixels' in image
        ? sharp(image.pixels.data, { raw: { ...image.pixels, channels: image.pixels.channels as 1 | 2 | 3 | 4 } })
        : sharp('bytes' in image ? image.bytes : image.path, { failOn: 'error', density: 144 });
    const shown = opened.autoOrient().toColourspace('srgb');
    const resized = shown.resize(side, side, { fit: 'inside', withoutEnlargement: true });
    return await resized.webp({ quality }).toBuffer();
  } catch (error) {
    if (error instanceof DataError) return error;
    return new DataError('thumbnail', {
      received: (error as Error).message.trim().split('\n')[0]!,
      expected: 'a whole picture in a known format',
      cause: error,
    });
  }
}

/** Thumbnails of some rows of a source, by the rows' own numbers; the source is read as far as the last of them. */
export async function thumbnailsOfRows(
  source: Source,
  indices: Iterable<number>,
  options: ThumbnailOptions,
): Promise<Map<number, Thumbnail>> {
  const [wanted, shown] = [new Set(indices), new Map<number, Thumbnail>()];
  const none = (received: string) => new DataError('thumbnail', { received, expected: 'the pictures where they were' });
  if (wanted.size === 0) return shown;
  for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false })) {
    if (!wanted.delete(row.index)) continue;
    shown.set(row.index, 'bad' in row ? none(row.bad) : await thumbnail(row.image, options));
    if (wanted.size === 0) break;
  }
  for (const index of wanted) shown.set(index, none(`not in ${source.name} any more`));
  return shown;
}
