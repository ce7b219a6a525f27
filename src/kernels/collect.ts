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
 */
export function collectGarbage(): void {
  if (Bun) {
    Bun.gc(true);
    return;
  }
  if (!builtin) {
    for (let i = 0; i < 4; i++) new ArrayBuffer(2 ** 26);
    return;
  }
  if (!collect) {
    const { setFlagsFromString } = builtin('node:v8') as typeof import('node:v8');
    const { runInNewContext } = builtin('node:vm') as typeof import('node:vm');
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void; // a new context sees it once the flag is set
  }
  collect();
}

/** Live bytes above which a collection is forced, at least. */
const leastBytes = 256 * 2 ** 20;

/** Forces a collection when twice as much lives on a device as after the one before. */
export class Collector {
  readonly #account: MemoryAccount;
  readonly #limit: number;
  readonly #leastCount: number;
  readonly #collectNow: () => void;
  #bytes = leastBytes;
  #count: number;
  /** A collection was forced, and its finalizers have not had their turn. */
  #pending = false;

  /** @param limit bytes that there are; @param leastCount storages below which their number does not matter */
  constructor(account: MemoryAccount, { limit = Infinity, leastCount = Infinity, collectNow = collectGarbage } = {}) {
    this.#account = account;
    this.#limit = limit;
    this.#leastCount = leastCount;
    this.#count = leastCount;
    this.#collectNow = collectNow;
  }

  /** Called when so many bytes are about to be taken. */
  expect(bytes = 0): void {
    const { liveBytes, storages } = this.#account;
    if (liveBytes + bytes > this.#bytes || storages > this.#count) this.collect();
  }

  /** The memory of dead tensors comes back when finalizers have run, in a later turn: see settle(). */
  collect(): void {
    this.#collectNow();
    this.#pending = true;
    this.#rise();
  }

  /** Twice what lives; where memory ends before that, half way to its end. */
  #rise(): void {
    const { liveBytes, storages } = this.#account;
    this.#bytes = Math.max(leastBytes, Math.min(2 * liveBytes, (liveBytes + this.#limit) / 2));
    this.#count = Math.max(this.#leastCount, 2 * storages);
  }

  /** A later turn of the event loop, and after a forced collection another one for its finalizers. */
  async settle(): Promise<void> {
    await turn();
    if (!this.#pending) return;
    await turn();
    this.#pending = false;
    this.#rise();
  }
}
