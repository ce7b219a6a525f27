/** hopgrad bundled and minified for a page computes what it computes unbundled, on every device of a browser. */
import assert from 'node:assert/strict';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type * as library from 'hopgrad';
import type * as layers from 'hopgrad/nn';
import type { Page } from 'playwright-core';
import { needBrowser, type Session } from './browser.js';

declare const hopgrad: typeof library & { nn: typeof layers };

const root = fileURLToPath(new URL('../../../', import.meta.url));
const folder = `${root}.build/test/bundle`;

/** What the page is made of; the kernel is minified with the rest. */
const entry = `
import * as library from 'hopgrad';
import * as nn from 'hopgrad/nn';
function capped(x) {
  let y = x ** 0.5;
  if (y > 1.5) y = 1.5 + (y - 1.5) / 2;
  return y;
}
library.defineOp({
  name: 'capped',
  equation: 'y = √x, flatter above 1.5',
  derivative: 'none',
  kernel: ([x], { device }) => device.map(capped, x),
  vjp: 'not needed here',
});
window.hopgrad = { ...library, nn };
`;

async function bundle(): Promise<void> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  await build({
    stdin: { contents: entry, resolveDir: root },
    outfile: `${folder}/main.js`,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    logLevel: 'silent',
  });
  writeFileSync(
    `${folder}/single.html`,
    `<!doctype html><link rel="icon" href="data:,"><script type="module">
import * as hopgrad from '/dist/hopgrad.js';
window.hopgrad = hopgrad;
</script>`,
  );
  writeFileSync(
    `${folder}/index.html`,
    '<!doctype html><link rel="icon" href="data:,"><script type="module" src="main.js"></script>',
  );
}

/** Two steps of training on a device, in the page. */
async function train(device: string): Promise<{ device: string; losses: number[]; weights: number[][] }> {
  const { cloobLoss, AdamW, Linear, LayerNorm } = hopgrad.nn;
  const chosen = await hopgrad.init({ device: device as 'wasm' });
  const random = new hopgrad.Random(4);
  const linear = new Linear(6, 8, { random });
  const norm = new LayerNorm(8);
  const [images, texts] = [hopgrad.randn([4, 6], { seed: 1 }), hopgrad.randn([4, 8], { seed: 2 })];
  const parameters = [...linear.parameters(), ...norm.parameters()];
  const optimizer = new AdamW(parameters, { lr: 1e-2, maxGradNorm: 1 });
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    for (const parameter of parameters) parameter.grad = null;
    const x = norm.forward(linear.forward(images)).gelu().add(linear.forward(images).tanh());
    const loss = cloobLoss(x.l2Normalize(), texts.softmax().l2Normalize(), { invTau: 5, beta: 4 });
    loss.backward();
    await optimizer.step();
    losses.push(await loss.item());
  }
  return {
    device: chosen.device,
    losses,
    weights: await Promise.all(parameters.map(async (p) => [...(await p.data())])),
  };
}

/** Weights after three steps on a device: in one go, and by fresh objects that take over after the first what was read of it. */
async function goOn(device: string): Promise<{ whole: number[][]; resumed: number[][] }> {
  const { infoNceLoss, AdamW, Linear, LayerNorm } = hopgrad.nn;
  await hopgrad.init({ device: device as 'wasm' });
  const [images, texts] = [hopgrad.randn([4, 6], { seed: 1 }), hopgrad.randn([4, 8], { seed: 2 }).l2Normalize()];
  const begin = (seed: number) => {
    const modules = [new Linear(6, 8, { random: new hopgrad.Random(seed) }), new LayerNorm(8)] as const;
    const parameters = modules.flatMap((module) => module.parameters());
    const optimizer = new AdamW(parameters, { lr: 1e-2, maxGradNorm: 1 });
    const step = async () => {
      for (const parameter of parameters) parameter.grad = null;
      const x = modules[1].forward(modules[0].forward(images)).l2Normalize();
      infoNceLoss(x, texts, { invTau: 5 }).backward();
      await optimizer.step();
    };
    return { modules, optimizer, step, weights: () => Promise.all(parameters.map(async (p) => [...(await p.data())])) };
  };
  type Stored = { shape: number[]; data: number[] };
  const written = async (tensors: Record<string, library.Tensor>) => {
    const entries = Object.entries(tensors).map(async ([name, x]) => {
      return [name, { shape: [...x.shape], data: [...(await x.data())] }] as const;
    });
    return Object.fromEntries(await Promise.all(entries));
  };
  const read = (stored: Record<string, Stored>) =>
    Object.fromEntries(
      Object.entries(stored).map(([name, { shape, data }]) => [name, hopgrad.tensor(data, { shape })]),
    );
  const whole = begin(4);
  for (let i = 0; i < 3; i++) await whole.step();
  const begun = begin(4);
  await begun.step();
  const { m, v, ...counts } = begun.optimizer.state();
  const text = JSON.stringify({
    modules: await Promise.all(begun.modules.map((module) => written(module.stateDict()))),
    m: await written(Object.fromEntries(m.entries())),
    v: await written(Object.fromEntries(v.entries())),
  });
  const file = JSON.parse(text) as { modules: Record<string, Stored>[]; m: Record<string, Stored>; v: typeof file.m };
  const resumed = begin(5);
  for (const [i, module] of resumed.modules.entries()) module.loadStateDict(read(file.modules[i]!));
  resumed.optimizer.loadState({ ...counts, m: Object.values(read(file.m)), v: Object.values(read(file.v)) });
  for (let i = 0; i < 2; i++) await resumed.step();
  return { whole: await whole.weights(), resumed: await resumed.weights() };
}

describe('bundled by esbuild and minified, in headless Chromium', () => {
  let session: Session;
  let bundled: Page;
  let plain: Page;

  before(async function () {
    this.timeout(120_000);
    session = await needBrowser.call(this);
    await bundle();
    [bundled, plain] = await Promise.all([
      session.open('.build/test/bundle/index.html'),
      session.open('web/conformance.html'),
    ]);
    for (const page of [bundled, plain]) await page.waitForFunction('window.hopgrad !== undefined');
  });
  after(() => session?.close());

  for (const device of ['wasm', 'webgpu', 'webgl2']) {
    it(`trains on ${device} as it does unbundled`, async function () {
      this.timeout(120_000);
      const expected = await plain.evaluate(train, device);
      assert.equal(expected.device, device);
      assert.ok(expected.losses[1]! < expected.losses[0]!, `${expected.losses}`);
      assert.deepEqual(await bundled.evaluate(train, device), expected);
    });

    it(`goes on after a step on ${device} to the same bits`, async function () {
      this.timeout(120_000);
      const { whole, resumed } = await bundled.evaluate(goOn, device);
      assert.deepEqual(resumed, whole);
    });

    it(`runs a minified kernel of a user on ${device}`, async () => {
      const given = [0.25, 1, 4, 9];
      const result = await bundled.evaluate(
        async ([name, data]) => {
          await hopgrad.init({ device: name as 'wasm' });
          const op = hopgrad.registeredOps().get('capped')!;
          const x = hopgrad.tensor(data as number[]);
          const y = op.kernel!([x.storage], { device: x.storage.device } as never);
          return Array.from(await x.storage.device.read(y));
        },
        [device, given] as const,
      );
      result.forEach((y, i) => {
        const root = Math.sqrt(given[i]!);
        assert.ok(Math.abs(y - (root > 1.5 ? 1.5 + (root - 1.5) / 2 : root)) < 1e-5, `${result}`);
      });
    });
  }

  it('trains as one file in a page without a bundler, with all of its modules', async function () {
    this.timeout(120_000);
    const single = await session.open('.build/test/bundle/single.html');
    await single.waitForFunction('window.hopgrad !== undefined');
    assert.deepEqual(await single.evaluate(train, 'wasm'), await plain.evaluate(train, 'wasm'));
    const names = await single.evaluate(() => {
      const { cloob, data } = hopgrad as unknown as Record<'cloob' | 'data', object>;
      return ['loadCheckpoint' in cloob, 'evalTransform' in data];
    });
    assert.deepEqual(names, [true, true]);
  });

  it('keeps the names of errors', async () => {
    const names = await bundled.evaluate(() => {
      const nameOf = (f: () => unknown) => {
        try {
          f();
        } catch (error) {
          return (error as Error).name;
        }
        return 'none';
      };
      const x = hopgrad.tensor([1, 2]);
      return [
        nameOf(() => x.matmul(hopgrad.tensor([[1], [2], [3]]))),
        nameOf(() => x.add(hopgrad.tensor([1, 2, 3]))),
        nameOf(() => x.sum({ axis: 3 })),
      ];
    });
    assert.deepEqual(names, ['ShapeError', 'BroadcastError', 'AxisError']);
  });
});
