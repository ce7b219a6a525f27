/** Time until a fresh process has imported hopgrad, chosen a device and computed something. */
import { execFileSync } from 'node:child_process';
import { median } from './median.js';

const script = `
const start = performance.now();
const { init, tensor } = await import(process.argv[1]);
await init(JSON.parse(process.argv[2]));
const ready = performance.now();
await tensor([1, 2]).add(1).data();
console.log(JSON.stringify({ ready: ready - start, first: performance.now() - ready }));
`;

export interface StartUp {
  /** import and init(), milliseconds. */
  ready: number;
  /** The first operation after it, and reading its result. */
  first: number;
  /** The whole process less one that does nothing. */
  process: number;
}

function timed(args: readonly string[]): { milliseconds: number; output: string } {
  const start = performance.now();
  const output = execFileSync(process.execPath, args, { encoding: 'utf8' });
  return { milliseconds: performance.now() - start, output };
}

/** Medians of several fresh processes; `options` go to init(). */
export function measureStartUp(options: { device?: string } = {}, runs = 9): StartUp {
  const url = import.meta.resolve('hopgrad');
  const samples = Array.from({ length: runs }, () => {
    const empty = timed(['-e', '']);
    const full = timed(['--input-type=module', '-e', script, url, JSON.stringify(options)]);
    return { ...(JSON.parse(full.output) as StartUp), process: full.milliseconds - empty.milliseconds };
  });
  const of = (key: keyof StartUp) => median(samples.map((sample) => sample[key]));
  return { ready: of('ready'), first: of('first'), process: of('process') };
}
