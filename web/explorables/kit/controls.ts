/** Controls that show and change one value of a state. */
import { h, shown } from './dom.js';
import type { ChoiceField, NumberField, State } from './state.js';

type NamesOf<S, V> = { [K in keyof S]: S[K] extends V ? K : never }[keyof S] & string;

export interface SliderOptions {
  label: string;
  digits?: number;
  /** Equal steps are equal factors. */
  logarithmic?: boolean;
}

/** A slider with its value beside it; arrows, Page Up, Page Down, Home and End work as browsers have it. */
export function slider<S extends object>(
  state: State<S>,
  name: NamesOf<S, number>,
  { label, digits = 2, logarithmic = false }: SliderOptions,
): HTMLElement {
  const { min, max, step } = state.fields[name] as unknown as NumberField;
  const positions = logarithmic ? 100 : Math.round((max - min) / step);
  const valueAt = (position: number) => {
    const raw = logarithmic ? min * (max / min) ** (position / positions) : min + position * step;
    return Number((Math.round(raw / step) * step).toFixed(6));
  };
  const positionOf = (value: number) =>
    Math.round(logarithmic ? (positions * Math.log(value / min)) / Math.log(max / min) : (value - min) / step);
  const input = h('input', { type: 'range', min: 0, max: positions, step: 1, name });
  const output = h('output', {});
  input.addEventListener('input', () => state.set({ [name]: valueAt(input.valueAsNumber) } as Partial<S>));
  state.hear((values) => {
    const value = values[name] as number;
    // A value from the address may lie between two positions: it stays what it is.
    if (valueAt(input.valueAsNumber) !== value) input.value = String(positionOf(value));
    output.value = shown(value, digits);
    input.setAttribute('aria-valuetext', output.value);
  });
  return h('label', { class: 'slider' }, h('span', {}, label), input, output);
}

/** One of a few values, as radio buttons in a row. */
export function radios<S extends object>(state: State<S>, name: NamesOf<S, string>, label: string): HTMLElement {
  const { names } = state.fields[name] as unknown as ChoiceField<string>;
  const group = h('fieldset', { class: 'radios' }, h('legend', {}, label));
  const inputs = Object.entries(names).map(([value, text]) => {
    const input = h('input', { type: 'radio', name, value });
    input.addEventListener('change', () => state.set({ [name]: value } as Partial<S>));
    group.append(h('label', {}, input, text));
    return input;
  });
  state.hear((values) => {
    for (const input of inputs) input.checked = input.value === values[name];
  });
  return group;
}

/** One of several values, in a list to open. */
export function selection<S extends object>(state: State<S>, name: NamesOf<S, string>, label: string): HTMLElement {
  const { names } = state.fields[name] as unknown as ChoiceField<string>;
  const select = h('select', { name }, ...Object.entries(names).map(([value, text]) => h('option', { value }, text)));
  select.addEventListener('change', () => state.set({ [name]: select.value } as Partial<S>));
  state.hear((values) => {
    select.value = values[name] as string;
  });
  return h('label', { class: 'selection' }, h('span', {}, label), select);
}

/** A button that does something. */
export function button(text: string, action: () => void, attributes: Record<string, string> = {}): HTMLButtonElement {
  const element = h('button', { type: 'button', ...attributes }, text);
  element.addEventListener('click', action);
  return element;
}

/**
 * A question to answer before its answer can be seen. What `covered` holds is shown afterwards, and stays shown.
 * @param name the value of the state that keeps what was said; '' before
 */
export function predict<S extends object>(
  state: State<S>,
  name: NamesOf<S, string>,
  { question, answers, right, why }: { question: string; answers: Record<string, string>; right: string; why: string },
  covered: HTMLElement,
): HTMLElement {
  covered.classList.add('covered');
  const verdict = h('p', { class: 'verdict', role: 'status' });
  const choices = h('div', { class: 'answers' });
  for (const [value, text] of Object.entries(answers))
    choices.append(button(text, () => state.set({ [name]: value } as Partial<S>), { 'data-answer': value }));
  const skip = button('Show without guessing', () => state.set({ [name]: 'none' } as Partial<S>), {
    class: 'skip-guess',
  });
  state.hear((values) => {
    const said = values[name] as string;
    covered.hidden = said === '';
    skip.hidden = said !== '';
    for (const one of choices.children) {
      const value = one.getAttribute('data-answer');
      one.setAttribute('aria-pressed', String(value === said));
      one.classList.toggle('right', said !== '' && value === right);
    }
    if (said === '') verdict.textContent = '';
    else
      verdict.textContent = said === 'none' ? why : `${said === right ? 'Yes.' : `It is: ${answers[right]}.`} ${why}`;
  });
  return h(
    'section',
    { class: 'predict', 'aria-label': 'Guess first' },
    h('p', {}, h('strong', {}, 'Guess first. '), question),
    choices,
    skip,
    verdict,
  );
}

/** Everything to where it starts, and a link to what is seen now. */
export function footer<S extends object>(state: State<S>, also: () => void = () => {}): HTMLElement {
  return h(
    'p',
    { class: 'again' },
    button('Start over', () => {
      state.reset();
      also();
    }),
    ' The address holds what you see: a link to it shows the same.',
  );
}
