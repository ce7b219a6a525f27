/** WebGL2 in headless Chromium beyond its numbers: reads, memory over time, and the loss of its context. */
import assert from 'node:assert/strict';
import type { Tensor } from 'hopgrad';
import type { Page } from 'playwright-core';
import { needBrowser, type Session } from './browser.js';
import { openWebGl2 } from './webgl2-page.js';

describe('webgl2 in headless Chromium', function () {
  this.timeout(300_000);
  let session: Session;
  let page: Page;

  before(async function () {
    // Chromium keeps pages whose GPU crashed away from WebGL, where nobody asks it not to.
    session = await needBrowser.call(this, '--js-flags=--expose-gc', '--disable-domain-blocking-for-3d-apis');
    page = await openWebGl2(session);
  });
  after(() => session?.close());

  describe('by itself', () => {
    it('reads synchronously', async () => {
      const read = await page.evaluate(async () => [...hopgrad.tensor([1, 2, 3]).mul(2).dataSync()]);
      assert.deepEqual(read, [2, 4, 6]);
    });

    it('lets the page go on while a read waits for the card', async () => {
      const turns = await page.evaluate(async () => {
        const x = hopgrad.randn([256, 256], { seed: 1 });
        const product = x.matmul(x).matmul(x);
        let count = 0;
        const timer = setInterval(() => count++, 5);
        await product.data();
        clearInterval(timer);
        return count;
      });
      assert.ok(turns >= 5, `${turns} turns`);
    });

    it('reads what a tensor was, not what it is updated to', async () => {
      const [before, after] = await page.evaluate(async () => {
        const weight = hopgrad.ones([4], { requiresGrad: true });
        const optimizer = new hopgrad.nn.AdamW([weight], { lr: 0.5, weightDecay: 0 });
        const old = weight.data();
        weight.sum().backward();
        void optimizer.step();
        const updated = weight.data();
        return [[...(await old)], [...(await updated)]];
      });
      assert.deepEqual(before, [1, 1, 1, 1]);
      assert.ok(
        after!.every((value) => Math.abs(value - 0.5) < 1e-6),
        String(after),
      );
    });

    for (const channels of ['one channel', 'the four that every driver gives'])
      it(`takes and gives tensors of every size, reading ${channels}`, async () => {
        const wrong = await page.evaluate(async (four) => {
          const { getParameter } = WebGL2RenderingContext.prototype;
          if (four) {
            for (const context of contexts) context.getExtension('WEBGL_lose_context')?.loseContext();
            WebGL2RenderingContext.prototype.getParameter = function (name) {
              return name === this.IMPLEMENTATION_COLOR_READ_FORMAT ? this.RGBA : getParameter.call(this, name);
            };
            await hopgrad.init({ device: 'webgl2' });
            WebGL2RenderingContext.prototype.getParameter = getParameter;
          }
          const failed: number[] = [];
          // Most leave the last row of their texture unfinished.
          for (const n of [0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 255, 256, 257, 1000, 4097, 65_537, 1_000_003]) {
            const values = Float32Array.from({ length: n }, (_, i) => i + 0.5);
            const x = hopgrad.tensor(values);
            const reads = [await x.data(), x.dataSync(), await x.add(0).data(), x.add(0).dataSync()];
            const same = (read: ArrayLike<number>) =>
              read.length === n && values.every((value, i) => value === read[i]);
            if (!reads.every(same)) failed.push(n);
          }
          return failed;
        }, channels !== 'one channel');
        assert.deepEqual(wrong, []);
      });

    it('refuses whole numbers that it cannot hold', async () => {
      const errors = await page.evaluate(async () => {
        const { tensor } = hopgrad;
        const sum = tensor([2 ** 24 - 1, 2 ** 24 - 1], { dtype: 'int32' }).sum();
        return [
          await thrown(() => tensor([2 ** 24 + 1], { dtype: 'int32' })),
          await thrown(() => sum.data()),
          await thrown(() => sum.dataSync()),
        ];
      });
      for (const error of errors) assert.equal(error?.name, 'DTypeError', error?.message);
    });

    it('says which kernel does not compile, and goes on', async () => {
      const { errors, after } = await page.evaluate(async () => {
        const module = '/dist/kernels/source/identity.js';
        const { textKernel } = (await import(module)) as { textKernel(name: string, write: () => string): never };
        const gl = webgl2();
        const x = gl.upload(Float32Array.of(1, 2));
        const bad = textKernel('bad', () => 'function bad(x) { return nowhere(x[this.thread.x]); }');
        const { run } = gl as unknown as { run(...args: unknown[]): unknown };
        const start = () => run.call(gl, bad, [2], [{ storage: x, grid: [2] }], {}, 'float32');
        const failures = [await thrown(start), await thrown(start)];
        return { errors: failures, after: await hopgrad.tensor([1, 2]).mul(2).array() };
      });
      for (const error of errors) {
        assert.equal(error?.name, 'KernelError');
        assert.match(error!.message, /nowhere/);
      }
      assert.deepEqual(after, [2, 4]);
    });

    it('runs kernels of users in the whole language', async () => {
      const texts = [
        '(x) => Math.abs(x) ** 0.5',
        '(x) => 2 ** (0.5 * x) ** 2',
        'function f(half) { if (half < 0) return -1; if (half < 1) { return half / 2; } return half - 0.5; }',
        'function f(x) { let s = 0; for (let i = 1; i < 6; i++) s += x / i; let y = Math.abs(x) + 2; while (y > 1) y = y / 2; return s + y; }',
        'function f(x) { for (let k = 3; k > 0.5; k -= 0.5) x = x + k; return x; }',
        'function f(n){let t=1;return n<0&&(t=2,n=-n),n>1?(t=n+1,t*n):t}',
        '(x) => (x > 0) + (x && 2) + (x || 4) + !x + (x > 1 && x < 3 ? 1 : 0)',
        '(x) => (x !== x ? 7 : (x * 3) % 2)',
        ...['sign', 'trunc', 'round', 'cbrt', 'expm1', 'log1p', 'log2', 'tan', 'atan', 'sinh', 'tanh', 'asinh'].map(
          (f) => `(x) => Math.${f}(x)`,
        ),
        ...['min', 'max', 'atan2', 'hypot', 'pow'].map((f) => `(x) => Math.${f}(x, 1.5)`),
      ];
      const points = [-3.5, -2, -0.5, 0, 0.25, 0.5, 1, 1.5, 2, 3, Number.NaN];
      const results = await page.evaluate(
        async ([kernels, data]) => {
          const gl = webgl2();
          const x = gl.upload(Float32Array.from(data));
          const compute = (text: string) => gl.map(new Function(`return (${text})`)() as (v: number) => number, x);
          return kernels.map((text) => Array.from(gl.readSync(compute(text)), String));
        },
        [texts, points] as const,
      );
      for (const [k, text] of texts.entries())
        for (const [i, value] of results[k]!.map(Number).entries()) {
          const wanted = Number((new Function(`return (${text})`)() as (v: number) => number)(points[i]!));
          const right = Object.is(value, wanted) || Math.abs(value - wanted) <= 2e-3 * Math.max(1, Math.abs(wanted));
          assert.ok(right || value === wanted, `${text} of ${points[i]} is ${value}, not ${wanted}`);
        }
    });

    it('names both devices when they meet', async () => {
      const errors = await page.evaluate(async () => {
        await hopgrad.init({ device: 'wasm' });
        await hopgrad.init({ device: 'webgl2' });
        const [here, there] = [hopgrad.tensor([1, 2]), hopgrad.tensor([1, 2], { device: 'wasm' })];
        return [
          await thrown(() => here.add(there)),
          await thrown(() => there.add(here)),
          await thrown(() => here.reshape([1, 2]).matmul(there.reshape([2, 1]))),
        ];
      });
      for (const error of errors) {
        assert.equal(error?.name, 'DeviceError');
        assert.match(error!.message, /webgl2/);
        assert.match(error!.message, /wasm/);
      }
    });
  });

  describe('over time', () => {
    /** Steps as a beginner writes them: nothing is given back. */
    const train = (on: Page, count: number) =>
      on.evaluate(async (steps) => {
        const { device, memory, randn } = hopgrad;
        const weight = randn([8, 8], { seed: 1, requiresGrad: true });
        const optimizer = new hopgrad.nn.AdamW([weight]);
        const x = randn([4, 8], { seed: 2 });
        let most = 0;
        for (let i = 0; i < steps; i++) {
          optimizer.zeroGrad();
          x.matmul(weight).square().mean().backward();
          await optimizer.step();
          most = Math.max(most, memory().storages);
        }
        const collect = globalThis.gc;
        for (let i = 0; collect && i < 2; i++) {
          collect();
          await device().settle();
        }
        return { ...memory(), most, compiled: webgl2().compiledKernels };
      }, count);

    it('keeps memory flat over a thousand naive steps', async () => {
      const early = await train(page, 100);
      const late = await train(page, 1000);
      assert.ok(late.storages <= early.storages + 10, `${early.storages} → ${late.storages} storages`);
      assert.equal(late.compiled, early.compiled);
    });

    it('keeps memory bounded where nobody can ask for a collection', async function () {
      const plain = await needBrowser.call(this);
      try {
        const other = await openWebGl2(plain);
        assert.equal(await other.evaluate(() => 'gc' in globalThis), false);
        const { most, peakBytes } = await train(other, 1000); // each makes some twenty
        assert.ok(most < 16_384, `${most} storages at once`);
        assert.ok(peakBytes < 16 * 2 ** 20, `${peakBytes} bytes at once`);
        const mebibytes = 2 ** 20;
        const largest = await other.evaluate(async () => {
          let live = 0;
          for (let i = 0; i < 48; i++) {
            void hopgrad.zeros([2 ** 21]).add(1);
            if (i % 4 === 3) await hopgrad.tensor(0).data();
            live = Math.max(live, hopgrad.memory().liveBytes);
          }
          return live;
        });
        assert.ok(largest < 512 * mebibytes, `${largest / mebibytes} MiB live of 768 made`);
      } finally {
        await plain.close();
      }
    });

    it('gives the card its memory back, whatever kernels it was made by', async () => {
      const held = await page.evaluate(async () => {
        const { ones, scoped } = hopgrad;
        const { createTexture, deleteTexture } = WebGL2RenderingContext.prototype;
        const alive = new Set<WebGLTexture>();
        WebGL2RenderingContext.prototype.createTexture = function () {
          const texture = createTexture.call(this);
          alive.add(texture);
          return texture;
        };
        WebGL2RenderingContext.prototype.deleteTexture = function (texture) {
          if (texture) alive.delete(texture);
          deleteTexture.call(this, texture);
        };
        for (const name of ['exp', 'sin', 'cos', 'tanh', 'sigmoid', 'relu', 'abs', 'sqrt', 'square', 'neg'] as const)
          scoped(
            () =>
              void ones([100, 100])
                [name]()
                .slice([[0, 2]])
                .dataSync(),
          );
        Object.assign(WebGL2RenderingContext.prototype, { createTexture, deleteTexture });
        return alive.size;
      });
      assert.equal(held, 0);
    });

    it('keeps a bounded number of compiled kernels, and the results of those that it forgot', async () => {
      const { before, after, old, alive } = await page.evaluate(async () => {
        const { tensor } = hopgrad;
        const gl = webgl2();
        /** x + i, a text of its own: kernels are told apart by their texts. */
        const kernel = (i: number) => new Function('x', `return x + ${i};`) as (x: number) => number;
        const x = gl.upload(Float32Array.of(1, 2));
        const first = gl.map(kernel(1), x);
        const compiled = gl.compiledKernels;
        for (let i = 2; i <= 520; i++) gl.map(kernel(i), x).free();
        const read = [...gl.readSync(first)];
        first.free();
        return { before: compiled, after: gl.compiledKernels, old: read, alive: tensor(1).add(1).dataSync()[0] };
      });
      assert.ok(before < 512);
      assert.equal(after, 512);
      assert.deepEqual(old, [2, 3]);
      assert.equal(alive, 2);
    });
  });

  describe('when its context is lost', () => {
    it('says what was lost, and can be made again', async () => {
      const { errors, storages, liveBytes, fresh, again, chosen } = await page.evaluate(async () => {
        const { device, init, memory, tensor } = hopgrad;
        const x = tensor([1, 2, 3]);
        const y = x.mul(2);
        await y.data();
        const pending = y.data();
        const had = memory();
        const before = device();
        for (const context of contexts) context.getExtension('WEBGL_lose_context')?.loseContext();
        const failures = {
          'a read that was under way': await thrown(() => pending),
          'an op': await thrown(() => x.mul(2)),
          'a read': await thrown(() => x.data()),
          'a synchronous read': await thrown(() => x.dataSync()),
          'an upload': await thrown(() => tensor([1])),
          'a fill': await thrown(() => hopgrad.zeros([3])),
        };
        const answer = await init({ device: 'webgl2' });
        x.dispose();
        y.dispose();
        const result = await tensor([1, 2, 3]).mul(2).array();
        return { errors: failures, ...had, fresh: device() !== before, again: result, chosen: answer.device };
      });
      for (const [what, error] of Object.entries(errors)) {
        assert.equal(error?.name, 'DeviceError', `${what}: ${error?.message}`);
        assert.ok(
          error!.message.includes(`lost, and with it ${storages} tensors of ${liveBytes} bytes`),
          error!.message,
        );
      }
      assert.equal(chosen, 'webgl2');
      assert.equal(fresh, true);
      assert.deepEqual(again, [2, 4, 6]);
    });

    it('notices the crash of the GPU process, in the middle of a read too', async () => {
      const crashing = await openWebGl2(session);
      await crashing.evaluate(async () => {
        const x = hopgrad.randn([256, 256], { seed: 1 });
        await x.data();
        const pending = thrown(() => x.matmul(x).matmul(x).data());
        Object.assign(globalThis, { x, pending });
      });
      const browser = await crashing.context().browser()!.newBrowserCDPSession();
      await browser.send('Browser.crashGpuProcess' as never);
      const { errors, again } = await crashing.evaluate(async () => {
        const { x, pending } = globalThis as unknown as { x: Tensor; pending: ReturnType<typeof thrown> };
        const failures = [await pending, await thrown(() => x.mul(2)), await thrown(() => x.dataSync())];
        await hopgrad.init({ device: 'webgl2' });
        return { errors: failures, again: await hopgrad.tensor([1, 2, 3]).mul(2).array() };
      });
      for (const error of errors) assert.match(String(error?.message), /context was lost, and with it \d+ tensors/);
      assert.deepEqual(again, [2, 4, 6]);
    });

    it('gives no zeros away when the GPU process dies before the browser can say so', async () => {
      const crashing = await openWebGl2(session);
      const browser = await crashing.context().browser()!.newBrowserCDPSession();
      await crashing.route('**/crash', async (route) => {
        await browser.send('Browser.crashGpuProcess' as never);
        await new Promise((resolve) => setTimeout(resolve, 500)); // until it is gone
        await route.fulfill({ status: 204 });
      });
      const { errors, lost } = await crashing.evaluate(async () => {
        const { ones, tensor } = hopgrad;
        const x = ones([3]);
        x.mul(2).dataSync();
        // The page hears of the crash in a later turn, and this one does not end before the answer.
        const request = new XMLHttpRequest();
        request.open('GET', '/crash', false);
        request.send();
        const failures = [
          await thrown(() => x.dataSync()),
          await thrown(() => x.mul(2).dataSync()),
          await thrown(() => tensor([1])),
        ];
        return { errors: failures, lost: webgl2().lost };
      });
      for (const error of errors) assert.match(String(error?.message), /context was lost, and with it \d+ tensors/);
      assert.equal(lost, true);
    });
  });
});
