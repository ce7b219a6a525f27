/** `hopgrad eval`: retrieval both ways, on pairs of your own or on the embedded emoji. */
import type { Command } from 'commander';
import { emojiCorpus, evaluatePairs } from '../train/corpus.js';
import { addTableFlags, openData, type TableFlags } from './data.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';

interface EvalFlags extends ModelFlags, TableFlags {
  valData?: string;
  cache: string;
  validation?: boolean;
}

export function addEvalCommand(program: Command): void {
  const command = program.command('eval').description('measure retrieval of a trained model');
  command
    .optionsGroup('Data:')
    .option(
      '--val-data <path>',
      'table (.tsv, .csv) or shards (.tar) of captioned pictures (default: the embedded emoji)',
    )
    .option('--validation', 'of the emoji, the validation split instead of the test sets')
    .option('--cache <folder>', 'folder for prepared data', '.cache');
  addTableFlags(command);
  addModelFlags(command).action(evaluate);
}

async function evaluate(flags: EvalFlags): Promise<void> {
  const { path, model, tokenizer, label } = await loadModel(flags);
  const output = process.stderr;
  console.log(`${label}, ${path}`);
  if (flags.valData !== undefined) {
    const source = await openData(flags.valData, flags);
    const options = { label, output, ...(flags.maxBadShare !== undefined && { maxBadShare: flags.maxBadShare }) };
    const { text } = await evaluatePairs(model, tokenizer, source, options);
    console.log(text);
    return;
  }
  const size = model.config.image_resolution;
  const corpus = await emojiCorpus({ size, cacheFolder: flags.cache, validation: flags.validation ?? false, output });
  console.log(`Data: ${corpus.description}\n`);
  console.log((await corpus.evaluate(model, tokenizer, label))!.text);
}
