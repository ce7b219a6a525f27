/** Trainings in the small world: a learning rate chosen for each method, several seeds of each, and what these come to. */
import { init } from 'hopgrad';
import { meanInterval } from '#src/evaluate/student.js';
import { live, type Measures, type WorldOptions } from './world.js';

export type Given = Partial<WorldOptions>;

/** How much is trained: everything for a chapter, little to see that its program works. */
export interface Budget {
  steps: number;
  seeds: readonly number[];
  /** Learning rates to choose from. */
  rates: readonly number[];
}

export const full: Budget = { steps: 600, seeds: [1, 2, 3, 4, 5], rates: [3e-4, 1e-3, 3e-3, 1e-2] };
/** In none of the main runs. */
const tuningSeed = 101;

/** One thread: layers of this size are done before others wake. */
export const begin = () => init({ device: 'wasm', threads: 1 });

/** The measures of each seed. */
export async function trials(given: Given, { steps, seeds }: Budget): Promise<Measures[]> {
  const runs: Measures[] = [];
  for (const seed of seeds) runs.push(await live({ steps, ...given, seed }));
  return runs;
}

/** The learning rate with the highest mean reciprocal rank on a seed of its own; trainings that diverge have none. */
export async function chosenRate(given: Given, { steps, rates }: Budget): Promise<number> {
  if (rates.length === 1) return rates[0]!;
  const ranks: number[] = [];
  for (const lr of rates) ranks.push((await live({ steps, ...given, lr, seed: tuningSeed })).mrr ?? -1);
  return rates[ranks.indexOf(Math.max(...ranks))]!;
}

const numbers = (runs: readonly Measures[], name: string, scale: number) => runs.map((run) => scale * run[name]!);
/** A mean with what it is uncertain by, in the same digits after the point. */
function uncertain(mean: number, by: number | null): string {
  const digits = Math.abs(mean) < 1 ? 3 : Math.abs(mean) < 10 ? 2 : 1;
  return `${mean.toFixed(digits).replace('-', '−')} ± ${(by ?? 0).toFixed(digits)}`;
}

export const meanOf = (runs: readonly Measures[], name: string, scale = 1) =>
  meanInterval(numbers(runs, name, scale)).mean;

/** Mean ± standard deviation over the seeds. */
export function spread(runs: readonly Measures[], name: string, scale = 1): string {
  const { mean, sd } = meanInterval(numbers(runs, name, scale));
  return uncertain(mean, sd);
}

/** Runs of the same seeds, each with the factor that it has in a combination of them. */
export type Parts = readonly (readonly [factor: number, runs: readonly Measures[]])[];

/** What a combination comes to, Σ factor · runs: mean and half of Student's 95 % interval. */
export function contrastInterval(parts: Parts, name: string, scale = 1) {
  const own = parts[0]![1].map((_, seed) =>
    parts.reduce((sum, [factor, runs]) => sum + factor * scale * runs[seed]![name]!, 0),
  );
  return meanInterval(own);
}

/** {@link contrastInterval} as a text. */
export function contrast(parts: Parts, name: string, scale = 1): string {
  const { mean, half } = contrastInterval(parts, name, scale);
  return `${mean < 0 ? '' : '+'}${uncertain(mean, half)}`;
}
