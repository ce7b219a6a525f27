/**
 * Transfer: what models trained on emoji make of pictures that they were never trained on, in the words of the paper's questions: zero-shot
 * classification, linear probe and retrieval, beside what needs no training of encoders, raw pixels and histograms of oriented gradients.
 */
import { prepareEmoji } from '#src/data/emoji-source.js';
import { cacheFolder } from './chapter.js';
import type { Chapter, Findings } from './record.js';
import {
  Answers,
  difference,
  differenceText,
  floorJudges,
  modelJudge,
  percent,
  questionNames,
  share,
} from './transfer-judges.js';
import { type Method, trained, untrained, vocabulary } from './transfer-models.js';
import { judgedSets, side } from './transfer-sets.js';
import { begin } from './trials.js';

/** How much is trained and judged. */
interface Budget {
  steps: number;
  seeds: readonly number[];
  /** Pictures of each set, at most. */
  pictures?: number;
  /** Of each fit of a linear probe, at most. */
  iterations?: number;
  /** Where trained models are kept. */
  folder?: string | null;
}

const full: Budget = {
  steps: 300,
  seeds: [1, 2, 3],
  pictures: 2000,
  iterations: 1000,
  folder: `${cacheFolder}/transfer`,
};

/** What is not that of the default run. CLIP learns its temperature; InfoLOOB and CLOOB have the published τ⁻¹ and β. */
const methods = {
  CLIP: { loss: 'infonce', hopfield: false, center: 'off', initInvTau: 14.3, learnableInvTau: true },
  InfoLOOB: { hopfield: false, center: 'off' },
  'CLOOB as published': { hopfieldFrom: 0, center: 'off' },
  'CLOOB, centred': {},
} as const satisfies Record<string, Method['options']>;
const methodNames = Object.keys(methods);

/** By what names the text quotes shares, and differences to CLIP. */
const quoted = { clip: 'CLIP', first: 'first weights', pixels: 'raw pixels', hog: 'HOG' };
const contrasted = { published: 'CLOOB as published', centred: 'CLOOB, centred' };

async function run(found: Findings, budget: Budget = full): Promise<void> {
  await begin();
  const { steps, seeds, pictures: most = full.pictures!, iterations = full.iterations!, folder = null } = budget;
  const data = await prepareEmoji({ size: side, cacheFolder });
  const answers = new Answers(await judgedSets(data, cacheFolder, most), iterations);
  found.say(
    `${methodNames.length} methods, ${seeds.length} seeds, ${steps} steps of 128 pairs of embedded emoji; everything else is that of the default run.`,
  );
  found.number('steps', steps);
  found.number('seeds', seeds.length);
  const tokenizer = vocabulary(data);
  for (const seed of seeds)
    for (const [name, options] of Object.entries(methods))
      await answers.ask(name, modelJudge(await trained({ name, options }, { data, tokenizer, seed, steps, folder })));
  const first = { name: 'CLIP', options: methods.CLIP };
  for (const seed of seeds) await answers.ask('first weights', modelJudge(untrained(first, tokenizer, seed)));
  const rows = data.split.train.slice(0, most < full.pictures! ? most : data.split.train.length);
  for (const [name, judge] of floorJudges(data, rows)) await answers.ask(name, judge);

  answers.tellSizes(found);
  answers.tellNumbers(found, quoted);
  for (const set of answers.sets)
    for (const question of questionNames)
      for (const [short, name] of Object.entries(contrasted)) {
        const own = answers.of(set);
        found.number(`${set.id}-${question}-${short}`, differenceText(difference(own[name]!, own.CLIP!, question)));
      }
  answers.tellShares(found);
  const [clip, ...others] = methodNames;
  answers.tellDifferences(found, clip!, others);
  found.table(
    'seeds',
    'Each seed by itself: zero-shot / linear probe / retrieval in %.',
    ['set', 'seed', ...methodNames],
    answers.sets.flatMap((set) =>
      seeds.map((seed, s) => [
        set.title,
        String(seed),
        ...methodNames.map((name) =>
          questionNames.map((question) => percent(share(answers.of(set)[name]![s]![question]))).join(' / '),
        ),
      ]),
    ),
  );
  found.figure(
    'transfer',
    'Zero-shot accuracy, linear probe and retrieval of four methods, their first weights, raw pixels and HOG on five sets: a dot at each share, a line for its interval, a grey tick at what guessing reaches.',
    answers.panels(),
  );
}

export const transfer: Chapter = {
  name: 'transfer',
  title: 'Transfer: what models of emoji make of other pictures',
  run,
};
