/** What the tests of the explorables read on a page, and modules of them in Node. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { type Server, script } from './browser.js';

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
