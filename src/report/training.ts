/** The curves of training, and what validation and evaluation came to. */
import { wilsonInterval } from '../evaluate/wilson.js';
import { type Chart, figure, type Series } from './chart.js';
import { type Content, type Html, html, percent, shown, table } from './html.js';
import type { LogColumn, RunData } from './run-data.js';

/** The name of a run, where there are several: a series of one needs none. */
const named = (runs: readonly RunData[], run: RunData, what: string) =>
  runs.length > 1 ? `${run.name}${what && `, ${what}`}` : what || run.name;

const columns = (runs: readonly RunData[], of: readonly (readonly [LogColumn, string])[]): Series[] =>
  runs.flatMap((run, i) =>
    of.map(([key, what], k) => ({
      label: named(runs, run, what),
      run: of.length > 1 && runs.length === 1 ? k : i,
      dashed: k > 0,
      ...run.curves[key],
    })),
  );

/** Loss, learning rate and gradient norm, then saturation and memories, over the steps. */
export function trainingSection(runs: readonly RunData[], charts: Chart[]): Html {
  const chart = (title: string, of: [LogColumn, string][], more: Partial<Chart> = {}, note: Content = '') =>
    figure({ title, x: 'step', y: '', series: columns(runs, of), ...more }, charts, note);
  return html`<section id="training"><h2>Training</h2><div class="charts">
${chart('Loss', [['loss', '']])}
${chart('Learning rate', [['lr', '']])}
${chart('Gradient norm', [['gradNorm', '']], { log: true }, 'Of all gradients together, before clipping; logarithmic.')}
${runs.some(({ record }) => record.options.learnableInvTau) ? chart('Inverse temperature τ⁻¹', [['invTau', '']]) : ''}
</div></section>
<section id="saturation"><h2>Saturation and memories</h2><div class="charts">
${chart(
  'Saturation p₁',
  [
    ['imageP1', 'pictures'],
    ['textP1', 'captions'],
  ],
  {},
  'Mean probability that a softmax over the batch gives the partner. At 1 InfoNCE has nothing left to learn.',
)}
${chart(
  'Effective patterns of the retrieval',
  [
    ['imagePatterns', 'memory of pictures'],
    ['textPatterns', 'memory of captions'],
  ],
  {},
  'exp of the entropy of the memory’s weights: 1 is a single pattern, the batch size is the mean of all. Only of steps in which memories take part.',
)}
${chart('Cosines in the batch', [
  ['pairSimilarity', 'partners'],
  ['otherSimilarity', 'others'],
])}
</div></section>`;
}

/** Retrieval over the validations, and the table of the last evaluation, with intervals. */
export function retrievalSection(runs: readonly RunData[], charts: Chart[]): Html {
  const validated = runs.filter(({ validations }) => validations.length > 0);
  const series = runs.flatMap((run, i) =>
    (
      [
        ['recallAt1', 'recall@1'],
        ['meanRecall', 'mean recall'],
      ] as const
    ).map(([key, what], k) => ({
      label: named(runs, run, what),
      run: runs.length === 1 ? k : i,
      dashed: k > 0,
      x: run.validations.map(({ step }) => step),
      y: run.validations.map((row) => (row[key] === null ? null : 100 * row[key])),
    })),
  );
  const loss = runs.map((run, i) => ({
    label: run.name,
    run: i,
    x: run.validations.map(({ step }) => step),
    y: run.validations.map((row) => row.loss),
  }));
  const without = runs.filter((run) => !validated.includes(run)).map(({ name }) => name);
  return html`<section id="retrieval"><h2>Retrieval</h2>
${
  without.length > 0
    ? html`<p class="note">Not validated during training: ${without.join(', ')}. (<code>--val-data</code>, or <code>--validation</code> for the emoji.)</p>`
    : ''
}
${
  validated.length > 0
    ? html`<div class="charts">${figure(
        { title: 'Retrieval over time', x: 'step', y: '%', series },
        charts,
        'Recall at 1, and the mean of recall at 1, 5 and 10, both ways, on the data to validate on.',
      )}
${figure({ title: 'Validation loss', x: 'step', y: '', series: loss }, charts)}</div>`
    : ''
}
${recallTable(runs)}</section>`;
}

/** "12.3 (10.1–14.8)" */
export function withInterval(share: number | null | undefined, count: number | null): string {
  if (share === null || share === undefined || !count) return percent(share);
  const [from, to] = wilsonInterval(share, count);
  return `${percent(share)} (${percent(from)}–${percent(to)})`;
}

function recallTable(runs: readonly RunData[]): Html {
  const rows = (baselines: boolean) =>
    runs.flatMap((run) =>
      run.retrieval
        .filter(({ by }) => (by === 'embeddings') !== baselines)
        .map((own) => [
          run.name,
          own.set,
          own.way,
          own.by,
          own.count,
          ...[1, 5, 10].map((k) => withInterval(own.recall[k], own.count)),
          shown(own.medianRank),
        ]),
    );
  const head = ['run', 'set', 'search', 'by', 'queries', 'recall@1', 'recall@5', 'recall@10', 'median rank'];
  const [own, others] = [rows(false), rows(true)];
  if (own.length === 0)
    return html`<p class="note">Not evaluated: the training is not complete, or there was nothing to evaluate on.</p>`;
  return html`${table('Retrieval at the end, recall in %, with 95 % intervals (Wilson)', head, own, { numbers: 4 })}
${
  others.length > 0
    ? html`<details><summary>Without the text encoder: by the neighbours in the training data</summary>${table(
        'Answers of the most similar training pictures, recall in %',
        head,
        others,
        { numbers: 4 },
      )}</details>`
    : ''
}`;
}

/** Accuracy of naming classes, with intervals. */
export function zeroShotSection(runs: readonly RunData[]): Html {
  const rows = runs.flatMap((run) =>
    run.zeroShot.map(({ set, pictures, classes, accuracy }) => [
      run.name,
      set,
      pictures ?? '–',
      classes ?? '–',
      ...[1, 5].map((k) => withInterval(accuracy[k], pictures)),
      classes ? percent(1 / classes) : '–',
    ]),
  );
  if (rows.length === 0)
    return html`<section id="zero-shot"><h2>Zero-shot classification</h2><p class="note">Not measured: there were no pictures with classes (<code>--zero-shot-data</code>).</p></section>`;
  return html`<section id="zero-shot"><h2>Zero-shot classification</h2>
${table(
  'Accuracy in %, with 95 % intervals (Wilson)',
  ['run', 'set', 'pictures', 'classes', 'top-1', 'top-5', 'chance'],
  rows,
  { numbers: 2 },
)}</section>`;
}
