/** Curves in SVG with axes, for a few hundred points; drawn anew whenever something changes. */
import { svg } from './dom.js';

export interface Curve {
  label: string;
  /** A colour of CSS. */
  colour: string;
  points: readonly (readonly [x: number, y: number])[];
  dashed?: boolean;
  /** Only its points, as dots. */
  dots?: boolean;
}

export interface Chart {
  label: string;
  x: { title: string; min: number; max: number };
  y: { title: string; min: number; max: number };
  curves: readonly Curve[];
  /** A vertical line where the visitor is. */
  mark?: number;
}

const [width, height, left, right, top, bottom] = [360, 220, 46, 10, 22, 38];

/** Round numbers between two values, about five. */
export function ticks(min: number, max: number): number[] {
  const raw = (max - min) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((value) => value >= raw * 0.999)!;
  const first = Math.ceil(min / step - 1e-9);
  return Array.from({ length: Math.floor(max / step + 1e-9) - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(10)),
  );
}

/** The chart as an element; its label says what it shows to those who do not see it. */
export function chart({ label, x, y, curves, mark }: Chart): SVGSVGElement {
  const toX = (value: number) => left + ((value - x.min) / (x.max - x.min)) * (width - left - right);
  const toY = (value: number) => height - bottom - ((value - y.min) / (y.max - y.min)) * (height - top - bottom);
  const inside = (value: number) => Math.min(y.max + (y.max - y.min), Math.max(y.min - (y.max - y.min), value));
  const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label, class: 'chart' });
  const clip = `clip-${label.replace(/\W+/g, '-')}`;
  const frame = { x: left, y: top, width: width - left - right, height: height - top - bottom };
  picture.append(svg('clipPath', { id: clip }, svg('rect', frame)));
  for (const value of ticks(x.min, x.max))
    picture.append(
      svg('line', { x1: toX(value), x2: toX(value), y1: top, y2: height - bottom, class: 'grid' }),
      svg('text', { x: toX(value), y: height - bottom + 13, 'text-anchor': 'middle' }, String(value)),
    );
  for (const value of ticks(y.min, y.max))
    picture.append(
      svg('line', { x1: left, x2: width - right, y1: toY(value), y2: toY(value), class: 'grid' }),
      svg('text', { x: left - 5, y: toY(value) + 3.5, 'text-anchor': 'end' }, String(value)),
    );
  picture.append(
    svg('text', { x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle', class: 'axis' }, x.title),
    svg('text', { x: 4, y: 12, class: 'axis' }, y.title),
  );
  if (mark !== undefined)
    picture.append(svg('line', { x1: toX(mark), x2: toX(mark), y1: top, y2: height - bottom, class: 'mark' }));
  const lines = svg('g', { 'clip-path': `url(#${clip})` });
  for (const { points, colour, dashed, dots } of curves) {
    const finite = points.filter(([, value]) => Number.isFinite(value));
    if (dots)
      for (const [a, b] of finite)
        lines.append(svg('circle', { cx: toX(a), cy: toY(inside(b)), r: 2.2, fill: colour }));
    else
      lines.append(
        svg('polyline', {
          points: finite.map(([a, b]) => `${toX(a).toFixed(1)},${toY(inside(b)).toFixed(1)}`).join(' '),
          stroke: colour,
          class: dashed ? 'curve dashed' : 'curve',
        }),
      );
  }
  picture.append(lines);
  return picture;
}

/** The curves' names beside their colours. */
export function legend(curves: readonly Pick<Curve, 'label' | 'colour' | 'dashed'>[]): HTMLElement {
  const list = document.createElement('ul');
  list.className = 'legend';
  for (const { label, colour, dashed } of curves) {
    const item = document.createElement('li');
    const sign = document.createElement('span');
    sign.style.borderTop = `3px ${dashed ? 'dashed' : 'solid'} ${colour}`;
    item.append(sign, label);
    list.append(item);
  }
  return list;
}
