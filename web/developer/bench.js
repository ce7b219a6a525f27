// What the benchmark measures: kernels and a training step, each from its call until its result has been read.
import { randn, scoped, tensor } from 'hopgrad';
import { createModel } from 'hopgrad/models/cloob';
import { AdamW, cloobLoss } from 'hopgrad/nn';

const gflops = (operations) => (ms) => `${(operations / ms / 1e6).toFixed(2)} GFLOP/s`;

/** Work on the default device. `run` returns a tensor whose reading ends the measurement. */
export function works() {
  const n = 256;
  const [a, b] = [randn([n, n], { seed: 1 }), randn([n, n], { seed: 2 })];
  const wide = randn([512, 512], { seed: 3 });
  const few = randn([10], { seed: 4 });
  const [image, filters] = [randn([4, 16, 32, 32], { seed: 5 }), randn([16, 16, 3, 3], { seed: 6 })];
  return [
    {
      name: '100 additions of 10 elements',
      run: () => Array.from({ length: 100 }).reduce((x) => x.add(few), few),
      rate: (ms) => `${(ms * 10).toFixed(1)} µs an op`,
    },
    { name: `matmul ${n} × ${n} × ${n}`, run: () => a.matmul(b), rate: gflops(2 * n ** 3) },
    { name: 'softmax 512 × 512', run: () => wide.softmax({ axis: -1 }) },
    {
      name: 'conv 3 × 3, 16 → 16, 4 × 32 × 32',
      run: () => image.conv2d(filters, { padding: 1 }),
      rate: gflops(2 * 4 * 16 * 16 * 9 * 32 * 32),
    },
    { name: 'CLOOB training step, 8 pairs', run: trainingStep() },
  ];
}

function trainingStep() {
  const model = createModel(
    {
      ...{ embed_dim: 32, image_resolution: 32, vision_layers: 2, vision_width: 64, vision_patch_size: 8 },
      ...{ context_length: 16, vocab_size: 64, transformer_width: 32, transformer_heads: 4, transformer_layers: 2 },
    },
    { seed: 1 },
  );
  const optimizer = new AdamW(model.parameters());
  const images = randn([8, 3, 32, 32], { seed: 2 });
  const ids = Int32Array.from({ length: 8 * 16 }, (_, i) => (i * 7) % 63);
  const tokens = tensor(ids, { shape: [8, 16] });
  return () => {
    const loss = cloobLoss(model.encodeImage(images).l2Normalize(), model.encodeText(tokens).l2Normalize(), {
      ...{ invTau: 30, beta: 8 },
    });
    loss.backward();
    void optimizer.step();
    optimizer.zeroGrad();
    return loss.detach();
  };
}

/** Median and least of several runs after a first one that compiles, in milliseconds. */
export async function measure({ run }, { seconds = 1, most = 20 } = {}) {
  const once = async () => {
    const start = performance.now();
    const result = scoped(run);
    await result.data();
    result.dispose();
    return performance.now() - start;
  };
  await once();
  const times = [];
  const end = performance.now() + 1000 * seconds;
  while (times.length < 3 || (times.length < most && performance.now() < end)) times.push(await once());
  times.sort((x, y) => x - y);
  return { median: times[times.length >> 1], least: times[0] };
}
