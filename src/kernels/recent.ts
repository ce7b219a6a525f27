/** At most `limit` entries; those not used for the longest time go first. */
export class RecentlyUsed<T> {
  readonly #entries = new Map<string, T>();

  constructor(
    readonly limit: number,
    readonly discard: (entry: T) => void = () => {},
  ) {}

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, create: () => T): T {
    const entry = this.#entries.get(key) ?? create();
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size > this.limit) {
      const [oldest, unused] = this.#entries.entries().next().value!;
      this.#entries.delete(oldest);
      this.discard(unused);
    }
    return entry;
  }
}
