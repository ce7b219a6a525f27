/** Gradient caching: the step of a batch in pieces is that of the whole batch. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { checkpoint, manualSeed, memory, randn, ShapeError, scoped, type Tensor, tensor } from 'hopgrad';
import { type CloobConfig, createModel } from 'hopgrad/models/cloob';
import { BatchNorm1d, cloobLoss, dropout, inMicroBatches, Linear, type Module, Transformer } from 'hopgrad/nn';
import { tinyConfig } from '../cli/helpers.js';
import { property, relativeError, values } from '../helpers.js';

const exact = { dtype: 'float64', device: 'reference' } as const;
const vit: CloobConfig = {
  ...tinyConfig,
  vision_layers: 2,
  vision_width: 64,
  vision_patch_size: 4,
  transformer_layers: 2,
  center: 'batch',
};
const resnet: CloobConfig = { ...tinyConfig, center: 'batch' };

/** One step of CLOOB: its loss, all gradients, all buffers. */
function step(config: CloobConfig, { microBatch = null as number | null, blocks = false, batch = 7 } = {}) {
  const model = createModel(config, { seed: 3, ...exact }).setGradCheckpointing(blocks);
  const images = randn([batch, 3, 8, 8], { seed: 1, ...exact });
  const ids = Array.from({ length: batch }, (_, i) => [1 + i, 9 - i, 2 * i, 519, 0, 0]);
  const tokens = tensor(ids, { dtype: 'int32', device: 'reference' });
  const x = model.encodeImage(images, { microBatch }).l2Normalize();
  const y = model.encodeText(tokens, { microBatch }).l2Normalize();
  const loss = cloobLoss(x, y, { invTau: 30, beta: 8 });
  loss.backward();
  return { loss: values(loss), gradients: gradients(model), state: Object.values(model.stateDict()).flatMap(values) };
}

const gradients = (module: Module) =>
  module
    .namedParameters()
    .flatMap(([name, { grad }]) =>
      grad || name === 'logit_inv_tau' ? values(grad ?? tensor([0])) : assert.fail(name),
    );

function assertSame(a: ReturnType<typeof step>, b: ReturnType<typeof step>): void {
  for (const key of ['loss', 'gradients', 'state'] as const)
    assert.ok(relativeError(a[key], b[key]) < 1e-10, `${key} ${relativeError(a[key], b[key])}`);
}

describe('inMicroBatches', () => {
  it('comes to the step of the whole batch: memories of all of it, centred over all of it', () => {
    const whole = step(vit);
    assert.ok(Math.max(...whole.gradients.map(Math.abs)) > 1e-3);
    for (const options of [{ microBatch: 1 }, { microBatch: 3 }, { microBatch: 7 }, { microBatch: 2, blocks: true }])
      assertSame(step(vit, options), whole);
  });

  it('normalises by a piece where batch norm does; blocks computed again normalise by the batch, and count it once', () => {
    const whole = step(resnet);
    assertSame(step(resnet, { blocks: true }), whole);
    assert.ok(relativeError(step(resnet, { microBatch: 3 }).gradients, whole.gradients) > 1e-3);
    assertSame(step(resnet, { microBatch: 3, blocks: true }), step(resnet, { microBatch: 3 }));
  });

  it('moves running statistics once a piece, not again in backward', () => {
    const norm = new BatchNorm1d(3, { ...exact, momentum: 0.5 });
    const x = randn([6, 3], { seed: 1, ...exact });
    inMicroBatches((rows) => norm.forward(rows), x, { size: 2 })
      .square()
      .sum()
      .backward();
    const means = [0, 2, 4].map((from) => x.slice([[from, from + 2]]).mean({ axis: 0 }));
    const expected = means.reduce((running, mean) => running.mul(0.5).add(mean.mul(0.5)), means[0]!.mul(0));
    assert.ok(relativeError(values(norm.running_mean), values(expected)) < 1e-14);
  });

  const drawn = fc.record({
    batch: fc.integer({ min: 1, max: 9 }),
    size: fc.integer({ min: 1, max: 10 }),
    seed: fc.nat(1e6),
  });
  property(
    'draws the same dropout the second time, for any number of rows and any size',
    drawn,
    ({ batch, size, seed }) => {
      const x = randn([batch, 4], { seed, ...exact, requiresGrad: true });
      const layer = new Linear(4, 3, exact);
      const masks: number[][] = [];
      manualSeed(seed);
      const encode = (rows: Tensor) => {
        const y = dropout(layer.forward(rows), { p: 0.5 });
        masks.push(values(y));
        return y.square();
      };
      const result = inMicroBatches(encode, x, { size });
      assert.deepEqual(result.shape, [batch, 3]);
      const first = masks.splice(0);
      result.sum().backward();
      if (batch > size) assert.deepEqual(masks.toReversed(), first); // backward begins with the last
      const y = tensor(first.flat(), { shape: [batch, 3], ...exact }); // dropout(W x + b): 0, or twice it
      const kept = y.abs().sign().mul(2); // 2 where kept
      const slope = y.mul(2).mul(kept).matmul(layer.weight.detach());
      assert.ok(relativeError(values(x.grad!), values(slope)) < 1e-12);
    },
  );

  it('is differentiable twice', () => {
    const x = randn([5, 2], { seed: 4, ...exact, requiresGrad: true });
    const twice = (run: (f: (t: Tensor) => Tensor, x: Tensor) => Tensor) => {
      x.grad = null;
      const y = run((t) => t.mul(t).mul(t), x).sum();
      y.backward(undefined, { createGraph: true });
      const g = x.grad as Tensor | null;
      x.grad = null;
      g!.square().sum().backward();
      return values(x.grad!);
    };
    const expected = values(x.detach().square().mul(x.detach()).mul(36)); // d/dx (3x²)² = 36x³
    assert.ok(
      relativeError(
        twice((f, t) => inMicroBatches(f, t, { size: 2 })),
        expected,
      ) < 1e-12,
    );
    assert.ok(
      relativeError(
        twice((f, t) => checkpoint(f, t)),
        expected,
      ) < 1e-12,
    );
  });

  it('takes the memory of a piece: more pieces add their results alone, to the encoding and to backward', () => {
    const layers = Array.from({ length: 6 }, () => new Linear(64, 64));
    // relu keeps what it is given, add keeps nothing: both kinds of intermediate results are to go.
    const body = (x: Tensor) => layers.reduce((y, layer) => layer.forward(y).relu().add(y), x);
    const transformer = new Transformer({ width: 64, layers: 6, heads: 2 });
    transformer.gradCheckpointing = true;
    const encoders = { body, blocks: (x: Tensor) => transformer.forward(x.reshape([-1, 1, 64])).reshape([-1, 64]) };
    for (const [name, encode] of Object.entries(encoders)) {
      /** Bytes of the device beyond what was there, at the end of the encoding, for batches of 32-row pieces. */
      const held = (pieces: number) => {
        const inputs = randn([32 * pieces, 64], { seed: 1 });
        return scoped(() => {
          const before = memory().liveBytes;
          const result = inMicroBatches(encode, inputs, { size: 32 });
          const bytes = memory().liveBytes - before;
          result.square().sum().backward();
          return bytes;
        });
      };
      held(2);
      const results = 8 * 32 * 64 * 4; // of eight pieces more; twice, as pieces and joined
      const more = held(16) - held(8);
      assert.ok(more <= 2 * results + 1024, `${name}: ${more} bytes more, ${results} of results`);
    }
  });

  it('refuses sizes that are none, scalars, and encoders that do not give a result a row', () => {
    const x = randn([4, 2], exact);
    for (const size of [0, -1, 1.5, Number.NaN])
      assert.throws(() => inMicroBatches((t) => t, x, { size }), /size .* expected a whole number|whole number/);
    assert.throws(() => inMicroBatches((t) => t, tensor(1, exact), { size: 2 }), ShapeError);
    assert.throws(() => inMicroBatches((t) => t.sum(), x, { size: 2 }), ShapeError);
  });
});
