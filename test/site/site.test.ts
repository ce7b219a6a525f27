/** Every page of the site: its links, its looks at both widths and in both schemes, its controls. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Page } from 'playwright-core';
import { seriousFaults } from '../browser/axe.js';
import { type Built, builtSite, folder, needSite, type SiteSession } from './site.js';

describe('the files of the site', function () {
  this.timeout(300_000);
  let built: Built;
  let pages: Map<string, string>;
  before(async () => {
    built = await builtSite();
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/'));
    pages = new Map(
      names.filter((name) => name.endsWith('.html')).map((name) => [name, readFileSync(join(folder, name), 'utf8')]),
    );
  });

  it('document every export, and lead nowhere wrong in the repository', () => {
    assert.deepEqual(built.told, []);
    assert.deepEqual(built.broken, []);
    assert.ok(built.pages.length > 400, `${built.pages.length} pages`);
  });

  it('link by relative paths to what is there, anchors included', () => {
    const files = new Set(
      readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => name.replaceAll('\\', '/')),
    );
    const ids = new Map(
      [...pages].map(([name, text]) => [name, new Set([...text.matchAll(/ id="([^"]*)"/g)].map((match) => match[1]!))]),
    );
    const wrong: string[] = [];
    let links = 0;
    for (const [name, text] of pages)
      for (const [, target] of text.matchAll(/ (?:href|src|action)="([^"]*)"/g)) {
        if (/^(https?|data|mailto):/.test(target!)) continue;
        links++;
        const [path, anchor] = target!.split('#');
        const file = path === '' ? name : posix.join(posix.dirname(name), decodeURIComponent(path!.split('?')[0]!));
        if (path!.startsWith('/') || !files.has(file)) wrong.push(`${name}: ${target}`);
        else if (anchor && !ids.get(file)?.has(decodeURIComponent(anchor))) wrong.push(`${name}: no anchor ${target}`);
      }
    assert.ok(links > 10_000, `${links} links`);
    assert.deepEqual(wrong, []);
  });

  it('have no two elements of one id, and no equation that KaTeX refuses', () => {
    for (const [name, text] of pages) {
      const ids = [...text.matchAll(/ id="([^"]*)"/g)].map((match) => match[1]!);
      assert.deepEqual(
        ids.filter((id, i) => ids.indexOf(id) !== i),
        [],
        name,
      );
      assert.ok(!text.includes('katex-error'), name);
    }
  });
});

describe('the pages of the site', function () {
  this.timeout(300_000);
  let session: SiteSession;
  before(async function () {
    session = await needSite.call(this);
  });
  after(() => session?.close());

  /** All but the reference, and of that a page of each kind. */
  function chosen(): string[] {
    const reference = session.built.pages.filter((url) => url.startsWith('api/'));
    const kinds = new Map(reference.map((url) => [url.split('/').at(-2)!, url]));
    const tensor = reference.find((url) => url.endsWith('classes/Tensor.html'))!;
    return [...session.built.pages.filter((url) => !url.startsWith('api/')), ...kinds.values(), tensor];
  }

  // In an order in which each change is of one kind.
  const crossings = [
    [1280, 'light'],
    [390, 'light'],
    [390, 'dark'],
    [1280, 'dark'],
  ] as const;

  for (const isolated of [true, false])
    it(`load without a complaint, ${isolated ? 'isolated, wide and narrow, light and dark' : 'as most servers serve them, wide and narrow'}`, async () => {
      const wrong: string[] = [];
      const { page, complaints } = await session.open('licences.html', { isolated });
      const root = page.url();
      let bytes = 0;
      let largest = 0;
      page.on('response', (response) => {
        const count = (body: Buffer) => {
          bytes += body.length;
        };
        // A page that was left has no bodies any more.
        if (!response.url().includes('/data/')) response.body().then(count, () => {});
      });
      // Pages that compute differ by isolation; of the others one of each kind is enough the second time.
      const kinds = new Set<string>();
      const walked = chosen().filter((url) => {
        const kind = posix.dirname(url);
        if (isolated || /^(\.|explorables)/.test(kind)) return true;
        return !kinds.has(kind) && kinds.add(kind);
      });
      for (const url of walked) {
        bytes = 0;
        const show = async (width: number, colorScheme: 'light' | 'dark') => {
          await page.setViewportSize({ width, height: 900 });
          await page.emulateMedia({ colorScheme });
        };
        await show(1280, 'light');
        await page.goto(new URL(url, root).href);
        await page.waitForFunction(() => {
          const explorable = document.querySelector('#explorable');
          return !explorable || (explorable.childElementCount > 0 && !explorable.ariaBusy);
        });
        // Guides are alike, and so are chapters; colours are of one style sheet but for the explorables.
        const alike = /^guides\/(?!.*(tour|training))|^chapters\/(?!.*(saturation|hopfield|bug-zoo|geometry|transfer))/;
        const closely = isolated && !alike.test(url);
        const inAll = closely && !/^(chapters|api)\/(?!saturation|.*functions)/.test(url);
        for (const [width, scheme] of isolated ? crossings : crossings.slice(0, 2)) {
          await show(width, scheme);
          const at = `${url}, ${width} px, ${scheme}`;
          const shown = await page.evaluate(() => document.documentElement.scrollWidth);
          if (shown > width) wrong.push(`${at}: ${shown} px wide`);
          const first = width === 1280 && scheme === 'light';
          const dark = inAll && scheme === 'dark'; // in the light, colours are those of the first look
          const contrast = first ? (inAll ? 'too' : 'not') : 'only';
          const found = (first && closely) || dark ? await seriousFaults(page, { contrast }) : [];
          wrong.push(...found.map((fault) => `${at}: ${fault}`));
        }
        wrong.push(...complaints.splice(0).map((complaint) => `${url}: ${complaint}`));
        largest = Math.max(largest, bytes);
      }
      await page.close();
      assert.deepEqual(wrong, []);
      assert.ok(largest > 100_000 && largest < 1.5e6, `the largest page is ${largest} bytes`);
    });

  describe('the start page', () => {
    let page: Page;
    let complaints: string[];
    before(async () => {
      ({ page, complaints } = await session.open('index.html', { isolated: false }));
    });
    after(() => page.close());

    const text = (selector: string) => page.locator(selector).innerText();
    const status = (pattern: RegExp) =>
      page.waitForFunction(
        (source) => new RegExp(source).test(document.querySelector('#run-status')!.textContent!),
        pattern.source,
      );
    const write = async (program: string) => {
      await page.locator('.cm-content').fill(program);
    };

    it('runs each of its programs', async () => {
      const choices = await page.locator('#program option').allInnerTexts();
      assert.ok(choices.length >= 3);
      for (const choice of choices) {
        await page.selectOption('#program', choice);
        assert.equal(await text('#output'), '');
        await page.click('#run');
        await status(/^Done in /);
        assert.match(await text('#output'), /\d/, choice);
      }
    });

    it('runs what is written into it, by keys as well, and tells errors', async () => {
      await write("import { tensor as t } from 'hopgrad';\nconsole.log(await t([1, 2]).mul(21).array());");
      await page.locator('.cm-content').press('Control+Enter');
      await status(/^Done in /);
      assert.equal((await text('#output')).trim(), '[21,42]');
      await write("import { x } from 'elsewhere';");
      await page.click('#run');
      await status(/^Failed/);
      assert.match(await text('#output'), /no module elsewhere here, but hopgrad, hopgrad\/nn/);
    });

    it('stops what does not end, and begins anew', async () => {
      await write('for (;;);');
      await page.click('#run');
      await status(/^Running/);
      await page.click('#stop');
      await status(/^Stopped/);
      await page.click('#reset');
      assert.match(await text('.cm-content'), /import/);
      await page.click('#run');
      await status(/^Done in /);
    });

    it('ends it by itself after ten seconds', async () => {
      await page.clock.install();
      await write('for (;;);');
      await page.click('#run');
      await status(/^Running/);
      await page.clock.runFor(10_000);
      await status(/^Ended after 10 s/);
      assert.deepEqual(complaints, []);
    });
  });

  it('a page that needs a server says so when it is opened as a file', async () => {
    const { page } = await session.open('index.html');
    const note = page.locator('#as-file');
    assert.equal(await note.isVisible(), false, 'served');
    for (const name of ['index.html', 'search.html', 'developer.html', 'explorables/world.html']) {
      await page.goto(pathToFileURL(join(folder, name)).href);
      assert.match(await note.innerText(), /opened as a file.*needs a server: npm run site:serve/s, name);
      await note.getByRole('link', { name: 'Guides' }).click();
      assert.ok(page.url().endsWith('/guides/index.html'), page.url());
      assert.equal(await note.count(), 0, 'a page of texts');
    }
    await page.close();
  });

  it('search finds an export, a chapter and a guide', async () => {
    const { page, complaints } = await session.open('index.html');
    const root = page.url();
    await page.goto(new URL('guides/tour.html', root).href);
    await page.fill('header input[type=search]', 'infoLoobLoss');
    await page.press('header input[type=search]', 'Enter');
    const first = page.locator('.pagefind-ui__result-link').filter({ hasText: 'Function: infoLoobLoss' });
    await first.waitFor();
    await first.click();
    assert.match(await page.locator('h1').innerText(), /infoLoobLoss/);
    for (const [words, part, wanted] of [
      ['saturation InfoNCE', 'chapters', '/chapters/saturation.html'],
      ['WebDataset shards', 'guides', '/guides/data.html'],
    ] as const) {
      await page.goto(new URL(`search.html?q=${encodeURIComponent(words)}`, root).href);
      await page.locator('.pagefind-ui__filter-value', { hasText: part }).locator('input').check();
      await page.waitForFunction((wanted) => {
        const links = [...document.querySelectorAll<HTMLAnchorElement>('.pagefind-ui__result-link')];
        return links.some(({ href }) => href.includes(wanted)) && !links.some(({ href }) => href.includes('/api/'));
      }, wanted);
    }
    assert.deepEqual(complaints, []);
    await page.close();
  });

  it('a chapter hides its answers, shows its figures and links its code', async () => {
    const { page } = await session.open('chapters/saturation.html');
    const answer = page.locator('.answer').first();
    assert.equal(await answer.locator('p').first().isVisible(), false);
    await answer.locator('summary').click();
    assert.equal(await answer.locator('p').first().isVisible(), true);
    const widths = await page
      .locator('figure img')
      .evaluateAll((images) => (images as HTMLImageElement[]).map((image) => image.naturalWidth));
    assert.ok(widths.length >= 2 && widths.every((width) => width > 0), widths.join());
    await page.locator('.code a').first().click();
    assert.match(await page.locator('.line:target').innerText(), /function gradients/);
    await page.close();
  });
});
