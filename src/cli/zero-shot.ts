/** `hopgrad zero-shot`: classification of labelled pictures by the names of their classes. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { imageNetTemplates } from '../evaluate/imagenet-templates.js';
import { readClassNames, readTemplates } from '../evaluate/prompts.js';
import { chanceOfClasses, classify, zeroShotClassifier } from '../evaluate/zero-shot.js';
import { DataError, printable } from '../tensor/errors.js';
import { accuracyLine, percent } from '../train/report.js';
import { addLabelledFlags, embedLabelled, type LabelledFlags, labelledPaths, openLabelled } from './classes.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { addRankFlags } from './ranks.js';

interface ZeroShotFlags extends ModelFlags, LabelledFlags {
  valData: string;
  classNames?: string;
  templates?: string;
}

/** Enters `hopgrad zero-shot`. */
export function addZeroShotCommand(program: Command): void {
  const command = program.command('zero-shot').description('classify pictures by the names of their classes');
  command
    .optionsGroup('Data:')
    .requiredOption('--val-data <path>', labelledPaths)
    .option(
      '--class-names <file>',
      'names to use, one a line in the order of the classes (default: the folders’ names)',
    )
    .option(
      '--templates <file>',
      'prompts, one a line with {} for the name, or imagenet for CLIP’s 80 (default: "{}" and "a drawing of {}")',
    );
  addLabelledFlags(command);
  addRankFlags(addModelFlags(command)).action(zeroShot);
}

async function zeroShot(flags: ZeroShotFlags): Promise<void> {
  const opened = await openLabelled(flags.valData, 't10k');
  const { classNames } = opened.source;
  const names = flags.classNames === undefined ? classNames : readClassNames(flags.classNames);
  if (!names || (classNames && names.length !== classNames.length))
    throw new DataError('zero-shot', {
      received: `${names?.length ?? 'no'} class names for ${classNames?.length ?? 'the'} classes of ${flags.valData}`,
      expected: 'pictures with classes, and a name for each class',
      ...(!names && { hint: 'Shards have class numbers only: give the names with --class-names.' }),
    });
  const templates = templatesOf(flags.templates);
  const ready = await loadModel(flags);
  const { features, labels } = await embedLabelled(ready, opened, flags, names);
  const classifier = zeroShotClassifier(ready.model, ready.tokenizer, { classNames: names, templates });
  const { accuracy, perClass } = await classify(features, classifier, labels, { classNames: names });
  const chance = chanceOfClasses(labels, names);
  const { path, label } = ready;
  if (flags.json) {
    const classes = perClass.map((own, i) => ({ name: names[i]!, ...own }));
    const facts = { checkpoint: path, method: label, data: opened.spec, templates, pictures: labels.length };
    console.log(JSON.stringify({ ...facts, accuracy, chance, classes }, null, 2));
    return;
  }
  console.log(`${label}, ${path}`);
  const table = new Table({
    head: ['class', 'pictures', 'top-1 %'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right'],
  });
  perClass.forEach(({ count, accuracy: own }, i) => {
    table.push([printable(names[i]!), String(count), count > 0 ? percent(own) : '–']);
  });
  console.log(table.toString());
  const different = new Set(names).size;
  const alike = different < names.length ? ` (${different} different names: classes of one name count as one)` : '';
  console.log(`${labels.length} pictures, ${names.length} classes${alike}, ${templates.length} prompts a class`);
  console.log(accuracyLine(accuracy, chance));
}

function templatesOf(path: string | undefined): readonly string[] {
  if (path === undefined) return ['{}', 'a drawing of {}'];
  return path === 'imagenet' ? imageNetTemplates : readTemplates(path);
}
