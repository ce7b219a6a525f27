/** int32 is exact modulo 2³², converted by a rule that is written down, or refused: alike on every device. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  arange,
  argsort,
  concat,
  cumprod,
  cumsum,
  DTypeError,
  diag,
  flip,
  full,
  init,
  type Operand,
  outer,
  randn,
  registeredOps,
  repeat,
  roll,
  scatterAdd,
  sort,
  type Tensor,
  takeAlongAxis,
  tensor,
  tile,
  topK,
  trace,
  tril,
  triu,
  uniform,
  withDevice,
} from 'hopgrad';
import { property } from '../helpers.js';
import { needWebGpu } from './gpu/adapter.js';

/** What becomes of int32 in each op of hopgrad: the table. */
const exact = [
  ...['add', 'sub', 'mul', 'maximum', 'minimum', 'neg', 'abs', 'sign', 'square', 'relu', 'floor', 'ceil', 'round'],
  ...['greater', 'less', 'greaterEqual', 'lessEqual', 'equal', 'notEqual', 'where'],
  ...['logicalNot', 'logicalAnd', 'logicalOr', 'isNaN', 'isFinite', 'clip', 'prod', 'any', 'all'],
  ...['sum', 'max', 'min', 'argmax', 'argmin', 'gather', 'scatterAdd'],
  ...['reshape', 'permute', 'expand', 'slice', 'pad', 'concat', 'clone', 'identity', 'cast', 'to'],
  ...['stride', 'flip', 'roll', 'repeat', 'tile', 'diagonal', 'diag', 'trace', 'tril', 'triu'],
  ...['takeAlongAxis', 'oneHot', 'argsort', 'sort', 'topK', 'cumsum', 'cumprod', 'outer'],
];
const converted = [
  ...['div', 'pow', 'reciprocal', 'exp', 'log', 'sqrt', 'rsqrt', 'log1p', 'expm1', 'sin', 'cos'],
  ...['log2', 'log10', 'tan', 'asin', 'acos', 'atan', 'atan2', 'sinh', 'cosh', 'asinh', 'acosh', 'atanh'],
  ...['tanh', 'sigmoid', 'gelu', 'quickGelu', 'softplus', 'erf'],
  ...['softmax', 'logSoftmax', 'logSumExp', 'layerNorm', 'batchNorm', 'attention', 'norm', 'std'],
];
const refused = [
  ...['matmul', 'conv2d', 'conv2dInputGrad', 'conv2dWeightGrad', 'avgPool2d', 'avgPool2dGrad'],
  ...['sparseConv2d', 'maxPool2d', 'einsum', 'solve', 'inv', 'det', 'cholesky'],
];

const wrap = (x: bigint) => Number(BigInt.asIntN(32, x));
const most = 2n ** 31n;
function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
function smaller(a: bigint, b: bigint): bigint {
  return a + b - larger(a, b);
}

/** Ops of one and of two whole numbers, and what they are. */
const unary: Record<string, (x: bigint) => bigint> = {
  neg: (x) => -x,
  abs: (x) => (x < 0n ? -x : x),
  sign: (x) => (x > 0n ? 1n : x < 0n ? -1n : 0n),
  square: (x) => x * x,
  relu: (x) => (x > 0n ? x : 0n),
  floor: (x) => x,
  ceil: (x) => x,
  round: (x) => x,
  logicalNot: (x) => BigInt(x === 0n),
  isNaN: () => 0n,
  isFinite: () => 1n,
};
const binary: Record<string, (a: bigint, b: bigint) => bigint> = {
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  maximum: larger,
  minimum: smaller,
  greater: (a, b) => BigInt(a > b),
  less: (a, b) => BigInt(a < b),
  greaterEqual: (a, b) => BigInt(a >= b),
  lessEqual: (a, b) => BigInt(a <= b),
  equal: (a, b) => BigInt(a === b),
  notEqual: (a, b) => BigInt(a !== b),
  logicalAnd: (a, b) => BigInt(a !== 0n && b !== 0n),
  logicalOr: (a, b) => BigInt(a !== 0n || b !== 0n),
};

type Method = (...operands: Operand[]) => Tensor;
const call = (x: Tensor, name: string, ...others: Operand[]) =>
  (x as unknown as Record<string, Method>)[name]!(...others);

it('every op of hopgrad says what becomes of int32', () => {
  const rules = [...registeredOps().values()].filter(({ builtIn }) => builtIn);
  const of = (rule: string) => rules.filter(({ int32 = 'exact' }) => int32 === rule).map(({ name }) => name);
  assert.deepEqual(of('exact').sort(), [...exact].sort());
  assert.deepEqual(of('float32').sort(), [...converted].sort());
  assert.deepEqual(of('refused').sort(), [...refused].sort());
});

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'])
  describe(`int32 on ${device}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device: device as 'wasm' });
    });
    after(() => init({ device: 'wasm' }));

    /** Devices that keep it as float32 have it below 2²⁴, products included. */
    const graphics = device === 'gpujs-cpu' || device === 'webgpu';
    const limit = graphics ? 4095 : Number(most) - 1;
    const whole = graphics
      ? fc.integer({ min: -limit, max: limit })
      : fc.oneof(
          fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
          fc.constantFrom(-(2 ** 31), 2 ** 31 - 1, 16777217, -16777217, 46341, 65536, 0, -1, 1),
        );
    const vector = fc.array(whole, { minLength: 1, maxLength: 20 });
    const int = (data: number[], shape?: number[]) =>
      withDevice(device, () => tensor(data, { dtype: 'int32', ...(shape && { shape }) }));
    const runs = device === 'webgpu' ? 8 : 40;
    const same = async (actual: Tensor, expected: bigint[], what: string) => {
      assert.equal(actual.dtype, 'int32', what);
      assert.deepEqual(Array.from(await actual.data()), expected.map(wrap), what);
    };

    property(
      'is exact, and wraps as | 0 does',
      fc.tuple(vector, vector, whole),
      async ([first, second, number]) => {
        const n = Math.min(first.length, second.length);
        const [a, b] = [first.slice(0, n), second.slice(0, n)];
        const [A, B] = [a.map(BigInt), b.map(BigInt)];
        const [x, y] = [int(a), int(b)];
        for (const [name, f] of Object.entries(unary)) await same(call(x, name), A.map(f), name);
        for (const [name, f] of Object.entries(binary)) {
          await same(
            call(x, name, y),
            A.map((v, i) => f(v, B[i]!)),
            name,
          );
          await same(
            call(x, name, number),
            A.map((v) => f(v, BigInt(number))),
            `${name} a number`,
          );
        }
        const total = (values: bigint[]) => values.reduce((s, v) => s + v, 0n);
        await same(x.sum(), [total(A)], 'sum');
        await same(x.max(), [A.reduce(larger)], 'max');
        await same(x.min(), [A.reduce(smaller)], 'min');
        await same(x.any(), [BigInt(A.some((v) => v !== 0n))], 'any');
        await same(x.all(), [BigInt(A.every((v) => v !== 0n))], 'all');
        await same(
          x.clip(Math.min(number, b[0]!), Math.max(number, b[0]!)),
          A.map((v) => smaller(larger(v, smaller(BigInt(number), B[0]!)), larger(BigInt(number), B[0]!))),
          'clip',
        );
        const pair = graphics ? a.slice(0, 1) : a; // products of more leave what is exact there
        await same(int(pair).prod(), [pair.map(BigInt).reduce((p, v) => p * v, 1n)], 'prod');
        await same(
          x.greater(0).where(x, number),
          A.map((v) => (v > 0n ? v : BigInt(number))),
          'where',
        );
        await same(flip(x), [...A].reverse(), 'flip');
        await same(
          x.slice([[0, null, 2]]),
          A.filter((_, i) => i % 2 === 0),
          'slice with a step',
        );
        await same(roll(x, 1), [A[n - 1]!, ...A.slice(0, -1)], 'roll');
        await same(
          repeat(x, 2),
          A.flatMap((v) => [v, v]),
          'repeat',
        );
        await same(tile(x, 2), [...A, ...A], 'tile');
        await same(diag(diag(x, { offset: 1 }), { offset: 1 }), A, 'diag');
        await same(trace(diag(x)), [total(A)], 'trace');
        await same(
          tril(diag(x))
            .sub(triu(diag(x)))
            .sum(),
          [0n],
          'tril and triu',
        );
        await same(takeAlongAxis(x, int(a.map((_, i) => n - 1 - i))), [...A].reverse(), 'takeAlongAxis');
        const sorted = [...A].sort((p, q) => (p < q ? -1 : p > q ? 1 : 0));
        await same(sort(x), sorted, 'sort');
        await same(x.gather(argsort(x, { descending: true })), [...sorted].reverse(), 'argsort');
        await same(topK(x, 1).values, [sorted.at(-1)!], 'topK');
        await same(
          cumsum(x),
          A.map((_, i) => total(A.slice(0, i + 1))),
          'cumsum',
        );
        await same(
          cumprod(int(pair)),
          pair.map((_, i) =>
            pair
              .slice(0, i + 1)
              .map(BigInt)
              .reduce((p, v) => p * v),
          ),
          'cumprod',
        );
        await same(
          outer(int(pair), int([3])),
          pair.map((v) => 3n * BigInt(v)),
          'outer',
        );
        await same(x.pad([[1, 1]], number), [BigInt(number), ...A, BigInt(number)], 'pad');
        await same(concat([x, y]), [...A, ...B], 'concat');
        const indices = int(a.map((_, i) => i % 2));
        await same(
          scatterAdd(x, indices, 2),
          [total(A.filter((_, i) => i % 2 === 0)), total(A.filter((_, i) => i % 2 === 1))],
          'scatterAdd',
        );
        await same(
          x.gather(indices.mul(n > 1 ? 1 : 0)),
          A.map((_, i) => A[n > 1 ? i % 2 : 0]!),
          'gather',
        );
      },
      runs,
    );

    it('is refused where it would not be exact', () => {
      const x = int([1, 2, 3, 4], [2, 2]);
      const image = int([1, 2, 3, 4], [1, 1, 2, 2]);
      const weight = int([1], [1, 1, 1, 1]);
      assert.throws(() => x.matmul(x), DTypeError);
      assert.throws(() => image.conv2d(weight), DTypeError);
      assert.throws(() => image.avgPool2d({ kernel: 2 }), DTypeError);
      const options = { dtype: 'int32', device } as const;
      for (const value of [3e9, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.throws(() => full([2], value, options), DTypeError, `full ${value}`);
        assert.throws(
          () =>
            x.pad(
              [
                [1, 0],
                [0, 0],
              ],
              value,
            ),
          DTypeError,
          `pad ${value}`,
        );
      }
      assert.throws(() => arange(0, 2, 0.5, options), DTypeError);
      assert.throws(() => arange(2 ** 31 - 1, 2 ** 31 + 1, 1, options), DTypeError);
      assert.throws(() => randn([2], options), DTypeError);
      assert.throws(() => uniform([2], options), DTypeError);
      assert.throws(() => x.add(3e9), DTypeError);
      if (graphics) {
        assert.throws(() => x.add(2 ** 24), DTypeError);
        assert.throws(() => full([2], 2 ** 24, options), DTypeError);
      }
    });

    it('becomes float32 beside a fraction, and its mean is one', async () => {
      const x = int([1, 2, 4, limit]);
      assert.equal(x.add(0.5).dtype, 'float32');
      const mean = int([limit, limit, limit, limit - 4]).mean();
      assert.equal(mean.dtype, 'float32');
      assert.equal(await mean.item(), Math.fround(limit - 1));
      for (const name of ['exp', 'softmax', 'div'])
        assert.equal(call(x, name, ...(name === 'div' ? [2] : [])).dtype, 'float32');
    });
  });
