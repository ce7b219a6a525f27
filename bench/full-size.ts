/**
 * `npm run bench:full-size`: the official models at full size on the wasm device: RN50 forward for 4 images and texts,
 * ViT-B-32 one whole training step (forward, backward, AdamW) for 2; times and memory.
 * Options: --rounds N (default 2), --write. Steps of large batches: large-batches.ts.
 */
import { parseArgs } from 'node:util';
import { device, init, memory, noGrad, randn, scoped, type Tensor, tensor } from 'hopgrad';
import { type CloobModel, createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';
import { milliseconds, table, writeSection } from './results.js';

const { values: options } = parseArgs({
  options: {
    rounds: { type: 'string', default: '2' },
    write: { type: 'boolean', default: false },
  },
});
const rounds = Number(options.rounds);
const rows: string[][] = [];
const mebibytes = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

async function timed<T>(work: string, body: () => T | Promise<T>): Promise<T> {
  const start = performance.now();
  const before = process.cpuUsage();
  const result = await body();
  const { liveBytes, peakBytes, reservedBytes } = memory();
  const { user, system } = process.cpuUsage(before); // of all threads: steadier than time on a busy machine
  const times = [performance.now() - start, (user + system) / 1000].map(milliseconds);
  rows.push([work, ...times, ...[liveBytes, peakBytes, reservedBytes].map(mebibytes)]);
  return result;
}

/** Pixels like normalised ones, and sentences that end with the end token. */
function batch(model: CloobModel, size: number): { images: Tensor; tokens: Tensor } {
  const { image_resolution: side, context_length: length, vocab_size } = model.config;
  const ids = Int32Array.from({ length: size * length }, (_, i) => (i % length < 12 ? 1 + ((i * 7919) % 40_000) : 0));
  for (let row = 0; row < size; row++) ids[row * length + 12] = vocab_size - 1;
  return { images: randn([size, 3, side, side], { seed: 1 }), tokens: tensor(ids, { shape: [size, length] }) };
}

async function resnetForward(): Promise<void> {
  const model = (await timed('RN50: create, random weights', () => createModel('RN50', { seed: 1 }))).eval();
  const { images, tokens } = batch(model, 4);
  for (let round = 1; round <= rounds; round++)
    await timed(`RN50: embed 4 images and 4 texts, round ${round}`, async () => {
      const [x, y] = scoped(() => noGrad(() => [model.encodeImage(images), model.encodeText(tokens)]));
      await x!.data();
      await y!.data();
    });
  for (const parameter of Object.values(model.stateDict())) parameter.storage.free();
}

async function vitStep(): Promise<void> {
  const model = await timed('ViT-B-32: create, random weights', () => createModel('ViT-B-32', { seed: 1 }));
  const optimizer = new AdamW(model.parameters(), { lr: 1e-4, weightDecay: 0.1 });
  const { images, tokens } = batch(model, 2);
  for (let round = 1; round <= rounds; round++)
    await timed(`ViT-B-32: training step for 2 pairs, round ${round}`, async () => {
      // Scopes and freed gradients keep memory at weights, moments, one set of gradients and the activations.
      const loss = scoped(() => {
        const [x, y] = [model.encodeImage(images), model.encodeText(tokens)];
        const value = cloobLoss(x.l2Normalize(), y.l2Normalize(), { invTau: 30, beta: 8 });
        value.backward();
        return value;
      });
      await optimizer.step();
      for (const parameter of model.parameters()) parameter.grad?.storage.free();
      optimizer.zeroGrad();
      if (!Number.isFinite(await loss.item())) throw new Error('the loss is not finite');
    });
}

await init({ device: 'wasm' });
await resnetForward();
await vitStep();
const text = `${device().description}.\n\n${table(['work', 'ms', 'CPU ms', 'live MiB', 'peak MiB', 'reserved MiB'], rows)}`;
console.log(text);
if (options.write) writeSection('fullSize', text);
process.exit(0); // worker threads of the device would wait for more
