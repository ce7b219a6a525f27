/** An experiment as it is asked for, in a file, and the runs that it stands for. */
import { basename, extname } from 'node:path';
import * as v from 'valibot';
import { printable, UsageError } from '../tensor/errors.js';

/** Options by name, as the file has them. */
export type Values = Record<string, unknown>;

const values = v.record(v.string(), v.unknown());
const named = v.pipe(
  v.record(v.string(), v.nullable(values)),
  v.check((found) => Object.keys(found).length > 0, 'expected at least one'),
  v.transform((found) => Object.fromEntries(Object.entries(found).map(([name, own]) => [name, own ?? {}]))),
);
const axes = v.pipe(
  v.record(v.string(), v.pipe(v.array(v.unknown()), v.minLength(1, 'expected at least one value'))),
  v.check((found) => Object.keys(found).length > 0, 'expected an option with a list of values'),
);
const seeds = v.pipe(
  v.array(v.pipe(v.number(), v.safeInteger(), v.minValue(0))),
  v.minLength(1, 'expected at least one'),
  v.check((list) => new Set(list).size === list.length, 'expected different ones'),
);

const schema = v.strictObject({
  /** What it asks, for the head of the tables. */
  title: v.optional(v.string()),
  /** A program of one's own instead of `hopgrad train`; docs/experiments.md has what is expected of it. */
  command: v.optional(v.pipe(v.array(v.string()), v.minLength(1))),
  /** What all runs have. */
  options: v.optional(values, {}),
  /** What is compared; each has the same budget. */
  methods: v.optional(named, { '': {} }),
  /** Where it is compared. */
  settings: v.optional(named, { '': {} }),
  /** Options with lists of values; all combinations are settings. */
  grid: v.optional(axes),
  seeds: v.optional(seeds, [1]),
  /** Options that each method, in each setting, gets by what validation says of them. */
  tune: v.optional(
    v.strictObject({
      over: axes,
      /** What the runs of this stage have otherwise: the data to choose by. */
      options: v.optional(values, {}),
      seeds: v.optional(seeds, [1]),
      metric: v.optional(v.string(), 'meanRecall'),
      /** Whether less is better. */
      least: v.optional(v.boolean(), false),
      /** The one setting to choose in, for all; default: each for itself. */
      setting: v.optional(v.string()),
    }),
  ),
  /** Numbers that tables and figures show. */
  metrics: v.optional(v.pipe(v.array(v.string()), v.minLength(1))),
  /** The method that others are compared with; default: each with each. */
  baseline: v.optional(v.string()),
});

export type ExperimentFile = v.InferOutput<typeof schema>;

/** Where a run stands in the grid. */
export interface Cell {
  method: string;
  setting: string;
}

export interface PlannedRun extends Cell {
  /** Also the name of its folder. */
  name: string;
  stage: 'tune' | 'main';
  seed: number;
  /** The values that are tried, or were chosen. */
  tuned: Values;
  /** All that it is given. */
  options: Values;
}

/** "batchSize" of "batch-size", "--batch_size" and "batchSize". */
export const camel = (key: string) =>
  key.replace(/^--/, '').replace(/[-_]+(\w)/g, (_, letter: string) => letter.toUpperCase());

/** What methods must have alike for a comparison to be one: it belongs to the settings. */
const budget = new Set(
  ['epochs', 'steps', 'batch-size', 'accum-freq', 'train-data', 'val-data', 'validation', 'train-num-samples']
    .concat(['train-data-upsampling-factors', 'image-size', 'context-length', 'seed', 'name', 'logs'])
    .map(camel),
);

/** A file's content, checked. @throws UsageError that lists every mistake */
export function checkExperiment(value: unknown, path: string): ExperimentFile {
  const { success, output, issues } = v.safeParse(schema, value);
  const mistakes = success
    ? contentMistakes(output)
    : issues.map((issue) => `${printable(v.getDotPath(issue) ?? 'the file')}: ${issue.message}`);
  if (success && mistakes.length === 0) return output;
  throw new UsageError('experiment', {
    received: `${path}: ${mistakes.join('; ')}`,
    expected: 'an experiment as docs/experiments.md describes it',
  });
}

function contentMistakes({ options, methods, settings, grid, tune, baseline }: ExperimentFile): string[] {
  const mistakes: string[] = [];
  const refuse = (where: string, own: Values, keys: (key: string) => boolean, why: string) => {
    for (const key of Object.keys(own)) if (keys(camel(key))) mistakes.push(`${where}: ${printable(key)}: ${why}`);
  };
  for (const [name, own] of Object.entries(methods))
    refuse(`methods.${name}`, own, (key) => budget.has(key), 'methods have equal budgets: this belongs to a setting');
  const fixed = (key: string) => ['seed', 'name', 'logs', 'resume', 'overwrite'].includes(key);
  for (const [where, own] of [['options', options] as const, ...Object.entries(settings)])
    refuse(where, own, fixed, 'the experiment gives this to each run');
  if (baseline !== undefined && !(baseline in methods))
    mistakes.push(`baseline: ${printable(baseline)}, expected one of ${Object.keys(methods).join(', ')}`);
  if (grid && Object.keys(settings).join() !== '') mistakes.push('grid beside settings: expected one of them');
  const all = Object.keys(settingsOf({ settings, grid }));
  if (tune?.setting !== undefined && !all.includes(tune.setting))
    mistakes.push(`tune.setting: ${printable(tune.setting)}, expected one of ${all.join(', ')}`);
  return mistakes;
}

/** All combinations of the values of some options. */
export function combinations(over: Record<string, readonly unknown[]>): Values[] {
  return Object.entries(over).reduce<Values[]>(
    (found, [key, list]) => found.flatMap((before) => list.map((value) => ({ ...before, [key]: value }))),
    [{}],
  );
}

const told = (value: unknown) => (typeof value === 'object' ? JSON.stringify(value) : String(value));
/** "lr 0.001, wd 0.1" */
export const valuesText = (own: Values) =>
  Object.entries(own)
    .map(([key, value]) => `${key} ${told(value)}`)
    .join(', ');

/** The settings by name, those of a grid named by their values. */
export function settingsOf({ settings, grid }: Pick<ExperimentFile, 'settings' | 'grid'>): Record<string, Values> {
  if (!grid) return settings;
  return Object.fromEntries(combinations(grid).map((own) => [valuesText(own), own]));
}

/** A text as part of a file's name. */
const slug = (text: string) =>
  text
    .normalize('NFKD')
    .replace(/[^A-Za-z0-9.+=]+/g, '-')
    .replace(/^[-.]+|[-.]+$/g, '');

const nameOf = (...parts: string[]) => parts.map(slug).filter(Boolean).join('-');

/** Every cell of the grid, settings outermost. */
export function cellsOf(file: ExperimentFile): Cell[] {
  return Object.keys(settingsOf(file)).flatMap((setting) =>
    Object.keys(file.methods).map((method) => ({ method, setting })),
  );
}

const optionsOf = (file: ExperimentFile, { method, setting }: Cell): Values =>
  merged(file.options, settingsOf(file)[setting]!, file.methods[method]!);

/** Later ones win, however a name is written. */
function merged(...parts: Values[]): Values {
  const found = new Map<string, [string, unknown]>();
  for (const part of parts) for (const [key, value] of Object.entries(part)) found.set(camel(key), [key, value]);
  return Object.fromEntries(found.values());
}

/** The runs that values are chosen by; none where nothing is tuned. Seeds outermost: what there is first is a comparison. */
export function tuningRuns(file: ExperimentFile): PlannedRun[] {
  const { tune } = file;
  if (!tune) return [];
  const cells = cellsOf(file).filter(({ setting }) => tune.setting === undefined || setting === tune.setting);
  return unique(
    tune.seeds.flatMap((seed) =>
      cells.flatMap((cell) =>
        combinations(tune.over).map(
          (tuned): PlannedRun => ({
            name: nameOf('tune', cell.method, cell.setting, valuesText(tuned), `seed${seed}`),
            stage: 'tune',
            ...cell,
            seed,
            tuned,
            options: { ...merged(optionsOf(file, cell), tuned, tune.options), seed },
          }),
        ),
      ),
    ),
  );
}

/** The runs that are compared. @param chosen the values for a cell; null where they are not chosen yet */
export function mainRuns(file: ExperimentFile, chosen: (cell: Cell) => Values | null): PlannedRun[] {
  return unique(
    file.seeds.flatMap((seed) =>
      cellsOf(file).flatMap((cell) => {
        const tuned = chosen(cell);
        if (!tuned) return [];
        const name = nameOf(cell.method, cell.setting, `seed${seed}`);
        return [
          {
            name,
            stage: 'main' as const,
            ...cell,
            seed,
            tuned,
            options: { ...merged(optionsOf(file, cell), tuned), seed },
          },
        ];
      }),
    ),
  );
}

/** @throws UsageError for names that come to the same folder */
function unique(runs: PlannedRun[]): PlannedRun[] {
  const seen = new Map<string, PlannedRun>();
  for (const run of runs) {
    const other = seen.get(run.name.toLowerCase());
    if (other)
      throw new UsageError('experiment', {
        received: `"${other.method} ${other.setting}" and "${run.method} ${run.setting}", whose runs are both called ${run.name}`,
        expected: 'names that differ in letters or digits',
      });
    seen.set(run.name.toLowerCase(), run);
  }
  return runs;
}

/** The name of an experiment: that of its file. */
export const experimentName = (path: string) => basename(path, extname(path));
