/**
 * What leads when: InfoNCE or InfoLOOB, with Hopfield memories or without, centred or not, in a world where attributes occur together and in its
 * twin where they do not. Every method has the same data, the same first weights and as many steps; its learning rate is chosen for it.
 */
import * as Plot from '@observablehq/plot';
import { colours } from './figure.js';
import type { Chapter, Findings } from './record.js';
import { type Budget, begin, chosenRate, contrast, full, type Given, meanOf, spread, trials } from './trials.js';
import type { Measures } from './world.js';

const losses = {
  InfoNCE: { loss: 'infonce', invTau: 14.3, learnInvTau: true },
  InfoLOOB: { loss: 'infoloob' },
} as const;

interface Method {
  name: string;
  given: Given;
}

/** The eight methods: loss × memories × centring. */
const methods: Method[] = [false, true].flatMap((center) =>
  Object.entries(losses).flatMap(([loss, own]) =>
    [false, true].map((memories) => ({
      name: `${loss}${memories ? ' + memories' : ''}${center ? ', centred' : ''}`,
      given: { ...own, memories, center },
    })),
  ),
);
const worlds = { together: true, independent: false };
type World = keyof typeof worlds;

/** In percent, but for the statistic of uniformity. */
const measures = [
  { id: 'mrr', title: 'retrieval', scale: 100 },
  { id: 'probe', title: 'probe', scale: 100 },
  { id: 'zeroShot', title: 'zero-shot', scale: 100 },
  { id: 'ajne', title: 'Ajne', scale: 1 },
  { id: 'eigenvalues', title: 'eigenvalues', scale: 1 },
];

/** Main effects of a 2 × 2 table and their interaction, for embeddings that are centred or not. */
const effects = (center: boolean) => {
  const of = (loss: string, memories: boolean) => `${loss}${memories ? ' + memories' : ''}${center ? ', centred' : ''}`;
  const [nce, nceH, loob, loobH] = [
    of('InfoNCE', false),
    of('InfoNCE', true),
    of('InfoLOOB', false),
    of('InfoLOOB', true),
  ];
  return [
    {
      name: 'InfoLOOB for InfoNCE, without memories',
      parts: [
        [1, loob],
        [-1, nce],
      ],
    },
    {
      name: 'InfoLOOB for InfoNCE, with memories',
      parts: [
        [1, loobH],
        [-1, nceH],
      ],
    },
    {
      name: 'memories, in InfoNCE',
      parts: [
        [1, nceH],
        [-1, nce],
      ],
    },
    {
      name: 'memories, in InfoLOOB',
      parts: [
        [1, loobH],
        [-1, loob],
      ],
    },
    {
      name: 'interaction: how much more memories bring InfoLOOB',
      parts: [
        [1, loobH],
        [-1, loob],
        [-1, nceH],
        [1, nce],
      ],
    },
  ] as { name: string; parts: [number, string][] }[];
};

async function run(found: Findings, budget: Budget = full): Promise<void> {
  await begin();
  found.say(
    `${budget.steps} steps, ${budget.seeds.length} seeds; the learning rate of each method is the best of ${budget.rates.join(', ')} on a seed of its own, in each world. Mean ± standard deviation; retrieval is the mean reciprocal rank of partners among 400 things, probe and zero-shot are areas under the curve of attributes that captions seldom name, all in %.`,
  );
  found.number('steps', budget.steps);
  found.number('seeds', budget.seeds.length);
  const results = { together: new Map(), independent: new Map() } as Record<World, Map<string, Measures[]>>;
  for (const [world, correlated] of Object.entries(worlds) as [World, boolean][]) {
    const rows: string[][] = [];
    for (const { name, given } of methods) {
      const lr = await chosenRate({ ...given, correlated }, budget);
      const runs = await trials({ ...given, correlated, lr }, budget);
      results[world].set(name, runs);
      rows.push([name, lr.toExponential(0), ...measures.map(({ id, scale }) => spread(runs, id, scale))]);
    }
    const header = ['method', 'rate', ...measures.map(({ title }) => title)];
    const what = world === 'together' ? 'Attributes occur together.' : 'Attributes are independent of one another.';
    found.table(world, what, header, rows);
  }
  for (const center of [false, true]) {
    const rows = (Object.keys(worlds) as World[]).flatMap((world) =>
      effects(center).map(({ name, parts }) => {
        const runs = parts.map(([factor, method]) => [factor, results[world].get(method)!] as const);
        return [world, name, ...measures.slice(0, 3).map(({ id, scale }) => contrast(runs, id, scale))];
      }),
    );
    const caption = `Effects on ${center ? 'centred' : 'plain'} embeddings: paired differences in points, with Student’s 95 % intervals.`;
    found.table(
      center ? 'effectsCentred' : 'effects',
      caption,
      ['world', 'effect', 'retrieval', 'probe', 'zero-shot'],
      rows,
    );
  }
  for (const [id, of, over] of [
    ['publishedProbe', 'InfoLOOB + memories', 'InfoNCE'],
    ['centredProbe', 'InfoLOOB + memories, centred', 'InfoNCE, centred'],
  ] as const)
    for (const world of Object.keys(worlds) as World[])
      found.number(
        `${id}-${world}`,
        contrast(
          [
            [1, results[world].get(of)!],
            [-1, results[world].get(over)!],
          ],
          'probe',
          100,
        ),
      );
  found.figure(
    'retrieval',
    'Mean reciprocal rank of each method in both worlds, a dot for each seed and a line at the mean.',
    dots(results, 'mrr', 'mean reciprocal rank, %'),
  );
  found.figure(
    'probe',
    'Linear probe of seldom-named attributes for each method in both worlds, a dot for each seed and a line at the mean.',
    dots(results, 'probe', 'area under the curve, %'),
  );
}

/** Every run a dot, methods below one another, worlds by colour. */
function dots(results: Record<World, Map<string, Measures[]>>, id: string, label: string): Plot.PlotOptions {
  const marks = (Object.keys(worlds) as World[]).flatMap((world, i) => {
    const stroke = colours[i]!;
    const all = [...results[world]].flatMap(([method, runs]) => runs.map((own) => ({ method, x: 100 * own[id]! })));
    const means = [...results[world]].map(([method, runs]) => ({ method, x: meanOf(runs, id, 100) }));
    const dy = i === 0 ? -5 : 5;
    return [
      Plot.dot(all, { x: 'x', y: 'method', stroke, r: 2.5, dy }),
      Plot.tickX(means, {
        x: 'x',
        y: 'method',
        stroke,
        strokeWidth: 2.5,
        insetTop: i === 0 ? 3 : 14,
        insetBottom: i === 0 ? 14 : 3,
      }),
    ];
  });
  const names = ['attributes occur together', 'attributes are independent'].map((text, i) =>
    Plot.text([text], {
      ...{ frameAnchor: i === 0 ? 'top-left' : 'top-right', dy: -18, fill: colours[i]!, fontWeight: 600 },
    }),
  );
  return {
    ...{ marginLeft: 214, marginRight: 30, inset: 8 },
    x: { label },
    y: { label: null, domain: methods.map(({ name }) => name) },
    marks: [...marks, ...names],
  };
}

export const leads: Chapter = {
  name: 'leads',
  title: 'What leads when: loss, memories and centring in two worlds',
  run,
};
