/**
 * The figures of an experiment as SVG: a line a method or difference, its seeds as dots, its mean with Student's interval. By hand: it is
 * one form, while a plotting library brings thirty packages into every installation.
 */
import { meanInterval } from '../evaluate/student.js';
import type { Cell } from './plan.js';
import { cellText, differences, type Results, summaries } from './results.js';
import { shown } from './tables.js';

/** One line of a figure. */
export interface Row {
  label: string;
  /** Of each seed. */
  values: readonly number[];
}

const [width, lineHeight, gap] = [640, 24, 12];

/** Round numbers from `low` to `high`, about six. */
export function ticks(low: number, high: number): number[] {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough)!;
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
const round = (x: number) => String(Number(x.toFixed(1)));

/**
 * Rows beside each other on one scale.
 * @param alt  what the figure shows, for those who do not see it
 * @param zero draw the line at 0, which is then on the scale
 */
export function intervalFigure(
  rows: readonly Row[],
  { title, alt, zero = false }: { title: string; alt: string; zero?: boolean },
) {
  const intervals = rows.map(({ values }) => (values.length > 0 ? meanInterval(values) : null));
  // What is one seed's interval of ± anything would hide the others: two seeds have dots alone.
  const half = (i: number) => (intervals[i] && intervals[i].count > 2 ? intervals[i].half! : 0);
  const all = rows.flatMap(({ values }, i) => [
    ...values,
    ...(intervals[i] ? [intervals[i].mean - half(i), intervals[i].mean + half(i)] : []),
  ]);
  const [least, most] = [Math.min(...all, ...(zero ? [0] : [])), Math.max(...all, ...(zero ? [0] : []))];
  const pad = (most - least || Math.abs(most) || 1) * 0.05;
  const [low, high] = [least - pad, most + pad];
  const left = 24 + 7 * Math.max(...rows.map(({ label }) => label.length));
  const [top, bottom] = [34, 34 + rows.length * lineHeight];
  const x = (value: number) => round(left + ((value - low) / (high - low)) * (width - left - 20));
  const parts: string[] = [];
  for (const tick of ticks(low, high))
    parts.push(
      `<line x1="${x(tick)}" x2="${x(tick)}" y1="${top}" y2="${bottom}" class="grid"/>`,
      `<text x="${x(tick)}" y="${bottom + 16}" text-anchor="middle">${tick}</text>`,
    );
  if (zero) parts.push(`<line x1="${x(0)}" x2="${x(0)}" y1="${top}" y2="${bottom}" class="zero"/>`);
  rows.forEach(({ label, values }, i) => {
    const y = top + (i + 0.5) * lineHeight;
    parts.push(`<text x="${left - gap}" y="${y + 4}" text-anchor="end">${escaped(label)}</text>`);
    for (const value of values) parts.push(`<circle cx="${x(value)}" cy="${y}" r="3" class="seed"/>`);
    const found = intervals[i];
    if (!found) return;
    if (half(i) > 0)
      parts.push(
        `<line x1="${x(found.mean - half(i))}" x2="${x(found.mean + half(i))}" y1="${y}" y2="${y}" class="half"/>`,
      );
    parts.push(`<line x1="${x(found.mean)}" x2="${x(found.mean)}" y1="${y - 8}" y2="${y + 8}" class="mean"/>`);
  });
  const style =
    'svg{font:13px system-ui,sans-serif;color:#22262c}text{fill:currentColor}.grid{stroke:currentColor;opacity:.15}' +
    '.zero{stroke:currentColor;opacity:.6}.seed{fill:#2a78c8;opacity:.55}.half{stroke:#2a78c8;stroke-width:2}.mean{stroke:#2a78c8;stroke-width:3}' +
    '@media(prefers-color-scheme:dark){svg{color:#e4e7eb}}';
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${bottom + 28}" width="${width}" role="img" aria-label="${escaped(alt)}">`,
    `<style>${style}</style>`,
    `<text x="${left}" y="18" font-weight="600">${escaped(title)}</text>`,
    ...parts,
    '</svg>\n',
  ].join('\n');
}

function differenceLabel({ methods }: Results, a: Cell, b: Cell): string {
  if (methods.length === 1) return `${cellText(a)} − ${cellText(b)}`;
  return `${a.setting ? `${a.setting}: ` : ''}${a.method} − ${b.method}`;
}

const fileName = (...parts: string[]) => `${parts.join('-').replace(/[^A-Za-z0-9]+/g, '-')}.svg`;
const note = 'Dots: seeds; bar: mean; line: 95 % interval of the mean.';

/** The figures of an experiment by file name: means, and paired differences, of every metric. */
export function resultFigures(results: Results): Map<string, string> {
  const figures = new Map<string, string>();
  const all = summaries(results);
  for (const metric of results.metrics) {
    const { scale, title } = shown(metric);
    const rows = all.map((cell) => ({
      label: cellText(cell) || 'all',
      values: cell.numbers[metric]!.flatMap(({ value }) => (value === null ? [] : [value * scale])),
    }));
    if (rows.some(({ values }) => values.length > 0))
      figures.set(fileName(metric), intervalFigure(rows, { title, alt: `${title} of each method. ${note}` }));
    const compared = differences(results)
      .filter((one) => one.metric === metric && one.pairs.length > 0)
      .map(({ a, b, pairs }) => ({
        label: differenceLabel(results, a, b),
        values: pairs.map((value) => value * scale),
      }));
    if (compared.length > 0)
      figures.set(
        fileName(metric, 'differences'),
        intervalFigure(compared, {
          title: `${title}, difference`,
          alt: `Paired differences in ${title}. ${note}`,
          zero: true,
        }),
      );
  }
  return figures;
}
