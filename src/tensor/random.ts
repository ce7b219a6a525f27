/**
 * Random numbers from one counter-based generator, Philox 4×32-10: the n-th number is a pure function of
 * (seed, stream, n), so every device, thread count and process sees the same stream, and a position can be
 * saved and restored as one number.
 *
 * @source Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 */
import { DomainError } from './errors.js';

/** High 32 bits of the 64-bit product of two unsigned 32-bit integers; the low bits are Math.imul. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const cross = aHigh * bLow + ((aLow * bLow) >>> 16); // < 2^32, exact in a double
  const middle = (cross & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(cross / 65536) + Math.floor(middle / 65536)) >>> 0;
}

/** One Philox 4×32-10 block: four 32-bit words from a 128-bit counter and a 64-bit key. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): Uint32Array {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = mulHigh(0xd2511f53, c0);
    const low0 = Math.imul(0xd2511f53, c0) >>> 0;
    const high1 = mulHigh(0xcd9e8d57, c2);
    const low1 = Math.imul(0xcd9e8d57, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + 0x9e3779b9) >>> 0;
    k1 = (k1 + 0xbb67ae85) >>> 0;
  }
  return Uint32Array.of(c0, c1, c2, c3);
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
  #position = 0;
  #block: Uint32Array = new Uint32Array(4);
  #blockIndex = -1;

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
    return { seed: this.seed, stream: this.stream, position: this.#position };
  }

  static fromState({ seed, stream, position }: RandomState): Random {
    const random = new Random(seed, stream);
    random.seek(position);
    return random;
  }

  /** Moves to an absolute position in the stream (32-bit words from its start). @throws DomainError */
  seek(position: number): void {
    if (!Number.isSafeInteger(position) || position < 0)
      throw new DomainError('Random.seek', {
        received: `position ${position}`,
        expected: 'a non-negative integer below 2^53',
      });
    this.#position = position;
  }

  /** A child generator for one purpose, independent of this one's position: same (seed, label) → same stream. */
  fork(label: string | number): Random {
    let hash = 0x811c9dc5 ^ this.stream; // FNV-1a over the label
    for (const char of String(label)) hash = Math.imul(hash ^ char.codePointAt(0)!, 0x01000193);
    return new Random(this.seed, hash >>> 0);
  }

  /** The next unsigned 32-bit integer. */
  uint32(): number {
    const block = Math.floor(this.#position / 4);
    if (block !== this.#blockIndex) {
      this.#block = philox(
        [block >>> 0, Math.floor(block / 2 ** 32), this.stream, 0],
        [this.seed >>> 0, Math.floor(this.seed / 2 ** 32)],
      );
      this.#blockIndex = block;
    }
    return this.#block[this.#position++ % 4]!;
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
