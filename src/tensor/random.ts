/**
 * Random numbers from one counter-based generator, Philox 4×32-10: the n-th number is a pure function of
 * (seed, stream, n), so every device, thread count and process sees the same stream, and a position can be
 * saved and restored as one number.
 *
 * @source Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
import { DomainError } from './errors.js';

/**
 * High 32 bits of the 64-bit product of `a` and `high` · 2¹⁶ + `low`, as a signed integer (the low bits are Math.imul).
 * Schoolbook multiplication in 16-bit digits; no sum exceeds 32 bits.
 */
function mulHigh(a: number, high: number, low: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const cross = (Math.imul(aHigh, low) + (Math.imul(aLow, low) >>> 16)) | 0;
  const middle = (Math.imul(aLow, high) + (cross & 0xffff)) | 0;
  return (Math.imul(aHigh, high) + (cross >>> 16) + (middle >>> 16)) | 0;
}

/** One Philox 4×32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Uint32Array {
  const words = new Uint32Array(4);
  philoxInto(words, ...counter, ...key);
  return words;
}

/** The same, into `words`. Only the low 32 bits of the arguments count. */
function philoxInto(words: Uint32Array, c0: number, c1: number, c2: number, c3: number, k0: number, k1: number): void {
  // As signed integers, with which engines calculate fastest.
  c0 |= 0;
  c1 |= 0;
  c2 |= 0;
  c3 |= 0;
  k0 |= 0;
  k1 |= 0;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(c0, 0xd251, 0x1f53);
    const low0 = Math.imul(c0, 0xd2511f53);
    const high1 = mulHigh(c2, 0xcd9e, 0x8d57);
    const low1 = Math.imul(c2, 0xcd9e8d57);
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) | 0;
    k1 = (k1 + 0xbb67ae85) | 0;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

/** What is needed to continue a generator exactly where it stood. */
export interface RandomState {
  seed: number;
  stream: number;
  /** Number of 32-bit words drawn so far. */
  position: number;
}

/** A seeded stream of random numbers. Streams with different `stream` numbers are independent. */
export class Random {
  readonly seed: number;
  readonly stream: number;
  /** Number of the block in #words, and how many of its words were drawn. */
  #block = -1;
  #drawn = 4;
  readonly #words = new Uint32Array(4);

  /**
   * @param seed   non-negative integer below 2^53
   * @param stream non-negative integer below 2^32; derive one per purpose (initialisation, shuffling, …)
   * @throws DomainError when seed or stream is not such an integer
   */
  constructor(seed: number, stream = 0) {
    if (!Number.isSafeInteger(seed) || seed < 0)
      throw new DomainError('Random', { received: `seed ${seed}`, expected: 'a non-negative integer below 2^53' });
    if (!Number.isInteger(stream) || stream < 0 || stream >= 2 ** 32)
      throw new DomainError('Random', { received: `stream ${stream}`, expected: 'an integer in [0, 2^32)' });
    this.seed = seed;
    this.stream = stream;
  }

  get state(): RandomState {
    return { seed: this.seed, stream: this.stream, position: this.#block * 4 + this.#drawn };
  }

  /** A generator that goes on where another one’s `state` was taken. */
  static fromState({ seed, stream, position }: RandomState): Random {
    const random = new Random(seed, stream);
    random.seek(position);
    return random;
  }

  /** Seed, stream, and the position in it. */
  toString(): string {
    const { seed, stream, position } = this.state;
    return `Random: seed ${seed}, stream ${stream}, position ${position}`;
  }

  /** The state, for JSON.stringify: fromState goes on from it. */
  toJSON(): RandomState {
    return this.state;
  }

  /** Moves to an absolute position in the stream (32-bit words from its start). @throws DomainError */
  seek(position: number): void {
    if (!Number.isSafeInteger(position) || position < 0)
      throw new DomainError('Random.seek', {
        received: `position ${position}`,
        expected: 'a non-negative integer below 2^53',
      });
    this.#fill(Math.ceil(position / 4) - 1);
    this.#drawn = position - this.#block * 4;
  }

  /** A child generator for one purpose, independent of this one's position: same (seed, label) → same stream. */
  fork(label: string | number): Random {
    let hash = 0x811c9dc5 ^ this.stream; // FNV-1a over the label
    for (const char of String(label)) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
    return new Random(this.seed, hash >>> 0);
  }

  /** The next unsigned 32-bit integer. */
  uint32(): number {
    if (this.#drawn === 4) this.#fill(this.#block + 1);
    return this.#words[this.#drawn++]!;
  }

  #fill(block: number): void {
    this.#block = block;
    this.#drawn = 0;
    philoxInto(this.#words, block, block / 2 ** 32, this.stream, 0, this.seed, this.seed / 2 ** 32);
  }

  /** Uniform in [0, 1), 53 bits. Draws two words. */
  uniform(): number {
    return ((this.uint32() >>> 5) * 67108864 + (this.uint32() >>> 6)) / 9007199254740992;
  }

  /** Uniform integer in [0, bound). @throws DomainError unless bound is an integer ≥ 1 */
  int(bound: number): number {
    if (!Number.isSafeInteger(bound) || bound < 1)
      throw new DomainError('Random.int', { received: `bound ${bound}`, expected: 'an integer ≥ 1' });
    return Math.floor(this.uniform() * bound);
  }

  /** Standard normal by Box–Muller: √(−2 ln u₁) cos 2πu₂, u₁ in (0, 1]. Draws four words. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  /** One element of a non-empty list. @throws DomainError for an empty one */
  pick<T>(list: readonly T[]): T {
    return list[this.int(list.length)]!;
  }

  /** A shuffled copy (Fisher–Yates). */
  shuffle<T>(list: Iterable<T>): T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j]!, shuffled[i]!];
    }
    return shuffled;
  }
}
