/** `hopgrad eval`: retrieval both ways, on pairs of your own or on the embedded emoji. */
import type { Command } from 'commander';
import { requireCaptions } from '../data/source.js';
import { UsageError } from '../tensor/errors.js';
import { evaluateOpened, openShown } from '../train/corpus.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  type ReadingFlags,
  readingOptions,
  shownAs,
  type TableFlags,
} from './data.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';

interface EvalFlags extends ModelFlags, TableFlags, ReadingFlags {
  valData?: string;
  cache: string;
  validation?: boolean;
  json?: boolean;
}

/** Enters `hopgrad eval`. */
export function addEvalCommand(program: Command): void {
  const command = program.command('eval').description('measure retrieval of a trained model');
  command
    .optionsGroup('Data:')
    .option(
      '--val-data <path>',
      'table (.tsv, .csv) or shards (.tar) of captioned pictures (default: the embedded emoji)',
    )
    .option('--validation', 'of the emoji, the validation split instead of the test sets')
    .option('--cache <folder>', 'folder for prepared data', '.cache')
    .option('--json', 'print the results as JSON');
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(evaluate);
}

async function evaluate(flags: EvalFlags): Promise<void> {
  if (flags.validation && flags.valData !== undefined)
    throw new UsageError('eval', {
      received: '--validation with --val-data',
      expected: 'one of the two: the split is that of the embedded emoji',
    });
  const { path, model, tokenizer, label } = await loadModel(flags);
  const request = { ...dataRequest(flags.valData ?? 'emoji', flags), ...(flags.validation && { validation: true }) };
  const opened = await openShown(request, { ...shownAs(model.config, flags), cacheFolder: flags.cache });
  await requireCaptions(opened.source);
  const { results, text } = await evaluateOpened(model, tokenizer, opened, { label, ...readingOptions(flags) });
  if (flags.json) {
    console.log(
      JSON.stringify({ checkpoint: path, method: label, ...(results as object), data: opened.spec }, null, 2),
    );
    return;
  }
  console.log(`${label}, ${path}\nData: ${opened.description}\n`);
  console.log(text);
}
