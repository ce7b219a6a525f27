/** Small pictures to show what was found, wherever the found ones are: files of their own, or rows of shards. */
import { openSource } from '../data/open.js';
import { type Thumbnail, thumbnail, thumbnailsOfRows } from '../data/thumbnails.js';
import type { PictureIndex } from './picture-index.js';

/** Thumbnails of pictures of an index within `side` × `side`, by their places in it. */
export async function thumbnailsOf(
  { pictures, data }: Pick<PictureIndex, 'pictures' | 'data'>,
  places: readonly number[],
  side: number,
): Promise<Map<number, Thumbnail>> {
  const own = places.filter((at) => pictures[at]!.file !== undefined);
  const shown = new Map(
    await Promise.all(own.map(async (at) => [at, await thumbnail({ path: pictures[at]!.file! }, { side })] as const)),
  );
  const inside = places.filter((at) => !shown.has(at));
  if (inside.length === 0) return shown;
  const { path, digest: _, rows: __, ...how } = data;
  const rows = inside.map((at) => pictures[at]!.row);
  const found = await thumbnailsOfRows(await openSource(path, how), rows, { side });
  for (const at of inside) shown.set(at, found.get(pictures[at]!.row)!);
  return shown;
}
