/**
 * What holds for as long as a function runs: whether operations are recorded, where new tensors go, what random numbers
 * come next … One object, and one way to change it for a while. Changes for good are made by manualSeed() and init().
 */
import { UsageError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import type { Scope } from './scope.js';

/** The op's name, its inputs (tensors and numbers), its parameters and its output: the tensors are those of autograd. */
export type Observer = (op: string, inputs: readonly unknown[], params: unknown, output: unknown) => void;

export interface Context {
  /** Operations are recorded, so that backward can go through them. */
  recording: boolean;
  /** A function under grad() is running: a derivative taken inside it is itself differentiated. */
  differentiating: boolean;
  /** A checkpoint is computing its function again: what counts or updates in the forward pass must not now. */
  replaying: boolean;
  /** Every result is searched for NaN and infinity. */
  detectingAnomalies: boolean;
  /** The op whose derivative is being computed in anomaly mode, null in the forward pass. */
  gradientOf: string | null;
  /** A function is being captured: its kernels will be repeated, its code will not. */
  capturing: boolean;
  /** Is told of every op that has run, but not of composites, which are the ops that they are made of. */
  observer: Observer | null;
  /** The innermost open scope. */
  scope: Scope | null;
  /** Name of the device that new tensors go to; null takes wasm where it runs without waiting, else reference. */
  deviceName: string | null;
  /** The stream that randn(), uniform() and initialisers draw from. */
  random: Random;
}

export const context: Context = {
  recording: true,
  differentiating: false,
  replaying: false,
  detectingAnomalies: false,
  gradientOf: null,
  capturing: false,
  observer: null,
  scope: null,
  deviceName: null,
  random: new Random(0),
};

/**
 * Runs `body` with some of the context changed; it is back as it was when `body` has returned or thrown.
 * @param op what the caller calls this, for the error
 * @throws UsageError when `body` returns a promise
 */
export function within<T>(op: string, changes: Readonly<Partial<Context>>, body: () => T): T {
  const before: Record<string, unknown> = {};
  const now = context as unknown as Record<string, unknown>;
  for (const key in changes) {
    before[key] = now[key];
    now[key] = changes[key as keyof Context];
  }
  try {
    return synchronous(op, body());
  } finally {
    for (const key in before) now[key] = before[key];
  }
}

/** @throws UsageError inside a captured function, for `what` would happen once and not at every call */
export function refuseInCapture(what: string): void {
  if (context.capturing)
    throw new UsageError('capture', {
      received: `a function that ${what}`,
      expected: 'tensors in, tensors out: the kernels are repeated, the code is not',
      hint: 'Read, draw random numbers, and call optimizer.step() outside of it.',
    });
}

/** Passes a result on. @throws UsageError for a promise: what `op` switched is back before an async body has run */
export function synchronous<T>(op: string, result: T): T {
  const { then } = (result ?? {}) as { then?: unknown };
  if (typeof then !== 'function') return result;
  // The body goes on, but in a context that is no longer its own: how it ends is not the answer, the error below is.
  then.call(result, undefined, () => {});
  throw new UsageError(op, {
    received: 'a function that returns a promise',
    expected: 'a synchronous function',
    hint: 'Await reads outside of it.',
  });
}
