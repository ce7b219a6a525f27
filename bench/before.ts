/**
 * `npm run bench:before -- --dist FOLDER [--name COMMIT] [--write]`: the kernels of this build beside those of another one (the folder `dist` of
 * an older checkout), by turns in one process, so that a busy machine is busy for both. HOPGRAD_THREADS and HOPGRAD_RELAXED hold for both.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type * as Hopgrad from 'hopgrad';
import type { Tensor } from 'hopgrad';
import type * as Nn from 'hopgrad/nn';
import { table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: {
    dist: { type: 'string' },
    name: { type: 'string', default: 'before' },
    only: { type: 'string', default: '' },
    write: { type: 'boolean', default: false },
  },
});
if (!options.dist) throw new Error('--dist FOLDER: the folder dist of the build to compare with');

interface Build {
  hopgrad: typeof Hopgrad;
  nn: typeof Nn;
}
const builds: Build[] = [];
for (const dist of [resolve(options.dist), resolve('dist')]) {
  const hopgrad = (await import(`${dist}/index.js`)) as typeof Hopgrad;
  await hopgrad.init({ device: 'wasm' });
  builds.push({ hopgrad, nn: (await import(`${dist}/nn/index.js`)) as typeof Nn });
}

const side = 256;
type Case = (build: Build) => () => unknown;
const forward =
  (f: (x: Tensor, y: Tensor) => Tensor): Case =>
  ({ hopgrad: { randn } }) => {
    const [x, y] = [randn([side, side], { seed: 1 }), randn([side, side], { seed: 2 })];
    return () => f(x, y);
  };
/** Forward and the gradients of two inputs. */
const backward =
  (f: (x: Tensor, y: Tensor) => Tensor): Case =>
  ({ hopgrad: { randn, ones } }) => {
    const [x, y] = [1, 2].map((seed) => randn([side, side], { seed, requiresGrad: true })) as [Tensor, Tensor];
    const cotangent = ones(f(x, y).shape);
    return () => {
      f(x, y).backward(cotangent);
      for (const input of [x, y]) {
        input.grad?.dispose();
        input.grad = null;
      }
    };
  };
const batchNorm =
  (shape: number[]): Case =>
  ({ hopgrad: { randn }, nn: { BatchNorm2d } }) => {
    const layer = new BatchNorm2d(shape[1]!);
    const x = randn(shape);
    return () => layer.forward(x);
  };

const cases: Record<string, Case> = {
  add: forward((x, y) => x.add(y)),
  'add, both gradients': backward((x, y) => x.add(y)),
  relu: forward((x) => x.relu()),
  exp: forward((x) => x.exp()),
  log: forward((x) => x.log()),
  tanh: forward((x) => x.tanh()),
  sigmoid: forward((x) => x.sigmoid()),
  erf: forward((x) => x.erf()),
  gelu: forward((x) => x.gelu()),
  'gelu and gradient': backward((x) => x.gelu()),
  quickGelu: forward((x) => x.quickGelu()),
  'quickGelu and gradient': backward((x) => x.quickGelu()),
  softmax: forward((x) => x.softmax()),
  'softmax and gradient': backward((x) => x.softmax()),
  'logSoftmax and gradient': backward((x) => x.logSoftmax()),
  logSumExp: forward((x) => x.logSumExp({ axis: 1 })),
  'logSumExp and gradient': backward((x) => x.logSumExp({ axis: 1 })),
  'layer norm': forward((x) => x.layerNorm()),
  'layer norm and gradient': backward((x) => x.layerNorm()),
  'batch norm [16, 16, 16, 16]': batchNorm([16, 16, 16, 16]),
  'batch norm [128, 128, 2, 2]': batchNorm([128, 128, 2, 2]),
  AdamW({ hopgrad: { randn }, nn: { AdamW } }) {
    const parameter = randn([side * side], { requiresGrad: true });
    parameter.grad = randn([side * side]);
    const adamW = new AdamW([parameter]);
    return () => adamW.step();
  },
};

/** Nanoseconds an element: the tenth percentile of sixty rounds of about a millisecond, which others on the machine disturb least. */
function measure(make: Case): number[] {
  const runs = builds.map((build) => {
    const run = make(build);
    return () => build.hopgrad.scoped(() => void run());
  });
  const time = (run: () => void, repeats: number) => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) run();
    return (performance.now() - start) / repeats;
  };
  const repeats = runs.map((run) => Math.ceil(1 / time(run, 200))); // compiled and warm after these
  const times = runs.map((): number[] => []);
  for (let round = 0; round < 60; round++)
    for (const [k, run] of runs.entries()) times[k]!.push(time(run, repeats[k]!));
  return times.map((all) => (1e6 * all.sort((a, b) => a - b)[6]!) / side ** 2);
}

const rows = Object.entries(cases)
  .filter(([name]) => name.includes(options.only))
  .map(([name, make]) => {
    const [before, after] = measure(make) as [number, number];
    return [name, before.toFixed(2), after.toFixed(2), `${(before / after).toFixed(1)}×`];
  });
const text = [
  `65,536 numbers, [256, 256] where nothing else is said. Device: ${builds[1]!.hopgrad.device().description}.`,
  table(['ns an element', options.name, 'now', 'faster'], rows),
].join('\n\n');
console.log(text);
if (options.write) writeSection('before', text);
