import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { DataError } from 'hopgrad';
import { idxSource, readIdx } from '#src/data/idx.js';
import { labelledSet } from '#src/data/labelled.js';
import { Loader } from '#src/data/loader.js';
import type { Row } from '#src/data/source.js';
import { property } from '../helpers.js';
import { all, temporaryFolder } from './helpers.js';

/** An idx file of bytes. */
function idx(shape: number[], data: ArrayLike<number>): Buffer {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, 8, shape.length]);
  shape.forEach((length, axis) => {
    header.writeUInt32BE(length, 4 + 4 * axis);
  });
  return Buffer.concat([header, Uint8Array.from(data)]);
}

describe('idx files', () => {
  const folder = temporaryFolder();
  const refuses = (message: RegExp) => (e: Error) => e instanceof DataError && message.test(e.message);

  property(
    'give back any array of bytes, plain or compressed; every other length is refused',
    fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 1, maxLength: 4 }).chain((shape) => {
      const count = shape.reduce((product, length) => product * length, 1);
      return fc.record({ shape: fc.constant(shape), data: fc.uint8Array({ minLength: count, maxLength: count }) });
    }),
    ({ shape, data }) => {
      for (const bytes of [idx(shape, data), gzipSync(idx(shape, data))]) {
        const read = readIdx('x', bytes);
        assert.deepEqual([read.shape, [...read.data]], [shape, [...data]]);
      }
      assert.throws(() => readIdx('x', idx(shape, [...data, 1])), refuses(/bytes; expected/));
      assert.throws(() => readIdx('x', Buffer.from('not an idx file')), refuses(/not an idx file/));
    },
  );

  it('become labelled pictures, dark on light', async () => {
    writeFileSync(join(folder, 't10k-images-idx3-ubyte'), idx([2, 2, 3], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255]));
    writeFileSync(join(folder, 't10k-labels-idx1-ubyte.gz'), gzipSync(idx([2], [1, 0])));
    const source = await idxSource(folder, { classNames: ['a', 'b'] });
    const [first, second] = [...(source.rows({ seed: 0, epoch: 0, shuffle: false }) as Iterable<Row>)];
    assert.deepEqual([first!.label, second!.label], [1, 0]);
    const pixels = { data: Uint8Array.of(249, 248, 247, 246, 245, 0), width: 3, height: 2, channels: 1, mode: 'L' };
    assert.deepEqual(second!.image, { pixels });
    await assert.rejects(idxSource(folder, { classNames: ['a'] }), refuses(/label 1 .*below 1/));
    await assert.rejects(
      idxSource(folder, { classNames: ['a', 'b'], split: 'train' }),
      refuses(/no file .*train-images/),
    );
    writeFileSync(join(folder, 'train-images-idx3-ubyte'), idx([1, 2, 1], [0, 1]));
    writeFileSync(join(folder, 'train-labels-idx1-ubyte'), idx([2], [0, 1]));
    await assert.rejects(idxSource(folder, { classNames: ['a', 'b'], split: 'train' }), refuses(/\[1,2,1\].*\[2\]/));
  });

  it('of the handwritten digits: 10,000 in the published shares, mostly paper', async () => {
    const source = await labelledSet('mnist');
    const counts = new Array(10).fill(0);
    const rows = (await all(source.rows({ seed: 0, epoch: 0, shuffle: false }))) as Row[];
    for (const { label } of rows) counts[label!]++;
    assert.deepEqual(counts, [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    const some = { ...source, rows: () => rows.slice(0, 8) };
    const [batch] = await all(
      new Loader(some, { batchSize: 8, transform: { size: 32 }, workers: 0 }).batches({ epoch: 0 }),
    );
    assert.deepEqual([...batch!.labels], [7, 2, 1, 0, 4, 1, 4, 9]);
    const light = batch!.images.filter((v) => v > 1.5).length / batch!.images.length;
    assert.ok(light > 0.6 && light < 0.95, `${light} of the pixels are light`);
  });

  it('say how to get a set that is not installed', async () => {
    await assert.rejects(labelledSet('fashion-mnist', { folder: join(folder, 'none') }), refuses(/no file .*none/));
  });
});
