/** Centring: the projection and its derivative, the running mean, and a model that carries it. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { checkpoint, grad, randn, ShapeError, type Tensor, tensor } from 'hopgrad';
import { createModel, loadCheckpoint, saveCheckpoint } from 'hopgrad/models/cloob';
import { Center, cloobLoss } from 'hopgrad/nn';
import { assertGradients } from 'hopgrad/testing';
import { property, relativeError, values } from '../helpers.js';

const exact = { dtype: 'float64', device: 'reference' } as const;
const sizes = fc.record({ n: fc.integer({ min: 2, max: 9 }), dim: fc.integer({ min: 1, max: 7 }), seed: fc.nat(1e6) });

describe('Center', () => {
  property('takes the mean off: the sum over the batch is 0, and a second time changes nothing', sizes, (drawn) => {
    const { n, dim, seed } = drawn;
    const x = randn([n, dim], { ...exact, seed }).add(5);
    const center = new Center(dim, exact);
    const once = center.forward(x);
    assert.ok(Math.max(...values(once.sum({ axis: 0 }).abs())) < 1e-13 * n);
    assert.ok(relativeError(values(center.forward(once)), values(once)) < 1e-13);
    const expected = values(x).map((value, at) => {
      const column = values(x).filter((_, other) => other % dim === at % dim);
      return value - column.reduce((a, b) => a + b, 0) / n;
    });
    assert.ok(relativeError(values(once), expected) < 1e-13);
  });

  it('has the derivative of a projection, to the second order, also before the norm', async () => {
    const center = new Center(4, exact);
    const x = randn([5, 4], { ...exact, seed: 3 });
    await assertGradients((t: Tensor) => center.forward(t), [x], { order: 2 });
    await assertGradients((t: Tensor) => center.forward(t).l2Normalize(), [x], { order: 2 });
    const g = randn([5, 4], { ...exact, seed: 4 });
    const slope = grad((t: Tensor) => center.forward(t).mul(g).sum())(x);
    assert.ok(relativeError(values(slope), values(g.sub(g.mean({ axis: 0, keepDims: true })))) < 1e-14);
  });

  it('follows the mean while training and uses it in evaluation', () => {
    const center = new Center(2, { ...exact, momentum: 0.25 });
    center.forward(
      tensor(
        [
          [2, 4],
          [4, 8],
        ],
        exact,
      ),
    );
    assert.deepEqual(values(center.running_mean), [0.75, 1.5]);
    center.eval();
    assert.deepEqual(values(center.forward(tensor([[1, 1]], exact))), [0.25, -0.5]);
    assert.deepEqual(values(center.running_mean), [0.75, 1.5], 'evaluation changes nothing');
  });

  it('counts a batch once when a checkpoint computes it twice', () => {
    const center = new Center(2, { ...exact, momentum: 0.5 });
    const x = tensor(
      [
        [2, 4],
        [4, 8],
      ],
      { ...exact, requiresGrad: true },
    );
    checkpoint((t: Tensor) => center.forward(t), x)
      .square()
      .sum()
      .backward();
    assert.deepEqual(values(center.running_mean), [1.5, 3]);
  });

  it('refuses other shapes, a batch of one in training, and a momentum that is no share', () => {
    assert.throws(() => new Center(3, exact).forward(randn([2, 4], exact)), ShapeError);
    assert.throws(() => new Center(3, exact).forward(randn([1, 3], exact)), /at least 2 embeddings/);
    assert.throws(() => new Center(3, { ...exact, momentum: 2 }), /momentum 2/);
  });
});

describe('a model with centring', () => {
  const config = {
    embed_dim: 8,
    image_resolution: 8,
    vision_layers: 1,
    vision_width: 8,
    vision_patch_size: 4,
    vision_heads: 2,
    context_length: 6,
    vocab_size: 600,
    transformer_width: 8,
    transformer_heads: 2,
    transformer_layers: 1,
  };
  const images = randn([4, 3, 8, 8], { seed: 1 });

  it('learns from the first step where the published form stands on its saddle', () => {
    const gradient = (center: 'batch' | 'off') => {
      const model = createModel({ ...config, center }, { seed: 3 });
      const tokens = tensor(
        [1, 2, 3, 4].flatMap((word) => [598, word, 599, 0, 0, 0]),
        { shape: [4, 6], dtype: 'int32' },
      );
      const embed = (t: Tensor) => t.l2Normalize();
      cloobLoss(embed(model.encodeImage(images)), embed(model.encodeText(tokens)), { invTau: 30, beta: 8 }).backward();
      const squares = model.parameters().map((p) => (p.grad ? values(p.grad.square().sum())[0]! : 0));
      return Math.sqrt(squares.reduce((a, b) => a + b, 0));
    };
    const [centred, published] = [gradient('batch'), gradient('off')];
    assert.ok(centred > 20 * published, `${centred} against ${published}`);
  });

  it('keeps its running means in the file, and a file without them stays without', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'hopgrad-center-'));
    try {
      for (const center of ['batch', 'off'] as const) {
        const model = createModel({ ...config, center }, { seed: 3 });
        model.encodeImage(images);
        model.eval();
        await saveCheckpoint(join(folder, 'model.safetensors'), { model });
        const loaded = (await loadCheckpoint(join(folder, 'model.safetensors'))).model;
        loaded.eval();
        assert.deepEqual(values(loaded.encodeImage(images)), values(model.encodeImage(images)));
        assert.equal(
          Object.keys(loaded.stateDict()).filter((name) => name.includes('center')).length,
          center === 'batch' ? 2 : 0,
        );
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
