/** What a chart shows, drawn in the page by charts.ts, and the table behind it. */
import { type Content, type Html, html, shown, table } from './html.js';
import type { Curve } from './run-data.js';

export interface Series extends Curve {
  label: string;
  /** Number of the run: its colour. */
  run: number;
  /** Whether it is drawn with a broken line, to be told from the run's other series. */
  dashed?: boolean;
}

export interface Chart {
  title: string;
  /** What stands on the axes. */
  x: string;
  y: string;
  /** A logarithmic y axis: what is not positive is left out. */
  log?: boolean;
  /** Steps instead of lines: y holds from x on to the next. */
  stepped?: boolean;
  series: Series[];
}

/** Rows of a table behind a chart, at most. */
const mostRows = 24;

/** A figure with the table behind it; the chart is added to `charts`. Without one number it says so. */
export function figure(chart: Chart, charts: Chart[], note: Content = ''): Html {
  const positive = (y: number | null) => (chart.log && y !== null && !(y > 0) ? null : y);
  const known = chart.series
    .map((own) => ({ ...own, y: own.y.map(positive) }))
    .filter(({ y }) => y.some((value) => value !== null));
  if (known.length === 0)
    return html`<figure class="chart"><figcaption>${chart.title}</figcaption><p class="none">No numbers. ${note}</p></figure>`;
  charts.push({ ...chart, series: known });
  const title = `${chart.title}: ${summaryOf(known)}`;
  return html`<figure class="chart" data-chart="${charts.length - 1}"><figcaption>${chart.title}</figcaption>
<div class="plot" tabindex="0" role="group" aria-label="${title}"></div>
<p class="live" aria-live="polite"></p>
${note === '' ? '' : html`<p class="note">${note}</p>`}
<details><summary>Table: ${chart.title}</summary>${tableOf({ ...chart, series: known })}</details></figure>`;
}

/** "run, from 4.2 to 0.3; …" */
function summaryOf(series: readonly Series[]): string {
  return series
    .map(({ label, y }) => {
      const known = y.filter((value) => value !== null);
      return `${label} from ${shown(known[0], 3)} to ${shown(known.at(-1), 3)}`;
    })
    .join('; ');
}

function tableOf({ title, x, series }: Chart): Html {
  const all = [...new Set(series.flatMap((own) => own.x))].sort((a, b) => a - b);
  const rows = Math.min(mostRows, all.length);
  const picked = Array.from(
    { length: rows },
    (_, i) => all[Math.round((i * (all.length - 1)) / Math.max(1, rows - 1))]!,
  );
  const values = series.map((own) => new Map(own.x.map((at, i) => [at, own.y[i]!])));
  const caption = all.length > rows ? `${title}, ${rows} of ${all.length} points` : title;
  return table(
    caption,
    [x, ...series.map(({ label }) => label)],
    picked.map((at) => [shown(at, 7), ...values.map((own) => shown(own.get(at)))]),
  );
}

/** A histogram as a curve of shares; the last step is closed. */
export function histogramCurve({
  from,
  to,
  histogram,
  count,
}: {
  from: number;
  to: number;
  histogram: readonly number[];
  count: number;
}): Curve {
  const width = (to - from) / histogram.length;
  const x = Array.from({ length: histogram.length + 1 }, (_, i) => Number((from + i * width).toPrecision(6)));
  return { x, y: [...histogram.map((own) => own / Math.max(1, count)), 0] };
}
