/**
 * `npm run bench:ranks`: what ranks cost on this machine, and a model of what they would gain on several.
 *
 * Collectives and training steps are measured in processes (or threads) of their own that take turns; medians over all of them.
 * Options: --rounds N (default 3), --write.
 */
import { spawnSync } from 'node:child_process';
import { loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { median } from './median.js';
import type { Samples, Task } from './rank.js';
import { milliseconds, table, writeSection } from './results.js';
import { cores, type Local, networks, paysUpTo, rankCounts, stepSeconds, works } from './scaling.js';

const { values: options } = parseArgs({
  options: { rounds: { type: 'string', default: '3' }, write: { type: 'boolean', default: false } },
});
const rounds = Number(options.rounds);
const program = fileURLToPath(new URL('./rank.js', import.meta.url));

const launchers = {
  'one process': () => [],
  'Open MPI': (ranks: number) => ['mpirun.openmpi', '--oversubscribe', '--bind-to', 'none', '-n', `${ranks}`],
  MPICH: (ranks: number) => ['mpirun.mpich', '-n', `${ranks}`],
  threads: () => [],
} as const;
type Launcher = keyof typeof launchers;

/** Runs one task on so many ranks; adds to `samples` what rank 0 found. */
function measure(samples: Samples, launcher: Launcher, ranks: number, task: Task): void {
  const words = [...launchers[launcher](ranks), process.execPath, program, JSON.stringify(task)];
  if (launcher === 'threads') words.push(`${ranks}`);
  const env = { ...process.env, OMPI_ALLOW_RUN_AS_ROOT: '1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: '1' };
  const { stdout, stderr, status } = spawnSync(words[0]!, words.slice(1), { encoding: 'utf8', env });
  if (status !== 0) throw new Error(`${words.join(' ')}: ${stderr}`);
  const found: Samples = JSON.parse(stdout.trim().split('\n').at(-1)!).samples;
  for (const [name, seconds] of Object.entries(found)) (samples[name] ??= []).push(...seconds);
}

const sizes = [4096, 2 ** 18, 2 ** 22, 2 ** 24];
const meetings: readonly [Launcher, number][] = [
  ['Open MPI', 2],
  ['MPICH', 2],
  ['threads', 2],
  ['Open MPI', 4],
];
const models = ['emoji-resnet', 'emoji-vit'] as const;
const pairs = 128;
const trainings: readonly {
  name: string;
  launcher: Launcher;
  ranks: number;
  threads: number;
  deterministic: boolean;
  pairs: number;
}[] = [
  { name: 'one process, 2 threads', launcher: 'one process', ranks: 1, threads: 2, deterministic: true, pairs },
  {
    name: 'one process, 1 thread, half the pairs',
    launcher: 'one process',
    ranks: 1,
    threads: 1,
    deterministic: true,
    pairs: pairs / 2,
  },
  { name: 'Open MPI, 2 ranks', launcher: 'Open MPI', ranks: 2, threads: 1, deterministic: true, pairs },
  {
    name: 'Open MPI, 2 ranks, `--no-deterministic`',
    launcher: 'Open MPI',
    ranks: 2,
    threads: 1,
    deterministic: false,
    pairs,
  },
  { name: 'MPICH, 2 ranks', launcher: 'MPICH', ranks: 2, threads: 1, deterministic: true, pairs },
];

const load = loadavg()[0]!.toFixed(1);
const collectives = meetings.map((): Samples => ({}));
const steps = models.map(() => trainings.map((): Samples => ({})));
for (let round = 0; round < rounds; round++) {
  for (const [i, [launcher, ranks]] of meetings.entries())
    measure(collectives[i]!, launcher, ranks, { kind: 'collectives', sizes, repeats: 7 });
  for (const [m, model] of models.entries())
    for (const [i, { launcher, ranks, name: _, ...rest }] of trainings.entries())
      measure(steps[m]![i]!, launcher, ranks, { kind: 'steps', model, steps: 5, ...rest });
  process.stderr.write(`round ${round + 1} of ${rounds}\n`);
}

const inMs = (seconds: readonly number[]) => milliseconds(1000 * median(seconds));
const size = (bytes: number) => (bytes < 2 ** 20 ? `${bytes / 1024} KiB` : `${bytes / 2 ** 20} MiB`);
const collectiveRows = meetings.flatMap(([launcher, ranks], i) =>
  sizes.map((bytes) => [
    `${launcher}, ${ranks} ranks, ${size(bytes)}`,
    ...['gather', 'sum', 'unordered'].flatMap((what) =>
      ['', ' processor'].map((kind) => inMs(collectives[i]![`${what} ${bytes}${kind}`]!)),
    ),
  ]),
);
const stepRows = models.flatMap((model, m) =>
  trainings.map(({ name }, i) => {
    const own = steps[m]![i]!;
    const whole = median(steps[m]![0]!.step!);
    const share = name.includes('half') ? '' : (whole / median(own.step!)).toFixed(2);
    const parts = ['step', 'processor', 'forward', 'backward', 'update', 'sumGradients', 'transport'];
    return [`${model}, ${name}`, ...parts.map((part) => inMs(own[part]!)), share];
  }),
);

const largest = sizes.at(-1)!;
const local: Local = {
  secondsPerByte: median(collectives[0]![`sum ${largest} processor`]!) / largest,
  secondsPerParameter: 0.8e-9, // `npm run bench`: AdamW, 4 M parameters in 3.2 ms
};
const batch = 512;
const modelRows = works.flatMap((work) =>
  cores.flatMap((own) =>
    networks.map((network) => {
      const seconds = rankCounts.map((ranks) => stepSeconds(work, network, local, { pairs: batch, cores: own, ranks }));
      const told = seconds.map((time, i) => {
        const share = (seconds[0]! / time / rankCounts[i]!).toFixed(2);
        return `${time.toFixed(time < 10 ? 1 : 0)} (${share})`;
      });
      return [`${work.model}, ${own} cores, ${network.name}`, ...told, String(paysUpTo(seconds))];
    }),
  ),
);

const text = `Medians over ${rounds} rounds in which all take turns; load of the machine at the start: ${load}. Milliseconds; with more ranks than cores these share them.

Collectives over float32 data of a size, copies from and to the device included, and processor time (CPU) of rank 0, of threads of all ranks. Gathered: a
part of the data from each rank. In order: sums as \`--deterministic\` makes them; unordered: by MPI, or by each thread for itself.

${table(['ranks, data', 'gathered', 'CPU', 'summed in order', 'CPU', 'unordered', 'CPU'], collectiveRows)}

Training steps of ${pairs} pairs, CLOOB with AdamW: the whole, processor time of a rank with all its threads (drawing the random batch
included), phases, and what of backward goes into the sum of gradients, and of all into the transport, waiting for the others included.

${table(['training', 'step', 'processor', 'forward', 'backward', 'update', 'sum', 'transport', 'speed'], stepRows)}

A model, not a measurement: seconds a step of ${batch} pairs, and in brackets the share of the perfect speed, a rank to a machine. Assumed:
${works.map(({ model, pairsPerSecond, parameters }) => `${model} of ${(parameters / 1e6).toFixed(0)} M parameters at ${pairsPerSecond} pairs/s on two cores (table of large batches)`).join(', ')},
${cores[1]} cores ${cores[1] / cores[0]} times as fast, the batch divided evenly; AdamW takes ${local.secondsPerParameter * 1e9} ns a parameter on every rank; a sum costs
${(local.secondsPerByte * 2 ** 30).toFixed(1)} s a GiB besides the network (processor time, the table above), which carries nine tenths of its rate, all links at once, and each message of a
collective takes its latency; nothing overlaps; reading the data keeps up. It pays while twice as many ranks do at least 1.5 times as much.

${table(['model, network', ...rankCounts.map(String), 'pays up to'], modelRows)}`;
console.log(text);
if (options.write) writeSection('ranks', text);
