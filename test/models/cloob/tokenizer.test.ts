/** The tokenizer: the official ids on many texts, properties of any text, and small vocabularies of one's own. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DataError, DomainError } from 'hopgrad';
import { ClipTokenizer, cleanText } from 'hopgrad/models/cloob';
import { fixture, property } from '../../helpers.js';

/** Any text, also with what makes cleaning interesting. */
const texts = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'grapheme', maxLength: 10 }),
      fc.string({ unit: 'binary', maxLength: 10 }),
      fc.constantFrom('&amp;', '&#', '&eacute', 'it’s', "don't", '<', '\n', ' ', 'Ã©', '😀', 'a photo of', '\ud83d'),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(''));
const special = /<\|(start|end)oftext\|>/;
const joined = (text: string) => text.replaceAll(' ', '').replaceAll('\u0345', '');

describe('the official tokenizer', () => {
  let tokenizer: ClipTokenizer;
  before(async () => {
    tokenizer = await ClipTokenizer.official();
  });

  it('has the published vocabulary and is read once', async () => {
    assert.equal(tokenizer.vocabSize, 49408);
    assert.equal(tokenizer.startId, 49406);
    assert.equal(tokenizer.endId, 49407);
    assert.equal(await ClipTokenizer.official(), tokenizer);
  });

  it('gives the ids of the published algorithm on every text of the golden file', () => {
    const rows: { text: string; ids: number[] }[] = JSON.parse(readFileSync(fixture('clip-tokens.json'), 'utf8'));
    assert.ok(rows.length > 400);
    for (const { text, ids } of rows) assert.deepEqual(tokenizer.encode(text), ids, JSON.stringify(text));
  });

  it('pads with zeros and keeps the end token of long texts, unless asked for the official truncation', () => {
    const long = 'a '.repeat(100);
    const [a] = tokenizer.encode('a');
    assert.deepEqual([...tokenizer.tokenize('a', { contextLength: 5 })], [49406, a, 49407, 0, 0]);
    assert.deepEqual([...tokenizer.tokenize(long, { contextLength: 4 })], [49406, a, a, 49407]);
    assert.deepEqual([...tokenizer.tokenize(long, { contextLength: 4, truncate: 'official' })], [49406, a, a, a]);
    assert.deepEqual(tokenizer.tokenize(['a', long]).length, 2 * 77);
    assert.throws(() => tokenizer.tokenize('a', { contextLength: 1 }), DomainError);
  });

  property(
    'sequences have one start, one end, and nothing but zeros after it',
    fc.tuple(texts, fc.integer({ min: 2, max: 20 })),
    ([text, contextLength]) => {
      fc.pre(!special.test(cleanText(text)));
      const ids = [...tokenizer.tokenize(text, { contextLength })];
      const end = ids.indexOf(49407);
      assert.equal(ids.length, contextLength);
      assert.equal(ids.indexOf(49406), 0);
      assert.equal(ids.lastIndexOf(49406), 0);
      assert.ok(end > 0 && ids.slice(end + 1).every((id) => id === 0));
      const all = tokenizer.encode(text);
      assert.deepEqual(ids.slice(1, end), all.slice(0, contextLength - 2));
    },
    200,
  );

  property(
    'decoding gives the cleaned text back, up to spaces',
    texts,
    (text) => {
      fc.pre(!special.test(cleanText(text)));
      assert.equal(joined(tokenizer.decode(tokenizer.encode(text))), joined(cleanText(text)));
    },
    200,
  );

  property('encoding ignores case, outer and repeated spaces', texts, (text) => {
    fc.pre(!/[&<]/.test(text));
    assert.deepEqual(tokenizer.encode(`  ${text.replaceAll(' ', ' \t ')}\n`), tokenizer.encode(text));
    assert.deepEqual(tokenizer.encode(cleanText(text)), tokenizer.encode(text));
  });

  /** The published algorithm: the earliest merge in the word, wherever it fits, again and again. Quadratic. */
  function merged(word: string, ranks: ReadonlyMap<string, number>): string[] {
    let symbols = [...word];
    symbols[symbols.length - 1] += '</w>';
    for (;;) {
      const pairs = symbols.slice(1).map((right, i) => `${symbols[i]} ${right}`);
      const best = Math.min(...pairs.map((pair) => ranks.get(pair) ?? Infinity));
      if (best === Infinity) return symbols;
      const joined: string[] = [];
      for (let i = 0; i < symbols.length; i++)
        if (ranks.get(`${symbols[i]} ${symbols[i + 1]}`) === best) joined.push(symbols[i]! + symbols[++i]!);
        else joined.push(symbols[i]!);
      symbols = joined;
    }
  }
  const letters = fc.array(fc.constantFrom(...'aabbcde'), { minLength: 1, maxLength: 60 }).map((word) => word.join(''));
  property(
    'merges as the published algorithm does, whatever the vocabulary and its order',
    fc.tuple(
      letters,
      fc.array(letters, { maxLength: 4 }),
      fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 30 }),
      fc.boolean(),
    ),
    ([word, corpus, picks, shuffled]) => {
      const symbols = [...'abcde'].flatMap((letter) => [letter, `${letter}</w>`]);
      const pairs = picks.flatMap(([left, right]): [string, string][] => {
        const inner = symbols.filter((symbol) => !symbol.endsWith('</w>'));
        const pair: [string, string] = [inner[left % inner.length]!, symbols[right % symbols.length]!];
        symbols.push(pair.join(''));
        return [pair];
      });
      const learnt = ClipTokenizer.train(corpus, { vocabSize: 560 }).merges;
      const merges = shuffled ? pairs.reverse() : picks.length % 2 ? pairs : learnt;
      // A pair twice, or a token in two ways, has one rank and one id: the last.
      const own = new ClipTokenizer(merges);
      const ranks = new Map(merges.map(([left, right], rank) => [`${left} ${right}`, rank]));
      assert.deepEqual(
        own.encode(word).map((id) => own.decode([id])),
        merged(word, ranks).map((symbol) => symbol.replace('</w>', '')),
      );
    },
    300,
  );

  it('encodes 100,000 letters without a space, and ampersands escaped 25,000 times, in near-linear time', () => {
    const before = process.cpuUsage();
    let state = 1; // letters without a pattern need the most turns
    const letter = () => {
      state = (state * 1103515245 + 12345) % 2 ** 31;
      return String.fromCharCode(97 + ((state >> 16) % 26));
    };
    const word = Array.from({ length: 100_000 }, letter).join('');
    assert.equal(tokenizer.decode(tokenizer.encode(word)), word);
    assert.deepEqual(tokenizer.encode(`a &${'amp;'.repeat(25_000)} b`), tokenizer.encode('a & b'));
    assert.deepEqual(tokenizer.encode(`&${'#38;AMP;#x26;'.repeat(9)}lt;3`), tokenizer.encode('<3'));
    tokenizer.tokenize('word '.repeat(1e6));
    assert.ok(process.cpuUsage(before).user < 20e6); // µs; it took minutes, now a second or so
  });

  it('repairs text that was decoded wrongly as a whole, and leaves what is right', () => {
    assert.equal(cleanText('cafÃ© â€™'), "café '");
    assert.equal(cleanText('Ã\u00a0 la carte'), 'à la carte');
    assert.equal(cleanText('Müller’s Ä Ã'), "müller's ä ã");
  });

  it('refuses ids outside the vocabulary', () => {
    assert.throws(() => tokenizer.decode([49408]), DomainError);
  });
});

describe('trained vocabularies', () => {
  const corpus = ['red heart', 'red star', 'a red car', 'blue heart', 'the smallest hearts'];
  const tokenizer = ClipTokenizer.train(corpus, { vocabSize: 540 });

  it('learns the most frequent pairs first, ties in order', () => {
    assert.deepEqual(tokenizer.merges.slice(0, 3), [
      ['a', 'r'],
      ['e', 'ar'],
      ['e', 'd</w>'],
    ]);
    assert.ok(tokenizer.encode('red').length === 1 && tokenizer.encode('heart').length === 1);
    assert.ok(tokenizer.vocabSize <= 540);
    assert.equal(tokenizer.endId, tokenizer.vocabSize - 1);
  });

  property(
    'encode and decode any text with any vocabulary, also after a round trip through JSON',
    fc.tuple(fc.array(texts, { maxLength: 5 }), texts),
    ([training, text]) => {
      fc.pre(!special.test(cleanText(text)));
      const own = ClipTokenizer.train(training, { vocabSize: 600 });
      const ids = own.encode(text);
      assert.ok(ids.every((id) => id >= 0 && id < own.startId));
      assert.equal(joined(own.decode(ids)), joined(cleanText(text)));
      assert.deepEqual(ClipTokenizer.fromJSON(JSON.parse(JSON.stringify(own))).encode(text), ids);
    },
  );

  it('two ways to the same token give the same id', () => {
    const twice = new ClipTokenizer([
      ['a', 'b'],
      ['b', 'c'],
      ['ab', 'c'],
      ['a', 'bc'],
    ]);
    assert.equal(twice.encode('abcd')[0], 512 + 3); // as a dictionary of tokens has it: the last
  });

  it('refuses merges that are none', () => {
    assert.throws(() => ClipTokenizer.fromMerges(['a b c']), DataError);
    assert.throws(() => ClipTokenizer.fromMerges(['']), DataError);
    assert.throws(() => ClipTokenizer.fromMerges(['ab c']), DataError);
    assert.throws(() => ClipTokenizer.fromJSON({} as never), DataError);
    assert.throws(() => ClipTokenizer.train([], { vocabSize: 100 }), DomainError);
  });
});
