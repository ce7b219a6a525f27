/** Hopfield retrieval by hand: a query to drag, β to slide, each update to step through. */
import './style.css';
import { button, footer, predict, selection, slider } from '../kit/controls.js';
import { eachFrame, h, panel, shown, svg } from '../kit/dom.js';
import { begin } from '../kit/engine.js';
import { arrowPath, handle, type Point, plane } from '../kit/plane.js';
import { choice, number, State } from '../kit/state.js';
import { answer, landscape, patternsOf, type World } from './memory.js';

const reach = 1.25;
const cells = 60;
const most = 40;
const coordinate = (start: number) => number(start, { min: -reach, max: reach, step: 0.01 });

interface Values {
  x: number;
  y: number;
  beta: number;
  world: World;
  updates: number;
  guess: string;
}

/** Shades of the energy, with a line at every tenth of its range. */
function paint(canvas: HTMLCanvasElement, energies: Float32Array, dark: boolean): void {
  canvas.width = canvas.height = cells;
  const [least, largest] = [Math.min(...energies), Math.max(...energies)];
  const image = new ImageData(cells, cells);
  energies.forEach((energy, i) => {
    const share = (energy - least) / (largest - least);
    // Each band a step darker: levels of equal energy show as edges.
    const level = Math.floor(Math.sqrt(share) * 14) / 14;
    const from = dark ? [38, 74, 110] : [176, 210, 240];
    const to = dark ? [20, 23, 27] : [255, 255, 255];
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = from[c]! + (to[c]! - from[c]!) * level;
    image.data[4 * i + 3] = 255;
  });
  canvas.getContext('2d')!.putImageData(image, 0, 0);
}

function build(): HTMLElement[] {
  const state = new State<Values>({
    x: coordinate(0.2),
    y: coordinate(0.75),
    beta: number(0.5, { min: 0.1, max: 40, step: 0.1 }),
    world: choice<World>('clusters', { clusters: 'three clusters', even: 'evenly spaced', pair: 'two close, one far' }),
    updates: number(0, { min: 0, max: most, step: 1 }),
    guess: choice<string>('', { '': '', mean: '', cluster: '', pattern: '', none: '' }),
  });
  const map = plane('Plane with the stored patterns on a circle and the query', reach);
  const shapes = svg('g');
  map.layer.append(svg('circle', { r: 1, class: 'circle' }), shapes);
  const place = handle(map, {
    label: 'Query ξ',
    colour: 'var(--two)',
    radius: 0.055,
    move: ([x, y]) => {
      const within = (value: number) => Math.min(reach, Math.max(-reach, value));
      state.set({ x: within(x), y: within(y), updates: 0 });
    },
  });
  const weights = h('ol', { class: 'weights' });
  const facts = h('dl', { class: 'facts' });
  const once = button('Update once', () => state.set({ updates: state.values.updates + 1 }), { 'data-do': 'once' });
  const rest = button('Until it rests', () => state.set({ updates: most }), { 'data-do': 'rest' });
  const back = button('Back to the query', () => state.set({ updates: 0 }), { 'data-do': 'back' });

  const dark = matchMedia('(prefers-color-scheme: dark)');
  let painted = '';
  const draw = eachFrame(() => {
    const { x, y, beta, world, updates } = state.values;
    const patterns = patternsOf(world);
    const now = answer([x, y], patterns, beta, updates);
    const key = `${world} ${beta} ${dark.matches}`;
    if (painted !== key) paint(map.ground, landscape(patterns, beta, cells, reach), dark.matches);
    painted = key;
    place([x, y]);
    const here = now.path.at(-1)!;
    const largest = Math.max(...now.weights);
    const reached = svg('polyline', { points: now.path.map((p) => p.join()).join(' '), class: 'path' });
    shapes.replaceChildren(
      ...patterns.map((p, i) =>
        svg('line', {
          ...{ x1: here[0], y1: here[1], x2: p[0], y2: p[1], class: 'pull' },
          'stroke-width': 0.06 * now.weights[i]!,
        }),
      ),
      reached,
      svg('path', { d: arrowPath(here, now.next), class: 'arrow' }),
      ...patterns.map((p) => svg('circle', { cx: p[0], cy: p[1], r: 0.045, class: 'pattern' })),
      ...now.path.slice(1).map((p) => svg('circle', { cx: p[0], cy: p[1], r: 0.03, class: 'step' })),
      ...patterns.map((p, i) => name(p, String(i + 1))),
    );
    weights.replaceChildren(
      ...now.weights.map((w) => {
        const bar = h('span', { class: w === largest ? 'bar-of most' : 'bar-of' });
        bar.style.width = `${100 * w}%`;
        return h('li', {}, h('span', { class: 'track' }, bar), h('span', { class: 'value' }, shown(w)));
      }),
    );
    const next = `(${shown(now.next[0])}, ${shown(now.next[1])})`;
    const entries: [string, string][] = [
      ['updates', String(updates)],
      ['state ξ', `(${shown(here[0])}, ${shown(here[1])})`],
      ['next ξ′', next],
      [
        'energy E(ξ)',
        now.energies
          .map((e) => shown(e))
          .filter((_, i, all) => i < 3 || i === all.length - 1)
          .join(now.energies.length > 4 ? ' … → ' : ' → '),
      ],
      ['patterns that answer', shown(now.effective, 2)],
    ];
    facts.replaceChildren(...entries.flatMap(([term, value]) => [h('dt', {}, term), h('dd', {}, value)]));
    once.disabled = rest.disabled = updates >= most;
    back.disabled = updates === 0;
  });
  state.hear(draw);
  dark.addEventListener('change', draw);

  const answers = h(
    'div',
    { class: 'answers-of-memory' },
    facts,
    h('h4', {}, 'Weight of each pattern, softmax(β Xᵀξ)'),
    weights,
  );
  const question = predict(
    state,
    'guess',
    {
      question: 'At β = 0.5 the query is near pattern 3. Where does one update take it?',
      answers: {
        pattern: 'onto the nearest pattern',
        cluster: 'to the mean of the near cluster',
        mean: 'towards the mean of all',
      },
      right: 'mean',
      why: 'A small β weighs far patterns nearly as much as near ones, so the answer lies inside the circle, towards the mean of all. Slide β up: near 8 the mean of a cluster answers, near 40 one pattern.',
    },
    answers,
  );
  const left = panel(
    'The memory',
    map.element,
    h(
      'p',
      { class: 'hint' },
      'Press or drag anywhere, or move the query with the arrow keys. The bluer the ground, the lower the energy; the arrow is the next update, −∇E.',
    ),
  );
  const right = panel(
    'One update at a time',
    selection(state, 'world', 'Patterns'),
    slider(state, 'beta', { label: 'β, sharpness', digits: 1, logarithmic: true }),
    h('div', { class: 'bar' }, once, rest, back),
    answers,
  );
  left.classList.add('half');
  right.classList.add('half');
  return [question, left, right, footer(state)];
}

function name([x, y]: Point, text: string): SVGElement {
  const label = svg('text', { x: x * 1.12, y: -y * 1.12, transform: 'scale(1 -1)', class: 'name' });
  label.textContent = text;
  return label;
}

export function mount(element: HTMLElement): void {
  void begin(element, build);
}
