/** WebGPU in Node for tests, on the adapter in software that comes with Chromium. */
import { existsSync } from 'node:fs';
import { init } from 'hopgrad';

/** Vulkan's description of that adapter, where Debian and others put it. */
const softwareAdapters = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];

/** Skips the suite by name where a machine has no adapter; where everything is checked (CI) it must be there. */
export async function needWebGpu(this: Mocha.Context): Promise<void> {
  const found = softwareAdapters.find((path) => existsSync(path));
  if (found) process.env.VK_ICD_FILENAMES ??= found;
  try {
    await init({ device: 'webgpu' });
  } catch (error) {
    if (process.env.CI) throw error;
    console.log(`      skipped: ${(error as Error).message}`);
    this.skip();
  }
}
