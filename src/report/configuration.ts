/** What the runs are, and what they were asked: with several, what differs is marked and comes first. */

import { flagOf } from '../train/options.js';
import { clock } from '../train/progress.js';
import { type Html, html, shown, table } from './html.js';
import type { RunData } from './run-data.js';

/** Colour of a run, as a mark before its name. */
const key = (i: number) => html`<span class="key" style="--own: var(--run-${i % 8})"></span>`;

/** The runs at a glance: method, state, steps, time, last loss. */
export function runsSection(runs: readonly RunData[]): Html {
  const state = ({ complete, steps }: RunData) => {
    if (complete) return 'complete and evaluated';
    return steps === 0 ? 'no step yet' : 'not evaluated: going on, stopped, or without data for it';
  };
  return html`<section id="runs"><h2>${runs.length > 1 ? 'Runs' : 'Run'}</h2>
${table(
  runs.length > 1 ? 'The runs' : 'The run',
  ['run', 'method', 'state', 'begun', 'seed', 'last step', 'epochs', 'time of steps', 'loss, mean of last 20'],
  runs.map((run, i) => [
    html`${key(i)}${run.name}`,
    run.record.method,
    state(run),
    run.record.sessions[0]!.date.slice(0, 16).replace('T', ' '),
    run.record.options.seed,
    run.lastStep ?? '–',
    run.epochs,
    clock(run.seconds),
    shown(run.lastLoss),
  ]),
  { numbers: 4 },
)}
${warnings(runs)}</section>`;
}

function warnings(runs: readonly RunData[]): Html {
  const lines = runs.flatMap(({ name, skipped, lossless, steps }) => {
    const found: string[] = [];
    if (steps === 0) found.push(`${name}: the log has no step.`);
    if (lossless > 0)
      found.push(`${name}: ${lossless} ${lossless === 1 ? 'step has' : 'steps have'} a loss that is no number.`);
    if (skipped.length > 0)
      found.push(
        `${name}: ${skipped.length} ${skipped.length === 1 ? 'step was' : 'steps were'} passed over, the first, ${skipped[0]!.step}, because of ${skipped[0]!.why}.`,
      );
    return found;
  });
  return lines.length > 0 ? html`<ul class="warnings">${lines.map((line) => html`<li>${line}</li>`)}</ul>` : html``;
}

const plain = (value: unknown): string => {
  if (value === null || value === undefined) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
};

/** Everything that was asked of a run, by the names of the flags. */
function configurationOf({ record }: RunData): Map<string, string> {
  const { method, hopgrad, options, settings, data, sessions } = record;
  const last = sessions.at(-1)!;
  const facts: [string, unknown][] = [
    ['method', method],
    ...Object.entries(options).map(([name, value]): [string, unknown] => [flagOf(name), value]),
    ['training data', data.train.path],
    ['rows to train on', data.train.rows],
    ['evaluation data', data.val?.path],
    ['zero-shot data', data.zeroShot?.path],
    ...Object.entries(settings).map(([name, value]): [string, unknown] => [flagOf(name), value]),
    ['device', last.description],
    ['hopgrad', hopgrad],
    ['node', last.node],
  ];
  return new Map(facts.map(([name, value]) => [name, plain(value)]));
}

/** All options and settings, those that differ between runs marked, and the commands. */
export function configurationSection(runs: readonly RunData[]): Html {
  const all = runs.map(configurationOf);
  const names = [...new Set(all.flatMap((own) => [...own.keys()]))];
  const values = (name: string) => all.map((own) => own.get(name) ?? '–');
  const differs = (name: string) => new Set(values(name)).size > 1;
  const head = ['option', ...runs.map(({ name }, i) => html`${key(i)}${name}`)];
  const row = (name: string) => [
    differs(name) ? html`${name} <span class="mark">differs</span>` : name,
    ...values(name),
  ];
  const different = names.filter(differs);
  const rest = names.filter((name) => !differs(name));
  const list = (caption: string, of: string[], marked: boolean) =>
    table(caption, head, of.map(row), { numbers: 99, marked: () => marked });
  return html`<section id="configuration"><h2>Configuration</h2>
${
  runs.length > 1
    ? different.length > 0
      ? list('What differs', different, true)
      : html`<p class="note">The runs were asked the same.</p>`
    : ''
}
<details${runs.length > 1 ? '' : html` open`}><summary>${runs.length > 1 ? 'What is the same' : 'All options'} (${rest.length})</summary>
${list(runs.length > 1 ? 'What is the same' : 'All options', rest, false)}</details>
<details><summary>Commands</summary>${runs.map(
    ({ name, record }) =>
      html`<h3>${name}</h3><ul>${record.sessions.map(
        ({ date, command, step, device }) =>
          html`<li>${date.slice(0, 16).replace('T', ' ')}, at step ${step}, on ${device}: <code>${command}</code></li>`,
      )}</ul>`,
  )}</details></section>`;
}
