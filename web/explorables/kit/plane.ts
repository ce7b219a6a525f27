/** A square of the plane in SVG, and points in it that can be dragged or moved by arrow keys. */
import { h, shown, svg } from './dom.js';

export type Point = [x: number, y: number];

export interface Plane {
  /** What goes into the page. */
  element: HTMLElement;
  /** Where shapes are drawn, in coordinates of the plane with y upwards; later ones lie above. */
  layer: SVGGElement;
  /** Beneath all shapes, stretched over the square. */
  ground: HTMLCanvasElement;
  /** From an event of a pointer to coordinates of the plane. */
  at(event: PointerEvent): Point;
}

/** @param reach the plane shows −reach … reach in both directions */
export function plane(label: string, reach: number): Plane {
  const layer = svg('g', { transform: 'scale(1 -1)' });
  const box = `${-reach} ${-reach} ${2 * reach} ${2 * reach}`;
  const picture = svg('svg', { viewBox: box, role: 'group', 'aria-label': label }, layer);
  const ground = h('canvas', { 'aria-hidden': 'true' });
  const at = (event: PointerEvent): Point => {
    const { left, top, width, height } = picture.getBoundingClientRect();
    const clamp = (value: number) => Math.min(reach, Math.max(-reach, value));
    const x = clamp(((event.clientX - left) / width) * 2 * reach - reach);
    return [x, clamp(reach - ((event.clientY - top) / height) * 2 * reach)];
  };
  return { element: h('div', { class: 'plane' }, ground, picture), layer, ground, at };
}

export interface HandleOptions {
  label: string;
  colour: string;
  radius: number;
  /** Told where the visitor moves it; the owner of the state decides. */
  move(to: Point): void;
  /** How far an arrow key goes; with shift five times as far. */
  step?: number;
}

/** A point to drag. @returns a function that puts it somewhere */
export function handle({ layer, at, element }: Plane, options: HandleOptions): (to: Point) => void {
  const { label, colour, radius, move, step = 0.05 } = options;
  let here: Point = [0, 0];
  const dot = svg('circle', { r: radius, fill: colour, class: 'dot' });
  const grip = svg(
    'g',
    { class: 'handle', tabindex: 0, role: 'slider', 'aria-label': label, 'aria-valuemin': -2, 'aria-valuemax': 2 },
    svg('circle', { r: radius * 2.4, class: 'reach' }),
    dot,
  );
  grip.addEventListener('keydown', (event) => {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!way) return;
    event.preventDefault();
    const far = step * (event.shiftKey ? 5 : 1);
    move([here[0] + way[0]! * far, here[1] + way[1]! * far]);
  });
  // A press anywhere in the square takes the point there, so that no finger has to find it.
  element.addEventListener('pointerdown', (event) => {
    event.preventDefault();
    grip.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    move(at(event));
  });
  element.addEventListener('pointermove', (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(at(event));
  });
  layer.append(grip);
  return (to) => {
    here = to;
    grip.setAttribute('transform', `translate(${to[0]} ${to[1]})`);
    grip.setAttribute('aria-valuenow', to[0].toFixed(3));
    grip.setAttribute('aria-valuetext', `x ${shown(to[0], 2)}, y ${shown(to[1], 2)}`);
  };
}

/** An arrow as a path with a head; nothing where it would be shorter than a hair. */
export function arrowPath([x, y]: Point, [toX, toY]: Point, head = 0.07): string {
  const length = Math.hypot(toX - x, toY - y);
  if (length < 1e-3) return '';
  const [dx, dy] = [(toX - x) / length, (toY - y) / length];
  const size = Math.min(head, length);
  const [baseX, baseY] = [toX - dx * size, toY - dy * size];
  const side = (sign: number) => `${baseX - sign * dy * size * 0.5} ${baseY + sign * dx * size * 0.5}`;
  return `M${x} ${y}L${baseX} ${baseY}M${toX} ${toY}L${side(1)}L${side(-1)}Z`;
}
