/** The training of the explorables on WebGPU, a card in software: the steps are those of WebAssembly. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { inSoftware, launch, needChromium, type Server } from './browser.js';
import { buildExplorables, root, serveExplorables } from './explorables-page.js';

describe('the explorables on WebGPU', function () {
  this.timeout(120_000);
  let browser: Browser;
  let server: Server;
  before(async function () {
    needChromium.call(this);
    server = await serveExplorables(await buildExplorables(join(root, '.build/test/explorables-gpu')));
    browser = await launch(inSoftware);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });

  /** Trains two runs side by side, with memories from the first step and without. @returns the losses of each */
  async function train(device: string, steps: number): Promise<number[][]> {
    const page = await browser.newPage();
    const wrong: string[] = [];
    page.on('pageerror', (error) => wrong.push(error.message));
    page.on('console', (message) => message.type() === 'error' && wrong.push(message.text()));
    await page.addInitScript(() => {
      // The page shows means of five steps: what the workers answer is all digits.
      const lanes: number[][] = [];
      Object.assign(window, { lanes });
      window.Worker = class extends Worker {
        constructor(url: string | URL, options?: WorkerOptions) {
          super(url, options);
          const losses: number[] = [];
          lanes.push(losses);
          this.addEventListener('message', ({ data: { answer } }) => {
            if (Array.isArray(answer) && typeof answer[0] === 'number') losses.push(...answer);
          });
        }
      };
    });
    const query = `guess=none&two=yes&aFrom=0&bMemory=no&batch=8&steps=${steps}&device=${device}`;
    await page.goto(new URL(`training.html?${query}`, server.url).href);
    await page.waitForFunction((to) => document.querySelector('.status')?.textContent?.includes(`Step ${to},`), steps, {
      timeout: 100_000,
    });
    const lanes = await page.evaluate(() => (window as unknown as { lanes: number[][] }).lanes);
    assert.match((await page.locator('.status').textContent())!, /A .* %, B .* %/);
    assert.deepEqual(wrong, []);
    await page.close();
    return lanes.filter((losses) => losses.length > 0);
  }

  it('train as on WebAssembly, to rounding', async () => {
    const steps = 3;
    const expected = await train('wasm', steps);
    const found = await train('webgpu', steps);
    for (const lanes of [expected, found])
      assert.deepEqual(
        lanes.map(({ length }) => length),
        [steps, steps],
      );
    assert.ok(Math.abs(expected[0]![2]! - expected[1]![2]!) > 1e-3, 'two different losses');
    assert.notDeepEqual(found, expected, 'the same device twice');
    for (const [lane, losses] of expected.entries())
      for (const [step, loss] of losses.entries()) {
        const apart = Math.abs(found[lane]![step]! / loss - 1);
        assert.ok(
          apart < (step === 0 ? 1e-5 : 1e-4),
          `${lane}, step ${step}: ${found[lane]![step]} instead of ${loss}`,
        );
      }
  });
});
