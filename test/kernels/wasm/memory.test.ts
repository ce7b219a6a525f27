/** Memory of the wasm device: nobody disposes, nothing grows, and running out is an error one survives. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { device, full, init, MemoryLimitError, memory, tensor } from 'hopgrad';
import { AdamW, Linear } from 'hopgrad/nn';
import { Heap } from '#src/kernels/wasm/heap.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { property } from '../../helpers.js';

const mebi = 2 ** 20;

describe('memory of the wasm device', function () {
  this.timeout(300_000);
  before(() => init({ device: 'wasm' }));

  it('10,000 naive training steps leave it flat', async () => {
    const layer = new Linear(16, 8, { device: 'wasm' });
    const optimizer = new AdamW(layer.parameters(), { lr: 1e-3 });
    const x = tensor(new Float32Array(32 * 16).fill(0.5), { shape: [32, 16], device: 'wasm' });
    const step = async () => {
      optimizer.zeroGrad();
      layer.forward(x).square().mean().backward();
      await optimizer.step();
    };
    for (let i = 0; i < 2000; i++) await step();
    const before = { ...memory(), rss: process.memoryUsage().rss };
    for (let i = 0; i < 10_000; i++) await step();
    const after = { ...memory(), rss: process.memoryUsage().rss };
    assert.ok(
      after.reservedBytes - before.reservedBytes <= 64 * mebi,
      `reserved ${before.reservedBytes} → ${after.reservedBytes}`,
    );
    assert.ok(after.liveBytes < 320 * mebi, `live ${after.liveBytes}`);
    assert.ok(after.rss - before.rss < 150 * mebi, `resident ${before.rss} → ${after.rss}`);
  });

  it('30 steps whose intermediates take 200 MB each, more than there is, leave it flat', async () => {
    const x = tensor([1, 2, 3], { requiresGrad: true, device: 'wasm' });
    const step = async () => {
      x.grad = null;
      let sum = x;
      for (let i = 0; i < 4; i++) sum = sum.add(full([12.5 * mebi], i, { device: 'wasm' }).slice([[0, 3]])); // 50 MB each
      sum.sum().backward();
      await x.grad!.data();
    };
    for (let i = 0; i < 6; i++) await step();
    const before = { ...memory(), rss: process.memoryUsage().rss };
    for (let i = 0; i < 24; i++) await step();
    const after = { ...memory(), rss: process.memoryUsage().rss };
    assert.ok(
      after.reservedBytes <= before.reservedBytes + 256 * mebi,
      `${before.reservedBytes} → ${after.reservedBytes}`,
    );
    assert.ok(after.rss - before.rss < 400 * mebi, `resident ${before.rss} → ${after.rss}`);
  });

  it('running out names the request, what is live and what to do; afterwards work goes on', () => {
    const small = createWasmDevice({ threads: 1, maxBytes: 64 * mebi });
    const kept = [small.fill(mebi, 1, 'float32'), small.fill(mebi, 2, 'float32')];
    assert.throws(
      () => small.fill(16 * mebi, 0, 'float32'),
      (error: unknown) =>
        error instanceof MemoryLimitError &&
        /request for 67108864 bytes with 8388608 bytes live in 2 tensors/.test(error.message) &&
        /64 MiB/.test(error.message) &&
        /micro-batch.*checkpoint/.test(error.message),
    );
    assert.equal(small.readSync(kept[1]!)[mebi - 1], 2);
    kept[0]!.free();
    assert.equal(small.readSync(small.fill(8 * mebi, 3, 'float32'))[0], 3);
  });

  property(
    'the heap never gives a byte to two blocks, and free neighbours join',
    fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 0, max: 200_000 }), fc.nat()), { maxLength: 120 }),
    (actions) => {
      const heap = new Heap(new WebAssembly.Memory({ initial: 16, maximum: 65536 }), 1000, () => false);
      const live: ReturnType<Heap['allocate']>[] = [];
      for (const [allocate, bytes, which] of actions) {
        if (allocate || live.length === 0) {
          const block = heap.allocate(bytes);
          assert.ok(block.bytes >= bytes && block.address % 64 === 0);
          for (const other of live)
            assert.ok(block.address + block.bytes <= other.address || other.address + other.bytes <= block.address);
          live.push(block);
        } else heap.release(live.splice(which % live.length, 1)[0]!);
        assert.equal(heap.info().storages, live.length);
      }
      for (const block of live) heap.release(block);
      assert.equal(heap.info().liveBytes, 0);
      const { reservedBytes } = heap.info();
      heap.allocate(Math.max(1, reservedBytes - 4 * mebi)); // what is free is one range again, small blocks aside
      assert.ok(heap.info().reservedBytes <= reservedBytes + 4 * mebi + 2 ** 28);
    },
    100,
  );

  it('comes back however many finalizers of others wait before it', async () => {
    const small = createWasmDevice({ threads: 1 });
    const others = Array.from({ length: 200 }, () => new FinalizationRegistry(() => {})); // V8 runs those of one a turn
    for (let i = 0; i < 40; i++) {
      for (const registry of others) registry.register({}, 0);
      small.fill(12.5 * mebi, i, 'float32'); // 50 MB, dropped
      await small.read(small.fill(1, 0, 'float32'));
    }
    assert.ok(small.memory().peakBytes <= 356 * mebi, `${small.memory().peakBytes}`);
  });

  it('a collection is forced before memory ends, however much of it is in use', async () => {
    let collections = 0;
    const collect = () => {
      collections++;
      return false;
    };
    const heap = new Heap(new WebAssembly.Memory({ initial: 16, maximum: 65536 }), 1000, collect, 1000 * mebi);
    heap.allocate(600 * mebi); // twice this is more than there is
    await heap.collector.settle();
    collections = 0;
    for (let i = 0; i < 30; i++) heap.allocate(10 * mebi);
    assert.ok(collections > 0);
  });

  it('reports live and peak bytes', () => {
    const small = createWasmDevice({ threads: 1 });
    const x = small.fill(mebi, 0, 'float32');
    assert.deepEqual(
      { ...small.memory(), reservedBytes: 0 },
      { liveBytes: 4 * mebi, peakBytes: 4 * mebi, storages: 1, reservedBytes: 0 },
    );
    x.free();
    assert.equal(small.memory().liveBytes, 0);
    assert.equal(small.memory().peakBytes, 4 * mebi);
    assert.equal(device().name, 'wasm');
  });
});
