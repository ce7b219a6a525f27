/** Random programs on every device, each answer held to double precision under a tolerance derived from the program. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { init, registeredOps } from 'hopgrad';
import type { Page } from 'playwright-core';
import { deviceByName, registerDevice } from '#src/kernels/devices.js';
import { needBrowser, type Session } from '../browser/browser.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';
import { build, stepNames } from './build.js';
import { check } from './check.js';
import { codeOf } from './code.js';
import { type Form, type Program, type Results, run } from './program.js';
import { fuzz, fuzzEach, recipes } from './recipes.js';
import { gpu, reference, type Target, wasmTargets } from './targets.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

describe('random programs', function () {
  this.timeout(300_000);
  const here: Target[] = [];
  const usual = deviceByName('wasm');
  before(async () => {
    await init({ device: 'gpujs-cpu' });
    await init({ device: 'reference' });
    here.push(...reference, ...wasmTargets(), gpu('gpujs-cpu', false));
  });
  after(() => {
    registerDevice('wasm', usual);
    return init({ device: 'wasm' });
  });

  fuzz('mean the same on reference, gpujs-cpu and each build of wasm', 40, recipes(), (recipe) =>
    check(build(recipe), here),
  );

  fuzzEach('of one step do, too:', 3, (recipe) => check(build(recipe), here));
  for (const regime of ['integers', 'extreme'] as const)
    fuzzEach(`of one step on ${regime} do, too:`, 3, (recipe) => check(build({ ...recipe, regimes: [regime] }), here));

  // What adds up elements: terms whose sums pass the largest number on the way, or one of which is nearly the whole.
  fuzzEach(
    'of one step on terms far apart do, too:',
    12,
    (recipe) =>
      check(build({ ...recipe, regimes: ['huge', 'apart'], ranks: [1, 2], sizes: [9, 5, 2, 17, 3, 33] }), here),
    'sum mean norm variance softmax logSoftmax logSumExp l2Normalize'.split(' '),
  );

  // More operands are more ways of walking them, so these ops come more often.
  const broadcasting = [...registeredOps().values()].flatMap(({ name, test }) => {
    const operands = test?.scalar?.length ?? 0;
    return operands > 1 ? new Array<string>(4 ** (operands - 2)).fill(name) : [];
  });
  fuzz('of one step that broadcasts over many axes do, too', 60, recipes({ steps: 1, names: broadcasting }), (recipe) =>
    check(build({ ...recipe, ranks: [4, 5, 6], sizes: [2, 3, 2, 1, 2, 2, 3, 2] }), here),
  );

  describe('on webgpu', () => {
    before(needWebGpu);
    fuzz('mean the same', 15, recipes({ steps: 3 }), (recipe) => check(build(recipe), [gpu('webgpu')]));
  });

  describe('on webgl2 in Chromium', () => {
    let session: Session;
    let page: Page;
    before(async function () {
      session = await needBrowser.call(this);
      page = await session.open('web/conformance.html');
      await page.waitForFunction('window.hopgrad !== undefined');
      await page.evaluate(() => hopgrad.init({ device: 'webgl2' }));
    });
    after(() => session?.close());

    const runInPage = (program: Program, form: Form) =>
      page.evaluate(async ([path, ...given]) => (await import(path)).run(...given) as Promise<Results>, [
        '/.build/test/fuzz/program.js',
        program,
        form,
      ] as const);
    fuzz('mean the same', 15, recipes({ steps: 3 }), (recipe) =>
      check(build(recipe), [{ ...gpu('webgl2'), run: runInPage }]),
    );
  });

  it('reach every op that is registered', () => {
    const ops = [...registeredOps().values()].filter(({ builtIn, name }) => builtIn && name !== 'to');
    const missing = new Set(ops.map(({ name }) => name));
    const originals = ops.map(({ kernel, forward, compose }) => ({ kernel, forward, compose }));
    for (const op of ops)
      for (const part of ['kernel', 'forward', 'compose'] as const) {
        const original = op[part] as ((...args: unknown[]) => never) | undefined;
        if (!original) continue;
        op[part] = (...args: unknown[]) => {
          missing.delete(op.name);
          return original(...args);
        };
      }
    try {
      for (const recipe of fc.sample(recipes(), { numRuns: 400, seed: 1 })) build(recipe);
    } finally {
      for (const [i, op] of ops.entries()) Object.assign(op, originals[i]);
    }
    assert.deepEqual([...missing], []);
    assert.ok(stepNames().length >= ops.length);
  });

  it('are printed as modules that run and give what the test saw', async () => {
    const recipe = {
      inputs: [
        [1, 0, 3, 7],
        [0, 3],
      ],
      steps: [
        { name: 'matmul', choices: [] },
        { name: 'tanh', choices: [] },
        { name: 'attention', choices: [4, 1, 1] },
      ],
    };
    const program = build(recipe);
    const expected = await run(program, { text: 'text', dtype: 'float64', device: 'reference' });
    const folder = mkdtempSync(join(root, '.build/run-'));
    try {
      for (const [order, arrays] of [expected.values, expected.first, expected.second].entries()) {
        writeFileSync(join(folder, 'main.mjs'), codeOf(program, order, ['reference']));
        const printed = execFileSync(process.execPath, [join(folder, 'main.mjs')], { encoding: 'utf8' });
        const lines = printed.trim().split('\n');
        assert.deepEqual(
          lines.map((line) => line.split(']')[1]!.trim().split(' ').filter(Boolean).map(Number)),
          arrays,
        );
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
