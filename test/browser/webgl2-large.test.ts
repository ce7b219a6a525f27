/** WebGL2 in headless Chromium: indices above 2²⁴, and what happens where a texture cannot be had. */
import assert from 'node:assert/strict';
import type { Page } from 'playwright-core';
import { needBrowser, type Session } from './browser.js';
import { openWebGl2 } from './webgl2-page.js';

describe('webgl2 with large tensors', function () {
  this.timeout(300_000);
  let session: Session;
  let page: Page;
  before(async function () {
    session = await needBrowser.call(this, '--js-flags=--expose-gc');
    page = await openWebGl2(session);
  });
  after(() => session?.close());

  describe('above 2²⁴ elements', () => {
    it('keeps every index along one axis', async () => {
      const seen = await page.evaluate(async () => {
        const { arange, concat, ones, scoped, tensor } = hopgrad;
        const n = 2 ** 24 + 1000;
        const found: Record<string, unknown> = {};
        scoped(() => {
          // …, 1, 0.5, 1.5, …, 999.5 and a 7 at the very end
          const x = concat([ones([n - 1001]), arange(1000).add(0.5), tensor([7])], { axis: 0 });
          found.size = x.size;
          found.slice = [...x.slice([[n - 4, x.size]]).dataSync()];
          found.inside = [...x.slice([[n - 1003, n - 998]]).dataSync()];
          found.gather = [...x.gather(tensor([n - 1001, 0, 2 ** 24 - 1], { dtype: 'int32' })).dataSync()];
          found.broadcast = [
            ...x
              .add(tensor([1]))
              .slice([[n - 3, x.size]])
              .dataSync(),
          ];
          found.sum = x.sum().dataSync()[0];
          found.max = x.max().dataSync()[0];
        });
        found.beyond = (await thrown(() => tensor([2 ** 24 + 1], { dtype: 'int32' })))?.name;
        return found;
      });
      const n = 2 ** 24 + 1000;
      const { sum, beyond, ...exact } = seen;
      assert.deepEqual(exact, {
        size: n,
        slice: [997.5, 998.5, 999.5, 7],
        inside: [1, 1, 0.5, 1.5, 2.5],
        gather: [0.5, 1, 0.5],
        broadcast: [999.5, 1000.5, 8],
        max: 999.5,
      });
      assert.ok(Math.abs((sum as number) / (n - 1001 + (999 * 1000) / 2 + 500 + 7) - 1) < 1e-6, `the sum: ${sum}`);
      assert.equal(beyond, 'DTypeError', 'an index that it cannot hold');
    });

    it('keeps every index of a matrix', async () => {
      const seen = await page.evaluate(async () => {
        const { arange, scoped, tensor } = hopgrad;
        const [rows, columns] = [4097, 4099];
        const found: Record<string, unknown> = {};
        scoped(() => {
          const x = arange(rows).reshape([rows, 1]).mul(2).add(arange(columns)); // x_ij = 2 i + j
          const corner: [number, number][] = [
            [rows - 2, rows],
            [columns - 2, columns],
          ];
          found.corner = [...x.slice(corner).dataSync()];
          const last = tensor([rows - 1, 0], { dtype: 'int32' });
          found.gather = [
            ...x
              .gather(last)
              .slice([
                [0, 2],
                [columns - 2, columns],
              ])
              .dataSync(),
          ];
          found.transposed = [
            ...x
              .transpose()
              .slice([
                [columns - 2, columns],
                [rows - 2, rows],
              ])
              .dataSync(),
          ];
          found.rows = [
            ...x
              .sum({ axis: 1 })
              .slice([[rows - 2, rows]])
              .dataSync(),
          ];
          found.columns = [
            ...x
              .sum({ axis: 0 })
              .slice([[columns - 2, columns]])
              .dataSync(),
          ];
          found.argmax = [
            ...x
              .argmax({ axis: 0 })
              .slice([[columns - 2, columns]])
              .dataSync(),
          ];
        });
        return found;
      });
      const [i, j] = [4096, 4098]; // the last row and column
      const corner = [2 * (i - 1) + j - 1, 2 * (i - 1) + j, 2 * i + j - 1, 2 * i + j];
      assert.deepEqual(seen.corner, corner);
      assert.deepEqual(seen.gather, [2 * i + j - 1, 2 * i + j, j - 1, j]);
      assert.deepEqual(seen.transposed, [corner[0], corner[2], corner[1], corner[3]]);
      const rowSum = (row: number) => 4099 * 2 * row + (4098 * 4099) / 2;
      const columnSum = (column: number) => 4096 * 4097 + 4097 * column;
      for (const [name, expected] of [
        ['rows', [rowSum(i - 1), rowSum(i)]],
        ['columns', [columnSum(j - 1), columnSum(j)]],
      ] as const)
        expected.forEach((value, k) => {
          const got = (seen[name] as number[])[k]!;
          assert.ok(Math.abs(got - value) <= 1e-6 * value, `${name}: ${got}, not ${value}`);
        });
      assert.deepEqual(seen.argmax, [i, i]);
    });

    it('keeps every index of three axes', async () => {
      const seen = await page.evaluate(async () => {
        const { arange, scoped, tensor } = hopgrad;
        const [planes, rows, columns] = [257, 259, 257]; // 17 106 691 elements
        const found: Record<string, unknown> = {};
        scoped(() => {
          const x = arange(planes)
            .reshape([planes, 1, 1])
            .mul(1000)
            .add(arange(rows).reshape([rows, 1]).mul(10))
            .add(arange(columns).mul(0.125)); // 1000 i + 10 j + k / 8
          const end = [
            [planes - 1, planes],
            [rows - 1, rows],
            [columns - 2, columns],
          ] as [number, number][];
          found.end = [...x.slice(end).dataSync()];
          found.permuted = [...x.permute([2, 0, 1]).slice([end[2]!, end[0]!, end[1]!]).dataSync()];
          const last = tensor([planes - 1], { dtype: 'int32' });
          found.gather = [
            ...x
              .gather(last)
              .slice([[0, 1], end[1]!, end[2]!])
              .dataSync(),
          ];
          found.outer = [...x.max({ axis: 0 }).slice([end[1]!, end[2]!]).dataSync()];
          found.middle = [...x.min({ axis: 1 }).slice([end[0]!, end[2]!]).dataSync()];
          found.inner = [...x.max({ axis: 2 }).slice([end[0]!, end[1]!]).dataSync()];
        });
        return found;
      });
      const end = [256_000 + 2580 + 255 / 8, 256_000 + 2580 + 32];
      assert.deepEqual(seen, {
        end,
        permuted: end,
        gather: end,
        outer: end,
        middle: [256_000 + 255 / 8, 256_032],
        inner: [end[1]],
      });
    });
  });

  describe('at its limits', () => {
    it('names the limit when a tensor is larger than a texture may be, and is right just below', async () => {
      const { side, errors, below, after } = await page.evaluate(async () => {
        const { memory, ones, scoped, tensor } = hopgrad;
        const gl = contexts[0]!;
        const longest = gl.getParameter(gl.MAX_TEXTURE_SIZE) as number;
        const one = ones([1]);
        const collect = async () => {
          globalThis.gc!();
          await hopgrad.device().settle();
        };
        await collect();
        const before = memory().storages;
        const failures = [];
        for (const n of [longest ** 2 + 1, longest ** 2, longest ** 2 - 5])
          failures.push({ n, error: await thrown(() => one.expand([n]).sum().item()) });
        await collect();
        const left = memory().storages - before;
        const n = longest * (longest - 1);
        const found = scoped(() => {
          const x = one.expand([n]).add(1);
          return [...x.slice([[n - 3, n]]).dataSync(), x.max().dataSync()[0], x.sum().dataSync()[0]! / n];
        });
        return { side: longest, errors: failures, below: found, after: [left, tensor(3).mul(2).dataSync()[0]] };
      });
      for (const { n, error } of errors) {
        assert.equal(error?.name, 'MemoryLimitError', `${n}: ${error?.message}`);
        assert.match(error!.message, new RegExp(`${n} elements.*at most ${side} × ${side - 1}`));
      }
      assert.deepEqual(below, [2, 2, 2, 2, 2]);
      assert.deepEqual(after, [0, 6], 'nothing is left behind, and it goes on working');
    });

    it('says so when the driver does not make a large texture, and goes on', async () => {
      const { errors, after, lost } = await page.evaluate(async () => {
        const { memory, ones, tensor } = hopgrad;
        const one = ones([1]);
        const host = new Float32Array(2 ** 22);
        const { texStorage2D } = WebGL2RenderingContext.prototype;
        // A driver of a card with 8 MiB.
        WebGL2RenderingContext.prototype.texStorage2D = function (target, levels, format, width, height) {
          const larger = width * height >= 2 ** 21 ? 2 ** 20 : 1;
          texStorage2D.call(this, target, levels, format, width * larger, height);
        };
        const before = memory();
        const failures = [await thrown(() => one.expand([2 ** 22])), await thrown(() => tensor(host))];
        WebGL2RenderingContext.prototype.texStorage2D = texStorage2D;
        const now = memory();
        const works = one
          .expand([2 ** 22])
          .add(1)
          .slice([[2 ** 22 - 1, 2 ** 22]])
          .dataSync()[0];
        return { errors: failures, after: [now.storages - before.storages, works], lost: webgl2().lost };
      });
      for (const error of errors) {
        assert.ok(error && /MemoryLimitError|KernelError/.test(error.name), `${error?.name}`);
        assert.match(error!.message, /a tensor of 16777216 bytes.*error \d+.*tensors of \d+ bytes/);
      }
      assert.deepEqual(after, [0, 2]);
      assert.equal(lost, false);
    });

    it('gives no numbers away when a small texture was not made, and can be made again', async () => {
      const { read, next, after } = await page.evaluate(async () => {
        const { init, ones, tensor } = hopgrad;
        const one = ones([1]);
        const { texStorage2D } = WebGL2RenderingContext.prototype;
        WebGL2RenderingContext.prototype.texStorage2D = function (target, levels, format, width, height) {
          texStorage2D.call(this, target, levels, format, width * 2 ** 20, height);
        };
        const x = one.expand([100]).add(1);
        WebGL2RenderingContext.prototype.texStorage2D = texStorage2D;
        const failures = [await thrown(() => x.data()), await thrown(() => one.add(1))];
        await init({ device: 'webgl2' });
        return { read: failures[0], next: failures[1], after: await tensor([1, 2]).mul(2).array() };
      });
      assert.match(String(read?.name), /MemoryLimitError|KernelError/);
      assert.match(read!.message, /some result since the last read.*init/);
      assert.deepEqual(next, read);
      assert.deepEqual(after, [2, 4]);
    });
  });
});
