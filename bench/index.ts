/**
 * `npm run bench`: medians of every kernel, layer and training step, with the share of what the machine can do.
 * Options: --device NAME (default wasm), --only TEXT (names that contain it), --time MS a case (default 300), --write (into bench/RESULTS.md).
 */
import { parseArgs } from 'node:util';
import { device, type InitOptions, init } from 'hopgrad';
import { Bench } from 'tinybench';
import type { Case } from './case.js';
import { kernelCases } from './kernels.js';
import { modelCases } from './models.js';
import { measurePeak, type Peak } from './peak.js';
import { milliseconds, table, writeSection } from './results.js';
import { smallCases } from './small.js';
import { measureStartUp } from './start-up.js';

const { values: options } = parseArgs({
  options: {
    device: { type: 'string', default: 'wasm' },
    only: { type: 'string', default: '' },
    time: { type: 'string', default: '300' },
    write: { type: 'boolean', default: false },
  },
});

/** Median milliseconds of each case, by name. */
async function measure(cases: readonly Case[]): Promise<Map<string, number>> {
  const bench = new Bench({
    time: Number(options.time),
    iterations: 5,
    warmupTime: 50,
    warmupIterations: 2,
    throws: true,
  });
  for (const { name, run } of cases) bench.add(name, run);
  bench.addEventListener('cycle', ({ task }) => process.stderr.write(`${task?.name}\n`));
  await bench.run();
  return new Map(
    bench.tasks.map((task) => {
      if (task.result.state !== 'completed') throw new Error(`${task.name} ended as ${task.result.state}`);
      return [task.name, task.result.latency.p50];
    }),
  );
}

/** How fast, and which share of the machine's peak that is. */
function rate(work: Case['work'], ms: number, peak: Peak): [string, string] {
  const perSecond = (amount: number) => (1000 * amount) / ms;
  const share = (value: number, most: number) => `${((100 * value) / most).toFixed(0)} %`;
  if (!work) return ['', ''];
  if ('flops' in work) {
    const value = perSecond(work.flops) / 1e9;
    return [`${value.toFixed(1)} GFLOP/s`, share(value, peak.gigaflops)];
  }
  if ('bytes' in work) {
    const value = perSecond(work.bytes) / 1e9;
    return [`${value.toFixed(1)} GB/s`, share(value, peak.gigabytes)];
  }
  return [`${perSecond(work.items).toFixed(0)} ${work.unit}`, ''];
}

async function timesAndRates(cases: readonly Case[], peak: Peak): Promise<string> {
  const medians = await measure(cases);
  const rows = cases.map(({ name, work }) => {
    const ms = medians.get(name)!;
    return [name, milliseconds(ms), ...rate(work, ms, peak)];
  });
  return table(['', 'ms', 'rate', 'of peak'], rows);
}

async function overheads(cases: readonly Case[]): Promise<string> {
  const medians = await measure(cases);
  const rows = cases.map(({ name, repeats = 1 }) => [name, ((1000 * medians.get(name)!) / repeats).toFixed(2)]);
  return table(['ten elements', 'µs an op'], rows);
}

async function main(): Promise<void> {
  const [startUp, searching] = [measureStartUp({ device: options.device }), measureStartUp()];
  const peak = await measurePeak();
  await init({ device: options.device as NonNullable<InitOptions['device']> });
  const wanted = (cases: readonly Case[]) => cases.filter(({ name }) => name.includes(options.only));
  const large = wanted([...kernelCases(), ...modelCases()]);
  const small = wanted(smallCases());
  const parts = [
    `Device: ${device().description}. Peaks on ${peak.threads} thread(s): ${peak.gigaflops.toFixed(0)} GFLOP/s (128-bit ${peak.fused ? 'fused multiply-add' : 'multiply and add'} on registers), ${peak.gigabytes.toFixed(0)} GB/s (copy of 64 MiB, read and written).`,
    'Bytes count every operand once; what fits the caches can pass 100 %.',
    `A fresh process: import and init ${startUp.ready.toFixed(0)} ms, first operation ${startUp.first.toFixed(1)} ms, whole process ${startUp.process.toFixed(0)} ms more than an empty one. With init() choosing the device: ${searching.ready.toFixed(0)} ms.`,
    large.length > 0 ? await timesAndRates(large, peak) : '',
    small.length > 0 ? await overheads(small) : '',
  ];
  const text = parts.filter(Boolean).join('\n\n');
  console.log(text);
  if (options.write) writeSection('kernels', text);
}

await main();
