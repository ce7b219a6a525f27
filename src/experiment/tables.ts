/** Results of an experiment in Markdown. */
import type { MeanInterval } from '../evaluate/student.js';
import { type Cell, valuesText } from './plan.js';
import { cellText, differences, type Results, type RunResult, summaries } from './results.js';

/** Numbers that are shares are shown in per cent. */
const isShare = (metric: string) => /recall|zeroShot|accuracy|probe/i.test(metric) && !/rank/i.test(metric);

/** What multiplies a metric when it is shown, and what it is called then. */
export const shown = (metric: string) =>
  isShare(metric) ? { scale: 100, title: `${metric} %` } : { scale: 1, title: metric };

const text = (value: number, scale: number) => {
  const scaled = value * scale;
  return scale === 100 ? scaled.toFixed(1) : String(Number(scaled.toPrecision(4)));
};
const signed = (value: number, scale: number) => `${value < 0 ? '−' : '+'}${text(Math.abs(value), scale)}`;

function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const safe = [header, ...rows].map((row) => row.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')));
  const widths = header.map((_, column) => Math.max(3, ...safe.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return [
    line(safe[0]!),
    `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`,
    ...safe.slice(1).map(line),
  ].join('\n');
}

const heads = ({ methods, settings }: Results) => [
  ...(methods.length > 1 || settings.length === 1 ? ['method'] : []),
  ...(settings.length > 1 ? ['setting'] : []),
];
const headCells = (results: Results, { method, setting }: Cell) =>
  heads(results).map((head) => (head === 'method' ? method || 'all' : setting));

function meansTable(results: Results): string {
  const { metrics, runs } = results;
  const titles = metrics.map((metric) => shown(metric).title);
  const rows = summaries(results).map((summary) => {
    const finished = runs.filter(
      (run) =>
        run.stage === 'main' &&
        run.method === summary.method &&
        run.setting === summary.setting &&
        run.outcome.status === 'finished',
    );
    const cells = metrics.map((metric) => {
      const found = summary.intervals[metric];
      const { scale } = shown(metric);
      if (!found) return '';
      return `${text(found.mean, scale)}${found.sd === null ? '' : ` ± ${text(found.sd, scale)}`}`;
    });
    return [...headCells(results, summary), `${finished.length} of ${summary.runs}`, ...cells];
  });
  return table([...heads(results), 'runs', ...titles], rows);
}

function differenceText({ count, mean, half }: MeanInterval, scale: number): string {
  if (half === null) return `${signed(mean, scale)} (one seed)`;
  const apart = Math.abs(mean) > half ? '**' : '';
  return `${apart}${signed(mean, scale)}${apart} [${signed(mean - half, scale)}, ${signed(mean + half, scale)}], n ${count}`;
}

function differencesTable(results: Results): string | null {
  const { metrics } = results;
  const rows = new Map<string, string[]>();
  for (const { a, b, metric, interval } of differences(results)) {
    const inSetting = results.methods.length > 1 && results.settings.length > 1;
    const key = JSON.stringify([a, b]);
    const head =
      results.methods.length > 1
        ? [...(inSetting ? [a.setting] : []), `${a.method} − ${b.method}`]
        : [`${cellText(a)} − ${cellText(b)}`];
    const row = rows.get(key) ?? head;
    row.push(interval ? differenceText(interval, shown(metric).scale) : '');
    rows.set(key, row);
  }
  if (rows.size === 0) return null;
  const inSetting = results.methods.length > 1 && results.settings.length > 1;
  return table(
    [...(inSetting ? ['setting'] : []), 'difference', ...metrics.map((metric) => shown(metric).title)],
    [...rows.values()],
  );
}

function tuningTable(results: Results): string | null {
  const { tuning } = results;
  if (!tuning || tuning.choices.length === 0) return null;
  const { scale, title } = shown(tuning.metric);
  const rows = tuning.choices.map((choice) => [
    ...headCells(results, choice),
    valuesText(choice.chosen) + (choice.atEdge.length > 0 ? ` (at the edge of ${choice.atEdge.join(', ')})` : ''),
    choice.candidates
      .map(({ values, mean }) => `${valuesText(values)}: ${mean === null ? 'diverged' : text(mean, scale)}`)
      .join('; '),
  ]);
  return table([...heads(results), 'chosen', `${title} on validation, by candidate`], rows);
}

const isMissing = ({ outcome }: RunResult) => outcome.status !== 'finished';

/** All of it as a page of Markdown. */
export function resultsText(results: Results): string {
  const { runs, title, seeds } = results;
  const main = runs.filter(({ stage }) => stage === 'main');
  const missing = runs.filter(isMissing);
  const parts = [
    `# ${title}`,
    `${main.filter((run) => !isMissing(run)).length} of ${main.length} runs are finished; seeds ${seeds.join(', ')}. Mean ± standard deviation (n − 1) over seeds:`,
    meansTable(results),
  ];
  const compared = differencesTable(results);
  if (compared)
    parts.push(
      'Paired differences over the seeds that both have, with Student’s 95 % intervals, bold where these leave out 0. Intervals are not corrected for how many there are: of twenty true zeros one is bold.',
      compared,
    );
  const tuned = tuningTable(results);
  if (tuned) parts.push('Chosen by validation, the same candidates for all:', tuned);
  if (missing.length > 0)
    parts.push(
      'Runs without a result:',
      missing
        .map(({ name, outcome }) => `- ${name}: ${outcome.status}${'reason' in outcome ? `, ${outcome.reason}` : ''}`)
        .join('\n'),
    );
  return `${parts.join('\n\n')}\n`;
}
