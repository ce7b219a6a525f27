/** What an experiment came to: one file, from which tables and figures are made. */
import * as v from 'valibot';
import { type MeanInterval, meanInterval } from '../evaluate/student.js';
import { readJson } from '../formats/files.js';
import { checked } from '../train/record.js';
import { type Cell, cellsOf, type ExperimentFile, type Values, valuesText } from './plan.js';

/** Raised when an older program could not read the file. */
const version = 1;
export const resultsFormat = 'hopgrad experiment';

/** How a run ended, or why it did not. */
export type Outcome =
  | { status: 'finished'; metrics: Record<string, number>; seconds: number | null }
  /** Its numbers left the finite ones: the result of a method and its options, not of the machine. */
  | { status: 'diverged'; reason: string }
  | { status: 'failed'; reason: string }
  | { status: 'to do' };

export interface RunResult extends Cell {
  name: string;
  stage: 'tune' | 'main';
  seed: number;
  tuned: Values;
  outcome: Outcome;
}

/** A candidate's mean over seeds; null when it diverged with one of them. */
export interface Choice extends Cell {
  chosen: Values;
  candidates: { values: Values; mean: number | null }[];
  /** Whether the best is the first or last of the values of an option: a better one may lie beyond. */
  atEdge: string[];
}

export interface Results {
  format: typeof resultsFormat;
  version: typeof version;
  name: string;
  title: string;
  date: string;
  /** Names of what is compared, in order. */
  methods: string[];
  settings: string[];
  seeds: number[];
  metrics: string[];
  baseline: string | null;
  tuning: { metric: string; least: boolean; choices: Choice[] } | null;
  runs: RunResult[];
}

const values = v.record(v.string(), v.unknown());
const cell = { method: v.string(), setting: v.string() };
const schema = v.strictObject({
  format: v.literal(resultsFormat),
  version: v.literal(version),
  name: v.string(),
  title: v.string(),
  date: v.pipe(v.string(), v.isoTimestamp()),
  methods: v.array(v.string()),
  settings: v.array(v.string()),
  seeds: v.array(v.number()),
  metrics: v.array(v.string()),
  baseline: v.nullable(v.string()),
  tuning: v.nullable(
    v.strictObject({
      metric: v.string(),
      least: v.boolean(),
      choices: v.array(
        v.strictObject({
          ...cell,
          chosen: values,
          candidates: v.array(v.strictObject({ values, mean: v.nullable(v.number()) })),
          atEdge: v.array(v.string()),
        }),
      ),
    }),
  ),
  runs: v.array(
    v.strictObject({
      ...cell,
      name: v.string(),
      stage: v.picklist(['tune', 'main']),
      seed: v.number(),
      tuned: values,
      outcome: v.variant('status', [
        v.strictObject({
          status: v.literal('finished'),
          metrics: v.record(v.string(), v.number()),
          seconds: v.nullable(v.number()),
        }),
        v.strictObject({ status: v.literal('diverged'), reason: v.string() }),
        v.strictObject({ status: v.literal('failed'), reason: v.string() }),
        v.strictObject({ status: v.literal('to do') }),
      ]),
    }),
  ),
});

/** @throws DataError, CheckpointError for a file that holds no results */
export const readResults = (path: string): Results =>
  checked<Results>(schema, readJson('experiment', path, 2 ** 28), path, version, 'experiment');

/** Results as they are kept. */
export function newResults(
  file: ExperimentFile,
  facts: Pick<Results, 'name' | 'tuning' | 'runs'> & { settings: string[] },
): Results {
  return {
    format: resultsFormat,
    version,
    ...facts,
    title: file.title ?? facts.name,
    date: new Date().toISOString(),
    methods: Object.keys(file.methods),
    seeds: file.seeds,
    metrics: file.metrics ?? defaultMetrics(facts.runs),
    baseline: file.baseline ?? null,
  };
}

const wellKnown = ['meanRecall', 'recallAt1', 'zeroShot'];

/** The numbers that every training with validation or test sets has; else all there are, up to six. */
function defaultMetrics(runs: readonly RunResult[]): string[] {
  const found = new Set(runs.flatMap(({ outcome }) => ('metrics' in outcome ? Object.keys(outcome.metrics) : [])));
  const known = wellKnown.filter((key) => found.has(key));
  return known.length > 0 ? known : [...found].slice(0, 6);
}

/** A finished run's number; null when there is none. */
const numberOf = ({ outcome }: RunResult, metric: string): number | null =>
  outcome.status === 'finished' ? (outcome.metrics[metric] ?? null) : null;

/** One row of the tables: a cell's runs, and what the finished ones of them come to. */
export interface Summary extends Cell {
  /** Of the runs there should be. */
  runs: number;
  /** By metric, the numbers of each seed; null where a run has none. */
  numbers: Record<string, { seed: number; value: number | null }[]>;
  /** By metric; null where no run has the number. */
  intervals: Record<string, MeanInterval | null>;
}

const interval = (numbers: readonly number[]) => (numbers.length > 0 ? meanInterval(numbers) : null);

/** Mean, deviation and interval of every cell. */
export function summaries(results: Results): Summary[] {
  return cells(results).map((cell) => {
    const own = runsOf(results, cell);
    const numbers = Object.fromEntries(
      results.metrics.map((metric) => [
        metric,
        results.seeds.map((seed) => {
          const run = own.find((one) => one.seed === seed);
          return { seed, value: run ? numberOf(run, metric) : null };
        }),
      ]),
    );
    const intervals = Object.fromEntries(
      results.metrics.map((metric) => [metric, interval(numbers[metric]!.flatMap(({ value }) => value ?? []))]),
    );
    return { ...cell, runs: results.seeds.length, numbers, intervals };
  });
}

const cells = ({ methods, settings }: Results): Cell[] =>
  settings.flatMap((setting) => methods.map((method) => ({ method, setting })));
const runsOf = ({ runs }: Results, { method, setting }: Cell) =>
  runs.filter((run) => run.stage === 'main' && run.method === method && run.setting === setting);

/** The difference a − b over the seeds that both have. */
export interface Difference {
  a: Cell;
  b: Cell;
  metric: string;
  /** Of each seed that both have. */
  pairs: number[];
  interval: MeanInterval | null;
}

/** The cell's name in a table or figure where only one of its parts varies. */
export const cellText = ({ method, setting }: Cell) => [method, setting].filter(Boolean).join(', ');

/**
 * Paired differences: methods within a setting, or settings where there is one method only; each with each, or with the baseline.
 * Seeds are the pairs: runs of one seed have the same order of data, and where the models are alike the same first weights.
 */
export function differences(results: Results): Difference[] {
  const { methods, settings, baseline, metrics } = results;
  const groups =
    methods.length > 1
      ? settings.map((setting) => methods.map((method) => ({ method, setting })))
      : [settings.map((setting) => ({ method: methods[0]!, setting }))];
  const all = summaries(results);
  const of = (cell: Cell) => all.find(({ method, setting }) => method === cell.method && setting === cell.setting)!;
  return groups.flatMap((group) =>
    group.flatMap((a, i) =>
      group
        .filter((b, j) => (baseline === null ? j < i : b.method === baseline && a.method !== baseline))
        .flatMap((b) =>
          metrics.map((metric) => {
            const [left, right] = [of(a).numbers[metric]!, of(b).numbers[metric]!];
            const pairs = left.flatMap(({ value }, k) =>
              value !== null && right[k]!.value !== null ? [value - right[k]!.value] : [],
            );
            return { a, b, metric, pairs, interval: interval(pairs) };
          }),
        ),
    ),
  );
}

/**
 * The values that validation prefers for each cell that was tuned: the best mean over the seeds of that stage.
 * @returns what is known so far: cells with runs still to do or failed have no choice yet
 */
export function choices(file: ExperimentFile, runs: readonly RunResult[]): Choice[] {
  const { tune } = file;
  if (!tune) return [];
  return cellsOf(file).flatMap((cell): Choice[] => {
    const own = runs.filter((r) => r.stage === 'tune' && r.method === cell.method && r.setting === cell.setting);
    if (own.length === 0 || own.some(({ outcome: { status } }) => status === 'to do' || status === 'failed')) return [];
    const groups = new Map<string, RunResult[]>();
    for (const run of own) groups.set(valuesText(run.tuned), [...(groups.get(valuesText(run.tuned)) ?? []), run]);
    const candidates = [...groups.values()].map((group) => {
      const numbers = group.flatMap((run) => numberOf(run, tune.metric) ?? []);
      const mean = numbers.length === group.length ? meanInterval(numbers).mean : null;
      return { values: group[0]!.tuned, mean };
    });
    const sign = tune.least ? -1 : 1;
    const known = candidates.filter(({ mean }) => mean !== null);
    if (known.length === 0) return [];
    const best = known.reduce((a, b) => (sign * b.mean! > sign * a.mean! ? b : a));
    const atEdge = Object.entries(tune.over)
      .filter(([key, list]) => list.length > 2 && [list[0], list.at(-1)].includes(best.values[key]))
      .map(([key]) => key);
    return [{ ...cell, chosen: best.values, candidates, atEdge }];
  });
}
