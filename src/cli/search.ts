/** `hopgrad search`: the pictures that fit some words best, or a picture, or both. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { printable, UsageError } from '../tensor/errors.js';
import { flagOf } from '../train/options.js';
import { say } from '../train/progress.js';
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
import { digestOfWeights, embedPictures } from './embed-pictures.js';
import { Finder } from './finder.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { checkOutput } from './output.js';
import { parseCount } from './parse.js';
import { readIndex } from './picture-index.js';

interface SearchFlags extends ModelFlags, TableFlags, ReadingFlags {
  index?: string;
  picture?: string;
  images?: string;
  top: number;
  html?: string;
}

/** Enters `hopgrad search`. */
export function addSearchCommand(program: Command): void {
  const command = program
    .command('search')
    .description('find pictures by words, by a picture, or by both')
    .argument('[words]', 'what to look for')
    .option('--picture <file>', 'a picture to look for others like it; with words, for what is like both')
    .option('--index <file>', `vectors of hopgrad embed (default: ${defaultIndex})`)
    .option('--images <path>', 'folder, table or shards of pictures to embed now, instead of an index')
    .option('--top <n>', 'how many to show', parseCount, 10)
    .option('--html <file>', 'write a page with the pictures');
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(search);
}

async function search(words: string | undefined, flags: SearchFlags): Promise<void> {
  const { picture } = flags;
  if (words === undefined ? picture === undefined : words.trim() === '')
    throw new UsageError('search', { received: 'no words', expected: 'what to look for, in words or by --picture' });
  if (flags.html !== undefined) checkOutput('search', '--html', flags.html);
  const finder = await openFinder(flags);
  const matches = await finder.find(
    { words, picture: picture === undefined ? undefined : { path: picture } },
    flags.top,
  );
  const asked = [...(words === undefined ? [] : [`"${words}"`]), ...(picture === undefined ? [] : [picture])].join(
    ' + ',
  );
  const table = new Table({
    head: ['', 'cosine', printable(asked)],
    style: { head: [], border: [], compact: true },
  });
  matches.forEach(({ name, similarity }, i) => {
    table.push([String(i + 1), similarity.toFixed(3), printable(name)]);
  });
  console.log(table.toString());
  if (flags.html === undefined) return;
  await writeSheet(flags.html, asked, finder.index, matches);
  console.log(`Contact sheet: ${flags.html}`);
}

/** The index that the flags name, or one made now, with the model that its vectors are of. @throws DataError, UsageError */
export async function openFinder(flags: Omit<SearchFlags, 'top'>): Promise<Finder> {
  const given = pictureFlags().filter((name) => flags[name as keyof typeof flags] !== undefined);
  if (flags.images === undefined && given.length > 0)
    throw new UsageError('search', {
      received: `${given.map(flagOf).join(', ')} for pictures that are embedded already`,
      expected: '--images with them, which embeds pictures now',
    });
  if (flags.images !== undefined) {
    if (flags.index !== undefined)
      throw new UsageError('search', {
        received: `--images ${flags.images} and --index ${flags.index}`,
        expected: 'one of them: --images embeds pictures for this search alone, --index names a file of hopgrad embed',
      });
    const ready = await loadModel(flags);
    const { index } = await embedPictures(dataRequest(flags.images, flags), readingOptions(flags), ready);
    return new Finder(index, ready);
  }
  const path = flags.index ?? defaultIndex;
  const index = readIndex(path);
  const ready = await loadModel({ ...flags, checkpoint: flags.checkpoint ?? index.checkpoint });
  const finder = new Finder(index, ready);
  if (!index.complete) say(`${path} has only part of its pictures: the embedding was interrupted`);
  if ((await digestOfWeights(ready)) !== index.weights)
    say(`${ready.path} is not as it was when ${path} was made with it: embedding again makes them fit`);
  return finder;
}
