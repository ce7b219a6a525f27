/**
 * Scopes: storages created while a scope is open are freed when it closes, unless kept. Nobody has to use
 * them (collection frees storages too); they make freeing immediate where the moment is known: the trainer's
 * step, and the temporaries of a backward pass.
 */
import { context, within } from './context.js';
import type { Storage } from './device.js';

/** What one open scope will free, and the scope around it. A storage is in one scope at most. */
export interface Scope {
  storages: Set<Storage>;
  outer: Scope | null;
}

/** Registers a new storage with the innermost open scope. Called by Storage's constructor. */
export function track(storage: Storage): void {
  context.scope?.storages.add(storage);
}

/** The open scope that will free a storage, null when none will. */
function scopeOf(storage: Storage): Scope | null {
  let scope = context.scope;
  while (scope !== null && !scope.storages.has(storage)) scope = scope.outer;
  return scope;
}

/** Takes a storage out of its scope: it outlives all and belongs to the collector from then on. */
export function keep(storage: Storage): void {
  scopeOf(storage)?.storages.delete(storage);
}

/** Lets a storage live as long as another does: it moves to the scope of that one, or out of all. */
export function keepWith(storage: Storage, owner: Storage): void {
  keep(storage);
  scopeOf(owner)?.storages.add(storage);
}

/**
 * Runs `body` in a scope of its own. At its end every storage made inside is freed unless `survives` says
 * otherwise; survivors belong to the surrounding scope, if any. When `body` throws, all are freed.
 * @param op what the caller calls this, for the error
 * @throws UsageError when `body` returns a promise: frees must not cut across awaits
 */
export function withScope<T>(body: () => T, survives: (storage: Storage, result: T) => boolean, op = 'scoped'): T {
  const outer = context.scope;
  const storages = new Set<Storage>();
  let done = false;
  let result: T;
  try {
    result = within(op, { scope: { storages, outer } }, body);
    done = true;
  } finally {
    if (!done) for (const storage of storages) storage.free();
  }
  for (const storage of storages) {
    if (survives(storage, result)) outer?.storages.add(storage);
    else storage.free();
  }
  return result;
}
