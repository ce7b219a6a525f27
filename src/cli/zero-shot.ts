/** `hopgrad zero-shot`: classification of labelled pictures by the names of their classes. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { readClassNames, readTemplates } from '../evaluate/prompts.js';
import { classify, zeroShotClassifier } from '../evaluate/zero-shot.js';
import { DataError } from '../tensor/errors.js';
import { embedSource } from '../train/embed-source.js';
import { withProgress } from '../train/progress.js';
import { openData } from './data.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { parseWhole } from './parse.js';

interface ZeroShotFlags extends ModelFlags {
  valData: string;
  classNames?: string;
  templates?: string;
  limit?: number;
}

export function addZeroShotCommand(program: Command): void {
  const command = program.command('zero-shot').description('classify pictures by the names of their classes');
  command
    .optionsGroup('Data:')
    .requiredOption('--val-data <path>', 'folder with a subfolder a class, or mnist, fashion-mnist, openclipart')
    .option(
      '--class-names <file>',
      'names to use, one a line in the order of the classes (default: the folders’ names)',
    )
    .option('--templates <file>', 'prompts, one a line with {} for the name (default: "{}" and "a drawing of {}")')
    .option('--limit <n>', 'use only this many pictures, drawn at random', parseWhole);
  addModelFlags(command).action(zeroShot);
}

async function zeroShot(flags: ZeroShotFlags): Promise<void> {
  const source = await openData(flags.valData, {}, { classes: true });
  const names = flags.classNames === undefined ? source.classNames : readClassNames(flags.classNames);
  if (!source.classNames || !names || names.length !== source.classNames.length)
    throw new DataError('zero-shot', {
      received: `${names?.length ?? 'no'} class names for ${source.classNames?.length ?? 'no'} classes of ${flags.valData}`,
      expected: 'pictures with classes, and a name for each class',
    });
  const templates = flags.templates === undefined ? ['{}', 'a drawing of {}'] : readTemplates(flags.templates);
  const { path, model, tokenizer, label } = await loadModel(flags);
  console.log(`${label}, ${path}`);
  const limited = flags.limit === undefined ? {} : { limit: flags.limit };
  const { features, labels } = await withProgress('Embedding pictures', undefined, ({ update }) =>
    embedSource(model, source, { ...limited, onProgress: (done, total) => update(done, '', total) }),
  );
  const classifier = zeroShotClassifier(model, tokenizer, { classNames: names, templates });
  const { accuracy, perClass } = await classify(features, classifier, labels);
  const percent = (share: number) => (100 * share).toFixed(1);
  const table = new Table({
    head: ['class', 'pictures', 'top-1 %'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right'],
  });
  perClass.forEach(({ count, accuracy: own }, i) => {
    table.push([names[i]!, String(count), count > 0 ? percent(own) : '–']);
  });
  console.log(table.toString());
  const [k, chance] = [Math.min(5, names.length), 1 / names.length];
  console.log(`${labels.length} pictures, ${names.length} classes, ${templates.length} prompts a class`);
  console.log(
    `top-1 ${percent(accuracy[1]!)} % (chance ${percent(chance)} %), top-5 ${percent(accuracy[5]!)} % (chance ${percent(k * chance)} %)`,
  );
}
