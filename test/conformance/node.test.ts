/** The conformance suite on every device that Node has; WebGPU on the adapter in software that comes with Chromium. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { init } from 'hopgrad';
import { conformanceCases } from 'hopgrad/testing';

/** Vulkan's description of the adapter in software, where Debian and Chromium put it. */
const softwareAdapters = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
];

/** Makes WebGPU answer in software, unless told otherwise. */
function offerSoftwareAdapter(): void {
  const found = softwareAdapters.find((path) => existsSync(path));
  if (found) process.env.VK_ICD_FILENAMES ??= found;
}

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`conformance of ${device} in Node`, () => {
    before(async function () {
      if (device === 'webgpu') offerSoftwareAdapter();
      try {
        await init({ device });
      } catch (error) {
        // Locally a machine may lack an adapter; where everything is checked it must be there.
        if (device !== 'webgpu' || process.env.CI) throw error;
        console.log(`      skipped: ${(error as Error).message}`);
        this.skip();
      }
    });
    after(() => init({ device: 'wasm' }));

    for (const { group, name, run } of conformanceCases({ seeds: 4, quick: device === 'reference' }))
      it(`${group}: ${name}`, async () => {
        const { error, tolerance, detail } = await run(device);
        assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
      });
  });
