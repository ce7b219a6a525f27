/** `hopgrad search`: the pictures that fit some words best. */
import { writeFileSync } from 'node:fs';
import { dirname, relative, resolve } from 'node:path';
import Table from 'cli-table3';
import type { Command } from 'commander';
import { noGrad } from '../autograd/graph.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { addTableFlags, type TableFlags } from './data.js';
import { defaultIndex } from './embed.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { parseWhole } from './parse.js';
import { embedPictures, type PictureIndex, readIndex } from './picture-index.js';

interface SearchFlags extends ModelFlags, TableFlags {
  index: string;
  images?: string;
  top: number;
  html?: string;
}

export function addSearchCommand(program: Command): void {
  const command = program
    .command('search')
    .description('find pictures by words')
    .argument('<words>', 'what to look for')
    .option('--index <file>', 'vectors of hopgrad embed', defaultIndex)
    .option('--images <folder>', 'pictures to embed now, instead of an index')
    .option('--top <n>', 'how many to show', parseWhole, 10)
    .option('--html <file>', 'write a contact sheet');
  addTableFlags(command);
  addModelFlags(command).action(search);
}

export interface Match {
  name: string;
  /** Cosine of picture and words. */
  similarity: number;
}

async function search(words: string, flags: SearchFlags): Promise<void> {
  if (flags.top < 1) throw new UsageError('search', { received: `--top ${flags.top}`, expected: 'a whole number ≥ 1' });
  if (words.trim() === '') throw new UsageError('search', { received: 'no words', expected: 'what to look for' });
  const stored = flags.images === undefined ? readIndex(flags.index) : null;
  const checkpoint = flags.checkpoint ?? stored?.checkpoint;
  const ready = await loadModel({ ...flags, ...(checkpoint !== undefined && { checkpoint }) });
  const index = stored ?? (await embedPictures(flags.images!, flags, ready));
  const text = noGrad(() => embedTexts(ready.model, ready.tokenizer, [words]).l2Normalize());
  if (text.shape[1] !== index.embeddings.shape[1])
    throw new DataError('search', {
      received: `vectors of ${index.embeddings.shape[1]} numbers in the index, of ${text.shape[1]} from ${ready.path}`,
      expected: 'an index made with the same model',
    });
  const scores = await noGrad(() => index.embeddings.matmul(text, { transposeB: true })).data();
  const matches = best(index, scores, flags.top);
  const table = new Table({ head: ['', 'cosine', `"${words}"`], style: { head: [], border: [], compact: true } });
  matches.forEach(({ name, similarity }, i) => {
    table.push([String(i + 1), similarity.toFixed(3), name]);
  });
  console.log(table.toString());
  if (flags.html === undefined) return;
  writeSheet(flags.html, contactSheet(words, matches, dirname(resolve(flags.html))));
  console.log(`Contact sheet: ${flags.html}`);
}

function best({ names }: PictureIndex, scores: ArrayLike<number>, top: number): Match[] {
  return names
    .map((name, i) => ({ name, similarity: scores[i]! }))
    .sort((a, b) => b.similarity - a.similarity)
    .slice(0, top);
}

const escapeHtml = (text: string) =>
  text.replace(/[&<>"]/g, (c) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' })[c]!);

/** A page of pictures with their cosines; pictures are linked relative to `folder`. */
export function contactSheet(words: string, matches: readonly Match[], folder: string): string {
  const source = (name: string) => relative(folder, resolve(name)).split(/[/\\]/).map(encodeURIComponent).join('/');
  const figures = matches.map(
    ({ name, similarity }) =>
      `<figure><img src="${escapeHtml(source(name))}" alt=""><figcaption>${similarity.toFixed(3)} ${escapeHtml(name)}</figcaption></figure>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(words)}</title>
<style>
  body { font: 15px system-ui, sans-serif; margin: 2rem; color-scheme: light dark }
  main { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem }
  figure { margin: 0 }
  img { width: 100%; aspect-ratio: 1; object-fit: contain }
  figcaption { overflow-wrap: anywhere; font-size: 80% }
</style>
<h1>${escapeHtml(words)}</h1>
<main>
${figures.join('\n')}
</main>
</html>
`;
}

function writeSheet(path: string, html: string): void {
  try {
    writeFileSync(path, html);
  } catch (error) {
    throw new DataError('search', {
      received: `--html ${path}: ${(error as Error).message}`,
      expected: 'a writable file',
    });
  }
}
