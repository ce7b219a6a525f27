/** The conformance suite and the golden fixtures in headless Chromium. */
import assert from 'node:assert/strict';
import { conformanceCases } from 'hopgrad/testing';
import type { Page } from 'playwright-core';
import { type GoldenErrors, goldenFailures } from '../conformance/golden.js';
import { needBrowser, type Session } from './browser.js';

interface Exposed {
  hopgrad: {
    init(options: object): Promise<{ device: string; description: string; reason: string }>;
    runCase(i: number, device: string): Promise<{ error: number; tolerance: number; detail?: string }>;
    golden(kind: string, device: string): Promise<GoldenErrors>;
    caseNames: string[];
  };
}

const cases = conformanceCases({ seeds: 3, quick: true });

describe('in headless Chromium', () => {
  let session: Session;
  let page: Page;
  const inPage = <T, A>(f: (argument: A) => Promise<T>, argument: A) =>
    page.evaluate(f as never, argument) as Promise<T>;

  before(async function () {
    this.timeout(120_000);
    session = await needBrowser.call(this);
    page = await session.open('web/conformance.html');
    await page.waitForFunction('window.hopgrad !== undefined');
  });
  after(() => session?.close());

  it('chooses webgpu by itself, and says so', async () => {
    const chosen = await inPage(() => (window as unknown as Exposed).hopgrad.init({}), null);
    assert.equal(chosen.device, 'webgpu');
    assert.match(chosen.reason, /works/);
  });

  it('has the same cases', async () => {
    const names = await inPage(async () => (window as unknown as Exposed).hopgrad.caseNames, null);
    assert.deepEqual(
      names,
      cases.map(({ group, name }) => `${group}: ${name}`),
    );
  });

  for (const device of ['webgpu', 'webgl2', 'wasm'])
    describe(device, () => {
      before(async function () {
        this.timeout(60_000);
        await inPage((name) => (window as unknown as Exposed).hopgrad.init({ device: name }), device);
      });

      cases.forEach(({ group, name }, i) => {
        it(`${group}: ${name}`, async () => {
          const { error, tolerance, detail } = await inPage(
            ([index, on]) => (window as unknown as Exposed).hopgrad.runCase(index as number, on as string),
            [i, device],
          );
          assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
        });
      });

      for (const kind of ['vit', 'resnet'] as const)
        it(`meets the embeddings, gradients and trajectory of the golden fixtures: ${kind}`, async function () {
          this.timeout(600_000); // a GPU in software, beside whatever else runs
          const errors = await inPage(
            ([which, on]) => (window as unknown as Exposed).hopgrad.golden(which!, on!),
            [kind, device],
          );
          assert.deepEqual(goldenFailures(kind, errors), []);
        });
    });
});
