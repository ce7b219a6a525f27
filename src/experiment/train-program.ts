/** `hopgrad train` as the program of an experiment. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readJson } from '../formats/files.js';
import type { EmojiResults } from '../train/evaluate.js';
import { readRecord } from '../train/record.js';
import { RunFolder, resultsFile } from '../train/run-folder.js';
import { scalarsOf } from '../train/tensorboard.js';
import { type EvaluationRow, validationScalars } from '../train/validate.js';
import type { Program } from './execute.js';
import type { Outcome } from './results.js';

const mean = (numbers: readonly number[]) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;

/** What the last validation says: the budget is equal, so no epoch is chosen. */
function validationNumbers(row: EvaluationRow): Record<string, number> {
  const scalars = Object.entries(validationScalars(row)).map(
    ([key, value]) => [key.replace(/^val\//, ''), value] as const,
  );
  return Object.fromEntries(scalars.filter(([key]) => !['step', 'epoch', 'seconds'].includes(key)));
}

/** What the test sets of the embedded data say, under the names that validations have, and whole. */
function testNumbers({ retrieval, zeroShot }: EmojiResults): Record<string, number> {
  const found: Record<string, number> = {};
  const byNames = retrieval.filter(({ captions }) => captions === 'names');
  const recalls = (ks: readonly number[]) =>
    mean(
      byNames.flatMap(({ trained }) =>
        ks.flatMap((k) => [trained.imageToText.recall[k]!, trained.textToImage.recall[k]!]),
      ),
    );
  Object.assign(found, { meanRecall: recalls([1, 5, 10]), recallAt1: recalls([1]) });
  if (zeroShot.length > 0) found.zeroShot = mean(zeroShot.map(({ accuracy }) => accuracy[1]!));
  for (const { set, captions, trained, retrieved, neighbours, pixels, hog } of retrieval) {
    const added = { ...(retrieved && { retrieved }), ...(hog && { hog }) }; // since some version
    Object.assign(found, scalarsOf(`${set}/${captions}`, { trained, neighbours, pixels, ...added }));
  }
  for (const { set, accuracy } of zeroShot) Object.assign(found, scalarsOf(`${set}/zeroShot`, accuracy));
  return found;
}

/** All numbers of a finished training, by name. */
export function trainNumbers(path: string): Record<string, number> {
  const results = readJson('experiment', join(path, resultsFile), 2 ** 24) as Partial<EmojiResults>;
  const last = new RunFolder(path).evaluations().at(-1);
  return {
    ...(results.retrieval && results.zeroShot && testNumbers(results as EmojiResults)),
    ...(last && validationNumbers(last)),
  };
}

/** Seconds that the steps of a run took. */
function secondsOf(path: string): number {
  const lines = readFileSync(join(path, 'log.jsonl'), 'utf8').split('\n').filter(Boolean);
  return lines.reduce((sum, line) => sum + ((JSON.parse(line) as { seconds?: number }).seconds ?? 0), 0);
}

function outcome(path: string): Exclude<Outcome, { status: 'failed' }> {
  if (existsSync(join(path, resultsFile)))
    return { status: 'finished', metrics: trainNumbers(path), seconds: Math.round(secondsOf(path)) };
  const record = join(path, 'manifest.json');
  if (existsSync(join(path, 'not-finite')) && existsSync(record) && readRecord(record).settings.onNan === 'stop')
    return { status: 'diverged', reason: `a loss or gradient that is not finite, kept in ${join(path, 'not-finite')}` };
  return { status: 'to do' };
}

/**
 * @param main  the command's own file
 * @param check what refuses options before the first run
 * @param flags that change no number, such as --threads
 */
export function trainProgram(main: string, check: Program['check'], logs: string, flags: readonly string[]): Program {
  return {
    check,
    outcome,
    words({ name, folder, optionsFile }) {
      const begun = existsSync(join(folder, 'manifest.json'));
      const own = begun ? ['--resume', folder] : ['--config', optionsFile, '--name', name, '--logs', logs];
      return [process.execPath, main, 'train', ...own, ...flags];
    },
  };
}

/**
 * Any program that is called with `--options FILE --out FOLDER`, and writes FOLDER/results.json: `{ "metrics": { name: number } }`, or
 * `{ "diverged": "why" }`.
 */
export function ownProgram(command: readonly string[]): Program {
  return {
    check() {},
    outcome(path) {
      const file = join(path, resultsFile);
      if (!existsSync(file)) return { status: 'to do' };
      const {
        metrics,
        diverged,
        seconds = null,
      } = readJson('experiment', file, 2 ** 24) as {
        metrics?: Record<string, number>;
        diverged?: string;
        seconds?: number | null;
      };
      if (diverged !== undefined) return { status: 'diverged', reason: diverged };
      return { status: 'finished', metrics: metrics ?? {}, seconds };
    },
    words: ({ folder, optionsFile }) => [...command, '--options', optionsFile, '--out', folder],
  };
}
