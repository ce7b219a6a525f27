/** The built site in headless Chromium, isolated and as most servers would serve it, at a path of its own. */
import { fileURLToPath } from 'node:url';
import type { Page } from 'playwright-core';
import { inSoftware, launch, needChromium, type Server } from '../browser/browser.js';

export interface Built {
  /** Exports without a docstring, and what else TypeDoc said. */
  told: string[];
  /** Links that lead nowhere. */
  broken: string[];
  /** Addresses of pages, without those of sources. */
  pages: string[];
}

const root = new URL('../../../', import.meta.url);
const { siteIfChanged } = (await import(new URL('site/build.mjs', root).href)) as { siteIfChanged(): Promise<Built> };
const { serveSite } = (await import(new URL('site/serve.mjs', root).href)) as {
  serveSite(options: { isolated: boolean; under: string }): Promise<Server>;
};

/** The folder of the site. */
export const folder = fileURLToPath(new URL('.build/site', root));

/** The site as it is now; npm test has built it. */
export const builtSite = (): Promise<Built> => siteIfChanged();

export interface SiteSession {
  built: Built;
  /** A page, and what it complained about: errors, and requests that failed. */
  open(path: string, options?: { isolated?: boolean; width?: number }): Promise<{ page: Page; complaints: string[] }>;
  close(): Promise<void>;
}

/** Or the suite is skipped by name where there is no browser, except where everything is checked (CI). */
export async function needSite(this: Mocha.Context): Promise<SiteSession> {
  needChromium.call(this);
  const built = await builtSite();
  const under = 'any/where/';
  const servers = [await serveSite({ isolated: true, under }), await serveSite({ isolated: false, under })] as const;
  const browser = await launch(inSoftware);
  return {
    built,
    async open(path, { isolated = true, width = 1280 } = {}) {
      const page = await browser.newPage({ viewport: { width, height: 900 }, colorScheme: 'light' });
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(error.message));
      page.on('console', (message) => {
        if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
      });
      page.on('response', (response) => {
        if (response.status() >= 400) complaints.push(`${response.status()} ${response.url()}`);
      });
      await page.goto(servers[isolated ? 0 : 1].url + path);
      return { page, complaints };
    },
    async close() {
      await browser.close();
      for (const server of servers) await server.close();
    },
  };
}
