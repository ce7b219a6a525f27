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
 * Runs `body` in a scope of its own. At its end every storage made inside is freed unless `survives` says
 * otherwise; survivors belong to the surrounding scope, if any. When `body` throws, all are freed.
 */
export function withScope<T>(body: () => T, survives: (storage: Storage, result: T) => boolean): T {
  const outer = current;
  const own = new Set<Storage>();
  current = own;
  let done = false;
  let result: T;
  try {
    result = body();
    done = true;
  } finally {
    current = outer;
    if (!done) for (const storage of own) storage.free();
  }
  for (const storage of own) {
    if (survives(storage, result)) outer?.add(storage);
    else storage.free();
  }
  return result;
}
