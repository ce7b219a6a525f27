// The page: choose a device, check it, measure it, and watch a small CLOOB train on it.
import { init } from 'hopgrad';
import { conformanceCases } from '#src/testing/conformance.js';
import { measure, works } from './bench.js';
import { lossCurve } from './curve.js';
import { Training } from './train.js';

const element = (id) => document.getElementById(id);
const actions = ['train', 'bench', 'check'].map(element);
let device = null;

/** Runs one action with the buttons off; what goes wrong is shown where the action reports. */
async function busy(status, action) {
  for (const button of [...actions, element('use')]) button.disabled = true;
  try {
    await action();
  } catch (error) {
    status.textContent = error.message;
    status.className = 'fail';
  }
  element('use').disabled = false;
  for (const button of actions) button.disabled = device === null;
}

/** Lets the browser draw. */
const frame = () => new Promise((resolve) => setTimeout(resolve, 0));

function addRow(table, cells, className) {
  const row = element(table).tBodies[0].insertRow();
  for (const text of cells) row.insertCell().textContent = text;
  row.className = className ?? '';
}

element('use').addEventListener('click', () =>
  busy(element('chosen'), async () => {
    element('chosen').className = '';
    element('chosen').textContent = 'Asking …';
    const answer = await init({ device: element('device').value });
    device = answer.device;
    element('chosen').textContent = `${answer.device}: ${answer.description}. Why: ${answer.reason}.`;
  }),
);

element('check').addEventListener('click', () =>
  busy(element('check-status'), async () => {
    const status = element('check-status');
    element('check-table').tBodies[0].replaceChildren();
    const cases = conformanceCases({ seeds: 3, quick: true });
    const counts = { pass: 0, fail: 0 };
    for (const { group, name, run } of cases) {
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
  busy(element('bench-status'), async () => {
    const status = element('bench-status');
    status.className = '';
    for (const work of works()) {
      status.textContent = `${work.name} …`;
      await frame();
      const { median, least } = await measure(work);
      addRow('bench-table', [work.name, device, median.toFixed(2), least.toFixed(2), work.rate?.(median) ?? '']);
    }
    status.textContent = 'done';
  }),
);

element('train').addEventListener('click', () =>
  busy(element('train-status'), async () => {
    const status = element('train-status');
    status.className = '';
    status.textContent = 'Fetching the drawings …';
    window.trainingLosses = undefined;
    const asked = new URLSearchParams(location.search);
    const [steps, pairs] = [Number(asked.get('steps') ?? 300), Number(asked.get('pairs') ?? 32)];
    const training = await Training.create({ device, pairs });
    const curve = lossCurve(element('curve'));
    status.textContent = 'First step, for which a GPU compiles its kernels …';
    await frame();
    const start = performance.now();
    for (let step = 1; step <= steps; step++) {
      const { loss, found } = await training.step(step, { retrieve: step > 0.8 * steps });
      curve.add(step, loss);
      const rate = (step * pairs * 1000) / (performance.now() - start);
      status.textContent = `step ${step} of ${steps} on ${device}: loss ${loss.toFixed(4)}, ${found} of ${pairs} names found, ${rate.toFixed(0)} pairs/s`;
      await frame();
    }
    window.trainingLosses = curve.losses;
  }),
);
