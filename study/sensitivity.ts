/** How much of what CLOOB learns hangs on β, τ⁻¹ and the batch: maps and curves in the small world, centred, all at one learning rate. */
import * as Plot from '@observablehq/plot';
import { colours, curves } from './figure.js';
import type { Chapter, Findings } from './record.js';
import { type Budget, begin, full, type Given, meanOf, spread, trials } from './trials.js';

const betas = [1, 2, 4, 8, 16, 32];
const invTaus = [5, 15, 30, 60];
const batches = [16, 32, 64, 128, 256];
const lr = 3e-3;
const cloob: Given = { lr, center: true, loss: 'infoloob', memories: true };
const infoLoob: Given = { ...cloob, memories: false };

/** A trial of little is one of the corners. */
const of = <T>(list: readonly T[], { steps }: Budget) => (steps < full.steps ? [list[0]!, list.at(-1)!] : list);

async function run(found: Findings, budget: Budget = full): Promise<void> {
  await begin();
  const seeds = budget.seeds.slice(0, 3);
  const own = { ...budget, seeds };
  found.say(
    `${budget.steps} steps in the small world at learning rate ${lr}, centred, ${seeds.length} seeds, batch 128 where it is not varied; mean reciprocal rank of partners among 400 things, in %, ± standard deviation.`,
  );
  for (const [id, value] of Object.entries({ steps: budget.steps, seeds: seeds.length, rate: lr }))
    found.number(id, value);

  const cells: { beta: string; invTau: string; mrr: number }[] = [];
  const rows: string[][] = [];
  for (const beta of of(betas, budget)) {
    const row = [`β ${beta}`];
    for (const invTau of of(invTaus, budget)) {
      const runs = await trials({ ...cloob, beta, invTau }, own);
      row.push(spread(runs, 'mrr', 100));
      cells.push({ beta: `${beta}`, invTau: `${invTau}`, mrr: meanOf(runs, 'mrr', 100) });
    }
    rows.push(row);
  }
  const alone = ['no memories'];
  for (const invTau of of(invTaus, budget)) {
    const runs = await trials({ ...infoLoob, invTau }, own);
    alone.push(spread(runs, 'mrr', 100));
    cells.push({ beta: 'none', invTau: `${invTau}`, mrr: meanOf(runs, 'mrr', 100) });
  }
  rows.push(alone);
  const header = ['', ...of(invTaus, budget).map((invTau) => `τ⁻¹ ${invTau}`)];
  found.table('map', 'Retrieval by β and τ⁻¹.', header, rows);
  const best = (some: typeof cells) => some.reduce((a, b) => (b.mrr > a.mrr ? b : a));
  const withMemories = best(cells.filter(({ beta }) => beta !== 'none'));
  found.number('best', `β ${withMemories.beta}, τ⁻¹ ${withMemories.invTau}`);
  found.number('bestRank', withMemories.mrr);
  found.number('bestAlone', best(cells.filter(({ beta }) => beta === 'none')).mrr);
  found.figure(
    'map',
    'Retrieval of CLOOB by β and τ⁻¹ as a map of shades, with the numbers written in; the last row is InfoLOOB without memories.',
    {
      height: 300,
      marginLeft: 70,
      padding: 0.04,
      grid: false,
      x: { type: 'band', label: 'τ⁻¹', domain: of(invTaus, budget).map(String) },
      y: { type: 'band', label: 'β', domain: [...of(betas, budget).map(String), 'none'] },
      color: { type: 'linear', range: ['#dbe9f7', colours[0]!] },
      marks: [
        Plot.cell(cells, { x: 'invTau', y: 'beta', fill: 'mrr' }),
        Plot.text(cells, { x: 'invTau', y: 'beta', text: ({ mrr }) => mrr.toFixed(1), fill: '#111111' }),
      ],
    },
  );

  const points: Record<string, [number, number][]> = { CLOOB: [], InfoLOOB: [] };
  const byBatch: string[][] = [];
  for (const batch of of(batches, budget)) {
    // As many pairs seen by each: a small batch takes more steps.
    const steps = Math.round((budget.steps * 64) / batch);
    const [withThem, without] = [
      await trials({ ...cloob, batch, steps }, own),
      await trials({ ...infoLoob, batch, steps }, own),
    ];
    points.CLOOB!.push([batch, meanOf(withThem, 'mrr', 100)]);
    points.InfoLOOB!.push([batch, meanOf(without, 'mrr', 100)]);
    byBatch.push([String(batch), String(steps), spread(withThem, 'mrr', 100), spread(without, 'mrr', 100)]);
  }
  found.number('largest', of(batches, budget).at(-1)!);
  found.table(
    'batch',
    'Retrieval by batch size, as many pairs seen by each (β 8, τ⁻¹ 30).',
    ['batch', 'steps', 'CLOOB', 'InfoLOOB'],
    byBatch,
  );
  found.figure(
    'batch',
    'Retrieval against the batch size at an equal number of pairs, a curve for CLOOB and one for InfoLOOB.',
    curves(
      Object.entries(points).map(([label, of]) => ({ label, points: of })),
      {
        height: 280,
        x: { label: 'batch', type: 'log', base: 2, ticks: [...of(batches, budget)], tickFormat: String },
        y: { label: 'mean reciprocal rank, %' },
      },
    ),
  );
}

export const sensitivity: Chapter = {
  name: 'sensitivity',
  title: 'What hangs on β, τ⁻¹ and the batch',
  run,
};
