/** Figures as SVG texts: Observable Plot with one style, legible on light and on dark ground. */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

/** Distinct on both grounds and for the colour-blind (after Okabe and Ito). */
export const colours = ['#2a78c8', '#d55e00', '#009e73', '#b8729a', '#a98a00', '#6a6fb5', '#777777'];
const dashes = ['', '6 3', '2 3', '8 3 2 3', '1 4', '10 4', '4 4'];

export interface Curve {
  label: string;
  points: readonly (readonly [number, number])[];
}

/** What is drawn: Plot's own options, marks included. */
export type Drawing = Plot.PlotOptions;

const frame = { width: 640, height: 360, marginLeft: 56, marginBottom: 42, marginTop: 26, grid: true };
const apart = 16; // pixels between the names of two curves

function plot(options: Plot.PlotOptions) {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  return Plot.plot({ ...frame, ...options, document: document as unknown as Document });
}

/** Where names stand, in pixels from where they belong, so that none covers another. */
function pushedApart(wanted: readonly number[], lowest: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const places = [...wanted];
  for (const [k, i] of order.entries()) if (k > 0) places[i] = Math.max(places[i]!, places[order[k - 1]!]! + apart);
  let limit = lowest;
  for (const i of order.reverse()) {
    places[i] = Math.min(places[i]!, limit);
    limit = places[i]! - apart;
  }
  return places.map((place, i) => place - wanted[i]!);
}

/** Curves named at their right ends, each with a colour and dashes of its own. */
export function curves(list: readonly Curve[], options: Plot.PlotOptions, { dots = true } = {}): Drawing {
  const at = { x: (p: Curve['points'][number]) => p[0], y: (p: Curve['points'][number]) => p[1] };
  const lines = list.flatMap(({ points }, i) => {
    const stroke = colours[i % colours.length]!;
    const line = Plot.line(points, { ...at, stroke, strokeWidth: 2, strokeDasharray: dashes[i % dashes.length]! });
    return dots ? [line, Plot.dot(points, { ...at, fill: stroke, r: 2.5 })] : [line];
  });
  const marginRight = 18 + 7.2 * Math.max(...list.map(({ label }) => label.length));
  const whole = { marginRight, ...options, marks: [...lines, ...(options.marks ?? [])] };
  const ends = list.map(({ points }) => points.reduce((a, b) => (b[0] > a[0] ? b : a)));
  const { apply } = plot(whole).scale('y')!;
  const shifts = pushedApart(
    ends.map(([, y]) => apply(y)),
    (options.height ?? frame.height) - frame.marginBottom,
  );
  const names = list.map(({ label }, i) => {
    const fill = colours[i % colours.length]!;
    return Plot.text([ends[i]!], {
      ...at,
      text: () => label,
      ...{ textAnchor: 'start', dx: 7, dy: shifts[i]!, fill, fontWeight: 600 },
    });
  });
  return { ...whole, marks: [...whole.marks, ...names] };
}

/** @returns the drawing as the text of an SVG file, with coordinates rounded so that it is the same everywhere */
export function draw(drawing: Drawing, alt: string): string {
  const element = plot(drawing);
  element.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  element.setAttribute('role', 'img');
  element.setAttribute('aria-label', alt);
  const style = element.ownerDocument.createElement('style');
  style.textContent =
    'svg{color:#22262c;font:13px system-ui,sans-serif;background:none}@media (prefers-color-scheme:dark){svg{color:#e4e7eb}}';
  element.append(style);
  return `${element.toString().replace(/\d+\.\d{4,}/g, (digits) => String(Number(Number(digits).toFixed(2))))}\n`;
}
