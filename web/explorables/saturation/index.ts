/** Saturation: what InfoNCE and InfoLOOB still pull with while the positive is being found. */
import './style.css';
import { chart, legend } from '../kit/chart.js';
import { footer, predict, slider } from '../kit/controls.js';
import { eachFrame, h, panel, shown, svg } from '../kit/dom.js';
import { begin } from '../kit/engine.js';
import { arrowPath, handle, type Point, plane } from '../kit/plane.js';
import { choice, number, State } from '../kit/state.js';
import { negatives, pull } from './losses.js';

const [blue, orange] = ['var(--one)', 'var(--two)'];
const most = 512;

interface Values {
  cosine: number;
  n: number;
  invTau: number;
  guess: string;
}

const onCircle = (cosine: number, below = false): Point => [cosine, (below ? -1 : 1) * Math.sqrt(1 - cosine ** 2)];

function build(): HTMLElement[] {
  const state = new State<Values>({
    cosine: number(0.1, { min: -1, max: 1, step: 0.01 }),
    n: number(16, { min: 2, max: most, step: 1 }),
    invTau: number(14, { min: 1, max: 100, step: 0.5 }),
    guess: choice<string>('', { '': '', grows: '', stays: '', vanishes: '', none: '' }),
  });
  const all = negatives(most - 1);
  const map = plane('Unit circle: the anchor at the right, the positive to drag, the negatives', 1.35);
  const shapes = svg('g');
  map.layer.append(svg('circle', { r: 1, class: 'circle' }), shapes);
  const place = handle(map, {
    label: 'Positive, its cosine with the anchor',
    colour: 'var(--three)',
    radius: 0.06,
    move: ([x, y]) => state.set({ cosine: Math.round((100 * x) / (Math.hypot(x, y) || 1)) / 100 }),
  });
  const facts = h('dl', { class: 'facts' });
  const curves = h('div');
  const bars = h('div', { class: 'shares', role: 'img' });
  let drawn = '';

  const draw = eachFrame(() => {
    const { cosine, n, invTau } = state.values;
    const others = all.slice(0, n - 1);
    const now = pull(cosine, others, invTau);
    const positive = onCircle(cosine);
    place(positive);
    // An arrow as long as the radius is a pull of τ⁻¹.
    const force = (gradient: number, up: number): [Point, Point] => {
      const from: Point = [positive[0], positive[1] + up];
      return [from, [from[0] - gradient / invTau, from[1]]];
    };
    const label = svg(
      'text',
      { x: 0.93, y: 0.035, 'text-anchor': 'end', transform: 'scale(1 -1)', class: 'name' },
      'anchor',
    );
    shapes.replaceChildren(
      ...others.map((s, i) => {
        const [x, y] = onCircle(s, i % 2 === 1);
        return svg('circle', { cx: x, cy: y, r: 0.022, class: 'negative' });
      }),
      svg('circle', { cx: 1, cy: 0, r: 0.05, class: 'anchor' }),
      label,
      svg('path', { d: arrowPath(...force(now.loobGradient[0]!, 0.1)), class: 'force', stroke: orange, fill: orange }),
      svg('path', { d: arrowPath(...force(now.nceGradient[0]!, 0.18)), class: 'force', stroke: blue, fill: blue }),
    );
    const percent = (share: number) => `${shown(100 * share, 2)} %`;
    bars.setAttribute('aria-label', `p₁ ${percent(now.p)}, 1 − p₁ ${percent(1 - now.p)}`);
    const [found, left] = [h('span', { class: 'found' }), h('span', { class: 'left' })];
    found.style.width = `${100 * now.p}%`;
    left.style.width = `${100 * (1 - now.p)}%`;
    bars.replaceChildren(found, left);
    const entries: [string, string, string][] = [
      ['p₁, found', now.p.toPrecision(4), 'p'],
      ['1 − p₁', (1 - now.p).toPrecision(4), 'rest'],
      ['InfoNCE', shown(now.nce, 4), 'nce'],
      ['∂InfoNCE/∂s₁', shown(now.nceGradient[0]!, 4), 'nce-gradient'],
      ['InfoLOOB', shown(now.loob, 4), 'loob'],
      ['∂InfoLOOB/∂s₁', shown(now.loobGradient[0]!, 4), 'loob-gradient'],
    ];
    facts.replaceChildren(
      ...entries.flatMap(([term, value, id]) => [h('dt', {}, term), h('dd', { 'data-value': id }, value)]),
    );
    const key = `${n} ${invTau}`;
    if (drawn !== key) points = pulls(others, invTau);
    drawn = key;
    const lines = [
      { label: 'InfoNCE: τ⁻¹(1 − p₁)', colour: blue, points: points.map(([c, nce]) => [c, nce] as const) },
      { label: 'InfoLOOB: τ⁻¹', colour: orange, points: points.map(([c, , loob]) => [c, loob] as const), dashed: true },
    ];
    curves.replaceChildren(
      chart({
        label: `Pull on the positive over its cosine, with N ${n} and τ⁻¹ ${invTau}`,
        x: { title: 'cosine of the positive', min: -1, max: 1 },
        y: { title: '−∂L/∂s₁', min: 0, max: 1.1 * invTau },
        curves: lines,
        mark: cosine,
      }),
      legend(lines),
    );
  });
  let points: [number, number, number][] = [];
  state.hear(draw);

  const covered = h('div', {}, curves);
  const question = predict(
    state,
    'guess',
    {
      question: 'The positive moves from cosine 0.1 to 0.9. What does InfoNCE pull with then?',
      answers: { grows: 'with more', stays: 'with as much', vanishes: 'with next to nothing' },
      right: 'vanishes',
      why: 'Its gradient is τ⁻¹(1 − p₁), and p₁ is nearly 1: InfoNCE saturates. InfoLOOB leaves the positive out of the denominator, and its gradient on the positive is τ⁻¹ wherever that is.',
    },
    covered,
  );
  const left = panel(
    'Drag the positive',
    map.element,
    h(
      'p',
      { class: 'hint' },
      'Arrows show the pull towards the anchor, −∂L/∂s₁ in units of τ⁻¹: blue InfoNCE, orange InfoLOOB. Small dots are negatives.',
    ),
  );
  const right = panel(
    'What the losses say',
    slider(state, 'cosine', { label: 'cosine s₁' }),
    slider(state, 'n', { label: 'N, candidates', digits: 0, logarithmic: true }),
    slider(state, 'invTau', { label: 'τ⁻¹', digits: 1, logarithmic: true }),
    bars,
    facts,
    covered,
  );
  left.classList.add('half');
  right.classList.add('half');
  return [question, left, right, footer(state)];
}

/** Cosine, pull of InfoNCE, pull of InfoLOOB. */
function pulls(others: readonly number[], invTau: number): [number, number, number][] {
  return Array.from({ length: 61 }, (_, i) => {
    const cosine = -1 + i / 30;
    const { nceGradient, loobGradient } = pull(cosine, others, invTau);
    return [cosine, -nceGradient[0]!, -loobGradient[0]!];
  });
}

export function mount(element: HTMLElement): void {
  void begin(element, build);
}
