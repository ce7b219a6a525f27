/**
 * What leads on icons: seven methods trained on 50,372 drawings by `hopgrad experiment experiments/icons.yaml`, and how each names icons that it
 * has not seen. What they make of pictures of other kinds: icons-transfer.ts.
 */
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { meanInterval } from '#src/evaluate/student.js';
import { type Results, readResults } from '#src/experiment/results.js';
import { withDeviation } from './chapter.js';
import type { Chapter, Findings } from './record.js';
import { percent } from './transfer-judges.js';

/** Where the experiment left its results, experiment.json, and a folder for each run. */
export const experimentFolder = fileURLToPath(new URL('../../runs/icons', import.meta.url));

/** What must be done before a chapter on an experiment can run; undefined where it has been done. */
export const missingExperiment = (folder = experimentFolder) =>
  existsSync(join(folder, 'experiment.json'))
    ? undefined
    : `npx hopgrad data icons && npx hopgrad experiment experiments/${basename(folder)}.yaml`;

/** The test sets, and how the experiment names their numbers. */
const sets = ['A', 'B', 'C', 'D'] as const;
const ranks = [1, 5, 10] as const;

const metric = (set: string, judge: string, way: string, k: number) => `${set}/names/${judge}/${way}/recall/${k}`;

/** The finished runs of a method in a setting, by seed. */
export function runsOf(
  { runs }: Results,
  method: string,
  setting = '',
): { name: string; seed: number; metrics: Record<string, number> }[] {
  return runs
    .flatMap(({ stage, name, seed, outcome, ...run }) =>
      stage === 'main' && run.method === method && run.setting === setting && outcome.status === 'finished'
        ? [{ name, seed, metrics: outcome.metrics }]
        : [],
    )
    .sort((a, b) => a.seed - b.seed);
}

/** How icons that were held out are named: by every method, by the neighbours that its image encoder sees, and by what needs no encoders. */
function tellRetrieval(found: Findings, results: Results): void {
  const { methods } = results;
  const shares = (method: string, set: string, judge: string, way: string) =>
    ranks
      .map((k) => withDeviation(runsOf(results, method).map(({ metrics }) => metrics[metric(set, judge, way, k)]!)))
      .join(' / ');
  const [any] = methods.flatMap((method) => runsOf(results, method));
  const guess = (set: string, k: number) => Math.min(1, k / any!.metrics[`${set}/names/trained/imageToText/count`]!);
  const told = (name: string, one: (set: string, k: number) => number) => [
    name,
    ...sets.map((set) => ranks.map((k) => percent(one(set, k))).join(' / ')),
  ];
  const tell = (id: string, caption: string, judge: string, way: string) =>
    found.table(
      id,
      `Recall at 1 / 5 / 10 in %, ${caption}: mean ± standard deviation over seeds.`,
      ['method', ...sets],
      [
        ...methods.map((method) => [method, ...sets.map((set) => shares(method, set, judge, way))]),
        told('raw pixels', (set, k) => any!.metrics[metric(set, 'pixels', way, k)]!),
        told('HOG', (set, k) => any!.metrics[metric(set, 'hog', way, k)]!),
        told('guessing', guess),
      ],
    );
  tell('imageToText', 'picture → name', 'trained', 'imageToText');
  tell('textToImage', 'name → picture', 'trained', 'textToImage');
  tell(
    'neighbours',
    'picture → name by the words of those training icons that the image encoder finds most alike',
    'neighbours',
    'imageToText',
  );
  const all = sets.flatMap((set) => ranks.map((k) => guess(set, k)));
  found.number('guess', percent(all.reduce((sum, x) => sum + x, 0) / all.length));
}

/** What numbers of a method are called by: letters alone, in lower case. */
export const shortName = (method: string): string =>
  method
    .toLowerCase()
    .replace(/[^a-z]+/g, '-')
    .replace(/-$/, '');

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
  for (const method of methods)
    found.number(
      `recall-${shortName(method)}`,
      withDeviation([...values(method).values()].map(({ meanRecall }) => meanRecall!)),
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

/** The same methods with more steps: mean recall of each seed that both have. */
function tellLonger(found: Findings, results: Results, longer: Results): void {
  const { methods } = longer;
  const all = ['meanRecall', 'recallAt1', 'zeroShot'] as const;
  const rows = methods.flatMap((method) =>
    runsOf(longer, method).map(({ seed, metrics }) => {
      const before = runsOf(results, method).find((run) => run.seed === seed)!.metrics;
      const pair = all.map((key) => `${percent(before[key]!)} → ${percent(metrics[key]!)}`);
      found.number(`longer-${shortName(method)}-${seed}`, percent(metrics.meanRecall!));
      return [method, String(seed), ...pair];
    }),
  );
  found.table(
    'longer',
    'Three epochs → ten, the same seed and learning rate: mean over the sets A to D in %.',
    ['method', 'seed', 'mean recall', 'recall at 1', 'zero-shot'],
    rows,
  );
}

const full = { folder: experimentFolder, long: join(dirname(experimentFolder), 'icons-long') };

async function run(found: Findings, { folder, long } = full): Promise<void> {
  const results = readResults(join(folder, 'experiment.json'));
  const { methods } = results;
  const finished = methods.map((method) => runsOf(results, method).length);
  found.say(
    `${methods.length} methods, ${finished.reduce((a, b) => a + b)} trainings on icons, and 1525 icons of the test sets.`,
  );
  found.number('seeds', Math.min(...finished));
  tellMethods(found, results);
  tellRetrieval(found, results);
  tellLonger(found, results, readResults(join(long, 'experiment.json')));
}

export const icons: Chapter = {
  name: 'icons',
  title: 'What leads on icons',
  run,
  missing: () => missingExperiment() ?? missingExperiment(full.long),
};
