/** Several data sets as one: counts, turns, and places to go on. */
import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError, DomainError, UsageError } from 'hopgrad';
import { Loader } from '#src/data/loader.js';
import { mixture } from '#src/data/mixture.js';
import { openData, openSource, sameData } from '#src/data/open.js';
import { listSource, type Row } from '#src/data/source.js';
import { fixture, property } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

const numbered = (name: string, count: number) =>
  listSource(
    name,
    Array.from({ length: count }, (_, index): Row => {
      const data = Uint8Array.from({ length: 12 * 12 * 3 }, (_, i) => (7 * i + 31 * index) % 256);
      const pixels = { data, width: 12, height: 12, channels: 3 as const, mode: 'RGB' as const };
      return { index, name: `${name} ${index}`, image: { pixels }, caption: `${name} ${index}` };
    }),
  );

describe('mixtures', () => {
  const names = async (source: ReturnType<typeof mixture>, epoch: number, shuffle = true) =>
    (await all(source.rows({ seed: 5, epoch, shuffle }))).map(({ name }) => name);
  const tally = (list: string[]) => {
    const counts = new Map<string, number>();
    for (const name of list) counts.set(name, (counts.get(name) ?? 0) + 1);
    return counts;
  };

  property(
    'have exactly factor · size rows of each source, every row as often as another or once more, the same ones again',
    fc.record({
      sizes: fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 3 }),
      factors: fc.array(fc.constantFrom(0.25, 0.5, 1, 1.5, 2, 3), { minLength: 3, maxLength: 3 }),
      epoch: fc.nat(3),
      shuffle: fc.boolean(),
    }),
    async ({ sizes, factors, epoch, shuffle }) => {
      const source = mixture(
        'all',
        sizes.map((size, i) => ({ source: numbered(`s${i}`, size), factor: factors[i]! })),
      );
      const list = await names(source, epoch, shuffle);
      assert.equal(list.length, source.size);
      assert.deepEqual(await names(source, epoch, shuffle), list);
      sizes.forEach((size, i) => {
        const counts = [...tally(list.filter((name) => name.startsWith(`s${i} `))).values()];
        const whole = Math.floor(factors[i]!);
        assert.equal(
          counts.reduce((sum, count) => sum + count, 0),
          Math.round(factors[i]! * size),
        );
        assert.ok(counts.every((count) => count === whole || count === whole + 1) && counts.length <= size);
      });
      if (!shuffle)
        assert.deepEqual(
          list,
          list.toSorted((a, b) => Number(a[1]) - Number(b[1])),
        );
    },
    100,
  );

  it('mixes: the sources come in random turns, and half of a source is another half in every epoch', async () => {
    const source = mixture('all', [
      { source: numbered('a', 200), factor: 1 },
      { source: numbered('b', 400), factor: 0.5 },
    ]);
    const [first, second] = [await names(source, 0), await names(source, 1)];
    for (const list of [first, second])
      for (let at = 0; at < 400; at += 100) {
        const share = list.slice(at, at + 100).filter((name) => name.startsWith('a')).length;
        assert.ok(share > 30 && share < 70, `${share} of 100`);
      }
    const twice = await names(mixture('all', [{ source: numbered('c', 50), factor: 2 }]), 1);
    assert.notDeepEqual(twice.slice(0, 50), twice.slice(50), 'both passes in the same order');
    const half = (list: string[]) => new Set(list.filter((name) => name.startsWith('b')));
    const other = half(second);
    const again = [...half(first)].filter((name) => other.has(name)).length;
    assert.ok(again > 60 && again < 140, `${again} of 200 come again`);
  });

  it('goes on anywhere; a row that comes twice is cut out differently, and is never twice in a batch', async () => {
    const source = mixture('all', [
      { source: numbered('a', 6), factor: 2 },
      { source: numbered('b', 8), factor: 1 },
    ]);
    const loader = new Loader(source, { batchSize: 4, transform: { size: 8 }, train: true, seed: 3, workers: 0 });
    const batches = await all(loader.batches({ epoch: 1 }));
    assert.ok(batches.length >= 3);
    for (const { names: own } of batches) assert.equal(new Set(own).size, own.length);
    for (const [i, { next }] of batches.entries())
      assert.deepEqual(await all(loader.batches(next)), batches.slice(i + 1));
    const pixels = new Map<string, string[]>();
    for (const { names: own, images } of batches)
      own.forEach((name, i) => {
        const cut = images.subarray(i * 192, (i + 1) * 192).join();
        pixels.set(name, [...(pixels.get(name) ?? []), cut]);
      });
    const twice = [...pixels.values()].filter((cuts) => cuts.length === 2);
    assert.ok(twice.length > 0 && twice.every(([one, other]) => one !== other));
  });

  const folder = temporaryFolder();
  const image = `${fixture('images')}/plain.png`;
  const table = join(folder, 'a.tsv');
  const lines = join(folder, 'b.jsonl');
  writeFileSync(table, `filepath\ttitle\n${image}\tone\n${image}\ttwo\n`);
  writeFileSync(lines, `${JSON.stringify({ filepath: image, title: 'three' })}\n`);

  it('is opened by paths joined by ::, and remembered with its factors', async () => {
    const path = `${table}::${lines}`;
    const { source, spec } = await openData({ path, factors: [1, 2] });
    const captions = (await all(source.rows({ seed: 0, epoch: 0, shuffle: false }))).map(
      (row) => 'caption' in row && row.caption,
    );
    assert.deepEqual(captions, ['one', 'two', 'three', 'three']);
    assert.deepEqual([spec.path, spec.factors, spec.rows], [path, [1, 2], 4]);
    assert.deepEqual((await openData(spec)).spec, spec);
    assert.ok(!sameData(spec, (await openData({ path, factors: [2, 2] })).spec));
    assert.equal((await openSource(path)).size, 3);
    const shards = `${fixture('webdataset')}/shard-000.tar`;
    assert.equal((await openSource(`${table}::${shards}`, { samples: 7, factors: [1, 2] })).size, 16);
    writeFileSync(lines, `${JSON.stringify({ filepath: image, title: 'four' })}\n`);
    await assert.rejects(openData(spec), /has changed/);
  });

  it('takes drawings as one of several, as they are alone, and remembers them', async () => {
    const alone = await openData({ path: 'emoji' });
    const rows = alone.source.size!;
    const path = `emoji::${table}`;
    const { source, spec, emoji } = await openData({ path, factors: [1, 2] });
    assert.equal(source.size, rows + 4);
    assert.equal(source.view, undefined, 'pictures of a table are cut out at random, drawings turned');
    assert.equal(emoji, undefined, 'test sets it has none');
    assert.deepEqual([spec.path, spec.rows], [path, rows + 4]);
    assert.deepEqual((await openData(spec)).spec, spec);
    const order = { seed: 1, epoch: 0, shuffle: false };
    const [first] = await all((await openData({ path: 'emoji::emoji' })).source.rows(order));
    const [own] = await all(alone.source.rows(order));
    assert.deepEqual({ ...first, index: 0, visit: 0, group: 0 }, { ...own, index: 0, visit: 0, group: 0 });
    assert.equal((await openData({ path: 'emoji::emoji' })).source.view, alone.source.view);
  });

  it('refuses factors that do not fit, and sources of unknown size', async () => {
    const shards = `${fixture('webdataset')}/shard-000.tar`;
    for (const [path, factors, kind, message] of [
      [`${table}::${lines}`, [1], UsageError, /1 factors for 2 data sets/],
      [table, [1], UsageError, /1 factors for one data set/],
      [`${table}::${lines}`, [1, -1], DomainError, /factor -1 of/],
      [`${table}::${shards}`, [1, 1], DataError, /is not known before reading/],
      [`${table}::mnist`, undefined, DataError, /without words/],
    ] as const)
      await assert.rejects(
        openSource(path, factors ? { factors: [...factors] } : {}),
        (e: Error) => e instanceof kind && message.test(e.message),
      );
  });
});
