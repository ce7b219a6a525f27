/** `hopgrad search`: the pictures that fit some words best. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { noGrad } from '../autograd/graph.js';
import { bestOf } from '../evaluate/ranks.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { DataError, printable, UsageError } from '../tensor/errors.js';
import { flagOf } from '../train/options.js';
import { writeSheet } from './contact-sheet.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  pictureFlags,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { defaultIndex } from './embed.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { checkOutput } from './output.js';
import { parseCount } from './parse.js';
import { embedPictures, readIndex } from './picture-index.js';

interface SearchFlags extends ModelFlags, TableFlags, ReadingFlags {
  index: string;
  images?: string;
  top: number;
  html?: string;
}

/** Enters `hopgrad search`. */
export function addSearchCommand(program: Command): void {
  const command = program
    .command('search')
    .description('find pictures by words')
    .argument('<words>', 'what to look for')
    .option('--index <file>', 'vectors of hopgrad embed', defaultIndex)
    .option('--images <path>', 'folder, table or shards of pictures to embed now, instead of an index')
    .option('--top <n>', 'how many to show', parseCount, 10)
    .option('--html <file>', 'write a page with the pictures');
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(search);
}

async function search(words: string, flags: SearchFlags): Promise<void> {
  if (words.trim() === '') throw new UsageError('search', { received: 'no words', expected: 'what to look for' });
  const given = pictureFlags().filter((name) => flags[name as keyof SearchFlags] !== undefined);
  if (flags.images === undefined && given.length > 0)
    throw new UsageError('search', {
      received: `${given.map(flagOf).join(', ')} for pictures that are embedded already`,
      expected: '--images with them, which embeds pictures now',
    });
  if (flags.html !== undefined) checkOutput('search', '--html', flags.html);
  const stored = flags.images === undefined ? readIndex(flags.index) : null;
  const checkpoint = flags.checkpoint ?? stored?.checkpoint;
  const ready = await loadModel({ ...flags, ...(checkpoint !== undefined && { checkpoint }) });
  const index = stored ?? (await embedPictures(dataRequest(flags.images!, flags), readingOptions(flags), ready));
  const text = noGrad(() => embedTexts(ready.model, ready.tokenizer, [words]).l2Normalize());
  if (text.shape[1] !== index.embeddings.shape[1])
    throw new DataError('search', {
      received: `vectors of ${index.embeddings.shape[1]} numbers in the index, of ${text.shape[1]} from ${ready.path}`,
      expected: 'an index made with the same model',
    });
  const scores = await noGrad(() => index.embeddings.matmul(text, { transposeB: true })).data();
  const matches = bestOf(scores, flags.top).map((at) => ({ at, name: index.names[at]!, similarity: scores[at]! }));
  const table = new Table({
    head: ['', 'cosine', `"${printable(words)}"`],
    style: { head: [], border: [], compact: true },
  });
  matches.forEach(({ name, similarity }, i) => {
    table.push([String(i + 1), similarity.toFixed(3), printable(name)]);
  });
  console.log(table.toString());
  if (flags.html === undefined) return;
  await writeSheet(flags.html, words, index, matches);
  console.log(`Contact sheet: ${flags.html}`);
}
