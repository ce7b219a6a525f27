/** The folder of a run: its record, a line for every step, checkpoints, results; docs/run-folder.md describes it. */
import {
  appendFileSync,
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { DataError } from '../tensor/errors.js';
import type { EvaluationRow } from './validate.js';

/** What a run leaves besides, by their names in its folder. */
export const [resultsFile, heldOutFile, reportFile] = ['results.json', 'held-out.json', 'report.html'] as const;

/** Makes what was written under a path, and the names in a folder, outlive a power cut. */
export function sync(path: string): void {
  if (process.platform === 'win32' && statSync(path).isDirectory()) return; // Windows has no such call for folders
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Writes a file as a whole: whoever reads it, and whatever happens meanwhile, it is the old one or the new one. */
export function writeWhole(path: string, text: string): void {
  const partial = `${path}.partial`;
  writeFileSync(partial, text);
  sync(partial);
  renameSync(partial, path);
  sync(dirname(path));
}

/** Paths of a run, and the writing of all that is in it but its checkpoints. */
export class RunFolder {
  readonly path: string;
  /** Whether anything is written: of several ranks one does, and the others' calls do nothing. */
  readonly writes: boolean;

  /** The highest of the folders that were made for it. */
  #made: string | null = null;

  /** @throws DataError when the folder cannot be made */
  constructor(path: string, { writes = true }: { writes?: boolean } = {}) {
    this.path = path;
    this.writes = writes;
    this.#guard(() => {
      this.#made = mkdirSync(path, { recursive: true }) ?? null;
    });
  }

  /** Weights of the newest checkpoint, with configuration and tokenizer: what other commands and the official code read. */
  get model(): string {
    return join(this.path, 'model.safetensors');
  }

  /** What was asked, and with what. */
  get record(): string {
    return join(this.path, 'manifest.json');
  }

  /** A folder for each checkpoint. */
  get checkpoints(): string {
    return join(this.path, 'checkpoints');
  }

  /** A folder with the weights that validation found best. */
  get best(): string {
    return join(this.checkpoints, 'best');
  }

  /** A folder with the batch and the weights of the last step that came to numbers that are not finite. */
  get notFinite(): string {
    return join(this.path, 'not-finite');
  }

  get #log(): string {
    return join(this.path, 'log.jsonl');
  }

  get #evaluations(): string {
    return join(this.path, 'evaluations.jsonl');
  }

  get #events(): string[] {
    const names = readdirSync(this.path).filter((name) => name.startsWith('events.out.tfevents.'));
    return names.map((name) => join(this.path, name));
  }

  /** Writes a JSON file of the run, such as manifest.json. */
  writeJson(name: string, value: unknown): void {
    this.#guard(() => writeWhole(join(this.path, name), `${JSON.stringify(value, null, 2)}\n`));
  }

  /** Adds a line to log.jsonl. */
  log(entry: object): void {
    this.#guard(() => appendFileSync(this.#log, `${JSON.stringify(entry)}\n`));
  }

  /** Adds bytes to a file of the run, such as an event file of TensorBoard. */
  append(name: string, bytes: Uint8Array): void {
    this.#guard(() => appendFileSync(join(this.path, name), bytes));
  }

  /** Adds a line to evaluations.jsonl. */
  logEvaluation(row: EvaluationRow): void {
    this.#guard(() => appendFileSync(this.#evaluations, `${JSON.stringify(row)}\n`));
  }

  /** The lines of evaluations.jsonl that are whole. */
  evaluations(): EvaluationRow[] {
    if (!existsSync(this.#evaluations)) return [];
    const lines = readFileSync(this.#evaluations, 'utf8').split('\n');
    return lines.filter((line) => stepOf(line) !== null).map((line) => JSON.parse(line) as EvaluationRow);
  }

  /** Makes the lines written so far outlive a power cut. */
  syncLog(): void {
    for (const file of [this.#log, this.#evaluations]) if (existsSync(file)) this.#guard(() => sync(file));
  }

  /** Drops lines of both files after `step`: those of steps that a resumed run takes again. */
  rewindLog(step: number): void {
    for (const file of [this.#log, this.#evaluations]) {
      if (!existsSync(file)) continue;
      this.#guard(() => {
        const lines = readFileSync(file, 'utf8').split('\n');
        const kept = lines.filter((line) => line !== '' && !((stepOf(line) ?? Infinity) > step));
        writeWhole(file, kept.map((line) => `${line}\n`).join(''));
      });
    }
  }

  /** Makes a folder inside, unless it is there. */
  make(path: string): void {
    this.#guard(() => mkdirSync(path, { recursive: true }));
  }

  /** Lets model.safetensors be the weights of a checkpoint: the same file under a second name, or a copy. */
  showModel(weights: string): void {
    this.#guard(() => {
      const partial = `${this.model}.partial`;
      rmSync(partial, { force: true });
      try {
        linkSync(weights, partial);
      } catch {
        copyFileSync(weights, partial); // a file system without links
      }
      renameSync(partial, this.model);
      sync(this.path);
    });
  }

  /** Whether there is a run in the folder. */
  get used(): boolean {
    return [this.record, this.#log, this.model].some((file) => existsSync(file));
  }

  /** Removes the folder when there is nothing in it, or nothing but the record of a run that came to no step. */
  removeUnlessBegun(): void {
    if (!this.writes) return;
    const begun = [this.#log, this.#evaluations, this.model, this.checkpoints, this.notFinite];
    if (!begun.some((path) => existsSync(path)))
      for (const path of [this.record, ...this.#events]) this.#guard(() => rmSync(path, { force: true }));
    // The folders above that were made for it go too, unless there is another run in them by now.
    const highest = resolve(this.#made ?? this.path);
    for (
      let path = resolve(this.path);
      path.startsWith(highest) && readdirSync(path).length === 0;
      path = dirname(path)
    )
      this.#guard(() => rmdirSync(path));
  }

  /** Removes the run that is in the folder, and nothing else. */
  clear(): void {
    const early = ['training.safetensors', 'manifest-resumed.json']; // of runs before there were checkpoint folders
    const others = [resultsFile, heldOutFile, reportFile, ...early].map((name) => join(this.path, name));
    for (const path of [
      this.record,
      this.#log,
      this.#evaluations,
      this.model,
      this.checkpoints,
      this.notFinite,
      ...this.#events,
      ...others,
    ])
      this.#guard(() => rmSync(path, { recursive: true, force: true }));
  }

  #guard(write: () => void): void {
    if (!this.writes) return;
    try {
      write();
    } catch (error) {
      throw new DataError('run folder', {
        received: `${this.path}: ${(error as Error).message}`,
        expected: 'a writable folder',
        hint: 'Name another with --logs.',
      });
    }
  }
}

/** The step of a log line; null when the line was cut off by a crash. */
function stepOf(line: string): number | null {
  try {
    return (JSON.parse(line) as { step: number }).step ?? null;
  } catch {
    return null;
  }
}

/** A name for a new run that no folder of `logs` has: the time, the method and the seed. */
export function newRunName(logs: string, label: string, now = new Date()): string {
  const time = now.toISOString().slice(0, 19).replaceAll(':', '-').replace('T', '_');
  const name = `${time}-${label}`;
  let candidate = name;
  for (let i = 2; existsSync(join(logs, candidate)); i++) candidate = `${name}-${i}`;
  return candidate;
}

/**
 * The newest run in `logs`.
 * @param having what it must have: weights, or a record, which is written before the first checkpoint
 * @throws DataError when there is none
 */
export function newestRun(logs: string, having: 'model' | 'record' = 'model'): RunFolder {
  const name = having === 'model' ? 'model.safetensors' : 'manifest.json';
  const time = (path: string) => statSync(join(path, name)).mtimeMs;
  const runs = (existsSync(logs) ? readdirSync(logs) : [])
    .map((run) => join(logs, run))
    .filter((path) => existsSync(join(path, name)))
    .sort((a, b) => time(b) - time(a));
  if (runs[0]) return new RunFolder(runs[0]);
  throw new DataError('runs', {
    received: `no ${having === 'model' ? 'finished ' : ''}run in ${logs}`,
    expected: `a folder with ${name}`,
    hint: 'Train one first (npx hopgrad train), or name a checkpoint.',
  });
}
