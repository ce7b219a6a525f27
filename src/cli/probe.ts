/** `hopgrad probe`: how well classes can be told apart by a linear classifier on frozen embeddings. */
import type { Command } from 'commander';
import { labelledNames } from '../data/labelled.js';
import { linearProbe } from '../evaluate/linear-probe.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { type EmbeddedPictures, embedSource } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import { openData } from './data.js';
import { addModelFlags, loadModel, type ModelFlags, type ReadyModel } from './model.js';
import { parseNumber, parseWhole } from './parse.js';

interface ProbeFlags extends ModelFlags {
  trainData: string;
  valData?: string;
  l2?: number;
  seed: number;
  limit?: number;
}

export function addProbeCommand(program: Command): void {
  const command = program.command('probe').description('train a linear classifier on frozen embeddings');
  command
    .optionsGroup('Data:')
    .requiredOption('--train-data <path>', 'folder with a subfolder a class, or mnist, fashion-mnist')
    .option('--val-data <path>', 'the same to measure on (default: the test part of a named set)')
    .option('--limit <n>', 'use only this many pictures of each, drawn at random', parseWhole)
    .optionsGroup('Classifier:')
    .option('--l2 <n>', 'fixed penalty λ (default: chosen on a fifth of the training pictures)', parseNumber)
    .option('--seed <n>', 'which fifth', parseWhole, 0);
  addModelFlags(command).action(probe);
}

async function probe(flags: ProbeFlags): Promise<void> {
  const { trainData, valData = trainData, l2, seed } = flags;
  if (valData === trainData && !labelledNames.some((name) => name === trainData))
    throw new UsageError('probe', {
      received: `${flags.valData === undefined ? 'no --val-data' : 'the same folder twice'}`,
      expected: 'other pictures to measure on than to train on',
    });
  const ready = await loadModel(flags);
  console.log(`${ready.label}, ${ready.path}`);
  const train = await embedPart(ready, 'train', trainData, flags);
  const test = await embedPart(ready, 't10k', valData, flags);
  const { accuracy, l2: chosen } = await linearProbe(train, test, { seed, ...(l2 !== undefined && { l2 }) });
  const percent = (share: number) => (100 * share).toFixed(1);
  const classes = new Set(train.labels).size;
  console.log(`Trained on ${train.labels.length} pictures of ${classes} classes, λ = ${chosen.toPrecision(3)}`);
  console.log(
    `On ${test.labels.length} others: top-1 ${percent(accuracy[1]!)} %, top-5 ${percent(accuracy[5]!)} % (chance ${percent(1 / classes)} %)`,
  );
}

async function embedPart(
  { model }: ReadyModel,
  split: 'train' | 't10k',
  path: string,
  { limit }: ProbeFlags,
): Promise<EmbeddedPictures> {
  const source = await openData(path, {}, { classes: true, split });
  if (!source.classNames)
    throw new DataError('probe', {
      received: `${path} without classes`,
      expected: 'a folder with a subfolder a class',
    });
  const limited = limit === undefined ? {} : { limit };
  return withProgress('Embedding pictures', undefined, ({ update }) =>
    embedSource(model, source, { ...limited, onProgress: (done, total) => update(done, '', total) }),
  );
}
