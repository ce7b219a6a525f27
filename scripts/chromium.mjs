// Chromium as the browser tests and the benchmarks start it: headless, with WebGPU and WebGL2.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const executables = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

export const executable = process.env.CHROMIUM ?? executables.find((path) => existsSync(path));

const always = [
  '--no-sandbox',
  '--enable-unsafe-webgpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
/** SwiftShader plays the card, whether there is one or not. */
export const inSoftware = [
  '--disable-gpu-sandbox',
  '--use-webgpu-adapter=swiftshader',
  '--use-angle=swiftshader',
  '--enable-unsafe-swiftshader',
];
const vulkan = ['--ignore-gpu-blocklist', '--enable-features=Vulkan', '--disable-vulkan-surface'];
/** What may find a card, to be tried in this order; on Linux it depends on the driver, and elsewhere nothing is needed. */
export const onCard = process.platform === 'linux' ? [vulkan, [...vulkan, '--use-angle=vulkan']] : [[]];

/** @throws when there is no browser, or it does not start */
export function launch(flags) {
  return chromium.launch({ executablePath: executable, headless: true, args: [...always, ...flags] });
}
