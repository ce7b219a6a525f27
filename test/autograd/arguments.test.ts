/** Whatever is given to an op: a result whose shape is true, also of its gradients, or a typed error. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as hopgrad from 'hopgrad';
import { attention, batchNorm, concat, HopgradError, ones, Tensor, tensor, withDevice, zeros } from 'hopgrad';
import { property, values } from '../helpers.js';

const { registeredOps, ShapeError, DomainError, UsageError, DTypeError, DeviceError } = hopgrad;
const functions = hopgrad as unknown as Record<string, (...args: unknown[]) => unknown>;
// Those that are methods as well, those of the registry that are functions only, and some that are made of these.
const methods = Object.getOwnPropertyNames(Tensor.prototype).filter((name) => name !== 'device');
const names = [...new Set([...methods, ...registeredOps().keys(), 'conv1d', 'meshgrid'])].filter(
  (name) => typeof functions[name] === 'function',
);

/** How to make an argument, so that a failure can be printed. */
type Argument = { tensor: number[]; dtype: 'float32' | 'int32' } | { value: unknown };
const shapes = fc.array(fc.constantFrom(0, 1, 2, 3), { maxLength: 4 });
const argument: fc.Arbitrary<Argument> = fc.oneof(
  { arbitrary: fc.record({ tensor: shapes, dtype: fc.constant('float32' as const) }), weight: 4 },
  { arbitrary: fc.record({ tensor: shapes, dtype: fc.constant('int32' as const) }), weight: 1 },
  {
    arbitrary: fc
      .constantFrom<unknown>(
        ...[undefined, null, 0, 1, 2, 2.5, -1, NaN, Infinity, 'x', true, [], [0], [0, -1], [-1], [1, 0], [[0, 1]], {}],
        ...[{ axis: 0 }, { axis: -1 }, { axis: 1.5 }, { axis: 'x' }, { axis: null }, { keepDims: true }],
        ...[
          { descending: true },
          { offset: 1 },
          { offset: -9 },
          { reverse: true },
          { indexing: 'xy' },
          { largest: false },
        ],
        ...[{ groups: 2 }, { dilation: 2 }, { kernel: 2, padding: 1 }, { kernel: 2, stride: 2 }, { padding: 1 }],
        ...[{ weight: 2 }, { bias: 2 }, { kernel: 2 }, { kernel: 0 }, { eps: NaN }, { eps: 0.1 }, { heads: 1 }],
        new Float32Array(2),
      )
      .map((value) => ({ value })),
    weight: 5,
  },
);

const describeArgument = (a: Argument) =>
  'tensor' in a ? `${a.dtype} [${a.tensor}]` : (JSON.stringify(a.value) ?? String(a.value));

function check(name: string, args: readonly Argument[], device: string): void {
  const call = `${name}(${args.map(describeArgument).join(', ')})`;
  withDevice(device, () => {
    const given = args.map((a) => {
      if (!('tensor' in a)) return a.value;
      return a.dtype === 'int32' ? zeros(a.tensor, { dtype: 'int32' }) : ones(a.tensor, { requiresGrad: true });
    });
    let result: unknown;
    try {
      result = functions[name]!(...given);
    } catch (error) {
      assert.ok(error instanceof HopgradError, `${call}: ${error}`);
      return;
    }
    const results = result instanceof Tensor ? [result] : Object.values(result as object).flat();
    for (const y of results) {
      assert.ok(y instanceof Tensor, `${call} gave ${y}`);
      assert.ok(
        y.shape.every((size) => Number.isInteger(size) && size >= 0),
        `${call}: [${y.shape}]`,
      );
      const size = y.shape.reduce((product, n) => product * n, 1);
      assert.deepEqual([y.size, y.dataSync().length], [size, size], `${call} of shape [${y.shape}]`);
      if (!y.requiresGrad) continue;
      for (const createGraph of [false, true]) {
        y.backward(ones(y.shape), { createGraph, retainGraph: true });
        for (const x of given)
          if (x instanceof Tensor && x.grad) assert.deepEqual([...x.grad.shape], [...x.shape], `gradient of ${call}`);
      }
    }
  });
}

describe('arguments of ops', () => {
  it('every op is tried', () => {
    assert.ok(names.length > 55, `${names.length}`);
    const internal = ['identity', 'conv2dInputGrad', 'conv2dWeightGrad', 'avgPool2dGrad', 'stride', 'sparseConv2d'];
    for (const { name, builtIn } of registeredOps().values())
      assert.ok(!builtIn || names.includes(name) || internal.includes(name), name);
  });

  for (const device of ['reference', 'wasm'])
    property(
      `are taken or refused with a typed error, on ${device}`,
      fc.tuple(fc.constantFrom(...names), fc.array(argument, { minLength: 1, maxLength: 4 })),
      ([name, args]) => check(name, args, device),
      1500,
    );

  const refused: [string, () => unknown, new (...args: never[]) => HopgradError, RegExp][] = [
    ['half a row', () => ones([2]).scatterAdd(indices([0, 1]), 2.5), DomainError, /scatterAdd: 2\.5 rows/],
    ['-1 beside 0', () => zeros([0, 3]).reshape([0, -1]), ShapeError, /reshape: \[0, -1\].*could be anything/],
    [
      'a number as bias',
      () => image().conv2d(ones([2, 3, 1, 1]), { bias: 2 as never }),
      UsageError,
      /conv2d: 2 as bias/,
    ],
    [
      'a bias too long',
      () => image().conv2d(ones([2, 3, 1, 1]), { bias: ones([3]) }),
      ShapeError,
      /conv2d: bias \[3\].*\[2\]/,
    ],
    ['a number as weight', () => ones([3]).layerNorm({ weight: 2 as never }), UsageError, /layerNorm: 2 as weight/],
    ['a tensor for a list', () => concat(ones([2]) as never), UsageError, /concat: .*a list of tensors/],
    [
      'data for queries',
      () => attention([1] as never, ones([1]), ones([1]), { heads: 1 }),
      UsageError,
      /attention: .*as queries/,
    ],
    ['a vector as queries', () => attention(ones([1]), ones([1]), ones([1]), { heads: 1 }), ShapeError, /attention/],
    [
      'no heads',
      () => attention(ones([1, 1, 1]), ones([1, 1, 1]), ones([1, 1, 1]), {} as never),
      DomainError,
      /undefined heads/,
    ],
    [
      'a column as weight',
      () => batchNorm(ones([4, 3]), ones([3, 1]), ones([3]), { eps: 0 }),
      ShapeError,
      /batchNorm.*\[3, 1\]/,
    ],
    ...Object.entries({ nothing: null, 'an object': {}, 'a tensor': ones([1]), gpu: 'gpu' }).map(
      ([what, of]): [string, () => unknown, typeof DeviceError, RegExp] => [
        `${what} for a device`,
        () => hopgrad.memory(of as never),
        DeviceError,
        /unknown device .* wasm/,
      ],
    ),
    ...[2, ones([1]), ones([2, 2]), tensor([1, 1], { dtype: 'int32' })].map(
      (given): [string, () => unknown, typeof HopgradError, RegExp] => [
        `${given instanceof Tensor ? `${given.dtype} [${given.shape}]` : given} put where a gradient of [2] is to be added`,
        () => {
          const x = ones([2], { requiresGrad: true });
          x.grad = given as never;
          x.sum().backward();
        },
        HopgradError,
        /^backward: .*the \.grad that is there/,
      ],
    ),
    [
      'windows of padding alone',
      () =>
        hopgrad
          .maxPool2d(ones([2, 0, 3], { requiresGrad: true }), { kernel: 2, padding: 1 })
          .sum()
          .backward(),
      ShapeError,
      /^maxPool2d: shape \[2, 0, 3\]/,
    ],
    ['bytes without a type', () => tensor(new DataView(new ArrayBuffer(8)) as never), DTypeError, /DataView/],
    ['a tensor as data', () => tensor(ones([2]) as never), DTypeError, /a tensor of shape \[2\] at data/],
    ['an unknown dtype', () => zeros([1], { dtype: 'float16' as never }), DTypeError, /float16/],
    ['an unknown dtype to cast to', () => zeros([1]).cast('half' as never), DTypeError, /half/],
    [
      'two devices, two dtypes',
      () => wide().add(ones([1], { device: 'wasm' })),
      DeviceError,
      /^add: tensors on two devices/,
    ],
    ['a number for a tensor', () => hopgrad.sum(2 as never), UsageError, /sum: 2 as x/],
  ];
  for (const [what, run, kind, message] of refused)
    it(`refuses ${what}`, () =>
      assert.throws(run, (error) => {
        assert.ok(error instanceof kind, `${error}`);
        assert.match(error.message, message);
        return true;
      }));

  it('splits an empty axis into one empty part', () => {
    assert.deepEqual(
      zeros([0, 3])
        .split(2)
        .map(({ shape }) => [...shape]),
      [[0, 3]],
    );
    assert.deepEqual(zeros([0, 3]).split([]), []);
  });

  it('attention differentiates twice over an empty batch', () => {
    const x = ones([0, 2, 4], { requiresGrad: true });
    const g = hopgrad.grad((t) =>
      hopgrad
        .grad((u) => attention(u, u, u, { heads: 2 }).sum())(t)
        .sum(),
    )(x);
    assert.deepEqual([...g.shape], [0, 2, 4]);
    assert.deepEqual(values(g), []);
  });
});

const indices = (list: number[]) => tensor(list, { dtype: 'int32' });
const image = () => ones([1, 3, 2, 2]);
const wide = () => tensor(Float64Array.of(1));
