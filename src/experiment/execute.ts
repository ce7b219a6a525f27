/** The runs of an experiment as processes: some at a time, begun, gone on with, or left as they are. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readJson } from '../formats/files.js';
import { printable, UsageError } from '../tensor/errors.js';
import { clock } from '../train/progress.js';
import { writeWhole } from '../train/run-folder.js';
import { camel, type PlannedRun, type Values, valuesText } from './plan.js';
import type { Outcome, RunResult } from './results.js';

/** What carries runs out, such as `hopgrad train`. */
export interface Program {
  /** @throws UsageError for options that a run could not have: before any run begins */
  check(options: Values): void;
  /** What is in the folder of a run: its end, or that it is still to do. */
  outcome(folder: string): Exclude<Outcome, { status: 'failed' }>;
  /** Words to begin a run with, or to go on with it. @param optionsFile has its options as JSON */
  words(run: { name: string; folder: string; optionsFile: string }): string[];
}

/** Where the runs of an experiment are. */
export interface Place {
  /** A folder with a folder for each run, its options (NAME.json) and what it printed (NAME.txt). */
  logs: string;
  program: Program;
}

const paths = (logs: string, { name }: PlannedRun) => ({
  folder: join(logs, name),
  optionsFile: join(logs, `${name}.json`),
  outputFile: join(logs, `${name}.txt`),
});

/** How a run stands, by its folder. */
export function resultOf({ logs, program }: Place, run: PlannedRun): RunResult {
  const { name, stage, method, setting, seed, tuned } = run;
  return { name, stage, method, setting, seed, tuned, outcome: program.outcome(paths(logs, run).folder) };
}

/**
 * Writes the options of runs, or finds them written by an earlier start.
 * @throws UsageError for a run that was begun with others
 */
export function fixOptions({ logs, program }: Place, runs: readonly PlannedRun[]): void {
  mkdirSync(logs, { recursive: true });
  for (const run of runs) {
    const { optionsFile } = paths(logs, run);
    if (existsSync(optionsFile)) {
      const before = readJson('experiment', optionsFile, 2 ** 20) as Values;
      if (!isDeepStrictEqual(canonical(before), canonical(run.options)))
        throw new UsageError('experiment', {
          received: `${run.name}, which was begun with other options: ${differing(before, run.options)}`,
          expected: 'the same',
          hint: `Give the file another name, or --name, for another experiment; or remove ${printable(join(logs, run.name))} and its .json.`,
        });
    } else {
      program.check(run.options);
      writeWhole(optionsFile, `${JSON.stringify(run.options, null, 2)}\n`);
    }
  }
}

const canonical = (options: Values) =>
  new Map(Object.entries(JSON.parse(JSON.stringify(options)) as Values).map(([key, value]) => [camel(key), value]));

/** "lr 0.001, here 0.002" */
function differing(before: Values, now: Values): string {
  const [a, b] = [canonical(before), canonical(now)];
  const keys = [...new Set([...a.keys(), ...b.keys()])].filter((key) => !isDeepStrictEqual(a.get(key), b.get(key)));
  return keys.map((key) => `${valuesText({ [key]: a.get(key) })}, here ${JSON.stringify(b.get(key))}`).join('; ');
}

export interface ExecuteOptions extends Place {
  processes: number;
  signal: AbortSignal;
  say(text: string): void;
  /** Called when a run has ended, however. */
  onEnd(result: RunResult): void;
}

/**
 * Carries out the runs that are still to do, `processes` at a time. When the signal is given, the runs in progress are told to stop,
 * and are waited for.
 * @returns how every run stands, in their order
 */
export async function execute(runs: readonly PlannedRun[], options: ExecuteOptions): Promise<RunResult[]> {
  const { processes, signal, say, onEnd } = options;
  const results = runs.map((run) => resultOf(options, run));
  const waiting = results.flatMap(({ outcome }, i) => (outcome.status === 'to do' ? [i] : []));
  const total = waiting.length;
  const begun = performance.now();
  let ended = 0;
  const inTurn = async () => {
    for (let i = waiting.shift(); i !== undefined && !signal.aborted; i = waiting.shift()) {
      const run = runs[i]!;
      say(`Begun: ${run.name}`);
      const result = { ...results[i]!, outcome: await carryOut(run, options) };
      if (result.outcome.status === 'to do') return; // stopped
      results[i] = result;
      ended++;
      onEnd(result);
      const { outcome } = result;
      const how =
        outcome.status === 'finished' ? '' : `: ${outcome.status}, ${'reason' in outcome ? outcome.reason : ''}`;
      const left = ((performance.now() - begun) / 1000 / ended) * (total - ended);
      say(`Ended: ${run.name}${how} (${ended} of ${total}${ended < total ? `, about ${clock(left)} left` : ''})`);
    }
  };
  await Promise.all(Array.from({ length: Math.min(processes, total) }, inTurn));
  return results;
}

/** Runs that are processes now: they end with this one. */
const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGTERM');
});

async function carryOut(run: PlannedRun, { logs, program, signal }: ExecuteOptions): Promise<Outcome> {
  const { folder, optionsFile, outputFile } = paths(logs, run);
  const output = openSync(outputFile, 'a');
  const [file, ...words] = program.words({ name: run.name, folder, optionsFile });
  try {
    const end = await new Promise<string | null>((resolve) => {
      // A process group of its own: Ctrl-C in a terminal goes to all of a group, and twice means at once.
      const child = spawn(file!, words, { stdio: ['ignore', output, output], detached: process.platform !== 'win32' });
      children.add(child);
      const stop = () => child.kill('SIGINT');
      signal.addEventListener('abort', stop, { once: true });
      const done = (how: string | null) => {
        children.delete(child);
        signal.removeEventListener('abort', stop);
        resolve(how);
      };
      child.on('error', (error) => done(error.message));
      child.on('close', (code, by) => done(by ? `ended by ${by}` : code === 0 ? null : `exit code ${code}`));
    });
    const outcome = program.outcome(folder);
    if (outcome.status !== 'to do' || signal.aborted) return outcome;
    const last = lastLine(outputFile);
    return { status: 'failed', reason: `${end ?? 'ended without a result'}${last ? `: ${last}` : ''} (${outputFile})` };
  } finally {
    closeSync(output);
  }
}

/** The last line that tells anything. */
function lastLine(path: string): string {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '');
  return printable((lines.findLast((line) => line.startsWith('hopgrad:')) ?? lines.at(-1) ?? '').trim(), 500);
}
