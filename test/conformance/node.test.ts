/** The conformance suite on every device that Node has; WebGPU on the adapter in software that comes with Chromium. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { init } from 'hopgrad';
import { conformanceCases } from 'hopgrad/testing';
import { needWebGpu } from '../kernels/gpu/adapter.js';
import { goldenErrors, goldenFailures } from './golden.js';

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

    if (device === 'reference' || device === 'gpujs-cpu') return; // float32 in JavaScript, as the first suite has it
    for (const kind of ['vit', 'resnet'] as const)
      it(`meets the embeddings, gradients and trajectory of the golden fixtures: ${kind}`, async function () {
        this.timeout(600_000);
        const file = readFileSync(new URL(`../../../test/fixtures/official-tiny-${kind}.safetensors`, import.meta.url));
        assert.deepEqual(goldenFailures(kind, await goldenErrors(new Uint8Array(file), device)), []);
      });
  });
