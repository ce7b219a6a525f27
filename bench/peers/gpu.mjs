/**
 * `npm run bench:gpu-peers`: hopgrad, jax-js and tfjs side by side on WebGPU, in one Chromium (CHROMIUM names another
 * than the system's). Every library runs in a tab of its own, which is a process of its own. Options: see compare.mjs,
 * and --software (SwiftShader even where there is a card).
 */

import { cpus } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { writeSection } from '../../.build/bench/results.js';
import { executable, inSoftware, launch, onCard } from '../../scripts/chromium.mjs';
import { serve } from '../../scripts/web-server.mjs';
import { chooseWorks, installPeers, readOptions, report } from './compare.mjs';

/** How long a library may take over one request before it counts as unable. */
const patienceMilliseconds = 180_000;
/** How long Chromium may look for a card: without one, some flags never end. */
const probeMilliseconds = 20_000;

/** The answer, or `instead` when it takes too long or fails. */
const inTime = (answer, limit, instead) =>
  Promise.race([answer.catch(() => instead), delay(limit, instead, { ref: false })]);

class Tab {
  constructor(column, page, url) {
    this.column = column;
    this.page = page;
    this.url = url;
    page.on('pageerror', ({ message }) => this.complain(message));
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) this.complain(message.text());
    });
  }

  /** Keeps the first complaint since the last answer: WebGPU reports beside the calls that caused them. */
  complain(text) {
    process.stderr.write(`  ${this.column}: ${text.split('\n')[0]}\n`);
    this.complaint ??= text.split('\n')[0];
  }

  async open() {
    try {
      await this.page.goto(this.url);
      await this.page.waitForFunction('window.ask || window.failure', null, { timeout: patienceMilliseconds });
      const { library, failure } = await this.page.evaluate('({ library: window.library, failure: window.failure })');
      this.library = library ?? `${this.column}, which does not start`;
      this.failure = failure;
    } catch (error) {
      this.library ??= `${this.column}, which does not start`;
      this.failure = error.message;
    }
    return this;
  }

  async ask(request) {
    if (this.failure) return { error: this.failure };
    this.complaint = undefined;
    const asked = this.page.evaluate((r) => window.ask(r), request).catch(({ message }) => ({ error: message }));
    const late = { error: `no answer in ${patienceMilliseconds / 1000} s` };
    const answer = await inTime(asked, patienceMilliseconds, late);
    if (answer === late) await this.open();
    return { ...answer, remark: this.complaint };
  }
}

/** A work in the sizes that a program can do in seconds. */
const smaller = ({ software, ...work }) => ({
  ...work,
  ...software,
  inputs: work.inputs.map(([name, shape, ...scale]) => [name, software?.shapes?.[name] ?? shape, ...scale]),
});

/** The adapter that the pages get, or null. */
async function adapterOf(browser, url) {
  const page = await browser.newPage();
  await page.goto(`${url}bench/peers/works.json`);
  const adapter = await page.evaluate(async () => {
    const found = await navigator.gpu?.requestAdapter({ powerPreference: 'high-performance' });
    if (!found) return null;
    const { vendor, architecture, device, description, isFallbackAdapter } = found.info;
    const name = [vendor, architecture, description || device].filter(Boolean).join(', ') || 'unnamed';
    return { name, software: isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|software/i.test(name) };
  });
  await page.close();
  return adapter;
}

/** Chromium on the card; where there is none, or that is what was asked for, on SwiftShader. */
async function startBrowser(url, { software }) {
  for (const flags of software ? [] : onCard) {
    const browser = await launch(flags);
    const adapter = await inTime(adapterOf(browser, url), probeMilliseconds, null);
    if (adapter && !adapter.software) return { browser, adapter };
    await browser.close();
  }
  if (!software) console.log('Chromium finds no card here: SwiftShader takes its place.');
  const browser = await launch(inSoftware);
  return { browser, adapter: await adapterOf(browser, url) };
}

const warning = `SwiftShader is a program that plays a graphics card, here on ${cpus().length} cores that Chromium, the libraries and whatever else runs share. These times compare how much work each library makes; they say nothing about a card, where memory, launches and parallel threads cost otherwise. Works that would take too long have smaller sizes than on a card.`;

/** What the table's reader should know about how the libraries are used. */
const manner =
  'jax-js works under jit except for the additions, which measure its ops one by one. In the additions tfjs has its numbers put on the device first: by itself it computes tensors this small on the processor. A run ends when the queue of the device is empty.';

const options = readOptions({ software: { type: 'boolean' } });
if (!executable) throw new Error('There is no Chromium here: set CHROMIUM to its path.');
installPeers();
const server = await serve({ also: ['bench/peers/'] });
const { browser, adapter } = await startBrowser(server.url, options);
try {
  if (!adapter) throw new Error('This Chromium has no WebGPU adapter, not even SwiftShader.');
  const tabs = [];
  for (const [column, name] of [
    ['hopgrad', 'hopgrad'],
    ['jax-js', 'jax'],
    ['tfjs', 'tfjs'],
  ])
    tabs.push(
      await new Tab(column, await browser.newPage(), `${server.url}bench/peers/page.html?library=${name}`).open(),
    );
  const works = chooseWorks(options, ({ model }) => !model).map((work) => (adapter.software ? smaller(work) : work));
  const text = [
    `Adapter: ${adapter.name}${adapter.software ? ' (in software)' : ''}. Chromium ${browser.version()}.`,
    '',
    ...(adapter.software ? [warning, ''] : []),
    manner,
    '',
    await report(tabs, works, options, [
      ['faster than jax-js', (_, factor) => factor('jax-js')],
      ['faster than tfjs', (_, factor) => factor('tfjs')],
    ]),
  ].join('\n');
  console.log(text);
  if (options.write) writeSection('gpuPeers', text, 'RESULTS-gpu.md');
} finally {
  await browser.close();
  await server.close();
}
