/**
 * CLIP's byte-level byte-pair encoding: text becomes UTF-8 bytes, bytes become printable symbols, and learnt merges
 * join symbols into tokens. Every text can be encoded; nothing is unknown.
 *
 * Vocabulary order, as published: 256 byte symbols, the same with `</w>` (end of word), the merges in order of
 * learning, start token, end token. The end token therefore has the highest id, which is how the text encoder finds it.
 *
 * Token ids are those of the official tokenizer with its vocabulary, {@link ClipTokenizer.official}. Deviations: long texts
 * keep their end token unless asked otherwise ({@link TokenizeOptions.truncate}), and badly decoded text is repaired in
 * the common cases only (clean-text.ts).
 * @source Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2021, arXiv 2103.00020
 */

import { unpack } from '../../kernels/unpack.js';
import { DataError, DomainError, describeValue, printable } from '../../tensor/errors.js';
import { cleanText } from './clean-text.js';

const startText = '<|startoftext|>';
const endText = '<|endoftext|>';
const endOfWord = '</w>';

/** Contractions, letter runs, single digits, and runs of anything else that is not space. Text is in lower case; ſ counts
 * as s, and the official pattern passes over U+0345, which is no letter but is one in capitals. */
const wordPattern =
  // biome-ignore lint/suspicious/noMisleadingCharacterClass: the combining character stands for itself
  /<\|startoftext\|>|<\|endoftext\|>|'[sſ]|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\u0345\p{White_Space}\p{L}\p{N}]+/gu;

/** Bytes that stand for themselves in the symbol alphabet, then the others, moved beyond 255. */
function byteSymbols(): { order: string[]; symbols: string[] } {
  const printable = [
    [33, 126],
    [161, 172],
    [174, 255],
  ].flatMap(([from, to]) => Array.from({ length: to! - from! + 1 }, (_, i) => from! + i));
  const symbols = new Array<string>(256);
  for (const byte of printable) symbols[byte] = String.fromCodePoint(byte);
  const rest = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !printable.includes(byte));
  rest.forEach((byte, i) => {
    symbols[byte] = String.fromCodePoint(256 + i);
  });
  return { order: [...printable, ...rest].map((byte) => symbols[byte]!), symbols };
}

const { order: symbolOrder, symbols: symbolOfByte } = byteSymbols();
const byteOfSymbol = new Map(symbolOfByte.map((symbol, byte) => [symbol, byte]));

/** The words of a text, found as they are asked for. */
function* words(text: string): Generator<string> {
  for (const [word] of cleanText(text).matchAll(wordPattern)) yield word;
}

/** A word's symbols, the last one marked as the end of the word. */
function wordSymbols(word: string): string[] {
  const symbols = Array.from(new TextEncoder().encode(word), (byte) => symbolOfByte[byte]!);
  symbols[symbols.length - 1] += endOfWord;
  return symbols;
}

/** Joins every occurrence of one neighbouring pair. */
function join(symbols: readonly string[], left: string, right: string): string[] {
  const joined: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) joined.push(left + symbols[++i]!);
    else joined.push(symbols[i]!);
  }
  return joined;
}

/** Stands where a token went into the one on its left. */
const joined = -1;

/** Whole numbers, the least first. */
class Heap {
  readonly #items: number[] = [];

  push(item: number): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    for (let up = (at - 1) >> 1; at > 0 && items[up]! > item; up = (at - 1) >> 1) {
      items[at] = items[up]!;
      at = up;
    }
    items[at] = item;
  }

  pop(): number | undefined {
    const items = this.#items;
    const least = items[0];
    const item = items.pop();
    if (item === undefined || items.length === 0) return least;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && items[child + 1]! < items[child]!) child++;
      if (items[child]! >= item) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = item;
    return least;
  }
}

/** How texts become sequences of one length. */
export interface TokenizeOptions {
  /** Length of every sequence, start and end included, ≥ 2. Default 77. */
  contextLength?: number;
  /**
   * What happens to longer texts: `keepEnd` (default) drops words but keeps the end token, at which the model reads;
   * `official` cuts it off as the official code does.
   */
  truncate?: 'keepEnd' | 'official';
}

/** Text to token ids by byte-pair encoding, with the official vocabulary or one trained on captions. */
export class ClipTokenizer {
  readonly merges: readonly (readonly [string, string])[];
  /** Number of tokens; ids are 0 … vocabSize − 1. */
  readonly vocabSize: number;
  readonly startId: number;
  readonly endId: number;
  /** Text of every id, in the alphabet of printable symbols. */
  readonly tokens: readonly string[];
  /** Id of every byte: inside a word, and 256 higher at its end. */
  readonly #byteIds: readonly number[];
  /** Which merge two neighbouring tokens are, by both ids; earlier merges come first. */
  readonly #ranks = new Map<number, number>();
  /** Id of what a merge gives. */
  readonly #mergedIds: readonly number[];
  readonly #cache = new Map<string, number[]>();

  /**
   * @param merges pairs of symbols in the order they were learnt
   * @throws DataError for a merge of symbols that no merge makes
   */
  constructor(merges: readonly (readonly [string, string])[]) {
    this.merges = merges;
    const results = merges.map(([left, right]) => left + right);
    this.tokens = [...symbolOrder, ...symbolOrder.map((s) => s + endOfWord), ...results, startText, endText];
    this.vocabSize = this.tokens.length;
    this.startId = this.vocabSize - 2;
    this.endId = this.vocabSize - 1;
    const ids = new Map(this.tokens.map((token, id) => [token, id]));
    this.#mergedIds = results.map((token) => ids.get(token)!);
    merges.forEach(([left, right], rank) => {
      const [a, b] = [ids.get(left), ids.get(right)];
      if (a === undefined || b === undefined)
        throw new DataError('ClipTokenizer', {
          received: `merge ${rank + 1}, ${printable(left)} ${printable(right)}`,
          expected: 'symbols of bytes or of other merges',
        });
      this.#ranks.set(this.#pair(a, b), rank);
    });
    this.#byteIds = symbolOfByte.map((symbol) => ids.get(symbol)!);
  }

  #pair(left: number, right: number): number {
    return left * this.vocabSize + right;
  }

  /** Tokens of {@link official}. */
  static readonly officialSize = 49408;

  /** CLIP's published vocabulary: read on first use, then shared. */
  static official(): Promise<ClipTokenizer> {
    official ??= readPublishedMerges().then((lines) => ClipTokenizer.fromMerges(lines));
    return official;
  }

  /**
   * A tokenizer from the lines of a merges file, two symbols a line.
   * @throws DataError for a line that is not that
   */
  static fromMerges(lines: readonly string[]): ClipTokenizer {
    return new ClipTokenizer(
      lines.map((line, i) => {
        const [left, right, ...more] = typeof line === 'string' ? line.split(' ') : [];
        if (!left || !right || more.length > 0)
          throw new DataError('ClipTokenizer.fromMerges', {
            received: `line ${i + 1}: ${describeValue(line)}`,
            expected: 'two symbols with one space between',
          });
        return [left, right] as const;
      }),
    );
  }

  /**
   * Learns merges from texts: again and again the most frequent neighbouring pair becomes one symbol; ties go to the
   * pair that sorts first, so the result depends on the texts alone.
   * @param vocabSize tokens wanted, ≥ 514 (512 byte symbols, start, end); fewer result when nothing repeats
   * @throws DomainError
   */
  static train(texts: Iterable<string>, { vocabSize }: { vocabSize: number }): ClipTokenizer {
    if (!Number.isInteger(vocabSize) || vocabSize < 514)
      throw new DomainError('ClipTokenizer.train', {
        received: `vocabSize ${vocabSize}`,
        expected: 'a whole number ≥ 514: 512 byte symbols, start and end',
      });
    const counts = new Map<string, number>();
    for (const text of texts) for (const word of words(text)) counts.set(word, (counts.get(word) ?? 0) + 1);
    let corpus = [...counts].map(([word, count]) => ({ symbols: wordSymbols(word), count }));
    const merges: [string, string][] = [];
    while (merges.length < vocabSize - 514) {
      const pairs = new Map<string, number>();
      for (const { symbols, count } of corpus)
        for (let i = 1; i < symbols.length; i++) {
          const pair = `${symbols[i - 1]} ${symbols[i]}`;
          pairs.set(pair, (pairs.get(pair) ?? 0) + count);
        }
      let best = '';
      let most = 1; // a pair seen once is no pattern
      for (const [pair, count] of pairs)
        if (count > most || (count === most && best !== '' && pair < best)) [best, most] = [pair, count];
      if (best === '') break;
      const [left, right] = best.split(' ') as [string, string];
      merges.push([left, right]);
      corpus = corpus.map(({ symbols, count }) => ({
        symbols: symbols.length > 1 ? join(symbols, left, right) : symbols,
        count,
      }));
    }
    return new ClipTokenizer(merges);
  }

  #encodeWord(word: string): number[] {
    if (word === startText) return [this.startId];
    if (word === endText) return [this.endId];
    const cached = this.#cache.get(word);
    if (cached) return cached;
    const bytes = Array.from(new TextEncoder().encode(word), (byte) => this.#byteIds[byte]!);
    bytes[bytes.length - 1]! += 256;
    const ids = this.#merge(bytes);
    if (this.#cache.size < 50_000 && word.length <= 100) this.#cache.set(word, ids);
    return ids;
  }

  /**
   * Joins neighbours until none can be joined: again and again all pairs of the earliest merge, from left to right. Pairs
   * that can be joined wait by rank, so that n tokens take some n·log n steps. Changes `ids`.
   */
  #merge(ids: number[]): number[] {
    const next = ids.map((_, i) => i + 1);
    const previous = ids.map((_, i) => i - 1);
    const waiting = new Map<number, number[]>(); // positions of left halves by rank
    const ranks = new Heap();
    const rankAt = (i: number) => {
      const right = next[i]!;
      return right < ids.length ? this.#ranks.get(this.#pair(ids[i]!, ids[right]!)) : undefined;
    };
    const offer = (i: number) => {
      const rank = rankAt(i);
      if (rank === undefined) return;
      const positions = waiting.get(rank);
      if (positions) positions.push(i);
      else {
        waiting.set(rank, [i]);
        ranks.push(rank);
      }
    };
    for (let i = 0; i + 1 < ids.length; i++) offer(i);
    for (let rank = ranks.pop(); rank !== undefined; rank = ranks.pop()) {
      const positions = waiting.get(rank)!.sort((a, b) => a - b);
      waiting.delete(rank);
      for (const i of positions) {
        if (ids[i] === joined || rankAt(i) !== rank) continue; // an earlier merge took one of the two
        const right = next[i]!;
        ids[i] = this.#mergedIds[rank]!;
        ids[right] = joined;
        next[i] = next[right]!;
        if (next[i]! < ids.length) previous[next[i]!] = i;
        if (previous[i]! >= 0) offer(previous[i]!);
        offer(i);
      }
    }
    return ids.filter((id) => id !== joined);
  }

  /** Token ids of a text, without start and end. */
  encode(text: string): number[] {
    return this.#encode(text, Infinity);
  }

  /** Words are encoded until there are `enough` ids. */
  #encode(text: string, enough: number): number[] {
    const ids: number[] = [];
    for (const word of words(text)) {
      if (ids.length >= enough) break;
      for (const id of this.#encodeWord(word)) ids.push(id);
    }
    return ids;
  }

  /**
   * The text of token ids; start, end and padding after the end are dropped. Words come back separated by one space,
   * invalid UTF-8 as the replacement character.
   * @throws DomainError for an id outside the vocabulary
   */
  decode(ids: Iterable<number>): string {
    let symbols = '';
    for (const id of ids) {
      if (id === this.startId) continue;
      if (id === this.endId) break;
      const token = this.tokens[id];
      if (token === undefined)
        throw new DomainError('ClipTokenizer.decode', {
          received: `id ${id}`,
          expected: `whole numbers in [0, ${this.vocabSize})`,
        });
      symbols += token;
    }
    return symbols
      .split(endOfWord)
      .map((word) => new TextDecoder().decode(Uint8Array.from(word, (symbol) => byteOfSymbol.get(symbol)!)))
      .join(' ')
      .trim();
  }

  /**
   * Sequences for the text encoder: start, tokens, end, zeros; row-major [texts, contextLength].
   * @throws DomainError for a context length below 2
   */
  tokenize(
    texts: string | readonly string[],
    { contextLength = 77, truncate = 'keepEnd' }: TokenizeOptions = {},
  ): Int32Array {
    if (!Number.isInteger(contextLength) || contextLength < 2)
      throw new DomainError('ClipTokenizer.tokenize', {
        received: `contextLength ${contextLength}`,
        expected: 'a whole number ≥ 2: start and end',
      });
    const list = typeof texts === 'string' ? [texts] : texts;
    const result = new Int32Array(list.length * contextLength);
    list.forEach((text, row) => {
      const ids = [this.startId, ...this.#encode(text, contextLength).slice(0, contextLength), this.endId].slice(
        0,
        contextLength,
      );
      if (truncate === 'keepEnd') ids[Math.min(ids.length, contextLength) - 1] = this.endId;
      result.set(ids, row * contextLength);
    });
    return result;
  }

  /** The size of its vocabulary. */
  toString(): string {
    return `ClipTokenizer: ${this.vocabSize.toLocaleString('en')} tokens`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** What {@link ClipTokenizer.fromJSON} makes an equal tokenizer of. */
  toJSON(): { merges: string[] } {
    return { merges: this.merges.map(([left, right]) => `${left} ${right}`) };
  }

  /** @throws DataError when `json` is not what toJSON gave */
  static fromJSON(json: { merges: string[] }): ClipTokenizer {
    if (!Array.isArray(json?.merges))
      throw new DataError('ClipTokenizer.fromJSON', { received: 'no list of merges', expected: '{ merges: […] }' });
    return ClipTokenizer.fromMerges(json.merges);
  }
}

let official: Promise<ClipTokenizer> | null = null;

/** The merges, from a module beside this one that is loaded for them. */
async function readPublishedMerges(): Promise<string[]> {
  const { packed } = await import('./clip-merges.js');
  return new TextDecoder().decode(await unpack(packed)).split('\n');
}
