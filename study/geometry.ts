/**
 * How the embeddings of a training lie on the sphere: alignment (partners near each other), uniformity (all spread out), Ajne's statistic of the
 * latter, and the number of effective eigenvalues of their covariance, the paper's measure of how many directions they use.
 */
import { randn, tensor } from 'hopgrad';
import { ajneStatistic, effectiveEigenvalues, uniformity } from 'hopgrad/models/cloob';
import { exact, unitVectors } from './chapter.js';
import { curves } from './figure.js';
import type { Chapter, Findings } from './record.js';
import { type Budget, begin, full, type Given, spread } from './trials.js';
import { live, type Measures } from './world.js';

const methods: Record<string, Given> = {
  'InfoNCE, centred': { loss: 'infonce', memories: false, center: true, invTau: 14.3, learnInvTau: true },
  'InfoLOOB, centred': { loss: 'infoloob', memories: false, center: true },
  'CLOOB, plain': { loss: 'infoloob', memories: true, center: false },
  'CLOOB, centred': { loss: 'infoloob', memories: true, center: true },
};
const lr = 3e-3;
const often = 12; // looks at each training

/** What is known beforehand of each statistic. */
async function known(found: Findings): Promise<void> {
  const [count, dim] = [400, 32];
  const [even, one] = [unitVectors(count, dim, 1), unitVectors(1, dim, 2).expand([count, dim])];
  // All in one point: every angle is 0, so every pair counts ½ − 0/π, and Aₙ = n/4 − (1/n)(n(n−1)/2)(0/π) = n/4.
  found.claim(
    'ajneOfOne',
    'Ajne’s statistic of n equal directions is n/4',
    Math.abs((await ajneStatistic(one)).statistic / (count / 4) - 1),
    1e-6,
  );
  found.claim('uniformOfOne', 'uniformity of equal directions is ln e⁰ = 0', Math.abs(await uniformity(one)), 1e-6);
  const axes = randn([4000, 6], { ...exact, seed: 3 }).mul(tensor([1, 1, 1, 1e-3, 1e-3, 1e-3], exact));
  const { count: three } = await effectiveEigenvalues(axes);
  found.claim('three', 'noise along three of six axes has three effective eigenvalues', Math.abs(three - 3), 0);
  found.number('ajneOfRandom', (await ajneStatistic(even)).statistic);
  found.number('directions', count);
}

async function run(found: Findings, budget: Budget = full): Promise<void> {
  await known(found);
  await begin();
  const every = Math.max(1, Math.round(budget.steps / often));
  const courses = new Map<string, { step: number; runs: Measures[] }[]>();
  for (const [name, given] of Object.entries(methods)) {
    const course = new Map<number, Measures[]>();
    for (const seed of budget.seeds.slice(0, 3))
      await live(
        { steps: budget.steps, lr, ...given, seed },
        {
          every,
          tell: (step, measures) => course.set(step, [...(course.get(step) ?? []), measures]),
        },
      );
    courses.set(
      name,
      [...course].map(([step, runs]) => ({ step, runs })),
    );
  }
  const seeds = Math.min(3, budget.seeds.length);
  found.say(
    `${budget.steps} steps in the small world at learning rate ${lr}, ${seeds} seeds, 400 pictures that were not trained on; mean ± standard deviation.`,
  );
  found.number('steps', budget.steps);
  found.number('seeds', seeds);
  const header = ['method', 'step', 'alignment', 'uniformity', 'Ajne', 'eigenvalues', 'retrieval, %'];
  const row = (name: string, { step, runs }: { step: number; runs: Measures[] }) => [
    name,
    String(step),
    ...['alignment', 'uniformity', 'ajne', 'eigenvalues'].map((id) => spread(runs, id)),
    spread(runs, 'mrr', 100),
  ];
  const ends = [...courses].flatMap(([name, course]) => [row(name, course[0]!), row(name, course.at(-1)!)]);
  found.table('ends', 'At the beginning and at the end.', header, ends);
  for (const [id, label, what] of [
    [
      'ajne',
      'Ajne’s statistic of pictures',
      'Ajne’s statistic over the steps, a curve for each method, on a logarithmic scale',
    ],
    ['alignment', 'mean squared distance of partners', 'alignment over the steps, a curve for each method'],
    ['eigenvalues', 'effective eigenvalues', 'number of effective eigenvalues over the steps, a curve for each method'],
  ] as const)
    found.figure(
      id,
      `${what[0]!.toUpperCase()}${what.slice(1)}.`,
      curves(
        [...courses].map(([name, course]) => ({
          label: name,
          points: course.map(
            ({ step, runs }) => [step, runs.reduce((sum, own) => sum + own[id]!, 0) / runs.length] as const,
          ),
        })),
        { height: 300, x: { label: 'step' }, y: { label, ...(id === 'ajne' && { type: 'log' as const }) } },
      ),
    );
}

export const geometry: Chapter = {
  name: 'geometry',
  title: 'Alignment, uniformity and eigenvalues during training',
  run,
};
