/** A headless Chromium with WebGPU and WebGL2 in software, and the page server. */
import { existsSync } from 'node:fs';
import { type Browser, chromium, type Page } from 'playwright-core';

const executables = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const executable = process.env.CHROMIUM ?? executables.find((path) => existsSync(path));

interface Server {
  url: string;
  close(): Promise<void>;
}

const flags = [
  '--no-sandbox',
  '--disable-gpu-sandbox',
  '--enable-unsafe-webgpu',
  '--use-webgpu-adapter=swiftshader',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export interface Session {
  url: string;
  /** `prepare` runs in the page before its own scripts. */
  open(path: string, prepare?: () => void): Promise<Page>;
  close(): Promise<void>;
}

/** `more`: further flags. @throws when there is no browser, or it does not start */
export async function startBrowser(...more: string[]): Promise<Session> {
  const { serve } = (await import(new URL('../../../scripts/web-server.mjs', import.meta.url).href)) as {
    serve(): Promise<Server>;
  };
  const server = await serve();
  let browser: Browser;
  try {
    browser = await chromium.launch({ executablePath: executable!, headless: true, args: [...flags, ...more] });
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

/** A session; or the suite is skipped by name where there is no browser, except where everything is checked (CI). */
export async function needBrowser(this: Mocha.Context, ...more: string[]): Promise<Session> {
  if (!executable && !process.env.CI) {
    console.log('    skipped: there is no Chromium here (set CHROMIUM to its path)');
    this.skip();
  }
  return startBrowser(...more);
}
