/** `hopgrad eval`: retrieval both ways, on pairs of your own or on the embedded emoji. */

import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Command } from 'commander';
import { type DataSpec, isDrawn, openData } from '../data/open.js';
import { requireCaptions } from '../data/source.js';
import { loadHeads } from '../models/cloob/heads.js';
import { UsageError } from '../tensor/errors.js';
import { type Evaluation, evaluateOpened, heldOutOf, openShown } from '../train/corpus.js';
import { shownAs } from '../train/embed-source.js';
import { checkSizes, evaluateEmbeddings } from '../train/embedding-corpus.js';
import { writeHeldOut } from '../train/held-out.js';
import { flagOf } from '../train/options.js';
import { say } from '../train/progress.js';
import { readRecord } from '../train/record.js';
import { heldOutFile, RunFolder } from '../train/run-folder.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  pictureFlags,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { startDevice } from './device.js';
import { addModelFlags, checkFinite, checkpointPath, loadModel, type ModelFlags } from './model.js';
import { addRankFlags, ranks } from './ranks.js';

interface EvalFlags extends ModelFlags, TableFlags, ReadingFlags {
  valData?: string;
  imageEmbeddings?: string;
  textEmbeddings?: string;
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
      'table (.tsv, .csv) or shards (.tar) of captioned pictures, or icons (default: the embedded emoji)',
    )
    .option('--image-embeddings <file>', 'for heads: embeddings of pictures, a row each (.npy, .safetensors)')
    .option('--text-embeddings <file>', 'and those of their texts, row by row')
    .option('--validation', 'of the emoji or icons, the validation split instead of the test sets')
    .option('--cache <folder>', 'folder for prepared data', '.cache')
    .option('--figures', 'look at the pairs closely as well, into the run’s held-out.json, for hopgrad report')
    .option('--json', 'print the results as JSON');
  addTableFlags(command);
  addReadingFlags(command);
  addRankFlags(addModelFlags(command)).action(evaluate);
}

/** The run that weights belong to. @throws UsageError for others, which have no place for figures */
function runOf(weights: string): RunFolder {
  const own = dirname(weights);
  const outside = basename(dirname(own)) === 'checkpoints' ? dirname(dirname(own)) : own;
  const folder = [own, outside].find((path) => existsSync(join(path, 'manifest.json')));
  if (folder !== undefined) return new RunFolder(folder, { writes: ranks().rank === 0 });
  throw new UsageError('eval', {
    received: `--figures for ${weights}`,
    expected: 'the weights of a run of hopgrad train, in whose folder the figures are kept',
  });
}

/** Heads, on embeddings from elsewhere. */
async function evaluateHeads(flags: EvalFlags, images: string, texts: string): Promise<void> {
  const others = ['valData', 'validation', 'figures', ...pictureFlags()] as const;
  const beside = others.filter((name) => flags[name as keyof EvalFlags] !== undefined);
  if (beside.length > 0)
    throw new UsageError('eval', {
      received: `${beside.map(flagOf).join(', ')} beside embeddings`,
      expected: 'embeddings alone: there are no pictures to look at',
    });
  const path = checkpointPath(flags);
  await startDevice(flags);
  const { model, metadata } = loadHeads(path);
  await checkFinite(path, model);
  const opened = await openData({ path: images, texts });
  checkSizes(opened.embeddings!, { image: model.config.image_features, text: model.config.text_features });
  const label = metadata.method ?? 'model';
  const { results, text } = await evaluateEmbeddings(model, opened, label);
  tell(flags, {
    path,
    label,
    results,
    text,
    data: opened.spec,
    description: `${opened.spec.rows} pairs of embeddings`,
  });
}

/** Prints what came out, as JSON or for people. */
function tell({ json }: EvalFlags, { path, label, results, text, data, description }: Told): void {
  if (json) console.log(JSON.stringify({ checkpoint: path, method: label, ...(results as object), data }, null, 2));
  else console.log(`${label}, ${path}\nData: ${description}\n\n${text}`);
}

interface Told extends Evaluation {
  path: string;
  label: string;
  data: DataSpec;
  description: string;
}

async function evaluate(flags: EvalFlags): Promise<void> {
  const { imageEmbeddings, textEmbeddings } = flags;
  if (imageEmbeddings !== undefined && textEmbeddings !== undefined)
    return evaluateHeads(flags, imageEmbeddings, textEmbeddings);
  if (imageEmbeddings !== undefined || textEmbeddings !== undefined)
    throw new UsageError('eval', {
      received: `--${textEmbeddings === undefined ? 'image' : 'text'}-embeddings alone`,
      expected: '--image-embeddings and --text-embeddings: row i of both are a pair',
    });
  if (flags.validation && flags.valData !== undefined && !isDrawn(flags.valData))
    throw new UsageError('eval', {
      received: '--validation with --val-data',
      expected: 'one of the two: the split is that of the embedded emoji, and of icons',
    });
  const run = flags.figures ? runOf(checkpointPath(flags)) : null;
  const { path, model, tokenizer, label, step } = await loadModel(flags);
  const request = { ...dataRequest(flags.valData ?? 'emoji', flags), ...(flags.validation && { validation: true }) };
  const opened = await ranks().firstThenOthers(() =>
    openShown(request, { ...shownAs(model.config, flags), cacheFolder: flags.cache }),
  );
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
  tell(flags, { path, label, results, text, data: opened.spec, description: opened.description });
}
