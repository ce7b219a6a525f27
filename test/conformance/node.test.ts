/** The conformance suite on every device that Node has; WebGPU on the adapter in software that comes with Chromium. */
import assert from 'node:assert/strict';
import { init } from 'hopgrad';
import { conformanceCases } from 'hopgrad/testing';
import { needWebGpu } from '../kernels/gpu/adapter.js';

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`conformance of ${device} in Node`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(() => init({ device: 'wasm' }));

    for (const { group, name, run } of conformanceCases({ seeds: 4, quick: device === 'reference' }))
      it(`${group}: ${name}`, async () => {
        const { error, tolerance, detail } = await run(device);
        assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
      });
  });
