/** What two runs have come to: curves of loss and of held-out recall, and the figures behind them. */
import { chart, legend } from '../kit/chart.js';
import { h, shown } from '../kit/dom.js';
import type { Lane } from './race.js';

const colours = { A: 'var(--one)', B: 'var(--two)' };

/** Means of so many steps are drawn: single batches differ. */
const together = 5;

function means(losses: readonly number[]): [number, number][] {
  const points: [number, number][] = [];
  for (let i = 0; i + together <= losses.length; i += together)
    points.push([i + together, losses.slice(i, i + together).reduce((a, b) => a + b) / together]);
  return points;
}

/** Chance of finding the right one of so many. */
export const chance = (concepts: number) => 100 / concepts;

/** Draws them anew into their places. */
export function drawCurves(
  places: { loss: HTMLElement; recall: HTMLElement; table: HTMLElement },
  lanes: readonly Lane[],
  concepts: number,
): void {
  const steps = Math.max(100, ...lanes.map(({ losses }) => losses.length));
  const x = { title: 'step', min: 0, max: steps };
  const losses = lanes.map((lane) => ({ ...nameOf(lane), points: means(lane.losses) }));
  const values = losses.flatMap(({ points }) => points.map(([, value]) => value));
  const [least, most] = [Math.min(0, ...values), Math.max(4, ...values)];
  places.loss.replaceChildren(
    chart({ label: 'Loss over steps', x, y: { title: 'loss, nats', min: least, max: most }, curves: losses }),
    legend(losses),
  );
  const recalls = lanes.map((lane) => ({
    ...nameOf(lane),
    points: lane.recalls.map(([step, recall]) => [step, 100 * recall] as const),
  }));
  const guess = {
    ...{ label: 'chance', colour: 'var(--quiet)', dashed: true },
    points: [0, steps].map((step) => [step, chance(concepts)] as const),
  };
  const top = Math.max(20, ...recalls.flatMap(({ points }) => points.map(([, value]) => 1.1 * value)));
  places.recall.replaceChildren(
    chart({
      label: 'Held-out R@1 over steps',
      x,
      y: { title: 'R@1, % of held-out drawings', min: 0, max: Math.min(100, top) },
      curves: [...recalls, guess],
    }),
    legend([...recalls, guess]),
  );
  const measured = lanes[0]?.recalls ?? [];
  places.table.replaceChildren(
    h('caption', {}, 'Loss of the step, nats, and held-out R@1, %'),
    h('thead', {}, h('tr', {}, th('step'), ...lanes.flatMap(({ name }) => [th(`loss ${name}`), th(`R@1 ${name}`)]))),
    h(
      'tbody',
      {},
      ...measured.map(([step], i) =>
        h(
          'tr',
          {},
          h('td', {}, String(step)),
          ...lanes.flatMap(({ losses: all, recalls: found }) => [
            h('td', {}, step === 0 ? '' : shown(all[step - 1]!, 6)),
            h('td', {}, found[i] ? shown(100 * found[i][1], 2) : ''),
          ]),
        ),
      ),
    ),
  );
}

const th = (text: string) => h('th', { scope: 'col' }, text);

function nameOf({ name, options: { loss, hopfield } }: Lane) {
  const words = `${name}: ${loss === 'infoloob' ? 'InfoLOOB' : 'InfoNCE'}${hopfield ? ' with memories' : ''}`;
  return { label: words, colour: colours[name], dashed: name === 'B' };
}
