/** A page of found pictures that stands for itself: their thumbnails are part of it. */
import { writeFileSync } from 'node:fs';
import { escapeUTF8 } from 'entities';
import type { ImageInput } from '../data/decode.js';
import { openData } from '../data/open.js';
import { loadSharp } from '../data/sharp.js';
import { DataError } from '../tensor/errors.js';
import type { PictureIndex } from './picture-index.js';

/** Pixels of a thumbnail's longer side. */
const side = 320;

export interface Match {
  name: string;
  /** Cosine of picture and words. */
  similarity: number;
  /** Its place in the index. */
  at: number;
}

/** A picture as a data URI. @throws DataError when sharp is missing */
async function thumbnail(image: ImageInput): Promise<string> {
  const sharp = await loadSharp();
  const options = { failOn: 'error', density: 144 } as const;
  const opened =
    'pixels' in image
      ? sharp(image.pixels.data, { raw: { ...image.pixels, channels: image.pixels.channels as 1 | 2 | 3 | 4 } })
      : sharp('bytes' in image ? image.bytes : image.path, options);
  const shown = opened
    .autoOrient()
    .toColourspace('srgb')
    .resize(side, side, { fit: 'inside', withoutEnlargement: true });
  return `data:image/webp;base64,${(await shown.webp({ quality: 85 }).toBuffer()).toString('base64')}`;
}

/** Thumbnails of the matches, in their order. The data are opened again, wherever the pictures are. @throws DataError */
async function thumbnails({ data, rows }: PictureIndex, matches: readonly Match[]): Promise<string[]> {
  if (!data)
    throw new DataError('search', {
      received: 'an index that does not say where its pictures are',
      expected: 'one made by this version',
      hint: 'Make it anew: npx hopgrad embed.',
    });
  const { source } = await openData(data);
  const wanted = new Map(matches.map(({ at }, i) => [rows[at]!, i]));
  const found: string[] = [];
  for await (const row of source.rows({ seed: 0, epoch: 0, shuffle: false })) {
    const place = wanted.get(row.index);
    if (place === undefined || !('image' in row)) continue;
    found[place] = await thumbnail(row.image);
    wanted.delete(row.index);
    if (wanted.size === 0) break;
  }
  return found;
}

/** A page of pictures with their cosines. */
export function sheetHtml(
  words: string,
  matches: readonly Pick<Match, 'name' | 'similarity'>[],
  images: readonly string[],
): string {
  const figures = matches.map(({ name, similarity }, i) => {
    const text = escapeUTF8(name);
    return `<figure><img src="${images[i] ?? ''}" alt="${text}"><figcaption>${similarity.toFixed(3)} ${text}</figcaption></figure>`;
  });
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeUTF8(words)}</title>
<style>
  body { font: 15px system-ui, sans-serif; margin: 2rem; color-scheme: light dark }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem }
  figure { margin: 0 }
  img { width: 100%; aspect-ratio: 1; object-fit: contain }
  figcaption { overflow-wrap: anywhere; font-size: 80% }
</style>
<h1>${escapeUTF8(words)}</h1>
<main>
${figures.join('\n')}
</main>
</html>
`;
}

/** Writes the contact sheet of a search. @throws DataError */
export async function writeSheet(
  path: string,
  words: string,
  index: PictureIndex,
  matches: readonly Match[],
): Promise<void> {
  const html = sheetHtml(words, matches, await thumbnails(index, matches));
  try {
    writeFileSync(path, html);
  } catch (error) {
    throw new DataError('search', {
      received: `--html ${path}: ${(error as Error).message}`,
      expected: 'a writable file',
    });
  }
}
