/** The developer page in headless Chromium: choose a device, check, measure, train, stop, and see it. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { needSite, type SiteSession } from './site.js';

describe('the developer page', function () {
  this.timeout(660_000);
  let session: SiteSession;
  let page: Page;
  before(async function () {
    session = await needSite.call(this);
    ({ page } = await session.open('developer.html?steps=30'));
  });
  after(() => session?.close());

  const text = async (selector: string) => (await page.locator(selector).textContent())!;

  it('says what is wrong with a device that is not there', async () => {
    await page.evaluate(() => {
      // As in a browser without WebGPU.
      Object.defineProperty(navigator, 'gpu', { value: undefined, configurable: true });
    });
    await page.selectOption('#device', 'webgpu');
    await page.click('#use');
    await page.waitForFunction(() => /webgpu, but/.test(document.querySelector('#chosen')!.textContent!));
    assert.match(await text('#chosen'), /this browser has no WebGPU, as recent ones do; .*auto/);
    assert.doesNotMatch(await text('#chosen'), /navigator\.gpu|isWebGPUAvailable/, 'words for programmers');
    assert.equal(await page.isDisabled('#train'), true);
    await page.reload();
  });

  it('takes WebAssembly by itself where graphics cards are only there in software', async () => {
    await page.selectOption('#device', 'auto');
    await page.click('#use');
    await page.waitForFunction(() => /Why:/.test(document.querySelector('#chosen')!.textContent!), {
      timeout: 120_000,
    });
    assert.match(await text('#chosen'), /^wasm: .*webgpu is only there in software.*webgl2 is only there in software/);
  });

  /** Chooses a device, trains, and gives the loss of each step. */
  const train = async (on: Page, device: string) => {
    await on.selectOption('#device', device);
    await on.click('#use');
    await on.waitForFunction((name) => document.querySelector('#chosen')!.textContent!.startsWith(`${name}: `), device);
    await on.click('#train');
    const end = await on.waitForFunction(
      () => {
        const status = document.querySelector('#train-status')!;
        const { trainingLosses } = window as unknown as { trainingLosses?: number[] };
        return status.className === 'fail' ? status.textContent! : trainingLosses;
      },
      null,
      { timeout: 600_000 },
    );
    const losses = await end.jsonValue();
    if (typeof losses === 'string') throw new Error(`training on ${device}: ${losses}`);
    return losses!;
  };

  it('trains CLOOB with a falling loss, on wasm', async () => {
    const losses = await train(page, 'wasm');
    assert.equal(losses.length, 30);
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    // The last fifth asks the memories, whose loss is another.
    assert.ok(mean(losses.slice(18, 24)) < mean(losses.slice(0, 6)), losses.join(', '));
    assert.match(await text('#train-status'), /step 30 of 30 on wasm: loss .* names found/);
    assert.equal(await page.locator('#curve canvas').count(), 1);
    await page.setViewportSize({ width: 390, height: 900 });
    await page.waitForFunction(() => document.documentElement.scrollWidth <= 390, null, { timeout: 5000 });
    await page.setViewportSize({ width: 1280, height: 900 });
    const wide = () => document.querySelector('#curve .uplot')!.clientWidth > 800;
    await page.waitForFunction(wide, null, { timeout: 5000 });
    assert.match(
      await text('#recall'),
      /never trained on \(fxemoji\), \d+ % of 96 drawings get their name; chance is 1 %/,
    );
    assert.equal(await page.locator('#pictures img').count(), 12);
  });

  it('has the same losses on WebGPU as on WebAssembly, step by step', async () => {
    // Few pairs and steps, since GPUs in software are slow; WebGL takes 12 s, and has the golden fixtures. The last step asks the memories.
    const { page: small } = await session.open('developer.html?steps=2&pairs=8');
    const [expected, losses] = [await train(small, 'wasm'), await train(small, 'webgpu')];
    assert.equal(losses.length, 2);
    const apart = losses.map((loss, step) => Math.abs(loss / expected[step]! - 1));
    assert.ok(apart[0]! < 1e-5 && apart[1]! < 1e-4, `${losses.join()} instead of ${expected.join()}`);
    await small.close();
  });

  it('stops each of its actions where it is', async () => {
    const ended = (name: string) =>
      page.waitForFunction((id) => !(document.getElementById(id) as HTMLButtonElement).disabled, name);
    for (const name of ['bench', 'check'] as const) {
      // Stopped while its first row is made: a fast machine has all of them before the mouse is there.
      await page.evaluate((id) => {
        document.getElementById(id)!.click();
        document.getElementById(`${id}-stop`)!.click();
      }, name);
      await ended(name);
      assert.equal(await page.locator(`#${name}-table tbody tr`).count(), 1, name);
    }
    await page.click('#train');
    await page.waitForFunction(() => /step [2-9] of 30 /.test(document.querySelector('#train-status')!.textContent!));
    await page.click('#train-stop');
    await ended('train');
    const { length } = await page.evaluate(() => (window as unknown as { trainingLosses: number[] }).trainingLosses);
    assert.ok(length >= 2 && length < 30, `${length} steps`);
    await page.reload();
    await page.selectOption('#device', 'wasm');
    await page.click('#use');
    await page.waitForSelector('#bench:enabled');
  });

  it('measures', async () => {
    await page.click('#bench');
    await page.waitForFunction(() => document.querySelector('#bench-status')!.textContent === 'done');
    assert.equal(await page.locator('#bench-table tbody tr').count(), 5);
  });

  it('checks', async () => {
    await page.click('#check');
    await page.waitForFunction(() => {
      const [, passed, failed, all] =
        /(\d+) passed, (\d+) failed, of (\d+)/.exec(document.querySelector('#check-status')!.textContent!) ?? [];
      return all !== undefined && Number(passed) + Number(failed) === Number(all);
    });
    assert.match(await text('#check-status'), / 0 failed/);
    await page.evaluate(() => window.scrollTo(0, 0));
    mkdirSync('.build/screenshots', { recursive: true });
    await page.screenshot({ path: '.build/screenshots/page.png' });
  });
});
