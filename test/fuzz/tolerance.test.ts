/** Tests of the test: planted faults are found, and what rounding does is no fault. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { registeredOps } from 'hopgrad';
import type { Storage } from '#src/kernels/device.js';
import { deviceByName, registerDevice } from '#src/kernels/devices.js';
import { build, type Recipe } from './build.js';
import { check } from './check.js';
import type { Program } from './program.js';
import { recipes } from './recipes.js';
import { reference, wasmTargets } from './targets.js';
import { compare, float32, rounded, truth } from './tolerance.js';

/** How many programs of `count` that use an op fail when its float32 results are changed. */
async function caught(name: string, count: number, change: (x: number, i: number) => number): Promise<number> {
  const op = registeredOps().get(name)!;
  const { kernel } = op;
  let found = 0;
  const drawn: Recipe[] = fc.sample(recipes({ steps: 2, names: [name] }), { numRuns: count, seed: 3 });
  for (const recipe of drawn) {
    const program = build(recipe);
    op.kernel = (inputs, context) => {
      const result = kernel!(inputs, context) as Storage;
      if (result.dtype !== 'float32') return result;
      return result.device.upload(Float32Array.from(result.device.readSync(result), change));
    };
    try {
      await check(program, reference.slice(0, 1)).catch(() => found++);
    } finally {
      op.kernel = kernel;
    }
  }
  return found;
}

describe('the tolerance of random programs', function () {
  this.timeout(120_000);

  for (const name of ['add', 'exp', 'softmax', 'matmul', 'sum'])
    it(`finds that the first result of ${name} is off by 1e-4`, async () => {
      const found = await caught(name, 12, (x, i) => (i === 0 ? x * 1.0001 : x));
      assert.ok(found >= 4, `${found} of 12`); // results that are 0, infinite or whole cannot be 1e-4 off
    });

  it('finds a tie that is broken and a zero that is not quite', async () => {
    assert.ok((await caught('max', 20, (x) => x * (1 + 2 ** -23))) >= 5);
    assert.ok((await caught('relu', 20, (x) => (x === 0 ? 1e-7 : x))) >= 5);
  });

  it('finds whole numbers that are read as floats', async () => {
    const op = registeredOps().get('matmul')!;
    const wasm = deviceByName('wasm');
    let found = 0;
    op.int32 = 'exact'; // as the rule says, no device has such a product
    try {
      for (const recipe of fc.sample(recipes({ steps: 1, names: ['matmul'] }), { numRuns: 20, seed: 4 })) {
        const program = build({ ...recipe, regimes: ['integers'] });
        await check(
          program,
          wasmTargets().filter(({ label }) => label === 'wasm with one thread'),
        ).catch(() => found++);
      }
    } finally {
      op.int32 = 'refused';
      registerDevice('wasm', wasm);
    }
    assert.ok(found >= 3, `${found} of 20`);
  });

  it('finds a norm that overflows inside, though the result is an ordinary number', async () => {
    const line = {
      text: 'x0.l2Normalize()',
      plain: 'wide(() => x0.l2Normalize())',
      dtype: 'float32',
      shape: [2],
    } as const;
    const program: Program = {
      inputs: [{ data: [3e20, 4e20].map(Math.fround), shape: [2], dtype: 'float32', index: false }],
      lines: [{ name: 'v0', ...line, shape: [2] }],
      ...{ results: ['v0'], refused: null, order: 0 },
    };
    const samples = await Promise.all([1, 2, 3].map((seed) => rounded(program, float32, seed)));
    const zeros = { values: [[0, 0]], first: [], second: [], refused: null };
    assert.notEqual(compare(program, zeros, await truth(program), samples), null);
  });

  it('leaves few results without a verdict', async () => {
    let all = 0;
    let open = 0;
    for (const recipe of fc.sample(recipes(), { numRuns: 200, seed: 5 })) {
      const program = build(recipe);
      const centre = await truth(program);
      const sample = await rounded(program, float32, 1);
      assert.equal(compare(program, centre, centre, [sample]), null);
      for (const [k, values] of centre.values.entries())
        for (const [i, x] of values.entries()) {
          const other = sample.values[k]![i]!;
          const near = Math.abs(other - x) <= 1e-3 * Math.abs(x) + 1e-30;
          all++;
          if (!(Number.isFinite(x) ? near : Object.is(other, x))) open++;
        }
    }
    assert.ok(all > 20_000 && open < 0.05 * all, `${open} of ${all}`);
  });
});
