/**
 * Memory that grows: on all four builds, every way of touching it right after it has grown. Memory that is not shared
 * gives up its buffer then, so no view may be older than the last allocation.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Device, Storage } from '#src/kernels/device.js';
import { deviceByName } from '#src/kernels/devices.js';
import { fused } from '#src/kernels/fused.js';
import { add, exp } from '#src/kernels/scalar.js';
import { flat, zipFlat, zipped } from '#src/kernels/walk.js';
import { createWasmDevice } from '#src/kernels/wasm/load.js';
import { Random } from '#src/tensor/random.js';
import { property, relativeError } from '../../helpers.js';

const [rows, columns] = [512, 520];
const n = rows * columns; // a little over 1 MiB
const data = Float32Array.from(
  { length: n },
  (
    (random) => () =>
      random.normal()
  )(new Random(3)),
);
const indices = Int32Array.from({ length: rows }, (_, i) => (7 * i) % rows);

function cubed(x: number): number {
  return x * x * x;
}

/** Each returns what it made, at least one megabyte of it. */
const kernels: Record<string, (device: Device, x: Storage) => Storage[]> = {
  upload: (device) => [device.upload(data), device.upload(Int32Array.from(data, Math.round))],
  fill: (device) => [device.fill(n, 2.5, 'float32'), device.fill(n, -3, 'int32')],
  'a known kernel': (device, x) => [device.map(exp, x)],
  'a kernel of a user': (device, x) => [device.map(cubed, x)],
  'a number as operand': (device, x) => [zipFlat(device, add, x, 1.5), zipFlat(device, add, -2, x)],
  where: (device, x) => [device.where([n], flat(x), flat(x), 7, 'float32')],
  'four axes': (device, x) => {
    const shape = [8, 16, 40, 52];
    const row = device.slice(x, [n], [0], [16 * 52]);
    return [zipped(device, add, shape, [x, row], [shape, [1, 16, 1, 52]])];
  },
  'cast and whole numbers': (device, x) => {
    const whole = device.cast(
      zipFlat(device, (a, b) => a * b, x, 100),
      'int32',
    );
    return [
      whole,
      zipFlat(device, add, whole, whole),
      device.reduce('sum', whole, 1, rows, columns),
      device.argReduce('max', whole, rows, columns, 1),
      device.scatterAdd(whole, device.upload(indices), 1, rows, columns),
    ];
  },
  reductions: (device, x) => [
    device.reduce('sum', x, 1, n, 1),
    device.reduce('sum', x, 1, rows, columns),
    device.argReduce('min', x, rows, columns, 1),
    device.expand([2, n], { storage: x, strides: [0, 1] }),
  ],
  matmul: (device, x) => [
    device.matmul(x, x, {
      ...{ batch: 1, m: rows, n: rows, k: columns },
      ...{ transposeA: false, transposeB: true, broadcastA: false, broadcastB: false },
    }),
  ],
  'convolution and its gradients': (device, x) => {
    const s = {
      ...{ batch: 8, inChannels: 4, height: 128, width: 65, outChannels: 4, kernelHeight: 3, kernelWidth: 3 },
      ...{ strideY: 1, strideX: 1, paddingY: 1, paddingX: 1, outHeight: 128, outWidth: 65 },
    };
    const weight = device.slice(x, [n], [0], [4 * 4 * 9]);
    return [device.conv2d(x, weight, s), device.conv2dInputGrad(x, weight, s), device.conv2dWeightGrad(x, x, s)];
  },
  moves: (device, x) => [
    device.permute(x, [rows, columns], [1, 0]),
    device.pad(x, [rows, columns], [1, 2], [rows + 2, columns + 3], 9),
    device.concat([x, x], rows, [columns, columns]),
    device.gather(x, device.upload(indices), 1, rows, columns),
  ],
  'fused kernels': (device, x) => {
    const k = fused(device);
    const row = device.slice(x, [n], [0], [columns]);
    const norm = k.layerNorm(x, row, row, 1e-5, rows, columns);
    return [k.softmax(x, rows, columns), ...Object.values(norm)];
  },
  'in place': (device, x) => {
    const [target, m, v] = [device.fill(n, 0, 'float32'), device.fill(n, 0, 'float32'), device.fill(n, 0, 'float32')];
    device.copyInto(target, x);
    const spec = { learningRate: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-3, weightDecay: 0, step: 1, gradScale: 1 };
    fused(device).adamW([{ parameter: target, grad: x, m, v }], spec);
    return [target, m, v];
  },
};
const names = Object.keys(kernels);
const reference = deviceByName('reference');
const expected = new Map<string, ArrayLike<number>[]>();

for (const shared of [true, false])
  for (const relaxed of [true, false])
    describe(`growing memory, ${shared ? 'shared' : 'not shared'}, ${relaxed ? 'fused' : 'no fused'} multiply-add`, () => {
      before(() => {
        if (expected.size > 0) return;
        const x = reference.upload(data);
        for (const name of names)
          expected.set(
            name,
            kernels[name]!(reference, x).map((y) => reference.readSync(y)),
          );
      });

      property(
        'kernels in any order, memory growing between them',
        fc.shuffledSubarray(names, { minLength: 6 }),
        (order) => {
          const device = createWasmDevice({ shared, relaxed, threads: 2 });
          const x = device.upload(data);
          const sizes = new Set([device.memory().reservedBytes]);
          const made = order.map((name) => {
            const results = kernels[name]!(device, x);
            sizes.add(device.memory().reservedBytes);
            return { name, results };
          });
          assert.ok(sizes.size >= 3, `${[...sizes]}`);
          for (const { name, results } of made)
            results.forEach((y, i) => {
              const error = relativeError(device.readSync(y), expected.get(name)![i]!);
              assert.ok(error <= 1e-5, `${name}, result ${i}: ${error}`);
            });
        },
        3,
      );
    });
