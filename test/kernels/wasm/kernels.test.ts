/** Every kernel of the wasm device against the reference device: random shapes with sizes 0, 1 and off the tiles' grid. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { registeredOps, Tensor } from 'hopgrad';
import { apply } from '#src/autograd/op.js';
import type { Device, Storage } from '#src/kernels/device.js';
import { deviceByName } from '#src/kernels/devices.js';
import { fused } from '#src/kernels/fused.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { Random } from '#src/tensor/random.js';
import { type Shape, sizeOf } from '#src/tensor/shape.js';
import { poison } from '#src/testing/empty-sums.js';
import { property, relativeError } from '../../helpers.js';

const reference = deviceByName('reference');
const wasm = createWasmDevice({ threads: 2 });
const seeds = fc.nat();
const size = (max: number) => fc.integer({ min: 0, max });
const some = (max: number) => fc.integer({ min: 1, max });

type Compute = (
  device: Device,
  draw: (size: number) => Storage,
  index: (size: number, bound: number) => Storage,
) => Storage[];

/** Runs the same on both devices, on wasm over memory that holds NaN from before. */
function same(seed: number, compute: Compute, tolerance = 1e-5, floor = 1e-3): void {
  const run = (device: Device) => {
    const random = new Random(seed);
    const results = compute(
      device,
      (n) => device.upload(Float32Array.from({ length: n }, () => random.normal())),
      (n, bound) => device.upload(Int32Array.from({ length: n }, () => random.int(bound))),
    );
    return results.map((x) => device.readSync(x));
  };
  const expected = run(reference);
  poison(wasm);
  run(wasm).forEach((actual, i) => {
    const finite = (x: ArrayLike<number>) =>
      Array.from(x, (value) => (Math.abs(value) === Infinity ? Math.sign(value) : value));
    const error = relativeError(finite(actual), finite(expected[i]!), floor);
    assert.ok(error <= tolerance, `result ${i}: ${error}`);
  });
}

/** Gradients of an op by name: on wasm by its fused kernel, on the reference device by the op's vjp. */
function gradients(name: string, shapes: readonly Shape[], inputs: readonly Storage[], g: Storage, params: unknown) {
  const leaves = inputs.map((storage, i) => new Tensor(storage, shapes[i]!));
  for (const leaf of leaves) leaf.requiresGrad = true;
  const y = apply(registeredOps().get(name)!, leaves, params);
  y.backward(new Tensor(g, y.shape));
  return leaves.map(({ grad }) => grad!.storage);
}

describe('kernels of the wasm device', () => {
  property(
    'matmul: sizes, batches, transposes, shared factors',
    fc.tuple(
      seeds,
      size(3),
      size(40),
      size(40),
      fc.oneof(size(600), fc.constant(0)),
      fc.boolean(),
      fc.boolean(),
      fc.nat(2),
    ),
    ([seed, batch, m, n, k, transposeA, transposeB, shared]) =>
      same(seed, (device, draw) => {
        const [broadcastA, broadcastB] = [shared === 1, shared === 2];
        const a = draw((broadcastA ? 1 : batch) * m * k);
        const b = draw((broadcastB ? 1 : batch) * k * n);
        return [device.matmul(a, b, { batch, m, n, k, transposeA, transposeB, broadcastA, broadcastB })];
      }),
  );

  it('matmul in blocks: sizes above the block, off its grid', () => {
    for (const [m, n, k] of [
      [301, 523, 270],
      [1, 1030, 513],
      [1030, 1, 3],
      [64, 64, 1],
    ] as const)
      same(1, (device, draw) => {
        const flags = { transposeA: false, transposeB: true, broadcastA: false, broadcastB: false };
        return [device.matmul(draw(m * k), draw(n * k), { batch: 1, m, n, k, ...flags })];
      });
  });

  const conv = fc
    .record({
      batch: size(3),
      inChannels: size(5),
      outChannels: size(9),
      outHeight: some(9),
      outWidth: some(9),
      kernelHeight: some(3),
      kernelWidth: some(3),
      strideY: some(3),
      strideX: some(3),
      paddingY: fc.nat(2),
      paddingX: fc.nat(2),
    })
    .map((s) => ({
      ...s,
      height: (s.outHeight - 1) * s.strideY + s.kernelHeight - 2 * s.paddingY,
      width: (s.outWidth - 1) * s.strideX + s.kernelWidth - 2 * s.paddingX,
    }))
    .filter(({ height, width }) => height > 0 && width > 0);

  property('convolution and both gradients', fc.tuple(seeds, conv), ([seed, s]) =>
    same(seed, (device, draw) => {
      const x = draw(s.batch * s.inChannels * s.height * s.width);
      const w = draw(s.outChannels * s.inChannels * s.kernelHeight * s.kernelWidth);
      const g = draw(s.batch * s.outChannels * s.outHeight * s.outWidth);
      return [device.conv2d(x, w, s), device.conv2dInputGrad(g, w, s), device.conv2dWeightGrad(x, g, s)];
    }),
  );

  it('convolution of many channels and images', () => {
    const s = { batch: 5, inChannels: 33, outChannels: 70, height: 10, width: 12, kernelHeight: 3, kernelWidth: 3 };
    const spec = { ...s, strideY: 1, strideX: 1, paddingY: 1, paddingX: 1, outHeight: 10, outWidth: 12 };
    same(2, (device, draw) => {
      const x = draw(s.batch * s.inChannels * 120);
      const w = draw(s.outChannels * s.inChannels * 9);
      const g = draw(s.batch * s.outChannels * 120);
      return [device.conv2d(x, w, spec), device.conv2dInputGrad(g, w, spec), device.conv2dWeightGrad(x, g, spec)];
    });
  });

  it('weight gradients over parts of the batch, some of them empty', () => {
    for (const batch of [7, 8, 9, 20]) {
      const s = { batch, inChannels: 3, outChannels: 10, height: 5, width: 7, kernelHeight: 3, kernelWidth: 3 };
      const spec = { ...s, strideY: 2, strideX: 1, paddingY: 1, paddingX: 0, outHeight: 3, outWidth: 5 };
      same(batch, (device, draw) => [device.conv2dWeightGrad(draw(batch * 105), draw(batch * 150), spec)]);
    }
  });

  property(
    'average pooling and its gradient',
    fc.tuple(seeds, some(4), some(5), some(5), some(3), some(3), some(3), some(3)),
    ([seed, planes, outHeight, outWidth, kernelY, kernelX, strideY, strideX]) => {
      const height = (outHeight - 1) * strideY + kernelY;
      const width = (outWidth - 1) * strideX + kernelX;
      const s = { planes, height, width, kernelY, kernelX, strideY, strideX, outHeight, outWidth };
      same(seed, (device, draw) => [
        device.avgPool2d(draw(planes * height * width), s),
        device.avgPool2dGrad(draw(planes * outHeight * outWidth), s),
      ]);
    },
  );

  property(
    'reductions over rows and columns',
    fc.tuple(seeds, size(5), size(70), size(21)),
    ([seed, outer, length, inner]) =>
      same(seed, (device, draw) => {
        const x = draw(outer * length * inner);
        const kinds = (['sum', 'max', 'min'] as const).map((kind) => device.reduce(kind, x, outer, length, inner));
        if (length === 0) return kinds;
        return [...kinds, ...(['max', 'min'] as const).map((kind) => device.argReduce(kind, x, outer, length, inner))];
      }),
  );

  it('reductions in parts: rows longer than one part', () => {
    for (const [outer, length] of [
      [1, 200_001],
      [3, 70_000],
    ] as const)
      same(4, (device, draw) => {
        const x = draw(outer * length);
        return (['sum', 'max', 'min'] as const).map((kind) => device.reduce(kind, x, outer, length, 1));
      });
  });

  const dims = fc.array(fc.integer({ min: 0, max: 6 }), { minLength: 0, maxLength: 7 });
  property('permute: up to seven axes', fc.tuple(seeds, dims), ([seed, shape]) => {
    const axes = new Random(seed).shuffle(shape.keys());
    same(seed, (device, draw) => [device.permute(draw(sizeOf(shape)), shape, axes)], 0);
  });
  it('permute: transposes of odd sizes', () => {
    for (const shape of [
      [129, 67],
      [5, 33, 18],
    ])
      same(5, (device, draw) => {
        const axes = shape.length === 2 ? [1, 0] : [0, 2, 1];
        return [device.permute(draw(sizeOf(shape)), shape, axes)];
      });
  });

  property('slice, pad and concat', fc.tuple(seeds, dims), ([seed, shape]) => {
    const random = new Random(seed, 1);
    const starts = shape.map((n) => random.int(n + 1));
    const sizes = shape.map((n, i) => random.int(n - starts[i]! + 1));
    const before = shape.map(() => random.int(3));
    const outShape = shape.map((n, i) => n + before[i]! + random.int(3));
    same(
      seed,
      (device, draw) => {
        const x = draw(sizeOf(shape));
        const [outer, a, b] = [3, random.state.position % 5, 4];
        return [
          device.slice(x, shape, starts, sizes),
          device.pad(x, shape, before, outShape, 1.5),
          device.concat([draw(outer * a), draw(outer * b), draw(outer)], outer, [a, b, 1]),
        ];
      },
      0,
    );
  });

  property(
    'gather and scatter-add',
    fc.tuple(seeds, size(3), some(9), size(20), size(70)),
    ([seed, outer, rows, count, inner]) =>
      same(seed, (device, draw, index) => {
        const indices = index(count, rows);
        return [
          device.gather(draw(outer * rows * inner), indices, outer, rows, inner),
          device.scatterAdd(draw(outer * count * inner), indices, outer, rows, inner),
        ];
      }),
  );

  property('softmax family, layer norm', fc.tuple(seeds, size(6), some(150)), ([seed, rows, length]) =>
    same(
      seed,
      (device, draw) => {
        const k = fused(device);
        const shape = [rows, length];
        const [x, g, w, b] = [draw(rows * length), draw(rows * length), draw(length), draw(length)];
        const p = k.softmax(x, rows, length);
        const l = k.logSoftmax(x, rows, length);
        const lse = k.logSumExp(x, rows, length);
        const norm = k.layerNorm(x, w, b, 1e-3, rows, length);
        return [
          p,
          l,
          lse,
          ...gradients('softmax', [shape], [x], g, undefined),
          ...gradients('logSoftmax', [shape], [x], g, undefined),
          ...gradients('logSumExp', [shape], [x], draw(rows), undefined),
          ...Object.values(norm),
          ...gradients('layerNorm', [shape, [length], [length]], [x, w, b], g, { eps: 1e-3 }),
        ];
      },
      2e-5,
      1, // two values a row leave little of a gradient but rounding
    ),
  );

  it('softmax of a row of −∞ but one, of equal huge values, and of NaN', () => {
    const x = wasm.upload(Float32Array.of(-Infinity, 5, -Infinity, 1e30, 1e30, 1e30, 1, NaN, 2));
    const k = fused(wasm);
    const [a, b, c, d, e, f, ...rest] = wasm.readSync(k.softmax(x, 3, 3));
    assert.deepEqual([a, b, c], [0, 1, 0]);
    for (const p of [d, e, f]) assert.ok(Math.abs(p! - 1 / 3) < 1e-7);
    assert.ok(rest.every(Number.isNaN));
    const lse = wasm.readSync(k.logSumExp(wasm.upload(Float32Array.of(-Infinity, -Infinity)), 1, 2));
    assert.equal(lse[0], -Infinity);
  });

  property(
    'average pooling of 2 × 2 windows and its gradient',
    fc.tuple(seeds, some(9), some(9), some(11)),
    ([seed, planes, outHeight, outWidth]) => {
      const two = { kernelY: 2, kernelX: 2, strideY: 2, strideX: 2 };
      const s = { planes, height: 2 * outHeight, width: 2 * outWidth, ...two, outHeight, outWidth };
      same(seed, (device, draw) => [
        device.avgPool2d(draw(4 * planes * outHeight * outWidth), s),
        device.avgPool2dGrad(draw(planes * outHeight * outWidth), s),
      ]);
    },
  );

  property(
    'batch norm and its gradient',
    // Few elements a channel, where it goes by columns, and any number.
    fc.tuple(
      seeds,
      fc.oneof(some(4), some(150)),
      fc.oneof(some(5), fc.constantFrom(4, 12, 40)),
      fc.oneof(some(30), fc.constantFrom(1, 2, 4, 8)),
    ),
    ([seed, batch, channels, inner]) => {
      if (batch * inner < 2) return;
      same(
        seed,
        (device, draw) => {
          const k = fused(device);
          const spec = { batch, channels, inner, eps: 1e-3 };
          const x = draw(batch * channels * inner);
          const [w, b, g] = [draw(channels), draw(channels), draw(x.size)];
          const y = k.batchNorm(x, w, b, spec);
          const shapes = [[batch, channels, inner], [channels], [channels]];
          return [...Object.values(y), ...gradients('batchNorm', shapes, [x, w, b], g, spec)];
        },
        1e-4,
        1, // two values a channel leave little of a gradient but rounding
      );
    },
  );

  property(
    'attention and its gradient',
    fc.tuple(seeds, size(2), some(3), size(20), size(20), size(12), fc.boolean()),
    ([seed, batch, heads, queries, others, headDim, causal]) =>
      same(
        seed,
        (device, draw) => {
          const keys = causal ? queries : others;
          const k = fused(device);
          const spec = { batch, heads, queries, keys, headDim, scale: 0.4, causal };
          const width = heads * headDim;
          const [q, g] = [draw(batch * queries * width), draw(batch * queries * width)];
          const [key, value] = [draw(batch * keys * width), draw(batch * keys * width)];
          const y = k.attention(q, key, value, spec);
          const shapes = [queries, keys, keys].map((tokens) => [batch, tokens, width]);
          return [...Object.values(y), ...gradients('attention', shapes, [q, key, value], g, spec)];
        },
        2e-5,
      ),
  );

  property('AdamW, sum of squares, fill', fc.tuple(seeds, some(20_000), some(20)), ([seed, n, step]) =>
    same(seed, (device, draw) => {
      const k = fused(device);
      const [p, g, m, zeros] = [draw(n), draw(n), draw(n), device.fill(n, 0, 'float32')];
      const options = {
        learningRate: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weightDecay: 0.1,
        step,
        gradScale: 0.5,
      };
      k.adamW([{ parameter: p, grad: g, m, v: zeros }], options);
      return [p, m, zeros, k.sumSquares([g, m]), device.fill(n, -2.5, 'float32')];
    }),
  );

  it('more than 2^24 elements keep every index', () => {
    const n = 2 ** 24 + 5;
    const ones = wasm.fill(n, 1, 'float32');
    const y = wasm.concat([ones, wasm.upload(Float32Array.of(7))], 1, [n, 1]);
    const last = wasm.slice(y, [n + 1], [n - 1], [2]);
    assert.deepEqual([...wasm.readSync(last)], [1, 7]);
    assert.equal(wasm.readSync(wasm.argReduce('max', y, 1, n + 1, 1))[0], n);
    const at = wasm.upload(Int32Array.of(n, 0));
    assert.deepEqual([...wasm.readSync(wasm.gather(y, at, 1, n + 1, 1))], [7, 1]);
    for (const x of [ones, y]) x.free();
  });

  it("a user's kernel that borrows a name keeps its own meaning", () => {
    const mine = { exp: (x: number) => 2 * x };
    const y = wasm.map(mine.exp, wasm.upload(Float32Array.of(1, 2, 3)));
    assert.deepEqual([...wasm.readSync(y)], [2, 4, 6]);
  });
});
