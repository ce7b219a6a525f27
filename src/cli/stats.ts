/** `hopgrad stats`: what the embeddings of pairs look like, as the CLOOB paper measures it. */
import Table from 'cli-table3';
import type { Command } from 'commander';
import { checkCaptions, requireCaptions } from '../data/source.js';
import { alignment, similarityStatistics } from '../evaluate/embedding-statistics.js';
import { embedTexts } from '../evaluate/zero-shot.js';
import { openShown } from '../train/corpus.js';
import { embedSource, shownAs } from '../train/embed-source.js';
import { sideOf } from '../train/held-out.js';
import { withProgress } from '../train/progress.js';
import {
  addReadingFlags,
  addTableFlags,
  dataRequest,
  type ReadingFlags,
  readingOptions,
  type TableFlags,
} from './data.js';
import { addModelFlags, loadModel, type ModelFlags } from './model.js';
import { parseCount, parseNumber } from './parse.js';

interface StatsFlags extends ModelFlags, TableFlags, ReadingFlags {
  valData?: string;
  limit: number;
  beta: number;
  cache: string;
  json?: boolean;
}

/** Enters `hopgrad stats`. */
export function addStatsCommand(program: Command): void {
  const command = program.command('stats').description('measure how the embeddings of pairs lie on the sphere');
  command
    .optionsGroup('Data:')
    .option('--val-data <path>', 'table or shards of captioned pictures (default: the emoji that are trained on)')
    .option(
      '--limit <n>',
      'use only this many pairs, drawn at random: Ajne’s statistic depends on it',
      parseCount,
      1000,
    )
    .option('--beta <n>', 'β of the memory whose entropy is measured', parseNumber, 8)
    .option('--cache <folder>', 'folder for prepared data', '.cache')
    .option('--json', 'print the results as JSON');
  addTableFlags(command);
  addReadingFlags(command);
  addModelFlags(command).action(stats);
}

async function stats(flags: StatsFlags): Promise<void> {
  const { path, model, tokenizer, label } = await loadModel(flags);
  const { source, spec } = await openShown(dataRequest(flags.valData ?? 'emoji', flags), {
    ...shownAs(model.config, flags),
    cacheFolder: flags.cache,
  });
  await requireCaptions(source);
  const options = { ...readingOptions(flags), limit: flags.limit };
  const { features, captions, names } = await withProgress('Embedding pictures', undefined, ({ update }) =>
    embedSource(model, source, { ...options, onProgress: (done, total) => update(done, '', total) }),
  );
  checkCaptions(captions, names);
  const texts = embedTexts(model, tokenizer, captions);
  const invTau = await model.invTau().item();
  const { positives, negatives, partnerProbability } = await similarityStatistics(features, texts, { invTau });
  const results = {
    pairs: names.length,
    alignment: await alignment(features, texts),
    invTau,
    beta: flags.beta,
    pictures: await sideOf(features, flags.beta),
    captions: await sideOf(texts, flags.beta),
    partnerCosine: positives,
    otherCosine: negatives,
    partnerProbability,
  };
  if (flags.json) {
    const plain = (_: string, value: unknown) => (value instanceof Uint32Array ? [...value] : value);
    console.log(JSON.stringify({ checkpoint: path, method: label, data: spec, ...results }, plain, 2));
    return;
  }
  const table = new Table({
    head: ['', 'pictures', 'captions'],
    style: { head: [], border: [], compact: true },
    colAligns: ['left', 'right', 'right'],
  });
  const row = (title: string, of: (side: typeof results.pictures) => string) =>
    table.push([title, of(results.pictures), of(results.captions)]);
  row('uniformity (0: all coincide; smaller is more uniform)', ({ uniformity: u }) => u.toFixed(3));
  row(`Ajne’s statistic (¼: uniform; ${(results.pairs / 4).toFixed(0)}: all coincide)`, ({ ajne }) => ajne.toFixed(2));
  row(`eigenvalues for 99 % of the variance, of ${model.config.embed_dim}`, (side) =>
    String(side.eigenvaluesFor99Percent),
  );
  row(`patterns that a memory of them averages, β ${flags.beta}`, (side) => side.effectivePatterns.toFixed(1));
  console.log(`${label}, ${path}\nData: ${results.pairs} pairs of ${source.name}\n`);
  console.log(table.toString());
  const spread = ({ mean, deviation }: typeof positives) => `${mean.toFixed(3)} ± ${deviation.toFixed(3)}`;
  console.log(`Alignment E‖x − y‖²: ${results.alignment.toFixed(3)}`);
  console.log(`Cosine of partners ${spread(positives)}, of others ${spread(negatives)}`);
  console.log(
    `p₁, what InfoNCE with τ⁻¹ ${invTau.toPrecision(3)} gives the partner: ${spread(partnerProbability)} (1: nothing left to learn)`,
  );
}
