/**
 * What models trained on icons carry over: zero-shot classification, linear probe and retrieval of emoji, line icons, digits, clothes and clip art, that
 * none of them was trained on.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { prepareEmoji } from '#src/data/emoji-source.js';
import { prepareIcons } from '#src/data/icons-source.js';
import { readResults } from '#src/experiment/results.js';
import { experimentFolder, missingExperiment, runsOf } from './icons.js';
import type { Chapter, Findings } from './record.js';
import { Answers, floorJudges, modelJudge } from './transfer-judges.js';
import { judgedSets, packagedSets, side } from './transfer-sets.js';
import { begin } from './trials.js';

/** How much is judged, and where the trained models are. */
interface Budget {
  folder: string;
  /** Pictures of each set, and of each fit of a linear probe iterations, at most. */
  pictures: number;
  iterations: number;
  /** Also the sets that Debian has packages of, and the searches without encoders through all training drawings. */
  whole: boolean;
}

const cacheFolder = fileURLToPath(new URL('../../.cache', import.meta.url));
const full: Budget = { folder: experimentFolder, pictures: 2000, iterations: 1000, whole: true };

async function run(found: Findings, { folder, pictures, iterations, whole }: Budget = full): Promise<void> {
  await begin();
  const results = readResults(join(folder, 'experiment.json'));
  const { methods } = results;
  const models = methods.flatMap((method) => runsOf(results, method).map(({ name }) => ({ method, name })));
  found.say(`${methods.length} methods, ${models.length} models trained on icons.`);
  found.number('trainings', models.length);
  const data = await prepareEmoji({ size: side, cacheFolder });
  const own = await judgedSets(data, cacheFolder, pictures);
  const answers = new Answers([...own, ...(whole ? await packagedSets(cacheFolder, pictures) : [])], iterations);
  for (const { method, name } of models) {
    const { model, tokenizer } = await loadCheckpoint(join(folder, name, 'model.safetensors'));
    await answers.ask(method, modelJudge({ model, tokenizer: tokenizer! }));
  }
  if (whole) {
    const icons = await prepareIcons({ size: side, cacheFolder });
    for (const [name, judge] of floorJudges(icons, icons.split.train)) await answers.ask(name, judge);
  }
  answers.tellShares(found);
  const [first, ...others] = methods;
  answers.tellDifferences(found, first!, others);
  found.figure(
    'transfer',
    'Zero-shot accuracy, linear probe and retrieval of the methods trained on icons, raw pixels and HOG: a dot at each share, a line for its interval, a grey tick at what guessing reaches.',
    answers.panels(),
  );
}

export const iconsTransfer: Chapter = {
  name: 'icons-transfer',
  title: 'What models of icons carry over',
  run,
  missing: missingExperiment,
};
