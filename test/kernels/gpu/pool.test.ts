/** Buffers used again: sizes, bounds, and that no program can see it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { init, noGrad, type Tensor, tensor } from 'hopgrad';
import { BlockPool, roundedSize } from '#src/kernels/gpu/pool.js';
import { property } from '../../helpers.js';
import { needWebGpu } from './adapter.js';

/** A device that only counts. */
function fakeDevice() {
  const counts = { made: 0, destroyed: 0 };
  const device = { createBuffer: () => ({ made: counts.made++ }) };
  return { device: device as never, counts };
}

const mebibyte = 2 ** 20;

describe('the pool of WebGPU buffers', () => {
  property('rounds up by an eighth at most, to whole words, within the limit', fc.nat(2 ** 31 - 1), (bytes) => {
    const size = roundedSize(bytes, 2 ** 31);
    assert.ok(size >= Math.max(bytes, 4) && size % 4 === 0);
    assert.ok(size <= Math.max(bytes * 1.125, bytes + 256));
    assert.equal(roundedSize(size, 2 ** 31), size);
    assert.equal(roundedSize(bytes, Math.max(4, bytes + 3)) >= bytes, true);
  });

  it('gives a buffer again once all its holders have released it', () => {
    const { device, counts } = fakeDevice();
    const pool = new BlockPool(device, 2 ** 30, () => counts.destroyed++);
    const block = pool.take(1000);
    block.holders++;
    pool.release(block);
    assert.notEqual(pool.take(1000), block, 'still held');
    pool.release(block);
    assert.equal(pool.take(1001), block, 'of a neighbouring size');
    assert.deepEqual(counts, { made: 2, destroyed: 0 });
  });

  it('gives whoever asks again what it had; others take that last', () => {
    const { device, counts } = fakeDevice();
    const pool = new BlockPool(device, 2 ** 30, () => counts.destroyed++);
    const claim = {};
    const own = pool.take(1000, claim);
    const other = pool.take(1000);
    for (const block of [other, own]) pool.release(block);
    assert.equal(pool.take(1000), other, 'although given back before');
    assert.equal(pool.take(1000, claim), own);
    pool.release(own);
    assert.equal(pool.take(1000), own, 'rather than a new one');
    const next = pool.take(1000, claim);
    assert.notEqual(next, own, 'which somebody has');
    for (const block of [own, next]) pool.release(block);
    assert.equal(pool.take(1000, claim), next, 'the claim has moved');
    assert.equal(counts.made, 3);
  });

  it('keeps a block while any part of it is held', () => {
    const { device } = fakeDevice();
    const pool = new BlockPool(device, 2 ** 30, () => {});
    const whole = pool.take(1024);
    const [a, b] = pool.parts(whole, [
      { offset: 0, bytes: 12 },
      { offset: 256, bytes: 768 },
    ]);
    pool.release(whole);
    a!.holders++;
    for (const part of [a!, b!]) pool.release(part);
    assert.notEqual(pool.take(1024), whole, 'a part is still held');
    pool.release(a!);
    assert.equal(pool.take(1024), whole);
    assert.deepEqual([a!.id, b!.id, b!.offset], [`${whole.id}+0`, `${whole.id}+256`, 256]);
  });

  property(
    'never gives a block to two, with claims or without, and counts every byte',
    fc.array(
      fc.record({ size: fc.integer({ min: 1, max: 4 }), claim: fc.option(fc.nat(5)), free: fc.option(fc.nat(9)) }),
      {
        maxLength: 200,
      },
    ),
    (story) => {
      const { device, counts } = fakeDevice();
      const pool = new BlockPool(device, 2 ** 30, () => counts.destroyed++);
      const claims = Array.from({ length: 6 }, () => ({}));
      const held: ReturnType<typeof pool.take>[] = [];
      for (const { size, claim, free } of story) {
        const block = pool.take(size * mebibyte, claims[claim ?? -1]);
        assert.ok(!held.includes(block) && block.bytes >= size * mebibyte);
        held.push(block);
        if (free !== null && free < held.length) pool.release(held.splice(free, 1)[0]!);
      }
      const all = counts.made - counts.destroyed;
      assert.ok(all >= held.length && pool.bytes >= held.reduce((sum, { bytes }) => sum + bytes, 0));
      for (const block of held) pool.release(block);
      assert.equal(pool.bytes > 0, story.length > 0);
    },
  );

  property(
    'keeps little more than was ever in use at once, whatever sizes come',
    fc.array(fc.integer({ min: 1, max: 64 }), { minLength: 50, maxLength: 300 }),
    (sizes) => {
      const { device, counts } = fakeDevice();
      const pool = new BlockPool(device, 2 ** 30, () => counts.destroyed++);
      const held = [];
      let peak = 0;
      for (const size of sizes) {
        held.push(pool.take(size * mebibyte));
        peak = Math.max(
          peak,
          held.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        assert.ok(pool.bytes <= 64 * mebibyte + 1.25 * peak + size * mebibyte, `${pool.bytes} with ${peak} at most`);
        if (held.length === 3) pool.release(held.shift()!);
      }
      assert.equal(counts.made - counts.destroyed > held.length, true, 'and does keep some');
    },
  );
});

/** Steps of a program over a few tensors: which are combined, where the result goes, what is read in between. */
const programs = fc.array(
  fc.record({
    op: fc.constantFrom('add', 'mul', 'sum', 'matmul', 'fill', 'copy', 'upload', 'read'),
    a: fc.nat(3),
    b: fc.nat(3),
    into: fc.nat(3),
  }),
  { minLength: 5, maxLength: 60 },
);

describe('programs that free what they replace, on webgpu', () => {
  before(needWebGpu);
  after(() => init({ device: 'wasm' }));

  /** Every reading of the program, and the tensors at its end. Values stay small: whole numbers modulo 7. */
  async function run(steps: typeof programs extends fc.Arbitrary<infer T> ? T : never, device: string) {
    const n = 6;
    let next = 1;
    const fresh = () =>
      tensor(
        Float32Array.from({ length: n * n }, (_, i) => (i * next++) % 7),
        { shape: [n, n], device },
      );
    // Half more, so that no rounding of the quotient matters.
    const small = (x: Tensor) => x.sub(x.add(0.5).div(7).cast('int32').cast('float32').mul(7));
    const slots = Array.from({ length: 4 }, fresh);
    const readings: Promise<unknown>[] = [];
    noGrad(() => {
      for (const { op, a, b, into } of steps) {
        const [x, y] = [slots[a]!, slots[b]!];
        if (op === 'read') {
          readings.push(x.data());
          continue;
        }
        const result = {
          add: () => small(x.add(y)),
          mul: () => small(x.mul(y)),
          sum: () => small(x.add(y.sum({ axis: 0, keepDims: true }))),
          matmul: () => small(x.matmul(y)),
          fill: () => x.mul(0).add(3),
          copy: () => x.detach().add(0),
          upload: fresh,
        }[op]();
        slots[into]!.dispose();
        slots[into] = result;
      }
    });
    return Promise.all([...readings, ...slots.map((slot) => slot.data())]);
  }

  property('give what they give on the reference', programs, async (steps) => {
    assert.deepEqual(await run(steps, 'webgpu'), await run(steps, 'reference'));
  });
});
