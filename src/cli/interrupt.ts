/** Ctrl-C, and the other ways to be told to stop: once to stop in good order, twice to quit at once. */
import { constants } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { isRank } from '../distributed/workers.js';
import { say } from '../train/progress.js';

/** Ctrl-C; what `kill` and a shutdown send; what a closed terminal sends. */
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export interface Interrupt {
  /** Aborted by the first signal. */
  readonly signal: AbortSignal;
  /** The exit code that tells which signal it was, 128 + its number: 130 for Ctrl-C. */
  readonly exitCode: number;
  /** From now on there is nothing to save: a signal says this and ends the process. */
  quitAtOnce(notice: string): void;
  /** Gives the signals their usual meaning back. */
  release(): void;
}

/**
 * While nothing is begun that could be saved: a signal ends the process as ever, but what waits for its end (`process.on('exit')`)
 * has its turn. @returns what gives the signals their usual meaning back
 */
export function quitOnSignal(): () => void {
  return hear((name) => process.exit(128 + constants.signals[name]));
}

/** Who hears signals, the innermost last: it alone does. */
const hearing: ((name: NodeJS.Signals) => void)[] = [];
const onSignal = (name: NodeJS.Signals) => hearing.at(-1)?.(name);
/** A rank that is a thread hears no signals: the process tells it. */
const onMessage = ({ signal }: { signal?: NodeJS.Signals }) => signal && onSignal(signal);

function hear(listener: (name: NodeJS.Signals) => void): () => void {
  if (hearing.push(listener) === 1) {
    for (const name of signals) process.on(name, onSignal);
    if (isRank()) parentPort!.on('message', onMessage);
  }
  return () => {
    hearing.splice(hearing.indexOf(listener), 1);
    if (hearing.length > 0) return;
    for (const name of signals) process.off(name, onSignal);
    if (isRank()) parentPort!.off('message', onMessage);
  };
}

/** Listens for signals. @param notice what to say at the first one */
export function listenForInterrupt(notice: string): Interrupt {
  const controller = new AbortController();
  let exitCode = 0;
  let last: string | null = null;
  const release = hear((name) => {
    exitCode = 128 + constants.signals[name];
    if (last !== null && !controller.signal.aborted) say(last);
    if (last !== null || controller.signal.aborted) process.exit(exitCode);
    say(notice);
    controller.abort();
  });
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    quitAtOnce: (text) => {
      last = text;
    },
    release,
  };
}
