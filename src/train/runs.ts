/** The runs of a folder side by side, and runs that differ by their seed only as mean and deviation. */
import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { openFile } from '../formats/files.js';
import { HopgradError } from '../tensor/errors.js';
import { type RunRecord, readRecord } from './record.js';
import { RunFolder } from './run-folder.js';
import { bestOfRows, type Scores } from './validate.js';

/** The numbers of a run; null where it has none. */
export interface RunNumbers {
  /** Steps that were logged. */
  step: number | null;
  /** Mean training loss of the last 20 of them. */
  loss: number | null;
  /** The best validation by the run's own metric. */
  valLoss: number | null;
  meanRecall: number | null;
  recallAt1: number | null;
  zeroShot: number | null;
}

export interface RunRow extends RunNumbers {
  run: string;
  /** When it was begun, ISO 8601. */
  began: string;
  method: string;
  model: string;
  seed: number;
}

/** Runs of one kind, at least two. */
export interface SeedGroup {
  runs: string[];
  method: string;
  seeds: number[];
  /** Mean and standard deviation (n − 1) of what all of them have. */
  mean: RunNumbers;
  sd: RunNumbers;
}

export const numberKeys = ['step', 'loss', 'valLoss', 'meanRecall', 'recallAt1', 'zeroShot'] as const;

/**
 * All runs in a folder, the newest first.
 * @param onUnreadable told of folders whose record cannot be read
 */
export function listRuns(logs: string, onUnreadable: (why: string) => void): { row: RunRow; record: RunRecord }[] {
  const folders = (existsSync(logs) ? readdirSync(logs) : []).map((name) => join(logs, name));
  const runs = folders
    .filter((path) => existsSync(join(path, 'manifest.json')))
    .flatMap((path) => {
      try {
        const record = readRecord(join(path, 'manifest.json'));
        return [{ row: rowOf(path, record), record }];
      } catch (error) {
        if (!(error instanceof HopgradError)) throw error;
        onUnreadable(error.message);
        return [];
      }
    });
  return runs.sort((a, b) => (a.row.began < b.row.began ? 1 : -1));
}

function rowOf(path: string, { method, options, settings, sessions }: RunRecord): RunRow {
  const lines = lastLines(join(path, 'log.jsonl'));
  const losses = lines.slice(-20).flatMap(({ loss }) => (typeof loss === 'number' ? loss : []));
  const best: Scores | null = bestOfRows(new RunFolder(path).evaluations(), settings.bestMetric);
  return {
    run: basename(path),
    began: sessions[0]!.date,
    method,
    model: options.model === 'pretrained' ? `from ${basename(options.pretrained!)}` : basename(options.model),
    seed: options.seed,
    step: lines.at(-1)?.step ?? null,
    loss: losses.length > 0 ? mean(losses) : null,
    ...scoresOf(best),
  };
}

/** An epoch of a run, and the validation after it where there was one. */
export interface EpochRow extends Omit<RunNumbers, 'step' | 'loss'> {
  /** From 1. */
  epoch: number;
  /** Its last step so far. */
  step: number;
  /** Mean training loss of its steps; null where all were passed over. */
  loss: number | null;
  /** Learning rate of its last step. */
  lr: number | null;
  /** Of training. */
  seconds: number;
  /** Whether its validation is the best by the run's metric. */
  best: boolean;
}

/** The whole lines of a run's log.jsonl, one at a time. */
export async function* logLines(path: string): AsyncGenerator<LogLine> {
  const log = join(path, 'log.jsonl');
  if (!existsSync(log)) return;
  for await (const text of createInterface({ input: createReadStream(log) })) {
    const line = parsedLine(text);
    if (line) yield line;
  }
}

/** What a run came to, epoch by epoch. @throws DataError, CheckpointError when there is no run in the folder */
export async function listEpochs(path: string): Promise<{ record: RunRecord; epochs: EpochRow[] }> {
  const record = readRecord(join(path, 'manifest.json'));
  const found = new Map<number, { step: number; losses: number[]; lr: number | null; seconds: number }>();
  for await (const line of logLines(path)) {
    if (typeof line.epoch !== 'number') continue;
    const own = found.get(line.epoch) ?? { step: 0, losses: [], lr: null, seconds: 0 };
    found.set(line.epoch, own);
    own.step = line.step;
    if (typeof line.loss === 'number') own.losses.push(line.loss);
    if (typeof line.lr === 'number') own.lr = line.lr;
    if (typeof line.seconds === 'number') own.seconds += line.seconds;
  }
  const validations = new RunFolder(path).evaluations();
  const best = bestOfRows(validations, record.settings.bestMetric);
  const epochs = [...found].map(([done, { losses, ...own }]): EpochRow => {
    const epoch = done + 1;
    const validation = validations.findLast((row) => row.epoch === epoch);
    return {
      epoch,
      ...own,
      loss: losses.length > 0 ? mean(losses) : null,
      ...scoresOf(validation ?? null),
      best: validation !== undefined && validation === best,
    };
  });
  return { record, epochs };
}

const scoresOf = (scores: Scores | null) => ({
  valLoss: scores?.loss ?? null,
  meanRecall: scores?.meanRecall ?? null,
  recallAt1: scores?.recallAt1 ?? null,
  zeroShot: scores?.zeroShot ?? null,
});

export interface LogLine {
  step: number;
  [key: string]: unknown;
}

/** A line of a log; null for one that was cut off, by a limit or a crash. */
function parsedLine(text: string): LogLine | null {
  try {
    const value = JSON.parse(text);
    return typeof value?.step === 'number' ? value : null;
  } catch {
    return null;
  }
}

/** The whole lines in the last 64 KiB of a log. */
function lastLines(path: string): LogLine[] {
  if (!existsSync(path)) return [];
  const file = openFile('runs', path);
  try {
    const from = Math.max(0, file.size - 2 ** 16);
    const lines = new TextDecoder().decode(file.read(from, file.size - from)).split('\n');
    return lines.flatMap((line) => parsedLine(line) ?? []);
  } finally {
    file.close();
  }
}

const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const deviation = (numbers: readonly number[]) => {
  const middle = mean(numbers);
  return Math.sqrt(numbers.reduce((sum, x) => sum + (x - middle) ** 2, 0) / (numbers.length - 1));
};

/** Groups of runs with the same data and options but for the seed. */
export function seedGroups(runs: readonly { row: RunRow; record: RunRecord }[]): SeedGroup[] {
  const groups = new Map<string, RunRow[]>();
  for (const { row, record } of runs) {
    const { seed: _, ...options } = record.options;
    const { train, val } = record.data;
    const sorted = Object.entries(options).sort(([a], [b]) => (a < b ? -1 : 1));
    const kind = JSON.stringify([sorted, train.digest, train.columns, val?.digest]);
    groups.set(kind, [...(groups.get(kind) ?? []), row]);
  }
  return [...groups.values()]
    .filter((rows) => new Set(rows.map(({ seed }) => seed)).size > 1)
    .map((rows) => {
      const over = (how: (numbers: number[]) => number) =>
        Object.fromEntries(
          numberKeys.map((key) => {
            const values = rows.flatMap((row) => row[key] ?? []);
            return [key, values.length === rows.length ? how(values) : null];
          }),
        ) as unknown as RunNumbers;
      return {
        runs: rows.map(({ run }) => run),
        method: rows[0]!.method,
        seeds: rows.map(({ seed }) => seed),
        mean: over(mean),
        sd: over(deviation),
      };
    });
}
