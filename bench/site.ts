/**
 * `npm run bench:site [-- --write]`: how soon a page of the site answers, in headless Chromium with an empty cache: the
 * time from asking for the page until a control is there, and until what it was pressed for is shown.
 */
import { parseArgs } from 'node:util';
import type { Browser } from 'playwright-core';
import { median } from './median.js';
import { table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: { write: { type: 'boolean', default: false }, times: { type: 'string', default: '7' } },
});
const root = new URL('../../', import.meta.url);
const { serveSite } = await import(new URL('site/serve.mjs', root).href);
const { launch } = (await import(new URL('scripts/chromium.mjs', root).href)) as {
  launch(flags: string[]): Promise<Browser>;
};

/** What is pressed first on a page, where it answers, and what an answer is. */
interface Visit {
  path: string;
  press: string;
  answer: string;
  pattern: string;
}
const guess = { press: '#explorable [data-answer]', answer: '.verdict', pattern: '\\w' };
const visits: Visit[] = [
  { path: 'index.html', press: '#run', answer: '#run-status', pattern: '^Done' },
  ...['retrieval', 'saturation', 'world'].map((name) => ({ path: `explorables/${name}.html`, ...guess })),
  { path: 'explorables/training.html', press: '[data-do=step]', answer: '.status', pattern: '^Step 1,' },
  { path: 'explorables/gradients.html', press: '[data-program]', answer: '.report', pattern: '\\w' },
  { path: 'chapters/saturation.html', press: '.answer summary', answer: '.answer[open]', pattern: '\\w' },
];

interface Times {
  there: number;
  answered: number;
  bytes: number;
}

/** One visit with nothing kept from others. */
async function visit(browser: Browser, { path, ...what }: Visit, isolated: boolean): Promise<Times> {
  const server = await serveSite({ isolated });
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  try {
    const page = await context.newPage();
    let bytes = 0;
    page.on('response', (response) => {
      response.body().then(
        (body) => {
          bytes += body.length;
        },
        () => {},
      );
    });
    await page.goto(server.url + path, { waitUntil: 'commit' });
    const found = await page.waitForFunction(({ press, answer, pattern }) => {
      const seen = window as unknown as { there?: number };
      const control = document.querySelector<HTMLButtonElement>(press);
      const busy = document.querySelector('#explorable')?.ariaBusy;
      if (seen.there === undefined && control && !control.disabled && !busy) {
        // A module that listens may still be on its way: pressed again until there is an answer.
        seen.there = performance.now();
      }
      if (seen.there === undefined) return false;
      if (new RegExp(pattern).test(document.querySelector(answer)?.textContent ?? ''))
        return { there: seen.there, answered: performance.now() };
      if (control && !control.disabled) control.click();
      return false;
    }, what);
    return { ...((await found.jsonValue()) as Omit<Times, 'bytes'>), bytes };
  } finally {
    await context.close();
    await server.close();
  }
}

const browser = await launch([]);
const rows: string[][] = [];
for (const one of visits)
  for (const isolated of one.path === 'index.html' ? [true, false] : [true]) {
    const times: Times[] = [];
    for (let i = 0; i < Number(options.times); i++) times.push(await visit(browser, one, isolated));
    const of = (key: keyof Times) => times.map((time) => time[key]);
    rows.push([
      `${one.path}${isolated ? '' : ', not isolated'}`,
      ...[median(of('there')), median(of('answered')), Math.max(...of('answered'))].map((ms) => ms.toFixed(0)),
      (median(of('bytes')) / 1000).toFixed(0),
    ]);
  }
await browser.close();

const text = `Milliseconds from asking for a page, whose files are on this machine, with an empty cache: until its first control is there, and until that has
answered (the program of the start page has run, a guess is judged, a step trained, a gradient checked); medians of ${options.times} visits. The aim is 2000.

${table(['page', 'control there', 'answered', 'slowest', 'kB loaded'], rows)}`;
console.log(text);
if (options.write) writeSection('site', text);
