/** Making the JavaScript engine look for dead tensors: to it they are small objects, whatever they hold on the device. */
import type { MemoryAccount } from './account.js';
import { turn } from './turn.js';

type Builtin = (name: string) => unknown;
const { process, Bun } = globalThis as {
  process?: { getBuiltinModule?: Builtin };
  Bun?: { gc(wait: boolean): void };
};
const builtin = process?.getBuiltinModule;
let collect: (() => void) | null = null;

/**
 * In Node and Deno through V8's own switch, in Bun by its own call; in a browser by allocating (never touching) memory that
 * the engine does count.
 * @returns whether it is done: a browser may choose to do it later
 */
export function collectGarbage(): boolean {
  if (Bun) {
    Bun.gc(true);
    return true;
  }
  if (!builtin) {
    for (let i = 0; i < 4; i++) new ArrayBuffer(2 ** 26);
    return false;
  }
  if (!collect) {
    const { setFlagsFromString } = builtin('node:v8') as typeof import('node:v8');
    const { runInNewContext } = builtin('node:vm') as typeof import('node:vm');
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void; // a new context sees it once the flag is set
  }
  collect();
  return true;
}

/** Live bytes above which a collection is forced, at least. */
const leastBytes = 256 * 2 ** 20;

/** Turns that are waited for finalizers at most. */
const mostTurns = 1000;

/** Learns when storages die, and forces a collection when twice as much lives on a device as after the one before. */
export class Collector<T extends object> {
  readonly #account: MemoryAccount;
  readonly #limit: number;
  readonly #leastCount: number;
  readonly #collectNow: () => boolean;
  /** Null stands for the mark that settle() waits for. */
  readonly #registry: FinalizationRegistry<T | null>;
  #bytes = leastBytes;
  #count: number;
  /** A collection was forced, and its finalizers have not had their turn. */
  #pending = false;
  #marked = false;

  /**
   * @param release called with what was given to watch() when its owner is dead
   * @param options limit: bytes that there are; leastCount: storages below which their number does not matter
   */
  constructor(
    account: MemoryAccount,
    release: (token: T) => void,
    { limit = Infinity, leastCount = Infinity, collectNow = collectGarbage } = {},
  ) {
    this.#account = account;
    this.#limit = limit;
    this.#leastCount = leastCount;
    this.#count = leastCount;
    this.#collectNow = collectNow;
    this.#registry = new FinalizationRegistry((token) => {
      if (token) release(token);
      else this.#marked = false;
    });
  }

  watch(owner: object, token: T): void {
    this.#registry.register(owner, token);
  }

  /** Called when so many bytes are about to be taken. */
  expect(bytes = 0): void {
    const { liveBytes, storages } = this.#account;
    if (liveBytes + bytes > this.#bytes || storages > this.#count) this.collect();
  }

  /** The memory of dead tensors comes back when finalizers have run, in a later turn: see settle(). */
  collect(): void {
    this.#registry.register({}, null);
    this.#marked = this.#collectNow();
    this.#pending = true;
    this.#rise();
  }

  /** Twice what lives; where memory ends before that, half way to its end. */
  #rise(): void {
    const { liveBytes, storages } = this.#account;
    this.#bytes = Math.max(leastBytes, Math.min(2 * liveBytes, (liveBytes + this.#limit) / 2));
    this.#count = Math.max(this.#leastCount, 2 * storages);
  }

  /**
   * A later turn of the event loop, and after a forced collection as many as its finalizers need: V8 runs those of one registry
   * a turn, and a program has any number of registries. The mark died with the tensors, and is told with them.
   */
  async settle(): Promise<void> {
    await turn();
    if (!this.#pending) return;
    await turn();
    for (let turns = 0; this.#marked && turns < mostTurns; turns++) await turn();
    this.#pending = false;
    this.#rise();
  }
}
