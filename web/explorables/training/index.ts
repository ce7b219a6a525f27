/** CLOOB trained in the tab: play, pause, step; curves, similarities, search; one run or two on the same seed and data. */
import './style.css';
import { button, footer, predict, radios, selection, slider } from '../kit/controls.js';
import { h, nextFrame, panel, shown } from '../kit/dom.js';
import '../kit/style.css';
import type { State } from '../kit/state.js';
import { Ended } from './client.js';
import { drawCurves } from './curves.js';
import { type Drawings, heldOutOf, unpackDrawings } from './drawings.js';
import { concepts, matrixPart } from './matrix.js';
import { every, Race } from './race.js';
import { searchPart } from './search.js';
import { laneControls, mostSteps, newState, settingsOf, type Values } from './settings.js';

function build(drawings: Drawings, file: Uint8Array<ArrayBuffer>): HTMLElement[] {
  const state = newState();
  const heldOut = heldOutOf(drawings);
  const status = h('p', { class: 'status', role: 'status' });
  const places = {
    loss: h('div', { class: 'half-chart' }),
    recall: h('div', { class: 'half-chart' }),
    table: h('table'),
  };
  const matrix = matrixPart(drawings, heldOut);
  let race: Race | undefined;
  /** The step to advance to, and the race whose loop does so. */
  let target = 0;
  let looping: Race | undefined;

  const fail = (error: unknown) => {
    if (error instanceof Ended) return;
    target = 0;
    refresh();
    status.classList.add('fault');
    status.textContent = `It failed: ${error instanceof Error ? error.message : String(error)}`;
  };
  const search = searchPart(state, drawings, heldOut, () => laneShown()?.client, fail);
  const laneShown = () => race?.lanes.find(({ name }) => name === state.values.shown) ?? race?.lanes[0];

  const showMatrix = async () => {
    const { view } = state.values;
    const lane = laneShown();
    if (lane) matrix.show(await lane.client.ask('matrix', concepts(drawings), view), view);
  };
  const look = () => Promise.all([showMatrix(), search.again()]);
  const say = () => {
    status.classList.remove('fault');
    const last = race?.lanes.map(({ name, recalls }) => `${name} ${shown(100 * (recalls.at(-1)?.[1] ?? 0), 1)} %`);
    status.textContent = race?.steps
      ? `Step ${race.steps}, ${shown(race.pace, 0)} ms a step; held-out R@1 ${last!.join(', ')} (chance ${shown(100 / drawings.concepts.length, 1)} %).`
      : 'Not begun.';
  };
  const refresh = () => {
    const playing = looping !== undefined && looping.steps < target;
    play.textContent = playing ? 'Pause' : 'Train';
    stepOnce.disabled = playing;
    drawCurves(places, race?.lanes ?? [], drawings.concepts.length);
    download.disabled = !race?.steps;
  };

  /** Advances to a step: the loop that does so may be under way already, then it goes on to there. */
  const train = async (to: number) => {
    target = to;
    race ??= new Race(settingsOf(state.values), file);
    const own = race;
    if (looping === own) return;
    looping = own;
    refresh();
    try {
      if (own.steps === 0) status.textContent = 'Starting …';
      await own.measure();
      while (own.steps < target) {
        await own.advance(target);
        state.set({ steps: own.steps });
        say();
        refresh();
        if (own.steps % every === 0 && own.steps < target) await look();
      }
      looping = undefined;
      refresh();
      say();
      await look();
    } catch (error) {
      fail(error);
    } finally {
      if (looping === own) looping = undefined;
    }
  };
  const restart = () => {
    race?.end();
    race = undefined;
    state.set({ steps: 0 });
    void train(0); // nothing is trained yet, but there is something to look at
  };

  const play = button(
    'Train',
    () => {
      if (looping && looping.steps < target) target = looping.steps;
      else void train(mostSteps);
    },
    { 'data-do': 'play' },
  );
  const stepOnce = button('One step', () => void train((race?.steps ?? 0) + 1), { 'data-do': 'step' });
  const again = button('From the beginning', restart, { 'data-do': 'restart' });
  const two = h('input', { type: 'checkbox', name: 'two' });
  two.addEventListener('change', () => state.set({ two: two.checked, ...(!two.checked && { shown: 'A' as const }) }));
  const download = button('Download the weights', () => save().catch(fail), { 'data-do': 'download' });
  const save = async () => {
    const bytes = await laneShown()!.client.ask('weights');
    const url = URL.createObjectURL(new Blob([bytes]));
    h('a', { href: url, download: 'cloob-of-the-tab.safetensors' }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  };

  const secondLane = panel('Run B', laneControls(state, 'B'));
  const which = radios(state, 'shown', 'Run');
  let made = '';
  let looked = '';
  state.hear((values) => {
    two.checked = values.two;
    secondLane.hidden = which.hidden = !values.two;
    // Whatever a run is made of begins it anew.
    const key = JSON.stringify(settingsOf(values));
    if (made !== '' && made !== key) {
      made = key;
      restart();
    }
    made = key;
    const seen = `${values.shown} ${values.view}`;
    if (looked !== '' && looked !== seen) look().catch(fail);
    looked = seen;
  });

  const curves = h('div', { class: 'curves' }, places.loss, places.recall);
  const figures = h(
    'details',
    { class: 'figures' },
    h('summary', {}, 'The figures'),
    h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Figures' }, places.table),
  );
  const covered = h('div', {}, curves, figures);
  const [runA, runB] = [panel('Run A', laneControls(state, 'A')), secondLane];
  runA.classList.add('half');
  runB.classList.add('half');
  // The address may speak of steps that were made: the same seed makes them again.
  void train(state.values.steps);
  return [
    question(state, covered),
    panel(
      'Train',
      h('div', { class: 'bar' }, play, stepOnce, again),
      status,
      h(
        'div',
        { class: 'common' },
        slider(state, 'seed', { label: 'Seed', digits: 0 }),
        slider(state, 'batch', { label: 'Batch', digits: 0 }),
      ),
      h(
        'div',
        { class: 'bar' },
        selection(state, 'device', 'Computed by'),
        h('label', { class: 'check' }, two, 'a second run beside it, on the same seed and data'),
      ),
      covered,
    ),
    runA,
    runB,
    panel(
      'What the loss compares: 24 held-out pairs',
      which,
      radios(state, 'view', 'Similarities of'),
      matrix.element,
      h(
        'p',
        { class: 'hint' },
        'Rows are anchors, columns candidates, the diagonal the pairs. Blue cosines are positive, orange negative. p is the softmax of τ⁻¹ cosine along the row.',
      ),
    ),
    search.element,
    panel(
      'Take it along',
      h('p', {}, 'The file carries the model and its tokenizer; the commands read it:'),
      h(
        'pre',
        { tabindex: 0 },
        h(
          'code',
          {},
          'npx hopgrad eval --checkpoint cloob-of-the-tab.safetensors\nnpx hopgrad embed my-pictures/ --checkpoint cloob-of-the-tab.safetensors\nnpx hopgrad search "red fruit" --checkpoint cloob-of-the-tab.safetensors',
        ),
      ),
      download,
    ),
    sources(drawings),
    footer(state, restart),
  ];
}

function question(state: State<Values>, covered: HTMLElement): HTMLElement {
  return predict(
    state,
    'guess',
    {
      question: 'InfoNCE is never below 0. As the training goes on, where does InfoLOOB go?',
      answers: { zero: 'to 0 as well', below: 'below 0', chance: 'it stays near ln(N − 1)' },
      right: 'below',
      why: 'The positive is not in the denominator, so the loss has no floor at 0, but at ln(N − 1) − 2τ⁻¹, and it keeps pulling pairs together. Where memories begin (run A: step 200) the loss jumps: they average what is nearly equal, and the embeddings must spread first.',
    },
    covered,
  );
}

function sources({ sources: all, drawings, heldOut, concepts: names }: Drawings): HTMLElement {
  return panel(
    'The drawings',
    h(
      'p',
      {},
      `${drawings.length} drawings of ${names.length} things, by eight hands. One style is never trained on: R@1 is the share of its drawings that find their name among all ${names.length}.`,
    ),
    h(
      'ul',
      {},
      ...all.map(({ style, name, author, license, url }) =>
        h('li', {}, h('a', { href: url }, name), ` by ${author}, ${license}${style === heldOut ? ' (held out)' : ''}`),
      ),
    ),
  );
}

async function begin(element: HTMLElement): Promise<void> {
  element.classList.add('explorable');
  element.setAttribute('aria-busy', 'true');
  element.replaceChildren(h('p', {}, 'Fetching the drawings …'));
  try {
    const response = await fetch(new URL('../data/drawings.bin', import.meta.url));
    if (!response.ok) throw new Error(`the drawings: ${response.status} ${response.statusText}`);
    const file = new Uint8Array(await response.arrayBuffer());
    element.replaceChildren(...build(await unpackDrawings(file), file));
    await nextFrame();
  } catch (error) {
    element.replaceChildren(
      h(
        'p',
        { class: 'fault', role: 'alert' },
        `This page could not start: ${error instanceof Error ? error.message : error}`,
      ),
    );
    throw error;
  } finally {
    element.removeAttribute('aria-busy');
  }
}

export function mount(element: HTMLElement): void {
  void begin(element);
}
