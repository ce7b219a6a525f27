/** A world of features that occur together: delete a co-occurrence, and see what retrieval fills in. */
import './style.css';
import { button, footer, predict, slider } from '../kit/controls.js';
import { eachFrame, h, panel, shown } from '../kit/dom.js';
import { begin } from '../kit/engine.js';
import { choice, type Field, number, State } from '../kit/state.js';
import { features, fillIn, has, pictures } from './objects.js';

interface Values {
  rows: number[];
  query: number;
  beta: number;
  guess: string;
}

const all = 2 ** features.length - 1;
const bits = (text: string) => (/^[0-9a-f]{2}$/.test(text) ? Number.parseInt(text, 16) : undefined);
const hex = (value: number) => value.toString(16).padStart(2, '0');

/** All pictures, two hexadecimal digits each. */
const rowsField: Field<number[]> = {
  start: pictures.map(([, shows]) => shows),
  write: (rows) => rows.map(hex).join(''),
  read: (text) => {
    const rows = (text.match(/../g) ?? []).map(bits);
    const whole = rows.length === pictures.length && rows.every((row) => row !== undefined);
    return whole && rows.some((row) => row !== 0) ? (rows as number[]) : undefined;
  },
};

function build(): HTMLElement[] {
  const state = new State<Values>({
    rows: rowsField,
    query: number(1, { min: 1, max: all, step: 1 }),
    beta: number(8, { min: 0.1, max: 40, step: 0.1 }),
    guess: choice<string>('', { '': '', sea: '', nothing: '', same: '', none: '' }),
  });

  const toggleButton = (label: string, press: () => void) =>
    button('', press, { class: 'cell', 'aria-label': label, 'data-cell': label });
  const cells = pictures.map(([picture], row) =>
    features.map((feature, f) =>
      toggleButton(`${picture}: ${feature}`, () => {
        const rows = state.values.rows.with(row, state.values.rows[row]! ^ (1 << f));
        if (rows.some((bits) => bits !== 0)) state.set({ rows });
      }),
    ),
  );
  const weights = pictures.map(() => h('td', { class: 'weight' }));
  const head = (title: string) => h('th', { scope: 'col' }, h('span', { class: 'upright' }, title));
  const table = h(
    'table',
    { class: 'world' },
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'picture'), ...features.map(head), head('weight'))),
    h(
      'tbody',
      {},
      ...pictures.map(([picture], row) =>
        h('tr', {}, h('th', { scope: 'row' }, picture), ...cells[row]!.map((one) => h('td', {}, one)), weights[row]!),
      ),
    ),
  );
  const asked = features.map((feature, f) =>
    button(feature, () => {
      const query = state.values.query ^ (1 << f);
      if (query !== 0) state.set({ query });
    }),
  );
  const filled = h('ul', { class: 'filled' });
  const covariance = h('table', { class: 'covariance' });
  /** Every picture loses the second of two features where it shows both. */
  const cut = (kept: number, lost: number) =>
    state.set({ rows: state.values.rows.map((row) => (has(row, kept) && has(row, lost) ? row & ~(1 << lost) : row)) });

  const draw = eachFrame(() => {
    const { rows, query, beta } = state.values;
    const now = fillIn(rows, query, beta);
    rows.forEach((row, i) => {
      features.forEach((_, f) => {
        const on = has(row, f);
        cells[i]![f]!.setAttribute('aria-pressed', String(on));
        cells[i]![f]!.textContent = on ? '●' : '·';
      });
      weights[i]!.textContent = shown(now.weights[i]!, 2);
      weights[i]!.style.setProperty('--share', `${100 * now.weights[i]!}%`);
    });
    for (const [f, one] of asked.entries()) one.setAttribute('aria-pressed', String(has(query, f)));
    filled.replaceChildren(
      ...features.map((feature, f) => {
        const value = now.answer[f]!;
        const bar = h('span', { class: has(query, f) ? 'fill asked' : 'fill' });
        bar.style.width = `${100 * Math.max(0, value)}%`;
        return h(
          'li',
          { 'data-feature': feature },
          h('span', {}, feature),
          h('span', { class: 'track' }, bar),
          h('span', { class: 'value' }, shown(value)),
        );
      }),
    );
    const largest = Math.max(...now.covariance.flat().map(Math.abs), 1e-9);
    covariance.replaceChildren(
      h('thead', {}, h('tr', {}, h('td'), ...features.map(head))),
      h(
        'tbody',
        {},
        ...now.covariance.map((values, i) =>
          h(
            'tr',
            {},
            h('th', { scope: 'row' }, features[i]!),
            ...values.map((value) => {
              const one = h('td', { class: value < 0 ? 'apart' : 'together' }, shown(value, 2).replace('0.', '.'));
              one.style.setProperty('--share', `${Math.round((45 * Math.abs(value)) / largest)}%`);
              return one;
            }),
          ),
        ),
      ),
    );
  });
  state.hear(draw);

  const result = h('div', {}, h('h4', {}, 'The answer, feature by feature'), filled);
  const question = predict(
    state,
    'guess',
    {
      question: 'The query shows a beach and nothing else. What does the memory answer?',
      answers: {
        nothing: 'a beach alone',
        sea: 'a beach, the sea and what else goes with it',
        same: 'all features alike',
      },
      right: 'sea',
      why: 'The answer is a mean of the pictures that resemble the query, so it has what stands beside a beach in them: their covariance. Now part beach and sea, and look again.',
    },
    result,
  );
  const left = panel(
    'The world: which picture shows what',
    h(
      'div',
      { class: 'bar' },
      button('Part beach and sea', () => cut(0, 1), { 'data-do': 'cut' }),
      button('Put all back', () => state.set({ rows: rowsField.start }), { 'data-do': 'back' }),
    ),
    h('div', { class: 'scroll' }, table),
    h('p', { class: 'hint' }, 'Press a cell to give a picture a feature or to take it away.'),
  );
  const right = panel(
    'The query',
    h('div', { class: 'bar query', role: 'group', 'aria-label': 'Features of the query' }, ...asked),
    slider(state, 'beta', { label: 'β, sharpness', digits: 1, logarithmic: true }),
    result,
  );
  const below = panel(
    'Covariance of the patterns',
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Covariances' }, covariance),
    h(
      'p',
      { class: 'hint' },
      'Retrieval adds to a query what varies with it: a positive entry fills in, a negative one takes away. Parting two features changes their entry, and the answer with it.',
    ),
  );
  left.classList.add('half', 'broad');
  right.classList.add('half', 'narrow');
  return [question, left, right, below, footer(state)];
}

export function mount(element: HTMLElement): void {
  void begin(element, build);
}
