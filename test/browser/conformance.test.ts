/** The conformance suite and the golden fixtures in headless Chromium. */
import assert from 'node:assert/strict';
import type { ones } from 'hopgrad';
import { conformanceCases } from 'hopgrad/testing';
import type { Page } from 'playwright-core';
import { type GoldenErrors, goldenFailures } from '../conformance/golden.js';
import { needBrowser, type Session } from './browser.js';

interface Exposed {
  hopgrad: {
    init(options: object): Promise<{ device: string; description: string; reason: string }>;
    runCase(i: number, device: string): Promise<{ error: number; tolerance: number; detail?: string }>;
    golden(kind: string, device: string, steps: number): Promise<GoldenErrors>;
    caseNames: string[];
    ones: typeof ones;
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

  it('passes over graphics cards in software by itself, and says so', async () => {
    const chosen = await inPage(() => (window as unknown as Exposed).hopgrad.init({}), null);
    assert.equal(chosen.device, 'wasm');
    assert.match(chosen.reason, /webgpu is only there in software.*wasm works/);
  });

  it('has the same cases', async () => {
    const names = await inPage(async () => (window as unknown as Exposed).hopgrad.caseNames, null);
    assert.deepEqual(
      names,
      cases.map(({ group, name }) => `${group}: ${name}`),
    );
  });

  const conformance = (device: string) =>
    cases.forEach(({ group, name }, i) => {
      it(`${group}: ${name}`, async () => {
        const { error, tolerance, detail } = await inPage(
          ([index, on]) => (window as unknown as Exposed).hopgrad.runCase(index as number, on as string),
          [i, device],
        );
        assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
      });
    });
  for (const device of ['webgpu', 'webgl2', 'wasm'])
    describe(device, () => {
      before(async function () {
        this.timeout(60_000);
        await inPage((name) => (window as unknown as Exposed).hopgrad.init({ device: name }), device);
      });

      conformance(device);

      for (const kind of ['vit', 'resnet'] as const)
        it(`meets the embeddings, gradients and trajectory of the golden fixtures: ${kind}`, async function () {
          this.timeout(600_000); // a GPU in software, beside whatever else runs
          const errors = await inPage(
            ([which, on, steps]) => (window as unknown as Exposed).hopgrad.golden(which, on, steps),
            // Momentum and its correction are in the second. More are taken in Node, on the same V8, the same Dawn and the
            // same SwiftShader; on webgl2 they would take minutes.
            [kind, device, 2] as const,
          );
          assert.deepEqual(goldenFailures(kind, errors), []);
        });
    });

  describe('wasm on a page that is not isolated', () => {
    let isolated: Page;
    before(async function () {
      this.timeout(60_000);
      isolated = page;
      page = await session.open('web/conformance.html?isolated=no');
      await page.waitForFunction('window.hopgrad !== undefined');
      await inPage(() => (window as unknown as Exposed).hopgrad.init({ device: 'wasm' }), null);
    });
    after(async () => {
      await page.close();
      page = isolated;
    });

    it('runs on one thread, and says why', async () => {
      const { description } = await inPage(() => (window as unknown as Exposed).hopgrad.init({ device: 'wasm' }), null);
      assert.match(description, /one thread since the page is not cross-origin isolated/);
    });

    it('outlives the growth of its memory', async () => {
      const sums = await inPage(async () => {
        const { ones } = (window as unknown as Exposed).hopgrad;
        const kept = [1e6, 3e6, 7e6].map((n) => ones([n]));
        return Promise.all(kept.map((x) => x.sum().item()));
      }, null);
      assert.deepEqual(sums, [1e6, 3e6, 7e6]);
    });

    conformance('wasm');
  });
});
