/**
 * What leads on icons: six methods trained on 50,372 drawings by `hopgrad experiment experiments/icons.yaml`, how each names icons that it has
 * not seen, and what each makes of emoji, line icons, digits, clothes and clip art that it was never trained on.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadCheckpoint } from 'hopgrad/models/cloob';
import { prepareEmoji } from '#src/data/emoji-source.js';
import { prepareIcons } from '#src/data/icons-source.js';
import { meanInterval } from '#src/evaluate/student.js';
import { type Results, readResults } from '#src/experiment/results.js';
import type { Chapter, Findings } from './record.js';
import { Answers, floorJudges, modelJudge, percent } from './transfer-judges.js';
import { judgedSets, packagedSets, side } from './transfer-sets.js';
import { begin } from './trials.js';

/** How much is judged, and where the trained models are. */
interface Budget {
  /** Of the experiment: experiment.json, and a folder for each run. */
  folder: string;
  /** Pictures of each set, and of each fit of a linear probe iterations, at most. */
  pictures: number;
  iterations: number;
  /** Also the sets that Debian has packages of, and the searches without encoders through all training drawings. */
  whole: boolean;
}

const root = fileURLToPath(new URL('../..', import.meta.url));
const cacheFolder = join(root, '.cache');
const full: Budget = { folder: join(root, 'runs/icons'), pictures: 2000, iterations: 1000, whole: true };

/** The test sets, and how the experiment names their numbers. */
const sets = ['A', 'B', 'C', 'D'] as const;
const ways = { imageToText: 'picture → name', textToImage: 'name → picture' } as const;
const ranks = [1, 5, 10] as const;

const metric = (set: string, judge: string, way: string, k: number) => `${set}/names/${judge}/${way}/recall/${k}`;

/** The finished runs of a method, by seed. */
function runsOf({ runs }: Results, method: string): { name: string; seed: number; metrics: Record<string, number> }[] {
  return runs
    .flatMap(({ stage, name, seed, outcome, ...run }) =>
      stage === 'main' && run.method === method && outcome.status === 'finished'
        ? [{ name, seed, metrics: outcome.metrics }]
        : [],
    )
    .sort((a, b) => a.seed - b.seed);
}

/** "12.3 ± 0.4", in %. */
function withDeviation(values: readonly number[]): string {
  if (values.length === 0) return '';
  const { mean, sd } = meanInterval(values);
  return sd === null ? percent(mean) : `${percent(mean)} ± ${percent(sd)}`;
}

/** How icons that were held out are named, by every method and by what needs no encoders. */
function tellRetrieval(found: Findings, results: Results): void {
  const { methods } = results;
  const numbers = (method: string, set: string, way: string, judge = 'trained') =>
    ranks.map((k) => withDeviation(runsOf(results, method).map(({ metrics }) => metrics[metric(set, judge, way, k)]!)));
  for (const [way, title] of Object.entries(ways))
    found.table(
      way,
      `Recall at 1 / 5 / 10 in %, ${title}: mean ± standard deviation over seeds. Pixels and HOG answer with the words of the training drawings that are most alike.`,
      ['method', ...sets],
      [
        ...methods.map((method) => [method, ...sets.map((set) => numbers(method, set, way).join(' / '))]),
        ...(['pixels', 'hog'] as const).map((judge) => [
          judge === 'hog' ? 'HOG' : judge,
          ...sets.map((set) => {
            const [any] = runsOf(results, methods[0]!);
            return ranks.map((k) => percent(any!.metrics[metric(set, judge, way, k)]!)).join(' / ');
          }),
        ]),
      ],
    );
}

/** Mean recall of every method, and the differences between those that have a seed in common. */
function tellMethods(found: Findings, results: Results): void {
  const { methods, tuning } = results;
  const values = (method: string) => new Map(runsOf(results, method).map(({ seed, metrics }) => [seed, metrics]));
  const all = ['meanRecall', 'recallAt1', 'zeroShot'] as const;
  found.table(
    'methods',
    'Mean over the sets A to D in %, ± standard deviation over seeds: recall at 1, 5 and 10 both ways; recall at 1 both ways; zero-shot accuracy into the names of a set. The rate is the best of three on the validation split.',
    ['method', 'rate', 'mean recall', 'recall at 1', 'zero-shot'],
    methods.map((method) => [
      method,
      String(tuning?.choices.find((choice) => choice.method === method)?.chosen.lr ?? ''),
      ...all.map((key) => withDeviation([...values(method).values()].map((metrics) => metrics[key]!))),
    ]),
  );
  const difference = (one: string, other: string) => {
    const [a, b] = [values(one), values(other)];
    const apart = [...a.keys()]
      .filter((seed) => b.has(seed))
      .map((seed) => a.get(seed)!.meanRecall! - b.get(seed)!.meanRecall!);
    if (apart.length < 2) return '';
    const { mean, half } = meanInterval(apart);
    return `${percent(mean)} [${percent(mean - half!)}, ${percent(mean + half!)}]`;
  };
  found.table(
    'paired',
    'Mean recall of the method of the row less that of the column, in points, paired by seed, with Student’s 95 % intervals.',
    ['method', ...methods.slice(0, -1)],
    methods
      .slice(1)
      .map((one, i) => [one, ...methods.slice(0, -1).map((other, j) => (j <= i ? difference(one, other) : ''))]),
  );
}

async function run(found: Findings, { folder, pictures, iterations, whole }: Budget = full): Promise<void> {
  await begin();
  const file = join(folder, 'experiment.json');
  if (!existsSync(file))
    throw new Error(`no ${file}: first npx hopgrad data icons, and npx hopgrad experiment experiments/icons.yaml`);
  const results = readResults(file);
  const { methods } = results;
  const models = methods.flatMap((method) => runsOf(results, method).map(({ name }) => ({ method, name })));
  found.say(`${methods.length} methods, ${models.length} trainings on icons, and 1525 icons of the test sets.`);
  found.number('trainings', models.length);
  tellMethods(found, results);
  tellRetrieval(found, results);

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

export const icons: Chapter = {
  name: 'icons',
  title: 'What leads on icons, and what it carries over',
  run,
};
