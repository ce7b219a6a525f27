/** Layers beyond CLOOB's against PyTorch (test/fixtures/modules.py), or against their equations. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { checkpoint, concat, init, manualSeed, ones, randn, type Tensor, tensor, uniform } from 'hopgrad';
import {
  AvgPool2d,
  BatchNorm1d,
  BatchNorm2d,
  Conv2d,
  Dropout,
  dropout,
  Flatten,
  GELU,
  GroupNorm,
  HopfieldLayer,
  hopfieldRetrieve,
  type Layer,
  LeakyReLU,
  Linear,
  MaxPool2d,
  type Module,
  MultiheadAttention,
  maskedAttention,
  QuickGELU,
  ReLU,
  RMSNorm,
  Sequential,
  SGD,
  Sigmoid,
  SiLU,
  Softmax,
  Softplus,
  Tanh,
  Transformer,
} from 'hopgrad/nn';
import { checkGradients } from 'hopgrad/testing';
import { fixture, relativeError, values } from '../helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

type Packed = { shape: number[]; data: number[] };
type Run = { state: Record<string, Packed>; input: Packed; output: Packed; grads: Record<string, Packed> };
const golden = JSON.parse(readFileSync(fixture('modules.json'), 'utf8'));
const where = { dtype: 'float64', device: 'reference' } as const;
const unpack = ({ shape, data }: Packed) => tensor(data, { shape, ...where });

/** Output, and gradients of Σ y · sin(1, 2, 3 …), compared with PyTorch's. */
function compare(name: string, module: Module, forward: (x: Tensor) => Tensor): void {
  const run: Run = golden[name];
  module.loadStateDict(Object.fromEntries(Object.entries(run.state).map(([key, value]) => [key, unpack(value)])));
  const x = unpack(run.input);
  x.requiresGrad = true;
  const y = forward(x);
  assert.deepEqual([...y.shape], run.output.shape);
  assert.ok(relativeError(values(y), run.output.data) < 1e-12, 'output');
  y.backward(
    tensor(
      Float64Array.from({ length: y.size }, (_, i) => Math.sin(i + 1)),
      { shape: y.shape },
    ),
  );
  const grads = new Map<string, Tensor>([...module.namedParameters(), ['input', x]]);
  assert.deepEqual([...grads.keys()].sort(), Object.keys(run.grads).sort());
  for (const [key, expected] of Object.entries(run.grads))
    assert.ok(relativeError(values(grads.get(key)!.grad!), expected.data, 1e-3) < 1e-11, `gradient of ${key}`);
}

describe('modules equal PyTorch’s', () => {
  const layers: Record<string, () => Layer> = {
    groupNorm: () => new GroupNorm(2, 6, where),
    instanceNorm: () => new GroupNorm(4, 4, where),
    batchNorm1d: () => new BatchNorm1d(3, where),
    batchNorm1dSequence: () => new BatchNorm1d(3, where),
    sequential: () =>
      new Sequential(
        new Conv2d(1, 2, 2, where),
        new BatchNorm2d(2, where),
        (x) => x.relu(),
        new Flatten(),
        new Linear(8, 3, where),
      ),
    maxPool: () => new MaxPool2d(2),
    maxPoolPadded: () => new MaxPool2d(3, { stride: 2, padding: 1 }),
    maxPoolUneven: () => new MaxPool2d([3, 2], { stride: [1, 3], padding: [1, 0] }),
    avgPool: () => new AvgPool2d([2, 3], { stride: 1 }),
    ReLU: () => new ReLU(),
    LeakyReLU: () => new LeakyReLU(0.2),
    GELU: () => new GELU(),
    SiLU: () => new SiLU(),
    Sigmoid: () => new Sigmoid(),
    Tanh: () => new Tanh(),
    Softplus: () => new Softplus(),
    Softmax: () => new Softmax(0),
    Flatten: () => new Flatten(0),
  };
  for (const [name, make] of Object.entries(layers))
    it(name, () => {
      const layer = make();
      compare(name, layer, (x) => layer.forward(x));
    });

  const seen = (hidden: unknown) => tensor(hidden as number[], where).equal(0);
  const masks: Record<string, () => object> = {
    maskedQueries: () => ({ mask: seen(golden.masks.queries) }),
    maskedPadding: () => ({ mask: seen(golden.masks.padding).reshape([2, 1, 4]) }),
    maskedHeads: () => ({ mask: seen(golden.masks.heads) }),
    crossAttention: () => ({ context: unpack(golden.context) }),
  };
  for (const [name, options] of Object.entries(masks))
    it(name, () => {
      const attention = new MultiheadAttention(8, 2, where);
      compare(name, attention, (x) => attention.forward(x, options()));
    });

  it('RMSNorm is x over its root mean square', async () => {
    const norm = new RMSNorm(3, { eps: 0.5, ...where });
    norm.loadStateDict({ weight: tensor([1, 2, -3]) });
    const expected = [1, -2, 4].map((x, i) => (x / Math.sqrt(7 + 0.5)) * [1, 2, -3][i]!);
    assert.ok(relativeError(values(norm.forward(tensor([[1, -2, 4]], where))), expected) < 1e-14);
    assert.ok((await checkGradients((x) => norm.forward(x), [randn([2, 3], where)], { order: 2 })).ok);
    const quick = values(new QuickGELU().forward(tensor([0.7], where)));
    assert.ok(relativeError(quick, [0.7 / (1 + Math.exp(-1.702 * 0.7))]) < 1e-14);
  });

  it('MaxPool2d is the same on every device, with derivatives of both orders', async function () {
    await needWebGpu.call(this);
    await init({ device: 'wasm' });
    const pool = new MaxPool2d(3, { stride: 2, padding: 1 });
    const x = randn([1, 2, 5, 4], { seed: 8, ...where });
    const report = await checkGradients((t) => pool.forward(t).square(), [x], {
      order: 2,
      devices: ['wasm', 'webgpu'],
    });
    assert.ok(report.ok, String(report));
  });

  it('refuse what does not fit', () => {
    for (const make of [
      () => new MaxPool2d(2, { padding: 2 }),
      () => new MaxPool2d(0),
      () => new MaxPool2d(2, { stride: 0 }),
    ])
      assert.throws(make, { name: 'DomainError' });
    for (const shape of [
      [2, 4, 4],
      [1, 2, 2, 4],
    ])
      assert.throws(() => new MaxPool2d(3).forward(ones(shape)), { name: 'ShapeError' });
    assert.throws(() => new GroupNorm(4, 6), { name: 'DomainError' });
    assert.throws(() => new GroupNorm(2, 6).forward(ones([2, 5])), { name: 'ShapeError' });
    assert.throws(() => new RMSNorm(3).forward(ones([2, 4])), { name: 'ShapeError' });
    assert.throws(() => new BatchNorm1d(3).forward(ones([2, 3, 4, 4])), { name: 'ShapeError' });
    assert.throws(() => new LeakyReLU(-1), { name: 'DomainError' });
    assert.throws(() => new Sequential(new ReLU(), 3 as never), { name: 'UsageError', received: '3 as layer 1' });
  });
});

describe('maskedAttention', () => {
  const [q, k, v] = [2, 3, 3].map((tokens, i) => randn([2, tokens, 4], { seed: i, ...where })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  const mask = tensor([[[1, 0, 5]], [[0, 0, 0]]], { dtype: 'int32', device: 'reference' }); // the second batch sees nothing

  it('gives 0 where nothing is seen, and right derivatives of both orders there too', async () => {
    const y = maskedAttention(q, k, v, mask, { heads: 2 });
    assert.deepEqual(values(y).slice(8), Array(8).fill(0));
    const f = (...x: Tensor[]) => maskedAttention(x[0]!, x[1]!, x[2]!, mask, { heads: 2 });
    const report = await checkGradients(f, [q, k, v], { order: 2, mode: 'projection' });
    assert.ok(report.ok, String(report));
  });

  it('equals attention for a mask of all, and for the triangle when causal', () => {
    const layer = new MultiheadAttention(4, 2, { causal: true, ...where });
    const [masked, plain] = [layer.forward(k, { mask: ones([3, 3], where) }), layer.forward(k)];
    assert.ok(relativeError(values(masked), values(plain)) < 1e-14);
  });

  it('refuses masks of other shapes', () => {
    for (const shape of [[3], [3, 2], [3, 2, 3], [2, 3, 2, 3]])
      assert.throws(() => maskedAttention(q, k, v, ones(shape, where), { heads: 2 }), { name: 'ShapeError' });
    assert.throws(() => maskedAttention(q, k, v, mask, { heads: 3 }), { name: 'DomainError' });
    assert.throws(() => maskedAttention(q, k, v, mask, { heads: 2, causal: true }), { name: 'ShapeError' });
  });
});

describe('Transformer', () => {
  it('does not see what a mask hides: padded tokens change nothing', () => {
    const transformer = new Transformer({ width: 4, layers: 2, heads: 2, ...where });
    const [long, short] = [randn([1, 5, 4], where), randn([1, 3, 4], where)];
    const padded = concat([concat([short, randn([1, 2, 4], where)], { axis: 1 }), long]);
    const mask = tensor([[[1, 1, 1, 0, 0]], [[1, 1, 1, 1, 1]]], where);
    const y = transformer.forward(padded, { mask });
    const alone = [...values(transformer.forward(short)), ...values(transformer.forward(long))];
    const seen = [
      ...values(
        y.slice([
          [0, 1],
          [0, 3],
        ]),
      ),
      ...values(y.slice([[1, 2]])),
    ];
    assert.ok(relativeError(seen, alone) < 1e-13);
    assert.ok(
      relativeError(values(transformer.forward(padded)).slice(0, 12), alone.slice(0, 12)) > 1e-3,
      'without it they do',
    );
  });

  it('leaves out parts of what blocks add in training only', () => {
    const make = (dropout: number) => {
      manualSeed(9);
      return new Transformer({ width: 4, layers: 2, heads: 2, dropout, ...where });
    };
    const x = randn([2, 3, 4], where);
    const [without, withDropout] = [make(0), make(0.5)];
    assert.notDeepEqual(values(withDropout.forward(x)), values(without.forward(x)));
    assert.deepEqual(values(withDropout.eval().forward(x)), values(without.forward(x)));
    assert.deepEqual(values(make(1).forward(x)), values(x), 'nothing is added');
  });
});

describe('Dropout', () => {
  it('leaves out a share of p, keeps the mean, and does nothing in evaluation', () => {
    const layer = new Dropout(0.3);
    const x = ones([100, 200]);
    const y = values(layer.forward(x));
    const kept = y.filter((value) => value !== 0);
    assert.ok(Math.abs(kept.length / y.length - 0.7) < 0.015, `${kept.length}`); // five standard deviations
    assert.deepEqual(new Set(kept), new Set([Math.fround(1 / 0.7)]));
    assert.equal(layer.eval().forward(x), x);
    assert.equal(dropout(x, { p: 0 }), x);
    assert.deepEqual(values(dropout(ones([3]), { p: 1 })), [0, 0, 0]);
    for (const p of [-0.1, 1.1, Number.NaN]) assert.throws(() => new Dropout(p), { name: 'DomainError' });
  });

  it('draws anew at each call, and the same again after the same seed', () => {
    const x = ones([50]);
    manualSeed(3);
    const [first, second] = [values(dropout(x, { p: 0.5 })), values(dropout(x, { p: 0.5 }))];
    assert.notDeepEqual(first, second);
    manualSeed(3);
    assert.deepEqual(values(dropout(x, { p: 0.5 })), first);
  });

  for (const device of ['reference', 'wasm'])
    it(`has the mask of its result as derivative, also when a checkpoint computes it again, on ${device}`, () => {
      const run = (through: (f: (x: Tensor) => Tensor, x: Tensor) => Tensor) => {
        manualSeed(4);
        const x = ones([40], { device, requiresGrad: true });
        const layer = new Dropout(0.5);
        const y = through((z) => layer.forward(layer.forward(z).mul(z)), x);
        y.sum().backward();
        const after = values(uniform([2]));
        return [values(y), values(x.grad!), after];
      };
      const plain = run((f, x) => f(x));
      assert.deepEqual(
        plain[1],
        plain[0]!.map((y) => 2 * y),
      );
      assert.deepEqual(run(checkpoint), plain);
    });
});

describe('HopfieldLayer', () => {
  const state = randn([2, 3, 4], { seed: 1, ...where });

  it('is retrieval between projections: with one update attention over what is stored', async () => {
    const layer = new HopfieldLayer(4, { patterns: 5, dim: 3, outSize: 2, beta: 1.5, ...where });
    const { toState, toPattern, toResult, stored } = layer;
    const keys = toPattern.forward(stored!);
    const p = toState
      .forward(state.reshape([6, 4]))
      .matmul(keys.transpose())
      .mul(1.5)
      .softmax({ axis: 1 });
    const expected = p.matmul(toResult.forward(keys)).reshape([2, 3, 2]);
    assert.ok(relativeError(values(layer.forward(state)), values(expected)) < 1e-13);
    const report = await checkGradients((x, y) => layer.forward(x, y), [state, randn([3, 4], { seed: 2, ...where })], {
      order: 2,
      mode: 'projection',
    });
    assert.ok(report.ok, String(report));
  });

  it('takes patterns at every call, more updates, and a β that is learnt', () => {
    const layer = new HopfieldLayer(4, { patterns: 0, learnBeta: true, beta: 2, updates: 3, ...where });
    assert.deepEqual(Object.keys(layer.stateDict()), [
      'toState.weight',
      'toPattern.weight',
      'toResult.weight',
      'log_beta',
    ]);
    const patterns = randn([7, 4], { seed: 3, ...where });
    const y = layer.forward(state, patterns);
    const found = hopfieldRetrieve(layer.toState.forward(state.reshape([6, 4])), layer.toPattern.forward(patterns), {
      beta: 2,
      updates: 3,
    });
    assert.ok(relativeError(values(y), values(layer.toResult.forward(found))) < 1e-13);
    y.square().sum().backward();
    for (const [name, parameter] of layer.namedParameters()) assert.ok(values(parameter.grad!).some(Boolean), name);
    assert.equal(layer.log_beta!.decay, false);
  });

  it('stores what it is trained to answer with', async () => {
    manualSeed(2);
    const layer = new HopfieldLayer(2, { patterns: 4, dim: 8, beta: 1 });
    const [questions, answers] = [
      tensor([
        [1, 0],
        [0, 1],
        [-1, 0],
      ]),
      tensor([
        [0, 1],
        [-1, 0],
        [1, 1],
      ]),
    ];
    const optimizer = new SGD(layer.parameters(), { lr: 0.1, momentum: 0.9 });
    const loss = () => layer.forward(questions).sub(answers).square().mean();
    for (let step = 0; step < 100; step++) {
      optimizer.zeroGrad();
      loss().backward();
      await optimizer.step();
    }
    assert.ok((await loss().item()) < 1e-2, `${await loss().item()}`);
  });

  it('refuses what it cannot retrieve', () => {
    assert.throws(() => new HopfieldLayer(4, { patterns: -1 }), { name: 'DomainError' });
    assert.throws(() => new HopfieldLayer(4, { patterns: 2, beta: 0 }), { name: 'DomainError' });
    assert.throws(() => new HopfieldLayer(4, { patterns: 0 }).forward(ones([1, 4])), { name: 'DomainError' });
    assert.throws(() => new HopfieldLayer(4, { patterns: 2 }).forward(ones([1, 3])), { name: 'ShapeError' });
  });
});
