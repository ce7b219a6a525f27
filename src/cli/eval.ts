/** `hopgrad eval`: retrieval both ways, on pairs of your own or on the embedded emoji. */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';
import { requireCaptions } from '../data/source.js';
import { UsageError } from '../tensor/errors.js';
import { evaluateOpened, heldOutOf, openShown } from '../train/corpus.js';
import { shownAs } from '../train/embed-source.js';
import { writeHeldOut } from '../train/held-out.js';
import { say } from '../train/progress.js';
import { readRecord } from '../train/record.js';
import { heldOutFile, RunFolder } from '../train/run-folder.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { addModelFlags, checkpointPath, loadModel, type ModelFlags } from './model.js';

interface EvalFlags extends ModelFlags, TableFlags, ReadingFlags {
  valData?: string;
  cache: string;
  validation?: boolean;
  figures?: boolean;
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
    .option('--figures', 'look at the pairs closely as well, into the run’s held-out.json, for hopgrad report')
    .option('--json', 'print the results as JSON');
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(evaluate);
}

/** The run that weights belong to. @throws UsageError for others, which have no place for figures */
function runOf(weights: string): RunFolder {
  const own = dirname(weights);
  const outside = basename(dirname(own)) === 'checkpoints' ? dirname(dirname(own)) : own;
  const folder = [own, outside].find((path) => existsSync(join(path, 'manifest.json')));
  if (folder !== undefined) return new RunFolder(folder);
  throw new UsageError('eval', {
    received: `--figures for ${weights}`,
    expected: 'the weights of a run of hopgrad train, in whose folder the figures are kept',
  });
}

async function evaluate(flags: EvalFlags): Promise<void> {
  if (flags.validation && flags.valData !== undefined)
    throw new UsageError('eval', {
      received: '--validation with --val-data',
      expected: 'one of the two: the split is that of the embedded emoji',
    });
  const run = flags.figures ? runOf(checkpointPath(flags)) : null;
  const { path, model, tokenizer, label, step } = await loadModel(flags);
  const request = { ...dataRequest(flags.valData ?? 'emoji', flags), ...(flags.validation && { validation: true }) };
  const opened = await openShown(request, { ...shownAs(model.config, flags), cacheFolder: flags.cache });
  await requireCaptions(opened.source);
  const { results, text } = await evaluateOpened(model, tokenizer, opened, { label, ...readingOptions(flags) });
  if (run) {
    await writeHeldOut(run, { model, tokenizer }, heldOutOf(opened), {
      ...readingOptions(flags),
      beta: readRecord(run.record).options.scaleHopfield,
      step,
      data: opened.spec.path,
    });
    say(`Figures of held-out pairs: ${join(run.path, heldOutFile)}; hopgrad report ${run.path} shows them`);
  }
  if (flags.json) {
    console.log(
      JSON.stringify({ checkpoint: path, method: label, ...(results as object), data: opened.spec }, null, 2),
    );
    return;
  }
  console.log(`${label}, ${path}\nData: ${opened.description}\n`);
  console.log(text);
}
