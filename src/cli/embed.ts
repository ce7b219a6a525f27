/** `hopgrad embed`: the pictures of a folder, table or shards as unit vectors in a safetensors file. */
import { existsSync } from 'node:fs';
import type { Command } from 'commander';
import { say } from '../train/progress.js';
import { shellWord } from '../train/shell-word.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { comparable, embedPictures } from './embed-pictures.js';
import { listenForInterrupt } from './interrupt.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { checkOutput } from './output.js';
import { readIndex, writeIndex } from './picture-index.js';
import { addRankFlags, ranks } from './ranks.js';

export const defaultIndex = 'embeddings.safetensors';

interface EmbedFlags extends ModelFlags, TableFlags, ReadingFlags {
  output: string;
  fresh?: boolean;
}

/** Enters `hopgrad embed`. */
export function addEmbedCommand(program: Command): void {
  const command = program
    .command('embed')
    .description('embed pictures, to search among them later; again: those that are new or have changed')
    .argument('<pictures>', 'folder (with its subfolders), table or shards')
    .option('--output <file>', 'where the vectors go', defaultIndex)
    .option('--fresh', 'embed all, whatever the output has already');
  addTableFlags(command);
  addReadingFlags(command);
  addRankFlags(addModelFlags(command)).action(embed);
}

async function embed(pictures: string, flags: EmbedFlags): Promise<void> {
  const { output } = flags;
  checkOutput('embed', '--output', output);
  // What is no index, such as weights, is not written over by mistake: reading it fails.
  const known = existsSync(output) && !flags.fresh ? readIndex(output) : undefined;
  const ready = await loadModel(flags);
  const interrupt = listenForInterrupt('Stopping; what is embedded is kept. Once more to quit at once.');
  const { index, fresh } = await embedPictures(dataRequest(pictures, flags), readingOptions(flags), ready, {
    ...{ known, signal: interrupt.signal },
    save: (index) => writeIndex(output, index),
  }).finally(interrupt.release);
  const { complete, broken } = index;
  const count = index.pictures.length;
  if (known && !comparable(known, index))
    say(`${output} was made with other weights, or showed them pictures otherwise: all anew`);
  if (!complete) {
    say(`Stopped: ${count} pictures are in ${output}. Go on with the same command.`);
    process.exitCode = interrupt.exitCode;
    ranks().leave();
    return;
  }
  const kept = count - fresh > 0 ? ` (${fresh} of them new or changed)` : '';
  console.log(`${count} pictures${kept} as vectors of ${index.dim} numbers: ${output}`);
  if (broken.length > 0) console.log(`${broken.length} could not be read: they are named above, and in the file`);
  console.log(
    `Search them: npx hopgrad search "red heart"${output === defaultIndex ? '' : ` --index ${shellWord(output)}`}`,
  );
}
