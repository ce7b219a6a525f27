/** `hopgrad report`: the page of a run that was really trained, of runs that went wrong, and of several; in Chromium. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { randn } from 'hopgrad';
import type { Page } from 'playwright-core';
import { principalComponents } from '#src/evaluate/principal-components.js';
import { wilsonInterval } from '#src/evaluate/wilson.js';
import { seriousFaults } from '../browser/axe.js';
import { needBrowser, type Session } from '../browser/browser.js';
import { hopgrad, makePictures, tinyConfig } from '../cli/helpers.js';
import { values } from '../helpers.js';

describe('hopgrad report', function () {
  this.timeout(120_000);
  const folder = mkdtempSync(join(tmpdir(), 'hopgrad-report-'));
  after(() => rmSync(folder, { recursive: true }));
  const run = (...args: string[]) => hopgrad(folder, args);
  const file = (name: string, path: string) => join(folder, 'runs', name, path);
  const train = (name: string, ...args: string[]) =>
    run(
      ...['train', '--train-data', 'pairs.tsv', '--val-data', 'pairs.tsv', '--model', 'tiny.json', '--batch-size', '4'],
      ...['--workers', '0', '--epochs', '3', '--name', name, ...args],
    );
  const page = (name: string) => readFileSync(file(name, 'report.html'), 'utf8');
  /** A copy of the run `whole` with some of its files changed. */
  function copy(name: string, change: Record<string, (text: string) => string | null>): void {
    cpSync(file('whole', ''), file(name, ''), { recursive: true });
    for (const [path, f] of Object.entries(change)) {
      const next = f(readFileSync(file(name, path), 'utf8'));
      if (next === null) rmSync(file(name, path));
      else writeFileSync(file(name, path), next);
    }
  }

  before(async () => {
    await makePictures(folder);
    writeFileSync(join(folder, 'tiny.json'), JSON.stringify(tinyConfig));
    const { code, stdout, stderr } = await train('whole');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Report: runs\/whole\/report\.html\n$/, 'the last line names the page');
  });

  describe('in Chromium', () => {
    let session: Session;
    before(async function () {
      session = await needBrowser.call(this);
    });
    after(() => session?.close());

    async function opened(name: string, use: (page: Page) => Promise<void>): Promise<void> {
      const path = pathToFileURL(file(name, 'report.html')).href;
      const shown = await session.open(path);
      const faults: string[] = [];
      shown.on('pageerror', (error) => faults.push(error.message));
      shown.on('request', (request) => {
        if (!/^(file|data):/.test(request.url())) faults.push(request.url());
      });
      try {
        await shown.reload();
        await shown.waitForSelector('canvas');
        await use(shown);
        assert.deepEqual(faults, [], 'no error, and nothing from the network');
      } finally {
        await shown.close();
      }
    }

    for (const [width, scheme] of [
      [1280, 'light'],
      [390, 'dark'],
    ] as const)
      it(`draws its charts with tables behind them, ${width} pixels wide, ${scheme}`, () =>
        opened('whole', async (shown) => {
          await shown.setViewportSize({ width, height: 900 });
          await shown.emulateMedia({ colorScheme: scheme });
          await shown.waitForTimeout(300);
          const seen = await shown.evaluate(() => {
            const ids = ['training', 'saturation', 'retrieval', 'zero-shot', 'held-out', 'configuration'];
            return {
              missing: ids.filter((id) => !document.getElementById(id)),
              wide: document.documentElement.scrollWidth - window.innerWidth,
              charts: document.querySelectorAll('canvas').length,
              tables: document.querySelectorAll('details table').length,
              pictures: [...document.querySelectorAll('img')].filter((image) => image.naturalWidth > 0).length,
              unnamed: [...document.querySelectorAll('img')].filter((image) => image.alt === null).length,
              dark: getComputedStyle(document.body).backgroundColor,
            };
          });
          assert.deepEqual(seen.missing, []);
          assert.ok(seen.wide <= 0, `${seen.wide} pixels wider than the window`);
          assert.ok(seen.charts >= 8, `${seen.charts} charts`);
          assert.ok(seen.tables >= seen.charts, `${seen.tables} tables`);
          assert.ok(seen.pictures > 0, 'pictures of searches');
          assert.equal(seen.unnamed, 0);
          const [, red] = /rgb\((\d+)/.exec(seen.dark)!;
          assert.equal(Number(red) < 100, scheme === 'dark', seen.dark);
          assert.deepEqual(await seriousFaults(shown), []);
        }));

    it('prints all of itself on white paper from a dark screen, words whole', () =>
      opened('whole', async (shown) => {
        await shown.setViewportSize({ width: 718, height: 1047 }); // A4 less a browser's margins
        await shown.emulateMedia({ media: 'print', colorScheme: 'dark' });
        await shown.evaluate(() => dispatchEvent(new Event('beforeprint')));
        const seen = await shown.evaluate(() => {
          const has = (canvas: HTMLCanvasElement, [red, green, blue]: number[]) => {
            const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
            for (let i = 0; i < data.length; i += 4)
              if (data[i] === red && data[i + 1] === green && data[i + 2] === blue && data[i + 3] === 255) return true;
            return false;
          };
          const wordOf = document.createRange();
          // A word that takes two lines has two boxes.
          const broken = [...document.querySelectorAll('th:not(tbody th), td')].flatMap((cell) =>
            [...cell.childNodes].flatMap((node) =>
              [...(node.nodeType === Node.TEXT_NODE ? node.textContent! : '').matchAll(/[a-z]{4,}/g)].flatMap(
                (match) => {
                  wordOf.setStart(node, match.index);
                  wordOf.setEnd(node, match.index + match[0].length);
                  return new Set([...wordOf.getClientRects()].map(({ top }) => top)).size > 1 ? [match[0]] : [];
                },
              ),
            ),
          );
          return {
            closed: document.querySelectorAll('details.set:not([open])').length,
            beyond: document.documentElement.scrollWidth - innerWidth,
            grids: [...document.querySelectorAll('canvas')].filter((one) => has(one, [0xe2, 0xe2, 0xe6])).length,
            night: [...document.querySelectorAll('canvas')].filter((one) => has(one, [0x3a, 0x3a, 0x42])).length,
            paper: getComputedStyle(document.body).backgroundColor,
            broken,
          };
        });
        assert.deepEqual(
          { ...seen, grids: seen.grids > 7 },
          { closed: 0, beyond: 0, grids: true, night: 0, paper: 'rgb(255, 255, 255)', broken: [] },
        );
        await shown.evaluate(() => dispatchEvent(new Event('afterprint')));
        assert.ok((await shown.pdf()).length > 50_000);
      }));
  });

  it('is written by train unless told otherwise, and on request of a run that is not done', async () => {
    const { stdout } = await train('silent', '--no-report');
    assert.ok(!stdout.includes('Report:'));
    assert.ok(!existsSync(file('silent', 'report.html')) && !existsSync(file('silent', 'held-out.json')));
    copy('begun', { 'results.json': () => null, 'held-out.json': () => null, 'evaluations.jsonl': () => '' });
    const { code, stderr } = await run('report', 'begun');
    assert.equal(code, 0, stderr);
    assert.match(page('begun'), /not complete|being trained|stopped|no evaluation/i);
  });

  it('shows numbers that are not finite, a torn line and thousands of steps as they are', async () => {
    copy('ugly', {
      'log.jsonl': (text) => {
        const [first = ''] = text.split('\n');
        const lines = Array.from({ length: 5000 }, (_, i) => JSON.stringify({ ...JSON.parse(first), step: i + 1 }));
        const broken = JSON.stringify({ ...JSON.parse(first), step: 5001, loss: null, gradNorm: null });
        return `${lines.join('\n')}\n${broken}\n{"step":5002,"lo`;
      },
    });
    const { code, stderr } = await run('report', 'ugly');
    assert.equal(code, 0, stderr);
    assert.ok(page('ugly').length < 3e6, `${page('ugly').length} characters`);
    assert.ok(!/NaN|undefined|\[object/.test(page('ugly').replace(/<script[\s\S]*?<\/script>/g, '')));
  });

  it('shows drawings beside searches by pixels and by gradients, and runs from before those by gradients', async () => {
    const ways = (share: number) => {
      const way = { count: 8, recall: { 1: share, 5: share, 10: share }, medianRank: 1, meanRank: 1 };
      return { imageToText: way, textToImage: way };
    };
    const old = { trained: ways(0.1), neighbours: ways(0.2), pixels: ways(0.3) };
    for (const [name, rivals] of Object.entries({ before: old, now: { ...old, hog: ways(0.421) } })) {
      const results = { retrieval: [{ set: 'A', captions: 'names', ...rivals }], zeroShot: [] };
      copy(name, { 'results.json': () => JSON.stringify(results) });
      const { code, stderr } = await run('report', name);
      assert.equal(code, 0, stderr);
      assert.ok(page(name).includes('neighbours by pixels'));
      assert.equal(page(name).includes('neighbours by HOG'), name === 'now');
      assert.equal(page(name).includes('42.1'), name === 'now');
    }
  });

  it('takes captions and names for text, whatever they contain', async () => {
    const evil = '</script><img src=x onerror=alert(1)><b>&amp;';
    copy('evil', {
      'held-out.json': (text) => text.replaceAll(/"caption":\s*"[^"]*"/g, () => `"caption":${JSON.stringify(evil)}`),
    });
    assert.equal((await run('report', 'evil')).code, 0);
    assert.ok(!page('evil').includes('<img src=x'));
    assert.ok(page('evil').includes('&lt;img src=x onerror'), 'shown as it is');
  });

  it('refuses figures and records that are none, and runs twice or not there, in a line', async () => {
    copy('damaged', { 'held-out.json': () => '{"format":"hopgrad held-out figures","version":1}' });
    copy('newer', {
      'held-out.json': (text) => text.replace('"version": 1', '"version": 99').replace('"version":1', '"version":99'),
    });
    copy('recordless', { 'manifest.json': () => null });
    for (const args of [['damaged'], ['newer'], ['recordless'], ['nowhere'], ['whole', 'whole']]) {
      const { code, stderr } = await run('report', ...args);
      assert.notEqual(code, 0, args.join());
      assert.equal(stderr.trim().split('\n').length, 1, stderr);
      assert.doesNotMatch(stderr, /\n\s+at /);
    }
  });

  it('does not wait for a pipe in the place of a file', async function () {
    if (process.platform === 'win32') this.skip();
    for (const [i, name] of ['held-out.json', 'results.json', 'manifest.json'].entries()) {
      copy(`pipe ${i}`, { [name]: () => null });
      execFileSync('mkfifo', [file(`pipe ${i}`, name)]);
      const { code, stderr } = await run('report', `pipe ${i}`);
      assert.notEqual(code, 0);
      assert.match(stderr, new RegExp(`${name}: a pipe`));
    }
  });

  it('puts several runs side by side, options that differ marked', async () => {
    assert.equal((await train('other', '--lr', '0.5', '--epochs', '2')).code, 0);
    const { code, stdout, stderr } = await run('report', 'whole', 'other');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Report: runs\/report\.html/);
    const text = readFileSync(join(folder, 'runs/report.html'), 'utf8');
    const differing = [...text.matchAll(/<tr class="differs"><th scope="row">(.*?)<\/th>/g)].map(([, name]) => name!);
    assert.ok(
      differing.some((name) => name.includes('--lr')) && differing.some((name) => name.includes('--epochs')),
      String(differing),
    );
    assert.ok(!differing.some((name) => name.includes('--wd')));
  });
});

describe('wilsonInterval', () => {
  it('is that of the textbook, inside [0, 1] and never empty', () => {
    // 10 of 40: 0.1419 … 0.4019 (Newcombe 1998 gives such intervals; computed by hand from the equation).
    const [low, high] = wilsonInterval(0.25, 40);
    assert.ok(Math.abs(low - 0.1419) < 5e-5 && Math.abs(high - 0.4019) < 5e-5, `${low} ${high}`);
    const [zero, some] = wilsonInterval(0, 10);
    assert.ok(zero === 0 && Math.abs(some - 0.2775) < 5e-5, `${some}`);
    assert.throws(() => wilsonInterval(1.1, 4));
  });
});

describe('principalComponents', () => {
  it('finds the directions of largest variance: shares fall, coordinates are uncorrelated', async () => {
    const x = randn([60, 5], { seed: 1 }).l2Normalize();
    const { coordinates, shares } = await principalComponents(x, { count: 3 });
    assert.ok(shares[0]! >= shares[1]! && shares[1]! >= shares[2]! && shares[0]! < 1);
    for (const [a, b] of [
      [0, 1],
      [0, 2],
      [1, 2],
    ] as const) {
      const product = coordinates.reduce((sum, c) => sum + c[a]! * c[b]!, 0);
      assert.ok(Math.abs(product) < 1e-3, `${a} ${b}: ${product}`);
    }
    // Variance along the first is no less than along any axis.
    const variance = (list: number[]) => list.reduce((sum, v) => sum + v * v, 0);
    const rows = values(x);
    for (let axis = 0; axis < 5; axis++) {
      const mean = Array.from({ length: 60 }, (_, i) => rows[i * 5 + axis]!).reduce((a, b) => a + b, 0) / 60;
      const along = Array.from({ length: 60 }, (_, i) => rows[i * 5 + axis]! - mean);
      assert.ok(variance(coordinates.map(([c]) => c!)) >= variance(along) - 1e-6);
    }
  });
});
