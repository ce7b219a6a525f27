/** Layers against PyTorch's values (test/fixtures/layers.py), and what they refuse. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import {
  DomainError,
  DTypeError,
  type HopgradError,
  ones,
  Random,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  zeros,
} from 'hopgrad';
import {
  BatchNorm2d,
  Conv2d,
  Embedding,
  LayerNorm,
  Linear,
  type Module,
  MultiheadAttention,
  ResidualAttentionBlock,
  Transformer,
} from 'hopgrad/nn';
import { checkGradients } from 'hopgrad/testing';
import { fixture, relativeError, values } from '../helpers.js';

interface Packed {
  shape: number[];
  data: number[];
}
interface Run {
  input: Packed;
  output: Packed;
  grads: Record<string, Packed>;
}
interface Case extends Run {
  state: Record<string, Packed>;
}
const golden = JSON.parse(readFileSync(fixture('layers.json'), 'utf8'));

const where = { dtype: 'float64', device: 'reference' } as const;
const unpack = ({ shape, data }: Packed) => tensor(data, { shape, ...where });

/** Output and gradients of Σ y · sin(1, 2, 3 …), compared with PyTorch's. */
function compare(module: Module & { forward(x: Tensor): Tensor }, run: Run, input = unpack(run.input)): void {
  module.zeroGrad();
  if (input.dtype !== 'int32') input.requiresGrad = true;
  const y = module.forward(input);
  assert.deepEqual([...y.shape], run.output.shape);
  assert.ok(relativeError(values(y), run.output.data) < 1e-12, 'output');
  y.backward(
    tensor(
      Float64Array.from({ length: y.size }, (_, i) => Math.sin(i + 1)),
      { shape: y.shape },
    ),
  );
  const gradients = new Map<string, Tensor>(module.namedParameters().map(([name, p]) => [name, p.grad!]));
  if (input.grad) gradients.set('input', input.grad);
  assert.deepEqual([...gradients.keys()].sort(), Object.keys(run.grads).sort());
  for (const [name, expected] of Object.entries(run.grads)) {
    const scale = Math.max(...expected.data.map(Math.abs), 1e-3);
    assert.ok(relativeError(values(gradients.get(name)!), expected.data, scale) < 1e-11, `gradient of ${name}`);
  }
}

function load<M extends Module>(module: M, state: Record<string, Packed>): M {
  module.loadStateDict(Object.fromEntries(Object.entries(state).map(([name, value]) => [name, unpack(value)])));
  return module;
}

describe('layers equal PyTorch’s', () => {
  const layers: [string, () => Module & { forward(x: Tensor): Tensor }][] = [
    ['linear', () => new Linear(5, 4, where)],
    ['conv2d', () => new Conv2d(2, 3, [3, 2], { stride: [2, 1], padding: [1, 0], ...where })],
    ['layerNorm', () => new LayerNorm(6, where)],
    ['attention', () => new MultiheadAttention(8, 2, where)],
    ['causalAttention', () => new MultiheadAttention(8, 2, { causal: true, ...where })],
    ['block', () => new ResidualAttentionBlock(4, 2, where)],
  ];
  for (const [name, make] of layers)
    it(`${name}: output and every gradient`, () => compare(load(make(), golden[name].state), golden[name]));

  it('embedding: repeated indices add their gradients', () => {
    const { state, input, ...run } = golden.embedding as Case;
    const indices = tensor(input.data, { shape: input.shape, dtype: 'int32', device: 'reference' });
    compare(load(new Embedding(7, 3, where), state), { input, ...run }, indices);
  });

  it('batchNorm2d: batches in training mode, running statistics, evaluation', () => {
    const norm = load(new BatchNorm2d(3, where), golden.batchNorm2d.state);
    for (const step of golden.batchNorm2d.train) {
      compare(norm, step);
      assert.ok(relativeError(values(norm.running_mean), step.running.running_mean.data) < 1e-12);
      assert.ok(relativeError(values(norm.running_var), step.running.running_var.data) < 1e-12);
    }
    norm.eval();
    const before = values(norm.running_var);
    compare(norm, golden.batchNorm2d.eval);
    assert.deepEqual(values(norm.running_var), before);
  });
});

describe('layers', () => {
  it('causal attention lets no token see a later one', () => {
    const attention = new MultiheadAttention(6, 3, { causal: true, ...where });
    const x = randn([1, 5, 6], { seed: 1, ...where });
    const changed = x
      .slice([
        [0, 1],
        [0, 3],
      ])
      .concat(randn([1, 2, 6], { seed: 2, ...where }), { axis: 1 });
    const [a, b] = [x, changed].map((t) => values(attention.forward(t)));
    assert.deepEqual(a!.slice(0, 18), b!.slice(0, 18));
    assert.notDeepEqual(a!.slice(18), b!.slice(18));
  });

  it('a transformer differentiates to second order', async () => {
    const model = new Transformer({ width: 4, layers: 1, heads: 2, causal: true, ...where });
    const x = randn([1, 3, 4], { seed: 1, ...where });
    const report = await checkGradients((t) => model.forward(t), [x], { mode: 'coordinate', order: 2 });
    assert.deepEqual(report.failures, []);
  });

  it('linear maps vectors, batches and batches of batches alike', () => {
    const layer = new Linear(3, 2, where);
    const x = randn([2, 4, 3], { seed: 5, ...where });
    const all = values(layer.forward(x));
    assert.ok(relativeError(values(layer.forward(x.reshape([8, 3]))), all) < 1e-14);
    const row = x
      .slice([
        [1, 2],
        [3, 4],
      ])
      .reshape([3]);
    assert.deepEqual([...layer.forward(row).shape], [2]);
    assert.ok(relativeError(values(layer.forward(row)), all.slice(-2)) < 1e-14);
    assert.equal(new Linear(3, 2, { bias: false }).parameters().length, 1);
  });

  it('draw their weights from the seed they are given, in PyTorch’s ranges', () => {
    const seeded = () => values(new Linear(3, 2, { random: new Random(4) }).weight);
    assert.deepEqual(seeded(), seeded());
    const wide = values(new Linear(100, 50, where).weight);
    assert.ok(Math.max(...wide.map(Math.abs)) <= 0.1 && Math.max(...wide) > 0.099);
    const { in_proj_weight, in_proj_bias, out_proj } = new MultiheadAttention(16, 4, where);
    const bound = Math.sqrt(6 / (48 + 16));
    assert.ok(values(in_proj_weight).every((w) => Math.abs(w) <= bound));
    assert.ok([...values(in_proj_bias), ...values(out_proj.bias!)].every((b) => b === 0));
    const table = values(new Embedding(200, 50, { std: 0.02, ...where }).weight);
    assert.ok(Math.abs(Math.hypot(...table) / Math.sqrt(table.length) - 0.02) < 0.001);
  });

  it('refuse sizes and inputs that do not fit', () => {
    const refused: [() => unknown, new (...args: never[]) => HopgradError][] = [
      [() => new Linear(0, 2), DomainError],
      [() => new Linear(2.5, 2), DomainError],
      [() => new Conv2d(3, 4, 0), DomainError],
      [() => new LayerNorm(-1), DomainError],
      [() => new Embedding(Number.NaN, 2), DomainError],
      [() => new MultiheadAttention(6, 4), DomainError],
      [() => new Transformer({ width: 4, layers: 0, heads: 1 }), DomainError],
      [() => new Linear(3, 2).forward(ones([2, 4])), ShapeError],
      [() => new Linear(3, 2).forward(ones([])), ShapeError],
      [() => new Conv2d(3, 4, 3).forward(ones([1, 2, 8, 8])), ShapeError],
      [() => new Conv2d(3, 4, 5).forward(ones([1, 3, 4, 4])), ShapeError],
      [() => new LayerNorm(3).forward(ones([2, 4])), ShapeError],
      [() => new BatchNorm2d(3).forward(ones([2, 4, 2, 2])), ShapeError],
      [() => new BatchNorm2d(3).eval().forward(ones([2, 4, 2, 2])), ShapeError],
      [() => new BatchNorm2d(3).forward(ones([1, 3, 1, 1])), DomainError],
      [() => new Embedding(3, 2).forward(tensor([3], { dtype: 'int32' })), DomainError],
      [() => new Embedding(3, 2).forward(zeros([2])), DTypeError],
      [() => new MultiheadAttention(4, 2).forward(ones([3, 4])), ShapeError],
    ];
    for (const [call, type] of refused) assert.throws(call, type, String(call));
  });
});
