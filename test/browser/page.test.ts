/** The page in headless Chromium: choose a device, check, measure, train, and see it. */
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { needBrowser, type Session } from './browser.js';

describe('the page', function () {
  this.timeout(660_000);
  let session: Session;
  let page: Page;
  before(async function () {
    session = await needBrowser.call(this);
    page = await session.open('?steps=30');
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
    assert.equal(await page.isDisabled('#train'), true);
    await page.reload();
  });

  it('trains CLOOB with a falling loss, on wasm', async () => {
    await page.selectOption('#device', 'wasm');
    await page.click('#use');
    await page.waitForFunction(() => /^wasm: /.test(document.querySelector('#chosen')!.textContent!));
    await page.click('#train');
    await page.waitForFunction(() => 'trainingLosses' in window, null, { timeout: 600_000 });
    const losses = await page.evaluate(() => (window as unknown as { trainingLosses: number[] }).trainingLosses);
    assert.equal(losses.length, 30);
    const mean = (values: number[]) => values.reduce((a, b) => a + b) / values.length;
    // The last fifth asks the memories, whose loss is another.
    assert.ok(mean(losses.slice(18, 24)) < mean(losses.slice(0, 6)), losses.join(', '));
    assert.match(await text('#train-status'), /step 30 of 30 on wasm: loss .* names found/);
    assert.equal(await page.locator('#curve canvas').count(), 1);
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
