import { strict as assert } from 'node:assert';
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { DataError, DomainError, Random, UsageError } from 'hopgrad';
import { apart, type Batch, Loader, type LoaderOptions } from '#src/data/loader.js';
import { type BadRow, listSource, type Row } from '#src/data/source.js';
import { fixture, property } from '../helpers.js';
import { all } from './helpers.js';

const silent = () => {};
const plain = { seed: 0, epoch: 0, shuffle: false };

/** Pictures of noise; `bad` rows among them. */
function noise(count: number, bad: ReadonlySet<number> = new Set()) {
  const random = new Random(1);
  return listSource(
    'noise',
    Array.from({ length: count }, (_, index): Row | BadRow => {
      const data = Uint8Array.from({ length: 5 * 6 * 3 }, () => random.int(256));
      if (bad.has(index)) return { index, name: `row ${index}`, bad: 'empty caption' };
      const pixels = { data, width: 5, height: 6, channels: 3, mode: 'RGB' as const };
      return { index, name: `row ${index}`, image: { pixels }, caption: `caption ${index}`, label: index % 3 };
    }),
  );
}

const [oneRow] = [...(noise(1).rows(plain) as Iterable<Row>)] as [Row];

const files = [
  'photo.jpg',
  'plain.png',
  'alpha.webp',
  'truncated.jpg',
  'missing.jpg',
  'cmyk.jpg',
  'grey.png',
  'tall.webp',
];
const fileSource = listSource(
  'files',
  files.map((file, index) => ({ index, name: file, image: { path: fixture(`images/${file}`) }, caption: file })),
);

async function collect(
  source: typeof fileSource,
  options: Partial<LoaderOptions>,
  place: Parameters<Loader['batches']>[0] = { epoch: 0 },
): Promise<Batch[]> {
  const loader = new Loader(source, { batchSize: 2, transform: { size: 8 }, workers: 0, log: silent, ...options });
  try {
    return await all(loader.batches(place));
  } finally {
    await loader.close();
  }
}

describe('loader', () => {
  for (const train of [true, false])
    it(`gives the same ${train ? 'training' : 'evaluation'} batches with 0, 1 and 3 workers, whatever the prefetch`, async () => {
      const options = { train, seed: 5, maxBadShare: 0.5 };
      const expected = await collect(fileSource, options, { epoch: 3 });
      assert.equal(expected.length, 3);
      assert.deepEqual(await collect(fileSource, { ...options, workers: 1, prefetch: 1 }, { epoch: 3 }), expected);
      assert.deepEqual(await collect(fileSource, { ...options, workers: 3, prefetch: 5 }, { epoch: 3 }), expected);
    });

  property(
    'visits every usable row once an epoch, in an order of its own for every epoch and seed',
    fc.record({
      count: fc.integer({ min: 20, max: 40 }),
      bad: fc.uniqueArray(fc.nat(19), { maxLength: 5 }),
      seed: fc.nat(),
      batchSize: fc.integer({ min: 1, max: 9 }),
    }),
    async ({ count, bad, seed, batchSize }) => {
      const source = noise(count, new Set(bad));
      const options = { train: true, dropLast: false, seed, batchSize, maxBadShare: 1 };
      const orders = await Promise.all(
        [0, 1].map(async (epoch) => (await collect(source, options, { epoch })).flatMap(({ indices }) => indices)),
      );
      const usable = Array.from({ length: count }, (_, i) => i).filter((i) => !bad.includes(i));
      for (const order of orders)
        assert.deepEqual(
          [...order].sort((a, b) => a - b),
          usable,
        );
      assert.notDeepEqual(orders[0], orders[1]);
      const other = (await collect(source, { ...options, seed: seed + 1 })).flatMap(({ indices }) => indices);
      assert.notDeepEqual(orders[0], other);
    },
    20,
  );

  property(
    'resumes from any batch as if never interrupted',
    fc.record({
      bad: fc.uniqueArray(fc.nat(29), { maxLength: 6 }),
      seed: fc.nat(),
      batchSize: fc.integer({ min: 1, max: 7 }),
      stop: fc.nat(5),
    }),
    async ({ bad, seed, batchSize, stop }) => {
      const source = noise(30, new Set(bad));
      const options = { train: true, seed, batchSize, maxBadShare: 1 };
      const whole = await collect(source, options, { epoch: 2 });
      const at = Math.min(stop, whole.length - 1);
      assert.deepEqual(await collect(source, options, whole[at]!.next), whole.slice(at + 1));
    },
    20,
  );

  it('keeps pictures with their captions, labels and names', async () => {
    const source = noise(9);
    for (const { captions, labels, indices, names, images, count } of await collect(source, {
      train: true,
      batchSize: 4,
    })) {
      assert.equal(count, 4);
      assert.equal(images.length, 4 * 3 * 64);
      assert.deepEqual(
        captions,
        indices.map((i) => `caption ${i}`),
      );
      assert.deepEqual(
        [...labels],
        indices.map((i) => i % 3),
      );
      assert.deepEqual(
        names,
        indices.map((i) => `row ${i}`),
      );
    }
    const [one] = await collect(source, { batchSize: 1 });
    const [, , third] = await collect(source, { batchSize: 1 });
    const [batch] = await collect(source, { batchSize: 3 });
    assert.deepEqual(batch!.images.subarray(0, 192), one!.images);
    assert.deepEqual(batch!.images.subarray(384), third!.images);
  });

  it('crops anew in every epoch, and differently for every row', async () => {
    const [a] = await collect(noise(2), { train: true, shuffle: false });
    const [b] = await collect(noise(2), { train: true, shuffle: false }, { epoch: 1 });
    assert.deepEqual(a!.indices, b!.indices);
    assert.notDeepEqual(a!.images, b!.images);
  });

  it('counts bad rows and logs each once by name', async () => {
    const lines: string[] = [];
    const log = (line: string) => lines.push(line);
    const loader = new Loader(fileSource, { batchSize: 3, transform: { size: 8 }, workers: 1, maxBadShare: 0.25, log });
    for (const epoch of [0, 1]) {
      const batches = await all(loader.batches({ epoch }));
      assert.deepEqual(
        batches.map(({ count }) => count),
        [3, 3],
      );
    }
    await loader.close();
    assert.deepEqual([...loader.badRows.keys()], ['truncated.jpg', 'missing.jpg']);
    assert.match(lines[0]!, /^skipped truncated\.jpg: .*premature end/);
    assert.match(lines[1]!, /^skipped missing\.jpg: no such file/);
    assert.equal(lines.length, 2);
  });

  it('stops when too many rows are bad: at the end of an epoch, or early in a long one', async () => {
    await assert.rejects(collect(fileSource, { maxBadShare: 0.2 }), (error: Error) => {
      assert.ok(error instanceof DataError);
      assert.match(error.message, /2 of 8 rows of files cannot be used.*missing\.jpg.*at most 20 %/);
      return true;
    });
    const bad = new Set(Array.from({ length: 500 }, (_, i) => i).filter((i) => i % 5 === 4));
    await assert.rejects(collect(noise(1000, bad), { batchSize: 10 }), /20 of 100 rows/);
    assert.equal((await collect(noise(1000, bad), { batchSize: 10, maxBadShare: 0.2 })).length, 90);
  });

  it('judges bad rows over the whole epoch, wherever it goes on', async () => {
    // 10 bad rows, all at the end: 10 % of the epoch, and more than that of any tail.
    const source = noise(100, new Set(Array.from({ length: 10 }, (_, i) => 90 + i)));
    const whole = await collect(source, { batchSize: 5 });
    for (const [i, { next }] of whole.entries())
      assert.deepEqual(await collect(source, { batchSize: 5 }, next), whole.slice(i + 1), `after batch ${i}`);
    const early = noise(100, new Set(Array.from({ length: 11 }, (_, i) => i)));
    const [first] = await collect(early, { batchSize: 5, maxBadShare: 0.2 });
    assert.equal(first!.next.bad, 11);
    await assert.rejects(collect(early, { batchSize: 5 }, first!.next), /11 of 100 rows/);
  });

  property(
    'training batches hold one row of a group; every row but a few at the end comes once; resumed alike',
    fc.record({
      groups: fc.array(fc.option(fc.nat(12), { nil: undefined }), { minLength: 30, maxLength: 60 }),
      bad: fc.uniqueArray(fc.nat(29), { maxLength: 4 }),
      batchSize: fc.integer({ min: 2, max: 6 }),
      seed: fc.nat(99),
      stop: fc.nat(5),
    }),
    async ({ groups, bad, batchSize, seed, stop }) => {
      fc.pre(new Set(groups).size > 2 * batchSize);
      const rows = [...(noise(groups.length, new Set(bad)).rows(plain) as Iterable<Row | BadRow>)];
      const source = listSource(
        'groups',
        rows.map((row, i) => (groups[i] === undefined || 'bad' in row ? row : { ...row, group: groups[i]! })),
      );
      const options = { train: true, seed, batchSize, maxBadShare: 1 };
      const batches = await collect(source, options);
      for (const { indices } of batches) {
        const own = indices.map((i) => groups[i]).filter((group) => group !== undefined);
        assert.equal(new Set(own).size, own.length);
      }
      const seen = batches.flatMap(({ indices }) => indices);
      assert.equal(new Set(seen).size, seen.length);
      const at = Math.min(stop, batches.length - 1);
      assert.deepEqual(await collect(source, options, batches[at]!.next), batches.slice(at + 1));
    },
    30,
  );

  it('keeps groups apart without losing rows, where there is room', async () => {
    const rows = Array.from({ length: 200 }, (_, index) => ({ ...oneRow, index, group: index % 40 }));
    const order = new Random(2).shuffle(rows);
    const spread = (await all(apart(order, 16))) as Row[];
    assert.ok(spread.length >= 195, `${spread.length} of 200 rows`);
    spread.forEach(({ group }, i) => {
      assert.ok(!spread.slice(i + 1, i + 16).some((other) => other.group === group), `row ${i}`);
    });
  });

  it('refuses to make no batch at all', async () => {
    await assert.rejects(collect(noise(3), { train: true, batchSize: 4 }), /3 usable rows in noise.*one batch of 4/);
    await assert.rejects(collect(noise(0), {}), DataError);
  });

  it('says how many batches to expect', () => {
    const batches = (train: boolean) =>
      new Loader(noise(10), { batchSize: 4, transform: { size: 8 }, train }).batchesPerEpoch;
    assert.deepEqual([batches(true), batches(false)], [2, 3]);
  });

  it('reads no further ahead than asked', async () => {
    let taken = 0;
    const source = {
      name: 'endless',
      *rows() {
        const [row] = noise(1).rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<Row>;
        for (let index = 0; ; index++, taken++) yield { ...row!, index };
      },
    };
    const loader = new Loader(source, { batchSize: 4, prefetch: 6, transform: { size: 8 }, workers: 0 });
    for await (const { next } of loader.batches({ epoch: 0 })) {
      assert.ok(taken <= next.row + 6, `${taken} rows taken for ${next.row}`);
      if (next.row >= 40) break; // an abandoned epoch leaves nothing behind
    }
  });

  it('does not wait for threads that have ended', async () => {
    const loader = new Loader(fileSource, { batchSize: 2, transform: { size: 8 }, workers: 1, log: silent });
    for await (const _ of loader.batches({ epoch: 0 })) break;
    await loader.close();
    await assert.rejects(all(loader.batches({ epoch: 0 })), UsageError);
  });

  it('refuses options out of range', () => {
    for (const wrong of [
      { batchSize: 0 },
      { workers: -1 },
      { prefetch: 0.5 },
      { maxBadShare: 2 },
      { transform: { size: 0 } },
    ])
      assert.throws(() => new Loader(noise(3), { batchSize: 2, transform: { size: 8 }, ...wrong }), DomainError);
  });
});

describe('loader without sharp', () => {
  /** Runs `script` in a process in which no package sharp can be found. */
  function withoutSharp(script: string): string {
    const hook = `export const resolve = (name, context, next) => {
      if (name === 'sharp') throw new Error('Cannot find package sharp');
      return next(name, context);
    };`;
    const start = `import { register } from 'node:module';
      register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hook)}`)});
      const { Loader } = await import(${JSON.stringify(import.meta.resolve('#src/data/loader.js'))});
      ${script}`;
    return execFileSync(process.execPath, ['--input-type=module', '-e', start], { encoding: 'utf8' });
  }

  for (const workers of [0, 2])
    it(`stops with ${workers} workers and says what to install, instead of skipping every row`, () => {
      const output = withoutSharp(`
        const source = { name: 'files', rows: () => [{ index: 0, name: 'a', image: { path: 'a.png' } }] };
        const loader = new Loader(source, { batchSize: 1, transform: { size: 8 }, workers: ${workers}, maxBadShare: 1 });
        try { for await (const batch of loader.batches({ epoch: 0 })); } catch (error) { console.log(error.name + ' ' + error.message); }`);
      assert.match(output, /^DataError .*sharp cannot be loaded.*npm install sharp/);
    });
});
