/**
 * CLIP's byte-level byte-pair encoding: text becomes UTF-8 bytes, bytes become printable symbols, and learnt merges
 * join symbols into tokens. Every text can be encoded; nothing is unknown.
 *
 * Vocabulary order, as published: 256 byte symbols, the same with `</w>` (end of word), the merges in order of
 * learning, start token, end token. The end token therefore has the highest id, which is how the text encoder finds it.
 *
 * Deviation from the official tokenizer: text in broken encodings is not repaired (it uses the ftfy package for that),
 * and of HTML entities the numeric and the five basic named ones are unescaped.
 * @source Sennrich et al. 2016, arXiv 1508.07909; Radford et al. 2021, arXiv 2103.00020
 */
import { DataError, DomainError } from '../../tensor/errors.js';

const startText = '<|startoftext|>';
const endText = '<|endoftext|>';
const endOfWord = '</w>';

/** Contractions, letter runs, single digits, and runs of anything else that is not space. */
const wordPattern = /<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+/giu;

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

const entities: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

function unescapeHtml(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(amp|lt|gt|quot|apos|nbsp));/gi,
    (whole, hex, decimal, name) => {
      if (name) return entities[name.toLowerCase()]!;
      const code = hex ? Number.parseInt(hex, 16) : Number(decimal);
      return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : whole;
    },
  );
}

/** What the tokenizer sees: entities unescaped (twice, as the official code does), spaces joined, lower case. */
export function cleanText(text: string): string {
  return unescapeHtml(unescapeHtml(text)).replace(/\s+/gu, ' ').trim().toLowerCase();
}

function words(text: string): string[] {
  return cleanText(text).match(wordPattern) ?? [];
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

export interface TokenizeOptions {
  /** Length of every sequence, start and end included, ≥ 2. Default 77. */
  contextLength?: number;
  /**
   * What happens to longer texts: `keepEnd` (default) drops words but keeps the end token, at which the model reads;
   * `official` cuts it off as the official code does.
   */
  truncate?: 'keepEnd' | 'official';
}

export class ClipTokenizer {
  readonly merges: readonly (readonly [string, string])[];
  /** Number of tokens; ids are 0 … vocabSize − 1. */
  readonly vocabSize: number;
  readonly startId: number;
  readonly endId: number;
  readonly #tokens: string[];
  readonly #ids: Map<string, number>;
  readonly #ranks: Map<string, number>;
  readonly #cache = new Map<string, number[]>();

  /** @param merges pairs of symbols in the order they were learnt */
  constructor(merges: readonly (readonly [string, string])[]) {
    this.merges = merges;
    const joined = merges.map(([left, right]) => left + right);
    this.#tokens = [...symbolOrder, ...symbolOrder.map((s) => s + endOfWord), ...joined, startText, endText];
    this.#ids = new Map(this.#tokens.map((token, id) => [token, id]));
    this.#ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
    this.vocabSize = this.#tokens.length;
    this.startId = this.vocabSize - 2;
    this.endId = this.vocabSize - 1;
  }

  /**
   * A tokenizer from the lines of a merges file, two symbols a line.
   * @throws DataError for a line that is not that
   */
  static fromMerges(lines: readonly string[]): ClipTokenizer {
    return new ClipTokenizer(
      lines.map((line, i) => {
        const [left, right, ...more] = line.split(' ');
        if (!left || !right || more.length > 0)
          throw new DataError('ClipTokenizer.fromMerges', {
            received: `line ${i + 1}: ${JSON.stringify(line)}`,
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
    let symbols = wordSymbols(word);
    for (;;) {
      let best: [string, string] | null = null;
      let rank = Infinity;
      for (let i = 1; i < symbols.length; i++) {
        const found = this.#ranks.get(`${symbols[i - 1]} ${symbols[i]}`);
        if (found !== undefined && found < rank) [best, rank] = [[symbols[i - 1]!, symbols[i]!], found];
      }
      if (!best) break;
      symbols = join(symbols, ...best);
    }
    const ids = symbols.map((symbol) => this.#ids.get(symbol)!);
    if (this.#cache.size < 50_000) this.#cache.set(word, ids);
    return ids;
  }

  /** Token ids of a text, without start and end. */
  encode(text: string): number[] {
    return words(text).flatMap((word) => this.#encodeWord(word));
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
      const token = this.#tokens[id];
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
      const ids = [this.startId, ...this.encode(text), this.endId].slice(0, contextLength);
      if (truncate === 'keepEnd') ids[Math.min(ids.length, contextLength) - 1] = this.endId;
      result.set(ids, row * contextLength);
    });
    return result;
  }

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
