/** The record of a run, manifest.json: what was asked, and with what it was done. A copy is in every checkpoint. */
import { existsSync } from 'node:fs';
import * as v from 'valibot';
import type { DataSpec } from '../data/open.js';
import { readJson } from '../formats/files.js';
import { CheckpointError, DataError, printable } from '../tensor/errors.js';
import type { CorpusSpec } from './corpus.js';
import {
  addedOptions,
  defaultSettings,
  optionMistakes,
  type RunSettings,
  settingsTable,
  type TrainOptions,
  tableMistakes,
} from './options.js';

/** Raised when an older program could not read the record. */
const version = 1;

/** A start of the process, the first or one that goes on. */
export interface Session {
  /** ISO 8601. */
  date: string;
  /** As it was typed. */
  command: string;
  /** Steps that were done before. */
  step: number;
  /** Name, and what it said about itself. */
  device: string;
  description: string;
  node: string;
  platform: string;
}

export interface RunRecord {
  format: 'hopgrad run';
  version: typeof version;
  /** Version of the program that began the run. */
  hopgrad: string;
  /** For people. */
  method: string;
  options: TrainOptions;
  data: CorpusSpec;
  /** Digest of the weights of the model that it learns from; runs of earlier programs do not say. */
  teacher?: string | undefined;
  settings: RunSettings;
  sessions: Session[];
}

/** A record that is new. */
export const newRecord = (facts: Omit<RunRecord, 'format' | 'version'>): RunRecord => ({
  format: 'hopgrad run',
  version,
  ...facts,
});

/** A table of options as a schema: every mistake is an issue of its own. Options that an earlier program did not have are `added`. */
const options = (
  mistakes: (values: Record<string, unknown>) => { received: string; expected: string }[],
  added: object,
) =>
  v.pipe(
    v.record(v.string(), v.unknown()),
    v.rawCheck(({ dataset, addIssue }) => {
      if (!dataset.typed) return;
      for (const { received, expected } of mistakes({ ...added, ...dataset.value }))
        addIssue({ message: `${printable(received)}, expected ${expected}` });
    }),
    v.transform((values) => ({ ...added, ...values })),
  );

export const count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

/** A schema for every key of T: the compiler misses the one that is not there. */
type Each<T> = Record<keyof T, v.GenericSchema>;

const columns = v.strictObject({
  separator: v.optional(v.string()),
  imageColumn: v.optional(v.string()),
  captionColumn: v.optional(v.string()),
  quotes: v.optional(v.boolean()),
  encoding: v.optional(v.string()),
  folder: v.optional(v.string()),
} satisfies Each<NonNullable<DataSpec['columns']>>);

const dataSpec = v.strictObject({
  path: v.string(),
  texts: v.optional(v.string()),
  columns: v.optional(columns),
  factors: v.optional(v.array(v.number())),
  classes: v.optional(v.boolean()),
  split: v.optional(v.picklist(['t10k', 'train'])),
  validation: v.optional(v.boolean()),
  samples: v.optional(count),
  limit: v.optional(count),
  digest: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  rows: v.nullable(count),
} satisfies Each<DataSpec>);

const session = v.strictObject({
  date: v.pipe(v.string(), v.isoTimestamp()),
  command: v.string(),
  step: count,
  device: v.string(),
  description: v.string(),
  node: v.string(),
  platform: v.string(),
});

/** What a record must be. */
export const recordSchema = v.strictObject({
  format: v.literal('hopgrad run'),
  version: v.literal(version),
  hopgrad: v.string(),
  method: v.string(),
  options: options(optionMistakes, addedOptions),
  data: v.strictObject({
    train: dataSpec,
    val: v.nullable(dataSpec),
    zeroShot: v.optional(v.nullable(dataSpec)),
  } satisfies Each<CorpusSpec>),
  teacher: v.optional(v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/))),
  settings: options((values) => tableMistakes(settingsTable, values), defaultSettings),
  sessions: v.pipe(v.array(session), v.minLength(1)),
});

/**
 * What a file says, checked.
 * @throws CheckpointError that names the file and lists every mistake, or the newer version that wrote it
 */
export function checked<T>(schema: v.GenericSchema, value: unknown, name: string, newest: number, op = 'resume'): T {
  const found = (value as { version?: unknown } | null)?.version;
  if (typeof found === 'number' && found > newest)
    throw new CheckpointError(op, {
      received: `${name} of version ${found}, by a newer hopgrad`,
      expected: `version ${newest}`,
      hint: 'Install the hopgrad that wrote it.',
    });
  const { success, issues, output } = v.safeParse(schema, value);
  if (success) return output as T;
  const lines = issues.map((issue) => {
    const path = v.getDotPath(issue);
    return `${path ? `${printable(path)}: ` : ''}${issue.message}`;
  });
  throw new CheckpointError(op, {
    received: `${name} with ${issues.length === 1 ? 'a mistake' : `${issues.length} mistakes`}: ${lines.join('; ')}`,
    expected: 'what hopgrad train writes',
  });
}

/** Checks a record. @throws CheckpointError */
export const checkRecord = (value: unknown, name: string) => checked<RunRecord>(recordSchema, value, name, version);

/** Reads manifest.json. @throws CheckpointError, DataError when it is missing or no record */
export function readRecord(path: string): RunRecord {
  if (!existsSync(path))
    throw new DataError('resume', {
      received: `no file ${path}`,
      expected: 'the folder of a run, which has one',
      hint: 'Runs of hopgrad 0.1.0 before there were checkpoint folders cannot be resumed; their weights can be used.',
    });
  const value = readJson('resume', path, 2 ** 26);
  if (typeof value === 'object' && value !== null && !('format' in value) && 'options' in value)
    throw new CheckpointError('resume', {
      received: `${path} of an early hopgrad 0.1.0, which did not record enough to go on`,
      expected: 'a run of this version',
      hint: 'Its model.safetensors can be used by all commands.',
    });
  return checkRecord(value, path);
}
