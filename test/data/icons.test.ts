/** Icons: names, doubles, what is held out, and the way from packages to rows; on small sets written here in Iconify's format. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Random } from 'hopgrad';
import type { Concept, Drawing } from '#src/data/emoji.js';
import { emojiSource } from '#src/data/emoji-source.js';
import { foldAlike, smallFeatures, splitIcons } from '#src/data/icon-split.js';
import { type IconSource, iconFolder, iconNames, iconPackage, iconSources, loadIcons } from '#src/data/icons.js';
import { prepareIcons } from '#src/data/icons-source.js';
import { temporaryFolder } from './helpers.js';

const namesOf = (...icons: string[]) =>
  iconNames(icons).map(({ words, variant }) => words.join(' ') + (variant && ` [${variant}]`));

describe('names of icons', () => {
  it('lose sizes and weights, and keep what is drawn otherwise as a variant', () => {
    assert.deepEqual(namesOf('add-20-filled', 'add-24-filled', 'add-24-regular'), [
      'add [filled]',
      'add [filled]',
      'add',
    ]);
    assert.deepEqual(namesOf('home-linear', 'home-bold', 'home-bold-duotone'), [
      'home [outline]',
      'home',
      'home [two tone]',
    ]);
    assert.deepEqual(namesOf('outline-cake', 'baseline-cake'), ['cake [outline]', 'cake']);
  });

  it('keep a word that only looks like a variant, and lose a number only where the thing is there without it', () => {
    assert.deepEqual(namesOf('format-bold', 'align-left'), ['format bold', 'align left']);
    assert.deepEqual(namesOf('home', 'home-2', 'number-7', '4k', 'q', 'a-b-c-d-e-fish'), ['home', 'home']);
  });
});

const shapes = [
  '<path d="M2 2h20v4H2z"/>',
  '<circle cx="12" cy="12" r="9"/>',
  '<path d="M12 2L22 22H2z"/>',
  '<path d="M2 10h20v4H2zM10 2h4v20h-4z"/>',
  '<circle cx="6" cy="6" r="5"/>',
  '<path d="M18 2h4v20h-4z"/>',
];
type Icons = Record<string, { body: string }>;

/** Writes sets as npm would install them. */
function writeSet(
  cache: string,
  { set, licence }: IconSource,
  icons: Icons,
  aliases: object = {},
  spdx = licence,
): void {
  const folder = join(iconFolder(cache), 'node_modules', iconPackage(set));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'info.json'), JSON.stringify({ license: { spdx } }));
  writeFileSync(join(folder, 'icons.json'), JSON.stringify({ prefix: set, icons, aliases, width: 24, height: 24 }));
}

const sources: IconSource[] = [
  { set: 'one', version: '1', licence: 'MIT', by: 'a' },
  { set: 'two', version: '1', licence: 'ISC', by: 'b' },
  { set: 'valid', version: '1', licence: 'MIT', by: 'c', held: 'validation' },
  { set: 'held', version: '1', licence: 'MIT', by: 'd', held: 'test' },
];

describe('sets of icons', () => {
  const cache = temporaryFolder();

  it('are under licences that allow it, and the one to judge by is not among them', () => {
    for (const { licence } of iconSources) assert.match(licence, /^(MIT|Apache-2\.0|ISC|CC-BY-[34]\.0|CC0-1\.0)$/);
    assert.ok(iconSources.every(({ set }) => set !== 'streamline-emojis'));
    assert.ok(iconSources.some(({ held }) => held === 'test') && iconSources.some(({ held }) => held === 'validation'));
  });

  it('become concepts with drawings; the missing and those under another licence are named', async () => {
    assert.throws(() => loadIcons(iconFolder(cache), sources), /without 4 of 4 sets.*npx hopgrad data icons/);
    const icon = (i: number) => ({ body: shapes[i]! });
    const aliases = { feline: { parent: 'cat' }, 'turned-cat': { parent: 'cat', rotate: 1 } };
    writeSet(
      cache,
      sources[0]!,
      { cat: icon(0), 'cat-16': icon(0), 'cat-outline': icon(1), 'red-fish': icon(2) },
      aliases,
    );
    writeSet(cache, sources[1]!, { cat: icon(0), bird: icon(3), 'fish-fill': icon(4), fish: icon(4) });
    writeSet(cache, sources[2]!, { cat: icon(4) });
    writeSet(cache, sources[3]!, { cat: icon(5), bird: icon(5) });
    const { concepts, drawings, found } = loadIcons(iconFolder(cache), sources);
    assert.equal(found, 11);
    assert.deepEqual(concepts.map(({ name }) => name), ['cat', 'red fish', 'bird', 'fish']); // biome-ignore format: a line
    assert.deepEqual(concepts[0]!.keywords, ['feline']);
    const told = drawings.map(
      ({ concept, style, variant }) => `${style} ${concepts[concept]!.name}${variant ? ` ${variant}` : ''}`,
    );
    assert.deepEqual(told, [
      ...['one cat', 'one cat outline', 'one red fish', 'two cat', 'two bird', 'two fish filled', 'two fish'],
      ...['valid cat', 'held cat', 'held bird'],
    ]);

    const data = await prepareIcons({ cacheFolder: cache, sources });
    const kept = data.drawings.map(
      ({ concept, style, variant }) => `${style} ${data.concepts[concept]!.name}${variant ? ` ${variant}` : ''}`,
    );
    // Of cat the second set has the same picture, of fish both variants are one.
    assert.deepEqual(
      kept,
      told.filter((text) => text !== 'two cat' && text !== 'two fish'),
    );
    assert.equal(data.folded, 2);
    assert.ok(data.split.testA.every((row) => data.drawings[row]!.style === 'held'));
    assert.ok(data.split.train.every((row) => data.drawings[row]!.style !== 'held'));
    assert.deepEqual(data.split.testA.map((row) => data.concepts[data.drawings[row]!.concept]!.name), ['cat', 'bird']); // biome-ignore format: a line
    const outline = data.drawings.findIndex(({ variant }) => variant === 'outline');
    const said = new Set<string>();
    for (let epoch = 0; epoch < 60; epoch++)
      for (const row of emojiSource(data, [outline], 'sampled').rows({ seed: 1, epoch, shuffle: true }) as Iterable<{
        caption: string;
      }>)
        said.add(row.caption);
    for (const caption of [
      'cat',
      'cat outline',
      'a drawing of cat',
      'a drawing of cat outline',
      'cat, feline',
      'feline',
    ])
      assert.ok(said.has(caption), `${caption} among ${[...said].join('; ')}`);
    const again = await prepareIcons({ cacheFolder: cache, sources });
    assert.equal(again.digest, data.digest);

    writeSet(cache, sources[1]!, {}, {}, 'CC-BY-NC-4.0');
    assert.throws(() => loadIcons(iconFolder(cache), sources), /two under CC-BY-NC-4.0; expected ISC/);
  });
});

describe('the split of icons', () => {
  const random = new Random(5);
  const [firsts, seconds] = ['a', 'b'].map((end) =>
    Array.from({ length: 60 }, (_, i) => `w${String.fromCharCode(97 + Math.floor(i / 26), 97 + (i % 26))}${end}`),
  ) as [string[], string[]];
  const names = new Set<string>([...firsts, ...seconds]);
  while (names.size < 900) names.add(`${random.pick(firsts)} ${random.pick(seconds)}`);
  for (const name of [...names].slice(120, 500)) names.add(`${name} ${random.pick(['off', 'new', 'more'])}`);
  const concepts: Concept[] = [...names].map((name, i) => ({
    ...{ symbol: name, name, group: 'icons', family: name },
    keywords: i % 40 === 0 ? [random.pick(seconds)] : [],
  }));
  const styles = ['one', 'two', 'valid', 'held'];
  const drawings: Drawing[] = concepts.flatMap((_, concept) =>
    styles.filter(() => random.int(2) === 0).map((style) => ({ concept, style, svg: '' })),
  );
  const features = new Float32Array(drawings.length * 256);
  for (let row = 0; row < drawings.length; row++) {
    const own = Float32Array.from({ length: 256 }, () => random.normal() / 16);
    features.set(own, row * 256);
  }
  const wordsOf = (row: number) => concepts[drawings[row]!.concept]!.name.split(' ');
  const split = (validation: boolean, from = features) =>
    splitIcons({ concepts, drawings, features: from, sources, validation });

  for (const validation of [false, true])
    it(`holds out sets, words and combinations${validation ? ', inside the training data for validation' : ''}`, async () => {
      const { train, testA, testB, testC, testD } = await split(validation);
      const held = validation ? 'valid' : 'held';
      for (const rows of [train, testA, testB, testC, testD!]) assert.ok(rows.length > 5, `${rows.length}`);
      const known = new Set(train.flatMap((row) => [...wordsOf(row), ...concepts[drawings[row]!.concept]!.keywords]));
      const trained = new Set(train.map((row) => drawings[row]!.concept));
      const style = (row: number) => drawings[row]!.style;
      assert.ok(train.every((row) => style(row) !== 'held' && style(row) !== held));
      assert.ok(testA.every((row) => style(row) === held && trained.has(drawings[row]!.concept)));
      for (const row of [...testB, ...testC])
        assert.ok(
          wordsOf(row).some((word) => !known.has(word)),
          wordsOf(row).join(),
        );
      assert.ok(testC.every((row) => style(row) === held) && testB.every((row) => style(row) !== held));
      for (const row of testD!) {
        assert.ok(
          wordsOf(row).every((word) => known.has(word)),
          `a word of ${wordsOf(row)} is unknown`,
        );
        assert.ok(
          !train.some((other) => wordsOf(row).every((word) => wordsOf(other).includes(word))),
          `${wordsOf(row)} is trained on`,
        );
      }
      for (const rows of [testA, testB, testC, testD!])
        assert.equal(new Set(rows.map((row) => drawings[row]!.concept)).size, rows.length, 'a concept twice');
    });

  it('keeps the tests out of validation', async () => {
    const [test, own] = [await split(false), await split(true)];
    const conceptsOf = (rows: number[]) => new Set(rows.map((row) => drawings[row]!.concept));
    const [testConcepts, used] = [
      conceptsOf([...test.testB, ...test.testC, ...test.testD!]),
      conceptsOf([...own.train, ...own.testB, ...own.testC, ...own.testD!]),
    ];
    for (const concept of testConcepts) assert.ok(!used.has(concept), concepts[concept]!.name);
  });

  it('trains on nothing that looks like what is held out, whatever it is called', async () => {
    const before = await split(false);
    const [copy, held] = [before.train[3]!, before.testD![0]!];
    const same = features.slice();
    same.set(features.subarray(held * 256, (held + 1) * 256), copy * 256);
    assert.ok(!(await split(false, same)).train.includes(copy));
  });

  it('folds drawings of a concept that are nearly equal, and sees pictures through a shift of brightness', () => {
    const size = 32;
    const data = new Uint8Array(3 * 3 * size * size).fill(200);
    const at = (row: number, y: number, x: number) => ((row * size + y) * size + x) * 3;
    for (const [row, value] of [[0, 0], [1, 60]] as const) // biome-ignore format: a line
      for (let y = 4; y < 12; y++) for (let x = 6; x < 20; x++) data.fill(value, at(row, y, x), at(row, y, x) + 3);
    for (let y = 14; y < 30; y++) for (let x = 6; x < 20; x++) data.fill(0, at(2, y, x), at(2, y, x) + 3);
    const three = smallFeatures({ count: 3, size, data });
    const of = (...list: number[]) => list.map((concept) => ({ concept, style: 's', svg: '' }));
    assert.deepEqual(foldAlike(of(0, 0, 0), three), [0, 2]);
    assert.deepEqual(foldAlike(of(0, 1, 0), three), [0, 1, 2]);
  });
});
