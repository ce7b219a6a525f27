/** `hopgrad embed`: the pictures of a folder, table or shards as unit vectors in a safetensors file. */
import type { Command } from 'commander';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { checkOutput } from './output.js';
import { embedPictures, writeIndex } from './picture-index.js';
import { shellWord } from './shell-word.js';

export const defaultIndex = 'embeddings.safetensors';

interface EmbedFlags extends ModelFlags, TableFlags, ReadingFlags {
  output: string;
}

/** Enters `hopgrad embed`. */
export function addEmbedCommand(program: Command): void {
  const command = program
    .command('embed')
    .description('embed pictures, to search among them later')
    .argument('<pictures>', 'folder (with its subfolders), table or shards')
    .option('--output <file>', 'where the vectors go', defaultIndex);
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(embed);
}

async function embed(pictures: string, flags: EmbedFlags): Promise<void> {
  checkOutput('embed', '--output', flags.output);
  const index = await embedPictures(dataRequest(pictures, flags), readingOptions(flags), await loadModel(flags));
  await writeIndex(flags.output, index);
  const [count, dim] = index.embeddings.shape;
  const where = flags.output === defaultIndex ? '' : ` --index ${shellWord(flags.output)}`;
  console.log(`${count} pictures as vectors of ${dim} numbers: ${flags.output}`);
  console.log(`Search them: npx hopgrad search "red heart"${where}`);
}
