/** `hopgrad probe`: how well classes can be told apart by a linear classifier on frozen embeddings. */
import type { Command } from 'commander';
import { type OpenedData, sameData } from '../data/open.js';
import { linearProbe } from '../evaluate/linear-probe.js';
import { chanceOfClasses } from '../evaluate/zero-shot.js';
import { DataError, UsageError } from '../tensor/errors.js';
import { accuracyLine } from '../train/report.js';
import { addLabelledFlags, embedLabelled, type LabelledFlags, labelledPaths, openLabelled } from './classes.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { parseNumber, parseWhole } from './parse.js';
import { addRankFlags } from './ranks.js';

interface ProbeFlags extends ModelFlags, LabelledFlags {
  trainData: string;
  valData?: string;
  l2?: number;
  seed: number;
}

/** Enters `hopgrad probe`. */
export function addProbeCommand(program: Command): void {
  const command = program.command('probe').description('train a linear classifier on frozen embeddings');
  command
    .optionsGroup('Data:')
    .requiredOption('--train-data <path>', labelledPaths)
    .option('--val-data <path>', 'the same to measure on (default: the test part of a named set)');
  addLabelledFlags(command);
  command
    .optionsGroup('Classifier:')
    .option('--l2 <n>', 'fixed penalty λ (default: chosen on a fifth of the training pictures)', parseNumber)
    .option('--seed <n>', 'which fifth', parseWhole, 0);
  addRankFlags(addModelFlags(command)).action(probe);
}

async function probe(flags: ProbeFlags): Promise<void> {
  const { trainData, valData = trainData, l2, seed } = flags;
  const [trainSet, testSet] = [await openLabelled(trainData, 'train'), await openLabelled(valData, 't10k')];
  if (sameData(trainSet.spec, testSet.spec))
    throw new UsageError('probe', {
      received: flags.valData === undefined ? 'no --val-data' : `${trainData} and ${valData}, the same pictures`,
      expected: 'other pictures to measure on than to train on',
    });
  const classOf = sameClasses(trainSet, testSet);
  const ready = await loadModel(flags);
  const train = await embedLabelled(ready, trainSet, flags);
  const embedded = await embedLabelled(ready, testSet, flags);
  const test = { ...embedded, labels: embedded.labels.map(classOf) };
  const { accuracy, l2: chosen } = await linearProbe(train, test, { seed, ...(l2 !== undefined && { l2 }) });
  const names = trainSet.source.classNames ?? numbered(Math.max(...train.labels, ...test.labels) + 1);
  const chance = chanceOfClasses(test.labels, names);
  const known = new Set(train.digests);
  const overlap = test.digests.filter((digest) => known.has(digest)).length;
  const facts = {
    pictures: train.labels.length,
    classes: new Set(train.labels).size,
    tested: test.labels.length,
    overlap,
  };
  const { path, label } = ready;
  if (flags.json) {
    const data = { train: trainSet.spec, val: testSet.spec };
    console.log(
      JSON.stringify({ checkpoint: path, method: label, data, ...facts, l2: chosen, accuracy, chance }, null, 2),
    );
    return;
  }
  console.log(`${label}, ${path}`);
  console.log(`Trained on ${facts.pictures} pictures of ${facts.classes} classes, λ = ${chosen.toPrecision(3)}`);
  console.log(`On ${facts.tested} others: ${accuracyLine(accuracy, chance)}`);
  if (overlap > 0)
    console.log(`${overlap} of them, for the model, are pictures that it was trained on: the accuracy is too high.`);
}

const numbered = (count: number) => Array.from({ length: count }, (_, i) => String(i));

/**
 * From class numbers of `test` to those of `train`: by name where both have names, else by number.
 * @throws DataError for a class that is not trained on
 */
function sameClasses(
  { source: train, spec: from }: OpenedData,
  { source: test, spec: to }: OpenedData,
): (label: number) => number {
  const { classNames: known } = train;
  const { classNames: asked } = test;
  if (!known && !asked) return (label) => label;
  if (!known || !asked)
    throw new DataError('probe', {
      received: `class names in ${known ? from.path : to.path} and class numbers in ${known ? to.path : from.path}`,
      expected: 'names in both, or numbers',
    });
  const unknown = asked.filter((name) => !known.includes(name));
  if (unknown.length > 0)
    throw new DataError('probe', {
      received: `${unknown.length} classes of ${to.path} that ${from.path} does not have: ${unknown.slice(0, 5).join(', ')}${unknown.length > 5 ? ', …' : ''}`,
      expected: `classes among ${known.slice(0, 5).join(', ')}${known.length > 5 ? ', …' : ''}`,
    });
  return (label) => known.indexOf(asked[label]!);
}
