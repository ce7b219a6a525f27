/**
 * Scopes: storages created while a scope is open are freed when it closes, unless kept. Nobody has to use
 * them (collection frees storages too); they make freeing immediate where the moment is known: the trainer's
 * step, and the temporaries of a backward pass.
 */
import type { Storage } from './device.js';

let current: Set<Storage> | null = null;

/** Registers a new storage with the innermost open scope. Called by Storage's constructor. */
export function track(storage: Storage): void {
  current?.add(storage);
}

/** Takes a storage out of the innermost scope: it outlives it and belongs to the collector from then on. */
export function keep(storage: Storage): void {
  current?.delete(storage);
}

/**
 * Runs `body` in a scope of its own; `kept` chooses which of the storages made inside survive, given the
 * result. Survivors belong to the surrounding scope, if any.
 */
export function withScope<T>(body: () => T, kept: (result: T) => Iterable<Storage>): T {
  const outer = current;
  const own = new Set<Storage>();
  current = own;
  let result: T;
  try {
    result = body();
    for (const storage of kept(result)) if (own.delete(storage)) outer?.add(storage);
  } finally {
    current = outer;
    for (const storage of own) storage.free();
  }
  return result;
}
