/**
 * `npm run bench:gpu`: what an op costs to start on a gpu.js device, what products reach (on webgpu beside WGSL by
 * hand), and a CLOOB step eager and captured. Options: --device NAME (default webgpu), --rounds N (default 15), --write (into bench/RESULTS-gpu.md).
 */
import { parseArgs } from 'node:util';
import { capture, device, type InitOptions, init, randn, scoped, type Tensor, tensor } from 'hopgrad';
import { createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';
import { productVariants } from './gpu-products.js';
import { median } from './median.js';
import { milliseconds, table, writeSection } from './results.js';

const { values: flags } = parseArgs({
  options: {
    device: { type: 'string', default: 'webgpu' },
    rounds: { type: 'string', default: '15' },
    write: { type: 'boolean', default: false },
  },
});

interface Work {
  name: string;
  /** @returns milliseconds until all was asked for, where that is of interest */
  run: () => Promise<number>;
  note?: (least: number, asked: number) => string;
}

/** Rows of a table: medians over interleaved rounds, so that a busy machine is unfair to none. */
async function measure(works: readonly Work[], rounds: number): Promise<string[][]> {
  const times = works.map(() => ({ whole: [] as number[], asked: [] as number[] }));
  for (const { run } of works) await run(); // compiles
  for (let round = 0; round < rounds; round++)
    for (const [i, { run }] of works.entries()) {
      const start = performance.now();
      times[i]!.asked.push(await run());
      times[i]!.whole.push(performance.now() - start);
    }
  return works.map(({ name, note }, i) => {
    const { whole, asked } = times[i]!;
    const least = Math.min(...whole);
    return [name, milliseconds(median(whole)), milliseconds(least), note?.(least, median(asked)) ?? ''];
  });
}

/** Runs, reads the result (so that the work is done) and frees it. */
const finished = (run: () => Tensor) => async () => {
  const start = performance.now();
  const result = scoped(run);
  const asked = performance.now() - start;
  await result.data();
  result.dispose();
  return asked;
};

function cloobSteps() {
  const model = createModel(
    {
      ...{ embed_dim: 32, image_resolution: 32, vision_layers: 2, vision_width: 64, vision_patch_size: 8 },
      ...{ context_length: 16, vocab_size: 64, transformer_width: 32, transformer_heads: 4, transformer_layers: 2 },
    },
    { seed: 1 },
  );
  const parameters = [...model.parameters()];
  const optimizer = new AdamW(parameters);
  const images = randn([8, 3, 32, 32], { seed: 2 });
  const tokens = tensor(
    Int32Array.from({ length: 8 * 16 }, (_, i) => (i * 7) % 63),
    { shape: [8, 16] },
  );
  const forward = (x: Tensor, ids: Tensor) => {
    const loss = cloobLoss(model.encodeImage(x).l2Normalize(), model.encodeText(ids).l2Normalize(), {
      ...{ invTau: 30, beta: 8 },
    });
    loss.backward();
    return loss.detach();
  };
  const captured = capture(forward, { parameters });
  const step = (forwardAndBack: typeof forward) =>
    finished(() => {
      const loss = forwardAndBack(images, tokens);
      void optimizer.step();
      for (const parameter of parameters) {
        parameter.grad?.dispose();
        parameter.grad = null;
      }
      return loss;
    });
  return { eager: step(forward), captured: step(captured) };
}

const asked = (_: number, ms: number) => `asked for in ${milliseconds(ms)}`;
await init({ device: flags.device as NonNullable<InitOptions['device']> });
const few = randn([10], { seed: 1 });
const products = [64, 256].map((n) => ({ n, a: randn([n, n], { seed: 2 }), b: randn([n, n], { seed: 3 }) }));
const { eager, captured } = cloobSteps();
const chain = 200;
const rows = await measure(
  [
    {
      name: `${chain} additions of 10 elements, and a read`,
      run: finished(() => Array.from({ length: chain }).reduce<Tensor>((x) => x.add(few), few)),
      note: (ms) => `${((1000 * ms) / chain).toFixed(0)} µs an op`,
    },
    ...products.map(({ n, a, b }) => ({
      name: `matmul ${n} × ${n} × ${n}, and a read`,
      run: finished(() => a.matmul(b)),
      note: (ms: number) => `${((2 * n ** 3) / ms / 1e6).toFixed(2)} GFLOP/s`,
    })),
    { name: 'CLOOB step (ViT, 8 pairs), eager', run: eager, note: asked },
    { name: 'CLOOB step (ViT, 8 pairs), captured', run: captured, note: asked },
  ],
  Number(flags.rounds),
);
const variants = device().name === 'webgpu' ? await productVariants(device(), 256) : [];
const sums = new Set<number>();
for (const { run } of variants) sums.add(await run());
if (sums.size > 1) throw new Error(`the products differ: ${[...sums].join(', ')}`);
const products256 = await measure(variants, Number(flags.rounds));
const header = (title: string) => [title, 'ms, median', 'ms, least', 'note'];
const text = [
  `${device().description}.`,
  '',
  table(header('work'), rows),
  ...(variants.length > 0 ? ['', table(header('product of 256 × 256 matrices, and a read'), products256)] : []),
].join('\n');
console.log(text);
if (flags.write) writeSection('gpu', text, 'RESULTS-gpu.md');
