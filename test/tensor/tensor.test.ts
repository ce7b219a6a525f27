/** Tensors from data, their dtypes and devices, empty and scalar ones, and what is refused. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  arange,
  DeviceError,
  DomainError,
  type DType,
  DTypeError,
  eye,
  full,
  GraphError,
  HopgradError,
  init,
  manualSeed,
  ones,
  Random,
  randn,
  ShapeError,
  Tensor,
  tensor,
  UsageError,
  uniform,
  withDevice,
  zeros,
} from 'hopgrad';
import { AdamW } from 'hopgrad/nn';
import { shapes, tensors } from 'hopgrad/testing';
import { property, values } from '../helpers.js';

type Nested = number | Nested[];

/** Nested arrays of a shape counting 0, 1, 2 …: the naive picture of row-major order. */
function counted(shape: readonly number[], next = { value: 0 }): Nested {
  if (shape.length === 0) return next.value++;
  return Array.from({ length: shape[0]! }, () => counted(shape.slice(1), next));
}

describe('making tensors', () => {
  before(async () => {
    await init({ device: 'gpujs-cpu' }); // a device without float64
    await init({ device: 'wasm' });
  });

  property('nested arrays go in and come out', shapes({ minSize: 1 }), async (shape) => {
    const nested = counted(shape);
    const t = tensor(nested);
    assert.deepEqual([...t.shape], shape);
    assert.deepEqual(
      values(t),
      Array.from({ length: t.size }, (_, i) => i),
    );
    assert.deepEqual(await t.array(), nested);
    assert.deepEqual(await tensor(values(t), { shape }).array(), nested);
  });

  it('takes the dtype of typed arrays, and copies them', () => {
    const data = Float32Array.of(1, 2);
    const t = tensor(data);
    data[0] = 9;
    assert.deepEqual(values(t), [1, 2]);
    const out = t.dataSync();
    out[1] = 9;
    assert.deepEqual(values(t), [1, 2]);
    const dtypes: [Parameters<typeof tensor>[0], DType, string][] = [
      [Float32Array.of(1), 'float32', 'wasm'],
      [Int32Array.of(1), 'int32', 'wasm'],
      [Float64Array.of(1), 'float64', 'reference'],
      [[1], 'float32', 'wasm'],
      [3, 'float32', 'wasm'],
    ];
    for (const [from, dtype, device] of dtypes)
      assert.deepEqual([tensor(from).dtype, tensor(from).device], [dtype, device]);
    assert.deepEqual(values(tensor([1, 2], { dtype: 'int32' })), [1, 2]);
    assert.deepEqual(values(tensor(Uint8Array.of(200) as never, { dtype: 'int32' })), [200]);
  });

  it('refuses data that is no tensor', () => {
    assert.throws(() => tensor([[1, 2], [3]]), { name: 'ShapeError', received: /data\[1\]/ });
    assert.throws(() => tensor([1, [2]]), ShapeError);
    assert.throws(() => tensor([1, 2, 3], { shape: [2, 2] }), { name: 'ShapeError', expected: '4 elements' });
    assert.throws(() => tensor(['1'] as never), { name: 'DTypeError', received: /string at data\[0\]/ });
    assert.throws(() => tensor([null] as never), DTypeError);
    for (const data of [undefined, null, 'text', {}, true])
      assert.throws(() => tensor(data as never), HopgradError, `${data}`);
    assert.throws(() => tensor(BigInt64Array.of(1n) as never), DTypeError);
    assert.throws(() => tensor([1.5], { dtype: 'int32' }), { name: 'DTypeError', received: /1\.5 at position 0/ });
    assert.throws(() => tensor([2 ** 31], { dtype: 'int32' }), DTypeError);
    assert.throws(() => tensor([1], { dtype: 'float16' as never }), DTypeError);
    assert.throws(() => tensor([1], { dtype: 'int32', requiresGrad: true }), DTypeError);
    assert.throws(() => {
      tensor([1], { dtype: 'int32' }).requiresGrad = true;
    }, DTypeError);
    assert.throws(() => tensor([1], { dtype: 'float64', device: 'gpujs-cpu' }), { name: 'DTypeError', hint: /wasm/ });
    assert.throws(() => tensor([1], { device: 'tpu' }), DeviceError);
  });

  it('makes constants, ranges and identities', async () => {
    assert.deepEqual(await full([2, 2], 7).array(), [
      [7, 7],
      [7, 7],
    ]);
    assert.deepEqual(values(zeros([3])), [0, 0, 0]);
    assert.deepEqual(values(ones([], { dtype: 'int32' })), [1]);
    assert.deepEqual(values(arange(4)), [0, 1, 2, 3]);
    assert.deepEqual(values(arange(5, 0, -2)), [5, 3, 1]);
    assert.deepEqual(values(arange(3, 3)), []);
    assert.deepEqual(await eye(2, 3).array(), [
      [1, 0, 0],
      [0, 1, 0],
    ]);
    assert.throws(() => arange(0, 3, 0), DomainError);
    assert.throws(() => arange(0, Infinity), DomainError);
    for (const make of [zeros, ones, randn, uniform]) assert.throws(() => make([-1]), ShapeError);
    assert.throws(() => zeros(3 as never), ShapeError);
  });

  it('draws from the global stream, a seed, or a generator', () => {
    manualSeed(4);
    const first = values(randn([3]));
    assert.notDeepEqual(values(randn([3])), first);
    manualSeed(4);
    assert.deepEqual(values(randn([3])), first);
    assert.deepEqual(values(randn([3], { seed: 4 })), first);
    const random = new Random(4);
    assert.deepEqual(values(randn([3], { random })), first);
    assert.equal(random.state.position, 12);
    const u = values(uniform([1000], { seed: 1, low: -3, high: -1 }));
    assert.ok(Math.min(...u) >= -3 && Math.max(...u) < -1 && Math.max(...u) > -1.1);
    const reference = values(randn([5], { seed: 2, device: 'reference' }));
    assert.deepEqual(values(randn([5], { seed: 2, device: 'wasm' })), reference, 'the same on every device');
    const shifted = values(randn([2000], { seed: 3, mean: 5, std: 0.1 }));
    assert.ok(Math.abs(shifted.reduce((a, b) => a + b, 0) / 2000 - 5) < 0.01);
  });

  it('reads single elements only where there is one', async () => {
    assert.equal(await tensor([[4]]).item(), 4);
    await assert.rejects(ones([2]).item(), { name: 'ShapeError', op: 'item' });
    await assert.rejects(zeros([0]).item(), ShapeError);
    const gone = ones([1]);
    gone.dispose();
    await assert.rejects(gone.data(), GraphError);
    assert.throws(() => gone.add(1), { name: 'GraphError', received: /freed tensor of shape \[1\]/ });
    gone.dispose();
  });
});

describe('dtypes', () => {
  before(async () => {
    await init({ device: 'gpujs-cpu' });
    await init({ device: 'wasm' });
  });

  const order: DType[] = ['int32', 'float32', 'float64'];
  property(
    'two dtypes meet in the wider one',
    fc.tuple(fc.constantFrom(...order), fc.constantFrom(...order)),
    ([a, b]) => {
      const wide = order[Math.max(order.indexOf(a), order.indexOf(b))];
      const [x, y] = [ones([2], { dtype: a, device: 'reference' }), ones([2], { dtype: b, device: 'reference' })];
      for (const op of ['add', 'sub', 'mul', 'maximum', 'equal'] as const) assert.equal(x[op](y).dtype, wide, op);
      for (const op of ['div', 'pow'] as const) assert.equal(x[op](y).dtype, wide === 'int32' ? 'float32' : wide, op);
      assert.equal(x.concat(y).dtype, wide);
      assert.equal(x.greater(0).where(x, y).dtype, wide);
    },
  );

  it('numbers do not widen, fractions make whole numbers float32', () => {
    assert.equal(ones([2], { dtype: 'int32' }).add(1).dtype, 'int32');
    assert.equal(ones([2], { dtype: 'int32' }).add(0.5).dtype, 'float32');
    assert.equal(ones([2], { dtype: 'int32' }).div(2).dtype, 'float32');
    assert.equal(ones([2]).add(0.1).dtype, 'float32');
    assert.equal(ones([2], { dtype: 'float64' }).add(1).dtype, 'float64');
    assert.equal(ones([2], { dtype: 'int32' }).mean().dtype, 'float32');
    assert.equal(ones([2], { dtype: 'int32' }).exp().dtype, 'float32');
  });

  it('whole numbers stay exact', () => {
    const big = tensor([2 ** 30 + 1, -7], { dtype: 'int32' });
    for (const device of ['reference', 'wasm']) {
      const x = big.to(device);
      assert.deepEqual(values(x.sum()), [2 ** 30 - 6], device);
      assert.deepEqual(values(x.max()), [2 ** 30 + 1], device);
      assert.deepEqual(values(x.sub(1).mul(1)), [2 ** 30, -8], device);
      assert.deepEqual(values(x.gather(tensor([1, 0], { dtype: 'int32' }).to(device))), [-7, 2 ** 30 + 1], device);
      assert.deepEqual(values(x.concat(x).slice([[1, 3]])), [-7, 2 ** 30 + 1], device);
    }
  });

  it('casts toward zero, keeps the gradient through floats, and refuses what a device lacks', () => {
    assert.deepEqual(values(tensor([1.9, -1.9]).cast('int32')), [1, -1]);
    assert.equal(ones([1]).cast('float32').dtype, 'float32');
    const x = tensor([3], { requiresGrad: true, device: 'reference' });
    x.cast('float64').square().sum().backward();
    assert.deepEqual([x.grad!.dtype, values(x.grad!)], ['float32', [6]]);
    assert.throws(() => ones([1], { device: 'gpujs-cpu' }).cast('float64'), { name: 'DTypeError', hint: /wasm/ });
    assert.throws(() => ones([1], { dtype: 'float64' }).to('gpujs-cpu'), { name: 'DeviceError', hint: /cast/ });
    assert.equal(
      withDevice('gpujs-cpu', () => ones([1], { dtype: 'float64' }).device),
      'reference',
    );
    assert.throws(() => ones([1]).cast('bfloat16' as never), DTypeError);
  });
});

describe('empty tensors and scalars', () => {
  const unary = ['neg', 'exp', 'sin', 'relu', 'gelu', 'square', 'clone', 'flatten', 'softplus', 'sign'] as const;
  for (const device of ['reference', 'wasm'])
    it(`pass through the ops on ${device}`, () =>
      withDevice(device, () => {
        for (const shape of [[], [0], [2, 0, 3]]) {
          const x = zeros(shape, { requiresGrad: true });
          for (const op of unary) assert.equal(x[op]().size, x.size, op);
          for (const op of ['add', 'mul', 'div', 'maximum'] as const) {
            assert.deepEqual([...x[op](2).shape], shape);
            assert.deepEqual([...x[op](x).shape], shape);
            if (shape.length > 0) assert.deepEqual([...x[op](ones([1])).shape], shape);
          }
          x.square().sum().backward();
          assert.deepEqual([...x.grad!.shape], shape);
          assert.deepEqual(values(x.sum()), [0]);
        }
        const empty = zeros([2, 0, 3]);
        assert.deepEqual([...empty.sum({ axis: 1 }).shape], [2, 3]);
        assert.deepEqual(values(empty.sum({ axis: 1 })), [0, 0, 0, 0, 0, 0]);
        assert.deepEqual([...empty.permute([2, 0, 1]).shape], [3, 2, 0]);
        assert.deepEqual([...empty.reshape([0, 7]).shape], [0, 7]);
        assert.deepEqual([...empty.concat(ones([2, 1, 3]), { axis: 1 }).shape], [2, 1, 3]);
        assert.deepEqual([...empty.slice([[0, 1]]).shape], [1, 0, 3]);
        assert.deepEqual(values(zeros([2, 0]).matmul(zeros([0, 3]))), [0, 0, 0, 0, 0, 0]);
        assert.deepEqual([...zeros([0, 2]).matmul(zeros([2, 3])).shape], [0, 3]);
        assert.deepEqual([...empty.softmax({ axis: 2 }).shape], [2, 0, 3]);
        assert.deepEqual([...zeros([0, 4]).layerNorm().shape], [0, 4]);
        assert.deepEqual([...zeros([0, 4]).l2Normalize().shape], [0, 4]);
        assert.deepEqual([...zeros([3, 2]).gather(zeros([0], { dtype: 'int32' })).shape], [0, 2]);
        for (const op of ['max', 'min', 'mean', 'argmax'] as const)
          assert.throws(() => zeros([0])[op](), DomainError, op);
        assert.throws(() => zeros([2, 0]).softmax(), DomainError);
      }));
});

describe('methods', () => {
  it('split cuts an axis into parts that concat joins', () => {
    const x = arange(24).reshape([2, 6, 2]);
    const thirds = x.split(2, { axis: 1 });
    assert.deepEqual(
      thirds.map((t) => [...t.shape]),
      [
        [2, 2, 2],
        [2, 2, 2],
        [2, 2, 2],
      ],
    );
    assert.deepEqual(values(thirds[0]!.concat(thirds.slice(1), { axis: 1 })), values(x));
    assert.deepEqual(
      x.split([1, 5], { axis: -2 }).map((t) => t.shape[1]),
      [1, 5],
    );
    assert.deepEqual(
      x.split(4, { axis: 1 }).map((t) => t.shape[1]),
      [4, 2],
    );
    assert.throws(() => x.split([1, 2], { axis: 1 }), ShapeError);
    assert.throws(() => x.split(0), DomainError);
  });

  property('reshape, permute and transpose undo themselves', tensors({ minRank: 2, maxRank: 4 }), (x) => {
    assert.deepEqual(values(x.reshape([x.size]).reshape(x.shape)), values(x));
    assert.deepEqual(values(x.transpose().transpose()), values(x));
    const axes = x.shape.map((_, i) => (i + 1) % x.rank);
    const back = axes.map((_, i) => axes.indexOf(i));
    const there = x.permute(axes);
    assert.deepEqual(values(there.permute(back)), values(x));
    assert.deepEqual(
      [...there.shape],
      axes.map((axis) => x.shape[axis]),
    );
    assert.deepEqual([...x.unsqueeze(1).squeeze(1).shape], [...x.shape]);
  });

  // Whatever JavaScript hands over, an answer is a tensor or a typed error, never a TypeError from inside.
  const junk = [
    undefined,
    null,
    Number.NaN,
    -1,
    2.5,
    'text',
    true,
    [],
    [1, 2],
    [[0, 1]],
    {},
    { axis: 9 },
    { axis: 'x' },
    { dim: 0 },
    () => 1,
    ones([5]),
    Symbol('s'),
  ];
  const own = new Set(Object.getOwnPropertyNames(Tensor.prototype));
  for (const name of ['constructor', 'data', 'array', 'item', 'dispose', 'requiresGrad', 'toString', 'detach'])
    own.delete(name);
  for (const name of own) {
    if (typeof Object.getOwnPropertyDescriptor(Tensor.prototype, name)!.value !== 'function') continue;
    it(`${name} answers nonsense with a typed error`, () => {
      for (const a of junk)
        for (const b of [undefined, null, { axis: 1 }, 'x', -1])
          for (const shape of [[], [2], [2, 3]]) {
            const x = ones(shape, { requiresGrad: true });
            try {
              (x as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(a, b);
            } catch (error) {
              assert.ok(error instanceof HopgradError, `${name}(${String(a)}, ${String(b)}) on [${shape}]: ${error}`);
              assert.ok(error.op && error.received && !error.message.includes('[object'), error.message);
            }
          }
    });
  }

  it('options are checked by name', () => {
    assert.throws(() => ones([2]).sum({ dim: 0 } as never), { name: 'UsageError', hint: /axis/ });
    assert.throws(() => ones([2]).sum(0 as never), UsageError);
    assert.throws(() => ones([2, 2]).matmul(ones([2, 2]), { transpose: true } as never), UsageError);
  });

  it('is iterated along its first axis, gradients flowing through', () => {
    const x = tensor(
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
      { requiresGrad: true },
    );
    const [a, b] = x;
    a!.mul(b!).sum().backward();
    assert.deepEqual(x.grad!.toJSON(), [
      [4, 5, 6],
      [1, 2, 3],
    ]);
    const shapes: number[][] = [];
    for (const row of x) shapes.push([...row.shape]);
    assert.deepEqual(shapes, [[3], [3]]);
    assert.deepEqual([...tensor([], { shape: [0, 2] })], []);
    assert.throws(() => [...tensor(5)], { name: 'ShapeError', received: 'a scalar' });
    assert.throws(() => new AdamW(x), { name: 'UsageError', hint: /Wrap it/ });
  });

  it('is its elements in JSON', () => {
    const values = {
      w: [
        [1, 0.5],
        [2, -3],
      ],
      n: 4,
    };
    const text = JSON.stringify({ w: tensor(values.w), n: tensor(values.n) });
    assert.deepEqual(JSON.parse(text), values);
    assert.equal(JSON.stringify(tensor([Number.NaN, 1])), '[null,1]');
  });
});
