/** Threads of the wasm device: the same bits for any number of them, and a process that ends by itself. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { init, UsageError } from 'hopgrad';
import type { Device, Storage } from '#src/kernels/device.js';
import { fused } from '#src/kernels/fused.js';
import { exp } from '#src/kernels/scalar.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { Random } from '#src/tensor/random.js';

/** One of every kind of kernel, large enough for several chunks. */
function everything(device: Device): Storage[] {
  const random = new Random(5);
  const draw = (n: number) => device.upload(Float32Array.from({ length: n }, () => random.normal()));
  const k = fused(device);
  const conv = { batch: 6, inChannels: 8, height: 16, width: 16, outChannels: 20, kernelHeight: 3, kernelWidth: 3 };
  const spec = { ...conv, strideY: 1, strideX: 1, paddingY: 1, paddingX: 1, outHeight: 16, outWidth: 16 };
  const [x, w, g] = [draw(6 * 8 * 256), draw(20 * 8 * 9), draw(6 * 20 * 256)];
  const rows = draw(500 * 300);
  const norm = k.layerNorm(rows, draw(300), draw(300), 1e-5, 500, 300);
  const heads = { batch: 8, heads: 4, queries: 40, keys: 40, headDim: 16, scale: 0.25, causal: true };
  const [q, key, v] = [draw(8 * 40 * 64), draw(8 * 40 * 64), draw(8 * 40 * 64)];
  const y = k.attention(q, key, v, heads);
  const flags = { transposeA: false, transposeB: false, broadcastA: false, broadcastB: false };
  return [
    device.matmul(draw(300 * 257), draw(257 * 301), { batch: 1, m: 300, n: 301, k: 257, ...flags }),
    device.conv2d(x, w, spec),
    device.conv2dInputGrad(g, w, spec),
    device.conv2dWeightGrad(x, g, spec),
    device.map(exp, rows),
    device.reduce('sum', rows, 1, 150_000, 1),
    device.reduce('sum', rows, 1, 500, 300),
    k.softmax(rows, 500, 300),
    ...Object.values(norm),
    ...Object.values(k.layerNormGrad!(rows, rows, draw(300), norm.mean, norm.rstd, 500, 300)),
    ...Object.values(y),
    ...Object.values(k.attentionGrad!(q, q, key, v, y.probabilities, heads)),
    device.permute(rows, [500, 300], [1, 0]),
  ];
}

describe('threads of the wasm device', () => {
  it('do not change a single bit', async () => {
    const results = [1, 2, 3, 5].map((threads) => {
      const device = createWasmDevice({ threads });
      return { threads, device, values: everything(device).map((x) => device.readSync(x)) };
    });
    await new Promise((resolve) => setTimeout(resolve, 200)); // now the helpers have surely started
    const expected = results[0]!.values;
    for (const { threads, device, values } of results)
      for (const again of [values, everything(device).map((x) => device.readSync(x))])
        again.forEach((array, i) => {
          assert.deepEqual(array, expected[i], `result ${i}, ${threads} threads`);
        });
  });

  it('can be fewer or more from one kernel to the next', () => {
    const device = createWasmDevice({ threads: 3 });
    const expected = everything(device).map((x) => device.readSync(x));
    for (const threads of [1, 4, 2]) {
      device.threads = threads;
      assert.equal(device.threads, threads);
      everything(device).forEach((x, i) => {
        assert.deepEqual(device.readSync(x), expected[i]);
      });
    }
  });

  it('that are more than are wanted sleep', async function () {
    if (!existsSync('/proc/self/task')) return this.skip();
    const all = () => readdirSync('/proc/self/task');
    const before = new Set(all());
    const device = createWasmDevice({ threads: 4 });
    const x = device.upload(new Float32Array(400_000).fill(0.5));
    device.map(exp, x).free();
    const helpers = all().filter((id) => !before.has(id));
    assert.equal(helpers.length, 3);
    /** Milliseconds that each helper has computed. */
    const busy = () =>
      helpers.map((id) => Number(readFileSync(`/proc/self/task/${id}/schedstat`, 'utf8').split(' ')[0]) / 1e6);
    for (let last = ''; last !== busy().join(); await new Promise((resolve) => setTimeout(resolve, 150)))
      last = busy().join(); // they start
    for (const threads of [1, 2, 4]) {
      device.threads = threads;
      device.map(exp, x).free();
      const start = busy();
      for (let i = 0; i < 60; i++) device.map(exp, x).free();
      const worked = busy().map((end, i) => end - start[i]!);
      assert.ok(worked.filter((ms) => ms > 5).length < threads, `${threads} threads: ${worked} ms`);
    }
  });

  it('are set by init and by the environment, and bad numbers are refused', async () => {
    const { description } = await init({ device: 'wasm', threads: 2 });
    assert.match(description, /2 threads/);
    await assert.rejects(init({ device: 'wasm', threads: 0 }), UsageError);
    const ask = (value: string) =>
      spawnSync(
        process.execPath,
        ['--input-type=module', '-e', "import { device } from 'hopgrad'; console.log(device().description)"],
        { env: { ...process.env, HOPGRAD_THREADS: value }, encoding: 'utf8' },
      );
    assert.match(ask('3').stdout, /3 threads/);
    assert.match(ask('many').stderr, /HOPGRAD_THREADS=many; expected a whole number/);
  });

  it('do not keep a finished process alive', () => {
    const program = `
      import { randn } from 'hopgrad';
      const x = randn([400, 400], { requiresGrad: true });
      const loss = x.matmul(x).exp().sum();
      loss.backward();
      console.log((await x.grad.data()).length);`;
    const options = { env: { ...process.env, HOPGRAD_THREADS: '4' }, timeout: 60_000, encoding: 'utf8' } as const;
    assert.equal(execFileSync(process.execPath, ['--input-type=module', '-e', program], options).trim(), '160000');
  });
});
