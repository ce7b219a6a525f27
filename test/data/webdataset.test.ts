import { strict as assert } from 'node:assert';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import { pack } from 'tar-stream';
import { Loader } from '#src/data/loader.js';
import type { BadRow, Row } from '#src/data/source.js';
import { expandShards, type WebDatasetOptions, webDatasetSource } from '#src/data/webdataset.js';
import { fixture, property } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

const shards = `${fixture('webdataset')}/shard-{000..001}.tar`;
const plain = { seed: 0, epoch: 0, shuffle: false };

async function rows(pattern: string, order = plain, options?: WebDatasetOptions): Promise<(Row | BadRow)[]> {
  return all((await webDatasetSource(pattern, options)).rows(order));
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
      'no picture (jpg, jpeg, png, webp)',
      'no caption (txt, json) or class (cls)',
      'empty caption',
      told(list[9]!),
      12,
      'long name',
    ]);
    assert.match(told(list[9]!) as string, /^JSON that cannot be read/);
    assert.match(list[11]!.name, /shard-001\.tar\/a-very-long.*\/0008$/);
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
    assert.deepEqual(expandShards('a-{08..10}.tar::b.tar'), ['a-08.tar', 'a-09.tar', 'a-10.tar', 'b.tar']);
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
