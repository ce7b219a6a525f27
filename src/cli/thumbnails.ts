/** Small pictures to show what was found, wherever the found ones are: files of their own, or rows of shards. */
import type { ImageInput } from '../data/decode.js';
import { openSource } from '../data/open.js';
import { loadSharp } from '../data/sharp.js';
import { regularFile } from '../formats/files.js';
import { DataError } from '../tensor/errors.js';
import type { PictureIndex } from './picture-index.js';

/**
 * A picture within `side` × `side`, as WebP: whatever the file is, and whatever is in it, only pixels come out.
 * @throws DataError when it is no picture, or sharp is missing
 */
async function thumbnail(image: ImageInput, side: number): Promise<Buffer> {
  const sharp = await loadSharp();
  if ('path' in image) regularFile('thumbnail', image.path); // pipes may never end
  try {
    const options = { failOn: 'error', density: 144 } as const;
    const opened =
      'pixels' in image
        ? sharp(image.pixels.data, { raw: { ...image.pixels, channels: image.pixels.channels as 1 | 2 | 3 | 4 } })
        : sharp('bytes' in image ? image.bytes : image.path, options);
    const shown = opened.autoOrient().toColourspace('srgb');
    const resized = shown.resize(side, side, { fit: 'inside', withoutEnlargement: true });
    return await resized.webp({ quality: 85 }).toBuffer();
  } catch (error) {
    throw new DataError('thumbnail', { received: (error as Error).message.trim().split('\n')[0]!, cause: error });
  }
}

/** Thumbnails of pictures of an index, or why there is none, by their places in it. */
export async function thumbnailsOf(
  { pictures, data }: Pick<PictureIndex, 'pictures' | 'data'>,
  places: readonly number[],
  side: number,
): Promise<Map<number, Buffer | DataError>> {
  const shown = new Map<number, Buffer | DataError>();
  const show = async (at: number, image: ImageInput) => {
    try {
      shown.set(at, await thumbnail(image, side));
    } catch (error) {
      if (!(error instanceof DataError)) throw error;
      shown.set(at, error);
    }
  };
  const own = places.filter((at) => pictures[at]!.file !== undefined);
  await Promise.all(own.map((at) => show(at, { path: pictures[at]!.file! })));
  const wanted = new Map(places.filter((at) => !shown.has(at)).map((at) => [pictures[at]!.row, at]));
  if (wanted.size === 0) return shown;
  const { path, digest: _, rows: __, ...how } = data;
  for await (const row of (await openSource(path, how)).rows({ seed: 0, epoch: 0, shuffle: false })) {
    const at = wanted.get(row.index);
    if (at === undefined) continue;
    if ('image' in row) await show(at, row.image);
    wanted.delete(row.index);
    if (wanted.size === 0) break;
  }
  for (const at of wanted.values())
    shown.set(at, new DataError('thumbnail', { received: `${pictures[at]!.name} is not in ${path} any more` }));
  return shown;
}
