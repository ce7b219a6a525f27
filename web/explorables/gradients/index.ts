/** A gradient checker: edit a derivative, see which coordinate fails, take the check along to Node. */
import './style.css';
import { chart, legend } from '../kit/chart.js';
import { button, footer, predict, radios, slider } from '../kit/controls.js';
import { h, panel, shown } from '../kit/dom.js';
import '../kit/style.css';
import { choice, number, State, words } from '../kit/state.js';
import { nodeProgram, type ProgramName, parsePoints, programs } from './programs.js';
import type { Found } from './worker.js';

/** A program that takes longer is ended. */
const seconds = 3;

const names: Record<ProgramName, string> = {
  cube: 'a cube',
  hinge: 'an exponential unit',
  once: 'a square, twice',
  logistic: 'a logistic',
  kink: 'a kink',
};

interface Values {
  program: ProgramName;
  code: string;
  points: string;
  order: '1' | '2';
  seed: number;
  guess: string;
}

export function mount(element: HTMLElement): void {
  element.classList.add('explorable');
  element.replaceChildren(...build());
}

function build(): HTMLElement[] {
  const state = new State<Values>({
    program: choice<ProgramName>('cube', names),
    code: words(''),
    points: words('', 400),
    order: choice<'1' | '2'>('1', { '1': 'first', '2': 'first and second' }),
    seed: number(0, { min: 0, max: 99, step: 1 }),
    guess: choice<string>('', { '': '', all: '', zero: '', none: '' }),
  });
  const editor = h('textarea', {
    class: 'code',
    name: 'code',
    rows: 11,
    spellcheck: 'false',
    'aria-label': 'The op and its derivative',
  });
  const points = h('input', { name: 'points', size: 18 });
  const status = h('p', { role: 'status', class: 'status' });
  const table = h('table', { class: 'coordinates' });
  const curves = h('div');
  const report = h('pre', { class: 'report', role: 'region', tabindex: 0, 'aria-label': 'The report' });
  const line = h('pre', { class: 'in-node', role: 'region', tabindex: 0, 'aria-label': 'The program for Node' });
  // An empty text stands for the program's own, so that addresses stay short.
  const codeOf = (v: Readonly<Values>) => v.code || programs[v.program].code;
  const pointsOf = (v: Readonly<Values>) => v.points || programs[v.program].points;

  let worker: Worker | undefined;
  let limit: ReturnType<typeof setTimeout> | undefined;
  const end = () => {
    clearTimeout(limit);
    worker?.terminate();
    worker = undefined;
    stop.disabled = true;
  };
  const fail = (message: string) => {
    end();
    status.className = 'status fault';
    status.textContent = message;
    table.replaceChildren();
    curves.replaceChildren();
    report.textContent = '';
  };
  const show = ({ ok, text, rows, curve }: Found) => {
    end();
    status.className = ok ? 'status good' : 'status fault';
    const wrong = rows.filter(({ faults }) => faults.length > 0).map(({ index }) => index);
    status.textContent = ok
      ? `Right: ${text}`
      : `Wrong${wrong.length > 0 ? ` at coordinate ${wrong.join(', ')}` : ''}. ${text.split('\n')[0]!.replace(/:$/, '.')}`;
    const th = (title: string) => h('th', { scope: 'col' }, title);
    table.replaceChildren(
      h('thead', {}, h('tr', {}, ...['i', 'x', 'yours', 'difference', ''].map(th))),
      h(
        'tbody',
        {},
        ...rows.map(({ index, x, analytic, numeric, faults }) =>
          h(
            'tr',
            { class: faults.length > 0 ? 'wrong' : '' },
            ...[String(index), String(x), shown(analytic, 5), shown(numeric, 5)].map((value) => h('td', {}, value)),
            h('td', {}, faults.length > 0 ? `✗ ${faults.join('; ')}` : '✓'),
          ),
        ),
      ),
    );
    const xs = curve.map(([x]) => x);
    const ys = curve.map(([, , y]) => y).filter(Number.isFinite);
    const [least, most] = [Math.min(0, ...ys), Math.max(1, ...ys)];
    const lines = [
      { label: 'central difference', colour: 'var(--one)', points: curve.map(([x, , y]) => [x, y] as const) },
      { label: 'your derivative', colour: 'var(--two)', dashed: true, points: curve.map(([x, y]) => [x, y] as const) },
    ];
    curves.replaceChildren(
      chart({
        label: 'Your derivative and the central difference over x',
        x: { title: 'x', min: xs[0]!, max: xs.at(-1)! },
        y: { title: 'dy/dx', min: least, max: most },
        curves: lines,
      }),
      legend(lines),
    );
    report.textContent = text;
  };
  const check = () => {
    const v = state.values;
    end();
    let numbers: number[];
    try {
      numbers = parsePoints(pointsOf(v));
    } catch (error) {
      return fail((error as Error).message);
    }
    const question = { code: codeOf(v), points: numbers, order: Number(v.order) as 1 | 2, seed: v.seed };
    line.textContent = nodeProgram(question.code, numbers, question.order, v.seed);
    status.className = 'status';
    status.textContent = 'Checking …';
    stop.disabled = false;
    worker = new Worker(new URL('./gradients-worker.js', import.meta.url), { type: 'module' });
    worker.onerror = ({ message }) => fail(message || 'The worker could not be loaded.');
    worker.onmessage = ({ data }) => {
      if (data.started)
        limit = setTimeout(() => fail(`Ended after ${seconds} s: does a loop never end?`), 1000 * seconds);
      else if (data.found) show(data.found);
      else fail(data.failed);
    };
    worker.postMessage(question);
  };
  const stop = button('Stop', () => fail('Stopped.'), { 'data-do': 'stop' });
  stop.disabled = true;

  let later: ReturnType<typeof setTimeout> | undefined;
  let checked = '';
  editor.addEventListener('input', () =>
    state.set({ code: editor.value === programs[state.values.program].code ? '' : editor.value }),
  );
  points.addEventListener('input', () => state.set({ points: points.value }));
  const buttons = (Object.keys(programs) as ProgramName[]).map((name) =>
    button(names[name], () => state.set({ program: name, code: '', points: '', order: programs[name].order }), {
      'data-program': name,
    }),
  );
  state.hear((v) => {
    if (editor.value !== codeOf(v)) editor.value = codeOf(v);
    if (points.value !== pointsOf(v)) points.value = pointsOf(v);
    for (const one of buttons) one.setAttribute('aria-pressed', String(one.dataset.program === v.program));
    const key = JSON.stringify([codeOf(v), pointsOf(v), v.order, v.seed]);
    if (key === checked) return;
    checked = key;
    clearTimeout(later);
    later = setTimeout(check, 350);
  });
  const copy = button('Copy', () => {
    navigator.clipboard.writeText(line.textContent).then(
      () => {
        copy.textContent = 'Copied';
      },
      (error: Error) => {
        copy.textContent = `Not copied: ${error.message}`;
      },
    );
  });

  const covered = h(
    'div',
    {},
    status,
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Coordinates' }, table),
    curves,
  );
  const question = predict(
    state,
    'guess',
    {
      question: 'The derivative of x³ below has a 2 where a 3 should be. At which of −1.5, 0, 0.5 and 2 is it seen?',
      answers: { all: 'at all four', zero: 'at all but 0' },
      right: 'zero',
      why: 'At 0 both are 0: a test at that point alone would pass. Mend the 2 and see.',
    },
    covered,
  );
  const left = panel(
    'An op and its derivative',
    h('div', { class: 'bar', role: 'group', 'aria-label': 'Programs' }, ...buttons),
    editor,
    h('label', { class: 'selection' }, h('span', {}, 'Points x'), points),
    radios(state, 'order', 'Derivatives'),
    slider(state, 'seed', { label: 'Seed', digits: 0 }),
    h('p', { class: 'hint' }, `It runs in a worker whenever you pause, ${seconds} s at most.`),
    h('div', { class: 'bar' }, stop),
  );
  const right = panel('What the checker finds', covered);
  left.classList.add('half');
  right.classList.add('half');
  const node = panel(
    'The same in Node',
    h(
      'p',
      {},
      'As a module beside ',
      h('code', {}, 'npm install hopgrad'),
      ': the same points, the same seed, the same failures.',
    ),
    line,
    copy,
    h('details', {}, h('summary', {}, 'The whole report'), report),
  );
  return [question, left, right, node, footer(state)];
}
