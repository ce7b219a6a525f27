/** WebGPU in Node beyond its numbers: order, memory, limits, loss, and what is said when it is missing. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  DeviceError,
  DTypeError,
  device,
  init,
  KernelError,
  MemoryLimitError,
  memory,
  noGrad,
  ones,
  randn,
  scoped,
  tensor,
  zeros,
} from 'hopgrad';
import { AdamW } from 'hopgrad/nn';
import { collectGarbage } from '#src/kernels/collect.js';
import type { Device } from '#src/kernels/device.js';
import { loadGpuJs } from '#src/kernels/gpu/module.js';
import type { Run } from '#src/kernels/gpu/scatter.js';
import type { WebGpuDevice } from '#src/kernels/gpu/webgpu.js';
import * as scalar from '#src/kernels/scalar.js';
import { textKernel } from '#src/kernels/source/identity.js';
import { needWebGpu } from './adapter.js';

const webgpu = () => device() as unknown as WebGpuDevice;

/** Runs code in a process of its own, in which the package "webgpu" cannot be loaded. */
function withoutDawn(code: string): string {
  const hook = `export async function resolve(name, context, next) {
    if (name === '#webgpu' || name === 'webgpu') throw new Error('no binary for this platform');
    return next(name, context);
  }`;
  const script = `
    import { register } from 'node:module';
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hook)}));
    const { init } = await import('hopgrad');
    ${code}`;
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
}

describe('webgpu in Node', () => {
  before(needWebGpu);
  after(() => init({ device: 'wasm' }));

  it('gives operations back at once and refuses synchronous reads', async () => {
    const x = tensor([1, 2, 3]).mul(2).add(1);
    assert.throws(() => x.dataSync(), /await t\.data\(\)/);
    assert.match(String(x), /await array/);
    assert.throws(() => JSON.stringify({ x }), { name: 'DeviceError', hint: /await x\.array/ });
    assert.deepEqual(await x.array(), [3, 5, 7]);
  });

  it('reads what a tensor was, not what it is updated to', async () => {
    const weight = ones([4], { requiresGrad: true });
    const optimizer = new AdamW([weight], { lr: 0.5, weightDecay: 0 });
    const before = weight.data();
    weight.sum().backward();
    void optimizer.step();
    const after = weight.data();
    assert.deepEqual(Array.from(await before), [1, 1, 1, 1]);
    assert.ok((await after).every((value) => Math.abs(value - 0.5) < 1e-6));
  });

  it('clips gradients on the device as others do on the host', async () => {
    const results: number[][] = [];
    for (const on of ['webgpu', 'reference']) {
      const parameters = [
        tensor([1, 2, 3], { device: on, requiresGrad: true }),
        tensor([4], { device: on, requiresGrad: true }),
      ];
      const optimizer = new AdamW(parameters, { maxGradNorm: 0.5 });
      for (let step = 0; step < 3; step++) {
        optimizer.zeroGrad();
        for (const p of parameters) p.square().sum().backward();
        await optimizer.step();
      }
      results.push((await Promise.all(parameters.map((p) => p.data()))).flatMap((values) => [...values]));
    }
    for (const [i, value] of results[0]!.entries())
      assert.ok(Math.abs(value - results[1]![i]!) < 1e-6, `${i}: ${value}`);
  });

  it('keeps memory flat over hundreds of naive steps', async function () {
    this.timeout(600_000);
    const weight = randn([8, 8], { seed: 1, requiresGrad: true });
    const optimizer = new AdamW([weight]);
    const x = randn([4, 8], { seed: 2 });
    const steps = async (count: number) => {
      for (let i = 0; i < count; i++) {
        optimizer.zeroGrad();
        x.matmul(weight).square().mean().backward();
        await optimizer.step();
      }
      collectGarbage();
      for (let turn = 0; turn < 50; turn++) await webgpu().settle(); // finalizers have one turn a registry, and there are many
      return memory();
    };
    const early = await steps(100);
    const compiled = webgpu().compiledKernels;
    const late = await steps(400); // a storage lost in eight steps would show
    assert.ok(late.storages <= early.storages + 50, `${early.storages} → ${late.storages} storages`);
    // Other tests may have used the same device before: only growth counts.
    assert.ok(late.peakBytes <= early.peakBytes + 16 * 2 ** 20, `${early.peakBytes} → ${late.peakBytes} bytes`);
    assert.equal(webgpu().compiledKernels, compiled);
  });

  it('forces a collection when live memory passes its threshold', async function () {
    this.timeout(600_000);
    const mebibytes = 2 ** 20;
    let most = 0;
    for (let i = 0; i < 48; i++) {
      void zeros([(8 * mebibytes) / 4]).add(1);
      if (i % 4 === 3) await tensor(0).data();
      most = Math.max(most, memory().liveBytes);
    }
    assert.ok(most < 512 * mebibytes, `${most / mebibytes} MiB live of 768 made`);
  });

  it('frees at once in scoped()', async () => {
    await tensor(0).data();
    const before = memory().storages;
    const y = scoped(() => noGrad(() => tensor([1, 2, 3]).mul(2).exp().sum()));
    assert.equal(memory().storages, before + 1);
    assert.ok(Math.abs((await y.item()) - (Math.exp(2) + Math.exp(4) + Math.exp(6))) < 1e-2);
    y.dispose();
    assert.equal(memory().storages, before);
  });

  it('names the limit when a tensor is larger than a buffer may be', async () => {
    assert.throws(
      () => zeros([1]).expand([2 ** 28 + 8]),
      (error) => error instanceof MemoryLimitError && /1073741\d+|bytes/.test(error.message),
    );
    assert.equal(await tensor(3).mul(2).item(), 6, 'and goes on working');
  });

  it('says which kernel cannot be compiled, in all that depends on it, and goes on working', async () => {
    const bad = textKernel('bad', () => 'function bad(x) { return nowhere(x[this.thread.x]); }');
    const device = webgpu() as unknown as { run: Run } & Device;
    const x = device.upload(Float32Array.of(1, 2));
    const result = device.run(bad, [2], [{ storage: x, grid: [2] }], {}, 'float32');
    const dependent = device.map(scalar.exp, result);
    for (const storage of [result, dependent])
      await assert.rejects(
        device.read(storage),
        (error) => error instanceof KernelError && /nowhere/.test(error.message),
      );
    assert.equal(await tensor(3).mul(2).item(), 6);
  });

  it('compiles a kernel once that is written anew at every call', async () => {
    const run = async () => {
      function plusThree(x: number): number {
        return x + 3;
      }
      return webgpu().read(webgpu().map(plusThree, webgpu().upload(Float32Array.of(1))));
    };
    await run();
    const compiled = webgpu().compiledKernels;
    for (let i = 0; i < 3; i++) assert.deepEqual([...(await run())], [4]);
    assert.equal(webgpu().compiledKernels, compiled);
  });

  it('multiplies in tiles, but not where a driver makes something else of that', async () => {
    const { WebGPUContext } = await loadGpuJs();
    const { device: gpu } = (await WebGPUContext.acquire()) as unknown as { device: { createShaderModule: Compile } };
    type Compile = (settings: { code: string }) => unknown;
    const compile = gpu.createShaderModule;
    const spec = { batch: 1, m: 64, n: 8, k: 2, transposeA: false, transposeB: false };
    try {
      for (const wrong of [false, true]) {
        let tiles = 0;
        gpu.createShaderModule = ({ code }) => {
          if (code.includes('fn fn_tileOf')) tiles++;
          return compile.call(gpu, { code: wrong ? code.replaceAll('sum1_0 = fma(', 'sum1_0 = -fma(') : code });
        };
        const fresh = await (webgpu().constructor as typeof WebGpuDevice).create();
        assert.equal(tiles, 3);
        const before = fresh.compiledKernels;
        const product = fresh.matmul(
          fresh.upload(Float32Array.from({ length: 128 }, (_, i) => i)),
          fresh.upload(Float32Array.from({ length: 16 }, (_, i) => i - 4)),
          { ...spec, broadcastA: false, broadcastB: false },
        );
        const values = await fresh.read(product);
        assert.equal(fresh.compiledKernels - before, wrong ? 1 : 0); // the kernel of one row
        for (let y = 0; y < 64; y++)
          for (let x = 0; x < 8; x++) assert.equal(values[8 * y + x], 2 * y * (x - 4) + (2 * y + 1) * (x + 4));
      }
    } finally {
      gpu.createShaderModule = compile;
    }
  });

  it('counts the buffers that it keeps for later', async () => {
    await zeros([1000]).add(1).data();
    const { liveBytes, reservedBytes } = memory();
    assert.ok(reservedBytes >= liveBytes, `${reservedBytes} of ${liveBytes}`);
  });

  it('refuses whole numbers that it cannot hold', async () => {
    assert.throws(() => tensor([2 ** 24 + 1], { dtype: 'int32' }), DTypeError);
    for (const more of [1, 2, 2 ** 24 - 1])
      await assert.rejects(
        tensor([2 ** 24 - 1, more], { dtype: 'int32' })
          .sum()
          .data(),
        DTypeError,
      );
    assert.throws(() => zeros([2 ** 24 + 8]).argmax(), KernelError);
  });

  it('names both devices when they meet', () => {
    assert.throws(() => tensor([1]).add(tensor([1], { device: 'wasm' })), /webgpu.*wasm/);
  });

  it('says what was lost with a lost device, and can be made again', async () => {
    const before = webgpu();
    const x = tensor([1, 2, 3]);
    await x.data();
    const { WebGPUContext } = (await loadGpuJs()) as unknown as {
      WebGPUContext: { acquire(): Promise<{ device: { destroy(): void; lost: Promise<unknown> } }> };
    };
    const context = await WebGPUContext.acquire();
    context.device.destroy();
    await context.device.lost;
    const lost = (error: unknown) => error instanceof DeviceError && /lost.*tensors of \d+ bytes/.test(error.message);
    await assert.rejects(x.data(), lost);
    assert.throws(() => x.mul(2), lost);
    assert.throws(() => tensor([1]), lost);
    await init({ device: 'webgpu' });
    assert.notEqual(webgpu(), before);
    assert.deepEqual(await tensor([1, 2, 3]).mul(2).array(), [2, 4, 6]);
  });
});

describe('without the package webgpu', () => {
  it('says why on request, and takes wasm by itself', function () {
    this.timeout(30_000);
    const asked = withoutDawn(`await init({ device: 'webgpu' }).catch((e) => console.log(e.name, e.message));`);
    assert.match(asked, /DeviceError.*"webgpu" cannot be loaded here \(no binary for this platform\)/);
    const chosen = withoutDawn('console.log(JSON.stringify(await init()));');
    assert.match(chosen, /"device":"wasm".*(no binary for this platform|no graphics hardware here).*wasm works/);
  });
});
