/**
 * What models trained on icons carry over: zero-shot classification, linear probe and retrieval of emoji, line icons, digits, clothes and clip art, that
 * none of them was trained on; and the same of models that were trained on emoji, or on both.
 */
import { dirname, join } from 'node:path';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { prepareEmoji } from '#src/data/emoji-source.js';
import { prepareIcons } from '#src/data/icons-source.js';
import { type Results, readResults } from '#src/experiment/results.js';
import { cacheFolder } from './chapter.js';
import { experimentFolder, missingExperiment, runsOf, shortName } from './icons.js';
import type { Chapter, Findings } from './record.js';
import {
  Answers,
  difference,
  differenceText,
  floorJudges,
  modelJudge,
  questionNames,
  questions,
  shareText,
} from './transfer-judges.js';
import { type JudgedSet, judgedSets, packagedSets, side } from './transfer-sets.js';
import { begin } from './trials.js';

/** How much is judged, and where the trained models are. */
interface Budget {
  folder: string;
  /** Of the experiment with other corpora. */
  corpora: string;
  /** Pictures of each set, and of each fit of a linear probe iterations, at most. */
  pictures: number;
  iterations: number;
  /** Also the sets that Debian has packages of, and the searches without encoders through all training drawings. */
  whole: boolean;
}

const corporaFolder = join(dirname(experimentFolder), 'corpora');
const full: Budget = {
  ...{ folder: experimentFolder, corpora: corporaFolder },
  ...{ pictures: 2000, iterations: 1000, whole: true },
};

/** Asks the models that a method left in an experiment, one for each seed. */
async function askModels(
  answers: Answers,
  { folder, results }: { folder: string; results: Results },
  method: string,
  setting = '',
): Promise<void> {
  for (const { name } of runsOf(results, method, setting)) {
    const { model, tokenizer } = await loadCheckpoint(join(folder, name, 'model.safetensors'));
    await answers.ask(method, modelJudge({ model, tokenizer: tokenizer! }));
  }
}

/** For each method that was trained on other corpora as well, what it then knows, and what both add to icons alone. */
async function tellCorpora(found: Findings, ofIcons: Answers, { corpora, iterations }: Budget): Promise<void> {
  const results = readResults(join(corpora, 'experiment.json'));
  const { methods, settings } = results;
  const others = new Map(settings.map((corpus) => [corpus, new Answers(ofIcons.sets, iterations)]));
  for (const [corpus, answers] of others)
    for (const method of methods) await askModels(answers, { folder: corpora, results }, method, corpus);
  const [alone, both] = settings;
  others.get(alone!)!.tellNumbers(found, { emoji: methods[0]! });
  others.get(both!)!.tellNumbers(found, { both: methods[0]! });
  for (const [m, method] of methods.entries()) {
    const row = (set: JudgedSet, question: (typeof questionNames)[number]) => {
      const own = [...others.values(), ofIcons].map((answers) => answers.of(set)[method]!);
      const seeds = own[1]!.length; // the first of those that icons have
      return [
        ...[set.title, questions[question], ...own.map((runs) => shareText(runs, question))],
        differenceText(difference(own[1]!, own[2]!.slice(0, seeds), question)),
      ];
    };
    found.table(
      `corpora-${m + 1}`,
      `${method}, trained on different drawings: shares in %, with 95 % intervals (Wilson) for as many pictures, and how far both are from icons alone, in points (bootstrap over seeds and pictures, paired).`,
      ['set', 'question', ...settings, 'icons', `${both} less icons`],
      ofIcons.sets.flatMap((set) => questionNames.map((question) => row(set, question))),
    );
  }
}

async function run(found: Findings, budget: Budget = full): Promise<void> {
  const { folder, pictures, iterations, whole } = budget;
  await begin();
  const results = readResults(join(folder, 'experiment.json'));
  const { methods } = results;
  const trainings = methods.reduce((sum, method) => sum + runsOf(results, method).length, 0);
  found.say(`${methods.length} methods, ${trainings} models trained on icons.`);
  found.number('trainings', trainings);
  const data = await prepareEmoji({ size: side, cacheFolder });
  const own = await judgedSets(data, cacheFolder, pictures);
  const answers = new Answers([...own, ...(whole ? await packagedSets(cacheFolder, pictures) : [])], iterations);
  for (const method of methods) await askModels(answers, { folder, results }, method);
  if (whole) {
    const icons = await prepareIcons({ size: side, cacheFolder });
    for (const [name, judge] of floorJudges(icons, icons.split.train)) await answers.ask(name, judge);
  }
  answers.tellShares(found);
  answers.tellSizes(found);
  answers.tellNumbers(found, Object.fromEntries(methods.map((method) => [shortName(method), method])));
  if (whole) answers.tellNumbers(found, { pixels: 'raw pixels', hog: 'HOG' });
  const [first, ...others] = methods;
  for (const [m, differences] of answers.tellDifferences(found, first!, others).entries()) {
    const name = shortName(others[m]!);
    found.number(`above-${name}`, differences.filter(({ low }) => low > 0).length);
    found.number(`below-${name}`, differences.filter(({ high }) => high < 0).length);
  }
  found.figure(
    'transfer',
    'Zero-shot accuracy, linear probe and retrieval of the methods trained on icons, raw pixels and HOG: a dot at each share, a line for its interval, a grey tick at what guessing reaches.',
    answers.panels(),
  );
  await tellCorpora(found, answers, budget);
}

export const iconsTransfer: Chapter = {
  name: 'icons-transfer',
  title: 'What models of icons carry over',
  run,
  missing: () => missingExperiment() ?? missingExperiment(corporaFolder),
};
