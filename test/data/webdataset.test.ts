import { strict as assert } from 'node:assert';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import { pack } from 'tar-stream';
import { imageExtensions } from '#src/data/folder.js';
import { Loader } from '#src/data/loader.js';
import { expandShards } from '#src/data/shards.js';
import type { BadRow, Row } from '#src/data/source.js';
import { type WebDatasetOptions, webDatasetSource } from '#src/data/webdataset.js';
import { fixture, property } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

const shards = `${fixture('webdataset')}/shard-{000..001}.tar`;
const plain = { seed: 0, epoch: 0, shuffle: false };

/** What was told about the shards read last. */
const said: string[] = [];

async function rows(pattern: string, order = plain, options?: WebDatasetOptions): Promise<(Row | BadRow)[]> {
  said.length = 0;
  return all((await webDatasetSource(pattern, { log: (message) => said.push(message), ...options })).rows(order));
}

/** What a row says, without its pixels. */
const told = (row: Row | BadRow) => ('bad' in row ? row.bad : (row.caption ?? row.label));

describe('webdataset', () => {
  const folder = temporaryFolder();

  /** Writes shards of samples "picture n of shard s", each with a picture of its own bytes. */
  async function write(name: string, counts: number[]): Promise<string> {
    for (const [shard, count] of counts.entries()) {
      const tar = pack();
      for (let i = 0; i < count; i++) {
        tar.entry({ name: `${shard}-${i}.jpg` }, Buffer.alloc(20 + i, i));
        tar.entry({ name: `${shard}-${i}.txt` }, `picture ${i} of shard ${shard}`);
      }
      tar.finalize();
      writeFileSync(join(folder, `${name}-${shard}.tar`), Buffer.concat((await all(tar)) as Buffer[]));
    }
    return join(folder, `${name}-{0..${counts.length - 1}}.tar`);
  }

  it('reads what Python packs: text and JSON captions, class numbers, long names, suffixes in any case', async () => {
    const list = await rows(shards);
    assert.deepEqual(list.map(told), [
      'a wavy disc',
      'ein Kreis, größer',
      'tall ☂',
      'far away',
      'the caption first',
      'empty caption',
      'empty caption',
      told(list[7]!),
      12,
      'long name',
      // Those that stay incomplete come last: their other files might have come later.
      'no picture (jpg, jpeg, jpe, jfif, png, webp, gif, avif, tif, tiff, svg)',
      'no caption (txt, json) or class (cls)',
    ]);
    assert.match(told(list[7]!) as string, /^JSON that cannot be read/);
    assert.match(list[9]!.name, /shard-001\.tar\/a-very-long.*\/0008$/);
    assert.deepEqual((list[0] as Row).image, { bytes: readFileSync(fixture('images/photo.jpg')) });
    assert.equal(new Set(list.map(({ index }) => index)).size, 12);
  });

  it('takes captions from another key, and lone shards, compressed ones and several patterns', async () => {
    const zipped = join(folder, 'zipped.tar.gz');
    writeFileSync(zipped, gzipSync(readFileSync(fixture('webdataset/shard-000.tar'))));
    const list = await rows(`${zipped}::${fixture('webdataset/shard-001.tar')}`, plain, { captionKey: 'title' });
    assert.deepEqual(list.slice(0, 4).map(told), ['a wavy disc', 'empty caption', 'tall ☂', 'far away']);
    assert.equal(list.length, 12);
  });

  it('expands braces, keeping leading zeros', () => {
    const names = (pattern: string) => [...expandShards(pattern)];
    assert.deepEqual(names('a-{08..10}.tar::b.tar'), ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b.tar']);
    assert.deepEqual(names('{2..0}{x,y}'), ['2x', '2y', '1x', '1y', '0x', '0y']);
  });

  it('expands long ranges without cutting them, and refuses endless ones', () => {
    const long = expandShards(`${'folder/'.repeat(20)}{00000..231349}.tar`);
    assert.equal(long.count, 231350);
    assert.deepEqual(
      [0, 99_999, 100_000, 231_349].map((i) => long.at(i).slice(-9)),
      ['00000.tar', '99999.tar', '00000.tar', '31349.tar'],
    );
    const several = expandShards('{train,val}-{0..999}-{00..99..1}.tar::last.tar');
    assert.deepEqual(
      [several.count, several.at(100_000), several.at(199_999), several.at(200_000)],
      [200_001, 'val-0-00.tar', 'val-999-99.tar', 'last.tar'],
    );
    for (const pattern of ['{0..9999999}', `{0..9}${'{0..9}'.repeat(9)}`, '{a,b}'.repeat(17)])
      assert.throws(
        () => expandShards(pattern),
        (e: Error) => e instanceof DataError && /expected at most 2097152/.test(e.message),
      );
  });

  /** Writes one shard of these files, in this order. */
  async function shardOf(name: string, files: [string, string | Buffer][]): Promise<string> {
    const tar = pack();
    for (const [path, content] of files) tar.entry({ name: path }, content);
    tar.finalize();
    writeFileSync(join(folder, name), Buffer.concat((await all(tar)) as Buffer[]));
    return join(folder, name);
  }
  const picture = Buffer.alloc(20);

  it('takes every kind of picture that folders may have', async () => {
    const endings = [...imageExtensions];
    const files = endings.flatMap((ending, i): [string, string | Buffer][] => [
      [`${i}${ending.toUpperCase()}`, `picture ${i}`],
      [`${i}.txt`, ending],
    ]);
    const list = await rows(await shardOf('kinds.tar', files), plain);
    assert.deepEqual(list.map(told), endings);
    assert.deepEqual((list.at(-1) as Row).image, { bytes: Buffer.from(`picture ${endings.length - 1}`) });
  });

  it('keeps samples whose name comes twice apart, and says so', async () => {
    const path = await shardOf('twice.tar', [
      ['1.jpg', picture],
      ['1.txt', 'one'],
      ['1.jpg', picture],
      ['1.txt', 'another'],
      ['2.jpg', picture],
      ['2.txt', 'two'],
    ]);
    const list = await rows(path);
    assert.deepEqual(list.map(told), ['one', 'another', 'two']);
    assert.deepEqual(
      list.map(({ name }) => name.slice(path.length)),
      ['/1', '/1 (2)', '/2'],
    );
    assert.match(said.join(), /samples of the same name follow each other, the first are 1; all are kept/);
  });

  it('takes names with dots for what they are', async () => {
    const path = await shardOf('dots.tar', [
      ['my.photo.of.2024.jpg', picture],
      ['my.photo.of.2024.txt', 'dotted'],
      ['a.b/1.JPG', picture],
      ['a.b/1.seg.json', '{}'],
      ['a.b/1.txt', 'plain'],
      ['2.jpg', picture],
      ['2.bmp', picture],
      ['2.txt', 'two'],
    ]);
    assert.deepEqual((await rows(path)).map(told), ['dotted', 'plain', 'two']);
    assert.match(said.join(), /files ending in \.bmp are passed over, the first is 2\.bmp/);
  });

  it('puts samples together whose files stand apart, and says how to pack them', async () => {
    const names = Array.from({ length: 50 }, (_, i) => `${i}`);
    const path = await shardOf('apart.tar', [
      ...names.map((name): [string, Buffer] => [`${name}.jpg`, picture]),
      ...names.map((name): [string, string] => [`${name}.txt`, `caption ${name}`]),
      ['alone.txt', 'no picture'],
    ]);
    const list = await rows(path);
    assert.deepEqual(list.map(told), [...names.map((name) => `caption ${name}`), told(list.at(-1)!)]);
    assert.match(told(list.at(-1)!) as string, /no picture/);
    assert.match(said.join(), /do not stand side by side; tar --sort=name/);
  });

  it('keeps no more than it may of samples whose files stand too far apart, and says so', async () => {
    const names = Array.from({ length: 10_002 }, (_, i) => `${i}`);
    const path = await shardOf('far.tar', [
      ...names.map((name): [string, string] => [`${name}.txt`, 'words']),
      ...names.slice(-4).map((name): [string, Buffer] => [`${name}.jpg`, picture]),
    ]);
    const list = await rows(path);
    assert.equal(list.filter((row) => !('bad' in row)).length, 2);
    assert.match(said.join(), /the files of 10000 and others stand too far apart; tar --sort=name/);
  });

  it('takes an empty .cls for no class', async () => {
    const path = await shardOf('cls.tar', [
      ['1.cls', ''],
      ['1.jpg', picture],
      ['2.cls', ' 7\n'],
      ['2.jpg', picture],
    ]);
    assert.deepEqual((await rows(path)).map(told), ['no class number in .cls', 7]);
  });

  it('becomes batches: the same pictures as from files', async () => {
    const options = { batchSize: 1, transform: { size: 8 }, workers: 1, maxBadShare: 1, log: () => {} };
    const loader = new Loader(await webDatasetSource(shards), options);
    const [first] = await all(loader.batches({ epoch: 0 }));
    await loader.close();
    const image = { path: fixture('images/photo.jpg') };
    const source = { name: 'one', rows: () => [{ index: 0, name: 'x', image }] };
    const [same] = await all(new Loader(source, { ...options, workers: 0 }).batches({ epoch: 0 }));
    assert.deepEqual(first!.images, same!.images);
  });

  property(
    'gives every sample once an epoch, in an order that seed and epoch fix, whatever the pool',
    fc.record({
      counts: fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 4 }),
      pool: fc.integer({ min: 1, max: 20 }),
      poolBytes: fc.constantFrom(1, 100, 1e6),
      seed: fc.nat(),
    }),
    async ({ counts, pool, poolBytes, seed }) => {
      const pattern = counts.length === 1 ? await write('any', [...counts, 0]) : await write('any', counts);
      const order = { seed, epoch: 1, shuffle: true };
      const list = await rows(pattern, order, { pool, poolBytes });
      const expected = counts.flatMap((count, s) =>
        Array.from({ length: count }, (_, i) => `picture ${i} of shard ${s}`),
      );
      assert.deepEqual(list.map(told).sort(), expected.sort());
      assert.deepEqual(await rows(pattern, order, { pool, poolBytes }), list);
    },
    20,
  );

  it('mixes shards and samples anew each epoch', async () => {
    const pattern = await write('mixed', [20, 20, 20]);
    const order = async (epoch: number, pool: number) =>
      (await rows(pattern, { seed: 4, epoch, shuffle: true }, { pool })).map(told);
    const [first, second, unmixed] = [await order(0, 40), await order(1, 40), await order(1, 1)];
    assert.notDeepEqual(first, second);
    const shardsInOrder = (list: unknown[]) => list.map((text) => String(text).at(-1)).join('');
    assert.match(shardsInOrder(unmixed), /^(.)\1{19}(.)\2{19}(.)\3{19}$/); // a pool of one mixes shards only
    assert.doesNotMatch(shardsInOrder(first), /(.)\1{19}/);
  });

  property(
    'keeps what precedes the break in a truncated shard, says so once, and goes on with the next',
    fc.nat(10_000),
    async (cut) => {
      const pattern = await write('cut', [6, 2]);
      const path = join(folder, 'cut-0.tar');
      const whole = readFileSync(path);
      const wanted = (await rows(pattern)).map(told);
      const length = Math.min(cut, 6 * 2048);
      writeFileSync(path, whole.subarray(0, length));
      const list = await rows(pattern);
      const good = list.filter((row) => !('bad' in row)).map(told);
      const kept = good.length - 2;
      assert.deepEqual(good, [...wanted.slice(0, kept), ...wanted.slice(6)]);
      assert.ok(kept >= Math.floor(length / 2048) - 1, `${kept} samples of ${length} bytes`);
      const bad = list.filter((row) => 'bad' in row);
      // Cut between files a tar is whole as far as anyone can tell; only a sample without words may remain.
      if (length % 512 !== 0)
        assert.deepEqual(
          bad.map(({ name }) => name.startsWith(path)),
          [true],
        );
      assert.ok(bad.length <= 1);
    },
    40,
  );

  it('goes on after a missing shard or a damaged header', async () => {
    const pattern = await write('lost', [2, 3]);
    const damaged = readFileSync(join(folder, 'lost-1.tar'));
    damaged.fill(7, 2048, 2100); // in the second sample's first header
    writeFileSync(join(folder, 'lost-1.tar'), damaged);
    const list = await rows(`${pattern}::${join(folder, 'none.tar')}`);
    assert.deepEqual(list.slice(0, 2).map(told), ['picture 0 of shard 0', 'picture 1 of shard 0']);
    assert.match(list.at(-2)!.name, /lost-1\.tar$/);
    assert.match(told(list.at(-2)!) as string, /broken shard/);
    assert.deepEqual([list.at(-1)!.name, told(list.at(-1)!)], [join(folder, 'none.tar'), 'no such shard']);
  });

  it('resumes through the loader as if never interrupted', async () => {
    const images = ['photo.jpg', 'plain.png', 'grey.png', 'tall.webp', 'odd.png'];
    const tar = pack();
    for (const [i, file] of images.entries()) {
      tar.entry({ name: `${i}.${file.split('.')[1]}` }, readFileSync(fixture(`images/${file}`)));
      tar.entry({ name: `${i}.txt` }, file);
    }
    tar.finalize();
    const path = join(folder, 'resume.tar');
    writeFileSync(path, Buffer.concat((await all(tar)) as Buffer[]));
    const options = { batchSize: 1, transform: { size: 8 }, train: true, workers: 0 };
    const loader = new Loader(await webDatasetSource(path, { pool: 3 }), options);
    const whole = await all(loader.batches({ epoch: 7 }));
    assert.deepEqual(await all(loader.batches(whole[1]!.next)), whole.slice(2));
  });

  it('knows its size from sizes.json, __len__ or the option', async () => {
    copyFileSync(fixture('webdataset/shard-000.tar'), join(folder, 'a.tar'));
    const size = async (options?: WebDatasetOptions) => (await webDatasetSource(join(folder, 'a.tar'), options)).size;
    assert.equal(await size(), undefined);
    assert.equal(await size({ samples: 9 }), 9);
    writeFileSync(join(folder, '__len__'), '12\n');
    assert.equal(await size(), 12);
    writeFileSync(join(folder, 'sizes.json'), '{"a.tar": 4, "b.tar": 5}');
    assert.equal(await size(), 4);
    writeFileSync(join(folder, 'sizes.json'), '{');
    await assert.rejects(size(), (e: Error) => e instanceof DataError && /sizes\.json/.test(e.message));
  });

  it('refuses a pattern that names no file', async () => {
    await assert.rejects(
      webDatasetSource(join(folder, 'no-{0..3}.tar')),
      (e: Error) => e instanceof DataError && /none of 4 shards/.test(e.message),
    );
  });
});
