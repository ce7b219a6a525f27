// The developer page: choose a device, check it, measure it, and watch a small CLOOB train on it.
import 'uplot/dist/uPlot.min.css';
import './style.css';
import { init } from 'hopgrad';
import { conformanceCases } from '#src/testing/conformance.js';
import { measure, works } from './bench.js';
import { lossCurve } from './curve.js';
import { Training } from './train.js';

const element = (id) => document.getElementById(id);
const names = ['train', 'bench', 'check'];
let device = null;
/** The action that runs: set to stop it. */
let stopped = false;

/** Runs one action with the others off and its Stop on; what goes wrong is shown where the action reports. */
async function busy(name, status, action) {
  for (const id of [...names, 'use']) element(id).disabled = true;
  const stop = element(`${name}-stop`);
  stopped = false;
  if (stop) stop.disabled = false;
  status.className = '';
  try {
    await action();
  } catch (error) {
    status.textContent = error.message;
    status.className = 'fail';
  }
  if (stop) stop.disabled = true;
  element('use').disabled = false;
  for (const id of names) element(id).disabled = device === null;
}

for (const name of names)
  element(`${name}-stop`).addEventListener('click', () => {
    stopped = true;
  });

/** Lets the browser draw. */
const frame = () => new Promise((resolve) => setTimeout(resolve, 0));

function addRow(table, cells, className) {
  element(table).parentElement.hidden = false;
  const row = element(table).tBodies[0].insertRow();
  for (const text of cells) row.insertCell().textContent = text;
  row.className = className ?? '';
}

element('use').addEventListener('click', () =>
  busy('use', element('chosen'), async () => {
    element('chosen').textContent = 'Asking …';
    const answer = await init({ device: element('device').value });
    device = answer.device;
    element('chosen').textContent = `${answer.device}: ${answer.description}. Why: ${answer.reason}.`;
  }),
);

element('check').addEventListener('click', () =>
  busy('check', element('check-status'), async () => {
    const status = element('check-status');
    element('check-table').tBodies[0].replaceChildren();
    const cases = conformanceCases({ seeds: 3, quick: true });
    const counts = { pass: 0, fail: 0 };
    for (const { group, name, run } of cases) {
      if (stopped) return;
      const start = performance.now();
      const { error, tolerance, detail } = await run(device).catch((thrown) => ({
        error: Infinity,
        tolerance: 0,
        detail: thrown.message,
      }));
      const result = error <= tolerance ? 'pass' : 'fail';
      counts[result]++;
      const ms = (performance.now() - start).toFixed(1);
      const shown = result === 'pass' ? error.toExponential(1) : `${error} ${detail ?? ''}`;
      addRow('check-table', [group, name, result, shown, tolerance.toExponential(1), ms], result);
      status.textContent = `${counts.pass} passed, ${counts.fail} failed, of ${cases.length} on ${device}`;
      status.className = counts.fail > 0 ? 'fail' : 'pass';
      await frame();
    }
  }),
);

element('bench').addEventListener('click', () =>
  busy('bench', element('bench-status'), async () => {
    const status = element('bench-status');
    for (const work of works()) {
      if (stopped) break;
      status.textContent = `${work.name} …`;
      await frame();
      const { median, least } = await measure(work);
      addRow('bench-table', [work.name, device, median.toFixed(2), least.toFixed(2), work.rate?.(median) ?? '']);
    }
    status.textContent = stopped ? 'stopped' : 'done';
  }),
);

element('train').addEventListener('click', () =>
  busy('train', element('train-status'), async () => {
    const status = element('train-status');
    status.textContent = 'Fetching the drawings …';
    element('found').hidden = true;
    window.trainingLosses = undefined;
    const asked = new URLSearchParams(location.search);
    const [steps, pairs] = [Number(asked.get('steps') ?? 300), Number(asked.get('pairs') ?? 32)];
    const training = await Training.create({ device, pairs });
    const withMemories = (step) => step > 0.8 * steps;
    const curve = lossCurve(element('curve'), { memoriesFrom: Math.floor(0.8 * steps) + 1 });
    if (/^web|^gpu/.test(device)) status.textContent = 'First step, for which the graphics card compiles its kernels …';
    await frame();
    const start = performance.now();
    for (let step = 1; step <= steps && !stopped; step++) {
      const { loss, found } = await training.step(step, { retrieve: withMemories(step) });
      curve.add(step, loss);
      const rate = (step * pairs * 1000) / (performance.now() - start);
      status.textContent = `step ${step} of ${steps} on ${device}: loss ${loss.toFixed(4)}, ${found} of ${pairs} names found, ${rate.toFixed(0)} pairs/s`;
      await frame();
    }
    window.trainingLosses = curve.losses;
    if (curve.losses.length > 0) show(await training.heldOut());
  }),
);

/** Drawings in a style that was not trained on, each with the name that the model gives it. */
function show({ answers, recall, style }) {
  const share = (100 * recall).toFixed(0);
  element('recall').textContent =
    `In a style never trained on (${style}), ${share} % of ${answers.length} drawings get their name; chance is ${(100 / answers.length).toFixed(0)} %.`;
  const cards = answers.slice(0, 12).map(({ svg, name, given }) => {
    const [card, image, words] = ['li', 'img', 'span'].map((tag) => document.createElement(tag));
    Object.assign(image, { src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`, alt: name, width: 48 });
    words.textContent = given;
    words.className = given === name ? 'pass' : 'fail';
    card.append(image, words);
    return card;
  });
  element('pictures').replaceChildren(...cards);
  element('found').hidden = false;
}
