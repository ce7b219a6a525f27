/** The conformance suite on every device that Node has; WebGPU on the adapter in software that comes with Chromium. */
import assert from 'node:assert/strict';
import { init } from 'hopgrad';
import { conformanceCases } from 'hopgrad/testing';
import { deviceByName, registerDevice } from '#src/kernels/devices.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

const kinds = [
  { device: 'reference' },
  { device: 'wasm' },
  { device: 'wasm', dtype: 'float64' },
  { device: 'gpujs-cpu' },
  { device: 'webgpu' },
] as const;
for (const { device, dtype = 'float32' } of kinds.map((kind) => ({ dtype: undefined, ...kind })))
  describe(`conformance of ${device} in Node${dtype === 'float64' ? ', in float64' : ''}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(() => init({ device: 'wasm' }));

    for (const { group, name, run } of conformanceCases({ seeds: 4, quick: device === 'reference', dtype }))
      it(`${group}: ${name}`, async () => {
        const { error, tolerance, detail } = await run(device);
        assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
      });
  });

for (const shared of [true, false])
  for (const relaxed of [true, false]) {
    if (shared && relaxed) continue; // the build that Node takes by itself, above
    const threads = shared ? 'threads' : 'no threads';
    describe(`conformance of wasm with ${threads}, ${relaxed ? 'fused' : 'no fused'} multiply-add`, () => {
      const usual = deviceByName('wasm');
      before(() => registerDevice('wasm', createWasmDevice({ shared, relaxed })));
      after(() => registerDevice('wasm', usual));

      for (const { group, name, run } of conformanceCases({ seeds: 2, quick: true }))
        it(`${group}: ${name}`, async () => {
          const { error, tolerance, detail } = await run('wasm');
          assert.ok(error <= tolerance, `${error} > ${tolerance}: ${detail}`);
        });
    });
  }
