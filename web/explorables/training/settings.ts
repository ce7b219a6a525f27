/** The state of the page, and the controls that set it. */
import { radios, slider } from '../kit/controls.js';
import { h } from '../kit/dom.js';
import { choice, flag, number, State, words } from '../kit/state.js';
import type { RunOptions, View } from './model.js';
import type { Settings } from './race.js';

export type LaneName = 'A' | 'B';

export interface Values {
  seed: number;
  batch: number;
  device: 'wasm' | 'webgpu';
  two: boolean;
  steps: number;
  guess: string;
  view: View;
  shown: LaneName;
  words: string;
  aLoss: RunOptions['loss'];
  aMemory: 'yes' | 'no';
  aFrom: number;
  aInvTau: number;
  aBeta: number;
  bLoss: RunOptions['loss'];
  bMemory: 'yes' | 'no';
  bFrom: number;
  bInvTau: number;
  bBeta: number;
}

const loss = (start: RunOptions['loss']) =>
  choice<RunOptions['loss']>(start, { infoloob: 'InfoLOOB', infonce: 'InfoNCE' });
const memory = (start: 'yes' | 'no') => choice<'yes' | 'no'>(start, { yes: 'with', no: 'without' });
const from = () => number(200, { min: 0, max: 1000, step: 25 });
const invTau = () => number(30, { min: 2, max: 100, step: 1 });
const beta = () => number(8, { min: 0.5, max: 50, step: 0.5 });

export const mostSteps = 3000;

export const newState = () =>
  new State<Values>({
    seed: number(1, { min: 0, max: 999, step: 1 }),
    batch: number(96, { min: 8, max: 96, step: 8 }),
    device: choice<'wasm' | 'webgpu'>('wasm', { wasm: 'WebAssembly', webgpu: 'WebGPU' }),
    two: flag(false),
    steps: number(0, { min: 0, max: mostSteps, step: 1 }),
    guess: choice<string>('', { '': '', zero: '', below: '', chance: '', none: '' }),
    view: choice<View>('plain', {
      plain: 'embeddings',
      image: 'answers of the image memory',
      text: 'answers of the text memory',
    }),
    shown: choice<LaneName>('A', { A: 'A', B: 'B' }),
    words: words('', 80),
    ...{ aLoss: loss('infoloob'), aMemory: memory('yes'), aFrom: from(), aInvTau: invTau(), aBeta: beta() },
    ...{ bLoss: loss('infonce'), bMemory: memory('no'), bFrom: from(), bInvTau: invTau(), bBeta: beta() },
  });

/** What the runs are made of. */
export function settingsOf(v: Readonly<Values>): Settings {
  const common = { seed: v.seed, batch: v.batch };
  const a: RunOptions = {
    ...common,
    loss: v.aLoss,
    hopfield: v.aMemory === 'yes',
    from: v.aFrom,
    invTau: v.aInvTau,
    beta: v.aBeta,
  };
  const b: RunOptions = {
    ...common,
    loss: v.bLoss,
    hopfield: v.bMemory === 'yes',
    from: v.bFrom,
    invTau: v.bInvTau,
    beta: v.bBeta,
  };
  const lanes = [
    { name: 'A' as const, options: a },
    { name: 'B' as const, options: b },
  ];
  return { device: v.device, lanes: v.two ? lanes : lanes.slice(0, 1) };
}

/** The controls of one run. */
export function laneControls(state: State<Values>, name: LaneName): HTMLElement {
  const key = name.toLowerCase() as 'a' | 'b';
  const memories = h(
    'div',
    {},
    slider(state, `${key}From`, { label: 'they begin at step', digits: 0 }),
    slider(state, `${key}Beta`, { label: 'β', digits: 1, logarithmic: true }),
  );
  state.hear((values) => {
    memories.hidden = values[`${key}Memory`] === 'no';
  });
  return h(
    'div',
    { role: 'group', 'aria-label': `Run ${name}` },
    radios(state, `${key}Loss`, 'Loss'),
    radios(state, `${key}Memory`, 'Hopfield memories'),
    slider(state, `${key}InvTau`, { label: 'τ⁻¹', digits: 0, logarithmic: true }),
    memories,
  );
}
