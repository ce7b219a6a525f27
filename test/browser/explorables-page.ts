/** What the tests of the explorables read on a page, and modules of them in Node. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { inSoftware, launch, needChromium, type Server, script } from './browser.js';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
export const { buildExplorables, serveExplorables } = (await script('explorables.mjs')) as {
  buildExplorables(out: string): Promise<string>;
  serveExplorables(folder: string): Promise<Server>;
};

/** What the test takes of web/explorables/training/drawings.ts. */
export interface DrawingsModule {
  unpackDrawings(file: Uint8Array): Promise<{ concepts: { name: string }[] }>;
  heldOutOf(drawings: object): number[];
  pixelsOf(drawings: object, drawing: number): Uint8Array;
  normalised(pictures: Uint8Array[]): Float32Array;
}

export const text = async (page: Page, selector: string) => (await page.locator(selector).first().textContent())!;
/** The numbers of a text, whose minus signs are true ones. */
export const numbers = (words: string) =>
  (words.match(/[−-]?\d+(\.\d+)?(e[−-]?\d+)?/g) ?? []).map((n) => Number(n.replaceAll('−', '-')));
export const close = (found: readonly number[], expected: readonly number[], digits: number) => {
  assert.equal(found.length, expected.length, `${found} for ${expected}`);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i]! - value) <= 0.51 * 10 ** -digits, `${found} instead of ${expected}`);
};
/** What is written beside a term in a list of facts. */
export const fact = (page: Page, term: string) => text(page, `dt:text-is("${term}") + dd`);
export const frame = (page: Page) =>
  page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));

/** A module of an explorable that needs no page, for Node. */
export async function bundled<T>(path: string): Promise<T> {
  const { build } = await import('esbuild');
  const outfile = join(root, '.build/test/explorables-modules', path.replace(/ts$/, 'mjs'));
  await build({
    ...{ entryPoints: [join(root, 'web/explorables', path)], outfile, bundle: true, format: 'esm' },
    ...{ platform: 'node', packages: 'external', logLevel: 'silent' },
  });
  return (await import(outfile)) as T;
}

/** The explorables' plain pages for the tests of a suite, which calls this where it begins. `name`: of their folder. */
export function inChromium(name: string) {
  const folder = join(root, '.build/test/explorables', name);
  let browser: Browser;
  let server: Server;
  let wrong: string[] = [];
  before(async function () {
    needChromium.call(this);
    rmSync(folder, { recursive: true, force: true });
    server = await serveExplorables(await buildExplorables(folder));
    browser = await launch(inSoftware);
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  beforeEach(() => {
    wrong = [];
  });
  afterEach(() => assert.deepEqual(wrong, [], 'messages in the console'));

  const addressOf = (address: string) => new URL(address, server.url).href;
  return {
    folder,
    addressOf,
    newPage: () => browser.newPage(),
    /** A page as soon as all of it stands; what it complains of fails the test. */
    async open(address: string, { width = 1280, dark = false, prepare = () => {} } = {}): Promise<Page> {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: dark ? 'dark' : 'light' });
      page.on('pageerror', (error) => wrong.push(error.message));
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) wrong.push(message.text());
      });
      await page.addInitScript(prepare);
      await page.goto(addressOf(address));
      await page.waitForSelector('#explorable:not([aria-busy]) .panel');
      return page;
    },
    /** The address once it holds the state. */
    async moved(page: Page): Promise<string> {
      await page.evaluate(() => dispatchEvent(new Event('pagehide'))); // it is written then at the latest
      return page.url();
    },
  };
}
