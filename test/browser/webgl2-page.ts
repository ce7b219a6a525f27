/** A page on webgl2 for tests written against the library itself, and what they find there. */
import type * as library from 'hopgrad';
import type * as nn from 'hopgrad/nn';
import type { Page } from 'playwright-core';
import type { WebGl2Device } from '#src/kernels/gpu/webgl2.js';
import type { Session } from './browser.js';

declare global {
  const hopgrad: typeof library & { nn: typeof nn };
  /** All WebGL2 contexts made: that of the device, and one in which gpu.js looks what there is. */
  const contexts: WebGL2RenderingContext[];
  /** The error that something throws, at once or later; null for none. */
  const thrown: (act: () => unknown) => Promise<{ name: string; message: string } | null>;
  /** The default device. */
  const webgl2: () => WebGl2Device;
}
/** Runs in the page before its own scripts. */
function prepare(): void {
  const made: WebGL2RenderingContext[] = [];
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function (this: HTMLCanvasElement, ...args: unknown[]) {
    const context = getContext.apply(this, args as never) as unknown;
    if (args[0] === 'webgl2' && context) made.push(context as WebGL2RenderingContext);
    return context;
  } as never;
  const failure = async (act: () => unknown) => {
    try {
      await act();
      return null;
    } catch (error) {
      const { name, message } = error as Error;
      return { name, message };
    }
  };
  Object.assign(globalThis, { contexts: made, thrown: failure, webgl2: () => hopgrad.device() });
}

export async function openWebGl2(session: Session): Promise<Page> {
  const page = await session.open('web/conformance.html', prepare);
  await page.waitForFunction('window.hopgrad !== undefined');
  await page.evaluate(() => hopgrad.init({ device: 'webgl2' }));
  return page;
}
