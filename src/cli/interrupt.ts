/** Ctrl-C, and the other ways to be told to stop: once to stop in good order, twice to quit at once. */
import { constants } from 'node:os';
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

/** Listens for signals. @param notice what to say at the first one */
export function listenForInterrupt(notice: string): Interrupt {
  const controller = new AbortController();
  let exitCode = 0;
  let last: string | null = null;
  const onSignal = (name: NodeJS.Signals) => {
    exitCode = 128 + constants.signals[name];
    if (last !== null && !controller.signal.aborted) say(last);
    if (last !== null || controller.signal.aborted) process.exit(exitCode);
    say(notice);
    controller.abort();
  };
  for (const name of signals) process.on(name, onSignal);
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    quitAtOnce: (text) => {
      last = text;
    },
    release: () => {
      for (const name of signals) process.off(name, onSignal);
    },
  };
}
