/** Who a kernel is: hopgrad's own are known by name and take their fast form; a user's runs as it is written. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import 'hopgrad/nn';
import { defineOp, init, registeredOps, tensor, withDevice } from 'hopgrad';
import '#src/kernels/gpu/webgl2.js';
import '#src/kernels/gpu/webgpu.js';
import type { Storage } from '#src/kernels/device.js';
import { identityOf } from '#src/kernels/source/identity.js';
import { builtIn, builtInKernels } from '#src/kernels/source/own.js';
import { texts } from '#src/kernels/source/texts.js';
import { operationNames, operationNumber } from '#src/kernels/wasm/kernels.js';
import { testOf } from '#src/testing/oracles/index.js';
import { needWebGpu } from './gpu/adapter.js';

describe('the identity of kernels', () => {
  it('has the text of each of hopgrad’s own kernels from the build', () => {
    assert.deepEqual([...builtInKernels().keys()].sort(), Object.keys(texts).sort());
    for (const [name, kernel] of builtInKernels()) {
      assert.equal(texts[name], kernel.toString().replaceAll(/^\s+(\/\/.*)?|\n\s*\/\/.*/gm, ''), name);
      assert.equal(identityOf(kernel).text, texts[name]);
    }
    assert.ok(
      readFileSync(new URL('../../../dist/kernels/source/texts.js', import.meta.url), 'utf8').includes('sigmoidGrad'),
    );
  });

  it('refuses a second kernel of a name', () => {
    assert.throws(() => builtIn({ relu: (x: number) => x }), /a second kernel named relu/);
  });

  it('every elementwise op of hopgrad, and its derivative, is a SIMD loop on wasm', () => {
    const others = ['cast', 'to', 'clone', 'identity', 'where'];
    const elementwise = [...registeredOps().values()]
      // Composites have no kernel of their own.
      .filter((op) => op.builtIn && !op.compose && testOf(op).scalar && !others.includes(op.name))
      .flatMap(({ name }) => [name, ...(builtInKernels().has(`${name}Grad`) ? [`${name}Grad`] : [])]);
    assert.ok(elementwise.length >= 46, `${elementwise.length} kernels`);
    const slow = elementwise.filter((name) => operationNumber(identityOf(builtInKernels().get(name)!)) < 0);
    assert.deepEqual(slow, []);
    assert.deepEqual(
      operationNames.filter((name) => !builtInKernels().has(name)),
      [],
      'operations that nothing names',
    );
  });
});

/** Named like hopgrad's own, and something else. */
const impostors = {
  relu: function relu(x: number): number {
    return Math.min(Math.max(x, 0), 6);
  },
  exp: function exp(x: number): number {
    return x + 1;
  },
};
function add(a: number, b: number): number {
  return Math.min(a + b, 3);
}

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`kernels of users on ${device}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(() => init({ device: 'wasm' }));

    it('run as they are written, though named like hopgrad’s own', async () => {
      const x = withDevice(device, () => tensor([-1, 0.25, 2, 7, 9]));
      const given = [-1, 0.25, 2, 7, 9];
      for (const [name, kernel] of Object.entries(impostors)) {
        const op = defineOp({
          name: `${name} of a user on ${device}`,
          equation: '',
          derivative: '',
          kernel: ([s], { device }) => device.map(kernel, s as Storage),
          vjp: 'not needed',
        });
        assert.deepEqual(Array.from(await op([x], undefined).data()), given.map(kernel), name);
      }
      const { device: own } = x.storage;
      const operand = { storage: x.storage, strides: [1] };
      const sums = await own.read(own.zip(add, [5], operand, operand));
      assert.deepEqual(
        Array.from(sums),
        given.map((v) => add(v, v)),
      );
    });

    it('of one text are one kernel, however often they are written anew', async () => {
      const x = withDevice(device, () => tensor([1, 2, 3]));
      const { device: own } = x.storage;
      const make = () =>
        function tripled(v: number): number {
          return v * 3;
        };
      const made: string[] = [];
      const compile = globalThis.Function;
      globalThis.Function = new Proxy(compile, {
        construct(target, args) {
          made.push(String(args));
          return Reflect.construct(target, args);
        },
      });
      try {
        for (let i = 0; i < (device === 'webgpu' ? 200 : 20_000); i++) own.map(make(), x.storage).free();
      } finally {
        globalThis.Function = compile;
      }
      assert.ok(made.length <= 4, `${made.length} functions were made`);
      assert.equal(identityOf(make()), identityOf(make()));
    });
  });
