/**
 * Where memories help: InfoLOOB with memories less InfoLOOB without them in the small world, centred, when one thing about the data or the training is
 * changed. Each of the two has the learning rate that is best for it there.
 */
import * as Plot from '@observablehq/plot';
import { colours } from './figure.js';
import type { Chapter, Findings } from './record.js';
import {
  type Budget,
  begin,
  chosenRate,
  contrast,
  contrastInterval,
  full,
  type Given,
  type Parts,
  spread,
  trials,
} from './trials.js';
import type { Measures } from './world.js';

interface Condition {
  name: string;
  given: Given;
  /** Of those that memories alone have. */
  memory?: Given;
  /** How many times the steps of a chapter. */
  length?: number;
}

const conditions: Condition[] = [
  { name: 'as it is', given: {} },
  { name: 'captions name one attribute', given: { named: 0 } },
  { name: 'captions name half of all', given: { named: 0.5 } },
  { name: 'a quarter of the objects', given: { objects: 100 } },
  { name: 'ten times the objects', given: { objects: 4000 } },
  { name: 'three times the epochs', given: {}, length: 3 },
  { name: 'a quarter of the objects, three times the epochs', given: { objects: 100 }, length: 3 },
  { name: 'three times the epochs, ten restarts', given: { cycles: 10 }, length: 3 },
  { name: 'batches of 32, four times the steps', given: { batch: 32 }, length: 4 },
  { name: 'τ⁻¹ 5', given: { invTau: 5 } },
  { name: 'τ⁻¹ 5, β 16', given: { invTau: 5 }, memory: { beta: 16 } },
  { name: 'memories from half of the steps on', given: {}, memory: { memoriesFrom: 0.5 } },
  { name: 'memories for the last fifth', given: {}, memory: { memoriesFrom: 0.8 } },
];

const measures = { mrr: 'retrieval', probe: 'probe', zeroShot: 'zero-shot' } as const;

async function run(found: Findings, budget: Budget = full): Promise<void> {
  await begin();
  // Nobody chose a smaller one in the chapter on what leads, and half chose the largest.
  const rates = budget.rates.length > 1 ? [3e-3, 1e-2, 3e-2] : budget.rates;
  found.say(
    `InfoLOOB with memories and without, centred, β 8, τ⁻¹ 30, ${budget.steps} steps of 128 pairs of 400 objects where nothing else is said; ${budget.seeds.length} seeds, the learning rate of each the best of ${rates.join(', ')} on a seed of its own. All in %.`,
  );
  for (const [id, value] of Object.entries({ steps: budget.steps, seeds: budget.seeds.length }))
    found.number(id, value);
  found.number('intervals', 3 * conditions.length);
  const alone = new Map<string, Measures[]>();
  const rows: string[][] = [];
  const marks: { condition: string; measure: string; mean: number; low: number; high: number }[] = [];
  for (const { name, given, memory = {}, length = 1 } of conditions) {
    const own = { ...budget, steps: length * budget.steps, rates };
    const trained = async (method: Given) => trials({ ...method, lr: await chosenRate(method, own) }, own);
    const key = JSON.stringify([given, length]);
    const without = alone.get(key) ?? (await trained({ ...given, memories: false }));
    alone.set(key, without);
    const withThem = await trained({ ...given, ...memory });
    const ids = Object.keys(measures) as (keyof typeof measures)[];
    const less: Parts = [
      [1, withThem],
      [-1, without],
    ];
    rows.push([name, ...ids.flatMap((id) => [spread(without, id, 100), contrast(less, id, 100)])]);
    for (const id of ids) {
      const { mean, half } = contrastInterval(less, id, 100);
      marks.push({ condition: name, measure: measures[id], mean, low: mean - (half ?? 0), high: mean + (half ?? 0) });
    }
  }
  const titles = Object.values(measures).flatMap((title) => [`${title}, without`, 'with, less without']);
  found.table(
    'differences',
    'Without memories: mean ± standard deviation. With them, less that: paired, in points, with Student’s 95 % intervals.',
    ['what is changed', ...titles],
    rows,
  );
  const place = { y: 'condition', fx: 'measure' };
  found.figure(
    'differences',
    'What memories add in each condition, in points: a dot at the mean of the paired differences, a line for its interval, a grey line at nothing.',
    {
      ...{ width: 840, height: 90 + 22 * conditions.length, marginLeft: 330, inset: 6, marginBottom: 46 },
      x: { label: 'with memories less without, points' },
      y: { label: null, domain: conditions.map(({ name }) => name) },
      fx: { label: null, domain: Object.values(measures) },
      marks: [
        Plot.frame({ strokeOpacity: 0.3 }),
        Plot.ruleX([0], { stroke: '#888888' }),
        Plot.ruleY(marks, { x1: 'low', x2: 'high', ...place, stroke: colours[0]!, strokeWidth: 1.5 }),
        Plot.dot(marks, { x: 'mean', ...place, fill: colours[0]!, r: 3 }),
      ],
    },
  );
  const sides = (wanted: (mark: (typeof marks)[number]) => boolean) =>
    marks.filter(wanted).map(({ condition, measure }) => `${measure} (${condition})`);
  const above = sides(({ low }) => low > 0);
  const below = sides(({ high }) => high < 0);
  found.number('above', above.length);
  found.number('below', below.length);
  found.number('helped', above.join('; ') || 'none');
}

export const niches: Chapter = { name: 'niches', title: 'Where memories help', run };
