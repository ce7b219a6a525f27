/** A page of found pictures that stands for itself: their thumbnails are part of it. */
import { writeFileSync } from 'node:fs';
import { escapeUTF8 } from 'entities';
import { dataUri } from '../data/thumbnails.js';
import { DataError } from '../tensor/errors.js';
import { say } from '../train/progress.js';
import type { Match } from './finder.js';
import type { PictureIndex } from './picture-index.js';
import { thumbnailsOf } from './thumbnails.js';

/** Pixels of a thumbnail's longer side. */
const side = 320;

/** Thumbnails of the matches as data URIs, in their order; those that are lost are named. @throws DataError when all are */
async function thumbnails(
  index: Pick<PictureIndex, 'pictures' | 'data'>,
  matches: readonly Match[],
): Promise<string[]> {
  const shown = await thumbnailsOf(
    index,
    matches.map(({ at }) => at),
    side,
  );
  const lost = matches.flatMap(({ at, name }) => {
    const result = shown.get(at);
    return result instanceof DataError ? [`${name}: ${result.received}`] : [];
  });
  if (lost.length > 0 && lost.length === matches.length)
    throw new DataError('search', {
      received: lost[0]!,
      expected: 'the pictures where they were',
      hint: 'Embed them anew.',
    });
  for (const line of lost) say(`not shown: ${line}`);
  return matches.map(({ at }) => {
    const result = shown.get(at);
    return result instanceof Buffer ? dataUri(result) : '';
  });
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
  index: Pick<PictureIndex, 'pictures' | 'data'>,
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
