/** Decisions from a list of numbers: 0 is always the simplest, so that a list that shrinks means a simpler program. */
export class Choices {
  #next = 0;
  readonly #list: readonly number[];

  constructor(list: readonly number[]) {
    this.#list = list;
  }

  next(): number {
    return this.#list[this.#next++] ?? 0;
  }

  /** A whole number in [0, bound). */
  int(bound: number): number {
    return this.next() % bound;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!;
  }

  /** True once in `n` times, and never where choices have run out. */
  once(n: number): boolean {
    return this.int(n) === n - 1;
  }

  /** One yes or no for each of `n` things, from one number. */
  flags(n: number): boolean[] {
    const bits = this.next();
    return Array.from({ length: n }, (_, i) => ((bits >> i) & 1) === 1);
  }
}
