/** A headless Chromium with WebGPU and WebGL2 in software, and the page server. */
import type { Browser, Page } from 'playwright-core';

export interface Server {
  url: string;
  close(): Promise<void>;
}

/** A module of scripts/, which are plain JavaScript. */
export const script = (name: string) => import(new URL(`../../../scripts/${name}`, import.meta.url).href);

export const { executable, inSoftware, launch } = (await script('chromium.mjs')) as {
  executable?: string;
  inSoftware: string[];
  launch(flags: string[]): Promise<Browser>;
};

export interface Session {
  url: string;
  /** `prepare` runs in the page before its own scripts. */
  open(path: string, prepare?: () => void): Promise<Page>;
  close(): Promise<void>;
}

/** `more`: further flags. @throws when there is no browser, or it does not start */
export async function startBrowser(...more: string[]): Promise<Session> {
  const { serve } = (await script('web-server.mjs')) as { serve(): Promise<Server> };
  const server = await serve();
  let browser: Browser;
  try {
    browser = await launch([...inSoftware, ...more]);
  } catch (error) {
    await server.close();
    throw error;
  }
  return {
    url: server.url,
    async open(path, prepare) {
      const page = await browser.newPage({ viewport: { width: 1100, height: 900 } });
      page.on('pageerror', (error) => console.log(`      page: ${error.stack ?? error.message}`));
      page.on('console', (message) => {
        if (message.type() === 'error') console.log(`      page: ${message.text()}`);
      });
      if (prepare) await page.addInitScript(prepare);
      await page.goto(new URL(path, server.url).href);
      return page;
    },
    async close() {
      await browser.close();
      await server.close();
    },
  };
}

/** The suite is skipped by name where there is no browser, except where everything is checked (CI). */
export function needChromium(this: Mocha.Context): void {
  if (executable || process.env.CI) return;
  console.log('    skipped: there is no Chromium here (set CHROMIUM to its path)');
  this.skip();
}

/** A session, or the suite is skipped. */
export async function needBrowser(this: Mocha.Context, ...more: string[]): Promise<Session> {
  needChromium.call(this);
  return startBrowser(...more);
}
