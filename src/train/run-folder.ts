/** The folder of a run: what was asked, a line for every step, checkpoints, results. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../tensor/errors.js';

export class RunFolder {
  readonly path: string;

  /** @throws DataError when the folder cannot be made */
  constructor(path: string) {
    this.path = path;
    this.#guard(() => mkdirSync(path, { recursive: true }));
  }

  /** Weights, configuration and tokenizer: what other commands and the official code read. */
  get model(): string {
    return join(this.path, 'model.safetensors');
  }

  /** What `--resume` reads. */
  get training(): string {
    return join(this.path, 'training.safetensors');
  }

  /** Writes a JSON file of the run, such as manifest.json. */
  writeJson(name: string, value: unknown): void {
    this.#guard(() => writeFileSync(join(this.path, name), `${JSON.stringify(value, null, 2)}\n`));
  }

  /** Adds a line to log.jsonl. */
  log(entry: object): void {
    this.#guard(() => appendFileSync(join(this.path, 'log.jsonl'), `${JSON.stringify(entry)}\n`));
  }

  /** Drops log lines after `step`: those of steps that a resumed run takes again. */
  rewindLog(step: number): void {
    const file = join(this.path, 'log.jsonl');
    if (!existsSync(file)) return;
    this.#guard(() => {
      const lines = readFileSync(file, 'utf8').split('\n');
      const kept = lines.filter((line) => line !== '' && !((stepOf(line) ?? Infinity) > step));
      writeFileSync(file, kept.map((line) => `${line}\n`).join(''));
    });
  }

  #guard(write: () => void): void {
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
    return (JSON.parse(line) as { step: number }).step;
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

/** The newest run with weights in `logs`. @throws DataError when there is none */
export function newestRun(logs: string): RunFolder {
  const runs = (existsSync(logs) ? readdirSync(logs) : [])
    .map((name) => join(logs, name))
    .filter((path) => existsSync(join(path, 'model.safetensors')))
    .sort((a, b) => time(b) - time(a));
  if (runs[0]) return new RunFolder(runs[0]);
  throw new DataError('newestRun', {
    received: `no finished run in ${logs}`,
    expected: 'a folder with model.safetensors',
    hint: 'Train one first (hopgrad train), or name a checkpoint.',
  });
}

const time = (path: string) => statSync(join(path, 'model.safetensors')).mtimeMs;
