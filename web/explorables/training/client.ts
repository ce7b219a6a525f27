/** A run's worker as the page sees it: requests that are promises. */
import type { Requests } from './worker.js';

/** What a request comes to whose worker was ended before it answered. */
export class Ended extends Error {}

export class Client {
  readonly #worker = new Worker(new URL('./training-worker.js', import.meta.url), { type: 'module' });
  readonly #waiting = new Map<number, { resolve(answer: unknown): void; reject(error: Error): void }>();
  #next = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, answer, error } }) => {
      const { resolve, reject } = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (error === undefined) resolve(answer);
      else reject(new Error(error));
    };
    this.#worker.onerror = ({ message }) => this.#fail(new Error(message || 'the worker could not be loaded'));
  }

  /** @throws Error with what the worker said */
  ask<K extends keyof Requests>(name: K, ...args: Parameters<Requests[K]>): Promise<Awaited<ReturnType<Requests[K]>>> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(this.#next, { resolve: resolve as (answer: unknown) => void, reject });
      this.#worker.postMessage({ id: this.#next++, name, args });
    });
  }

  /** Ends the worker in the middle of what it does. */
  end(): void {
    this.#worker.terminate();
    this.#fail(new Ended('ended'));
  }

  #fail(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
