/**
 * Checks of the kernel vocabulary itself, at sizes that the ops' trials do not reach: long reductions, many axes, grids
 * beyond what one dimension of a dispatch can hold, and elements whose index no float32 can count.
 */
import type { Device, Storage } from '../kernels/device.js';
import { deviceByName } from '../kernels/devices.js';
import { fused } from '../kernels/fused.js';
import * as scalar from '../kernels/scalar.js';
import { zipFlat, zipped } from '../kernels/walk.js';
import { type TypedArray, toTypedArray } from '../tensor/dtype.js';
import { Random } from '../tensor/random.js';
import { sizeOf } from '../tensor/shape.js';
import type { ConformanceCase, Outcome } from './conformance.js';
import { sizeCases } from './size-cases.js';

type Float = 'float32' | 'float64';
type Draw = (size: number) => TypedArray;

/** Runs one computation on the device and on reference, and compares all its results. */
function compare(
  dtype: Float,
  name: string,
  compute: (device: Device, draw: Draw) => Storage[],
  random: Random,
  tolerance32 = 1e-5,
): ConformanceCase {
  const tolerance = dtype === 'float64' ? Math.min(1e-13, tolerance32) : tolerance32;
  const seed = random.int(2 ** 30);
  return {
    group: 'kernel',
    name,
    async run(deviceName) {
      const results = async (device: Device) => {
        const own = new Random(seed);
        const draw: Draw = (size) =>
          toTypedArray(
            Array.from({ length: size }, () => 2 * own.uniform() - 1),
            dtype,
          );
        const storages = compute(device, draw);
        return Promise.all(storages.map((storage) => device.read(storage)));
      };
      const expected = await results(deviceByName('reference'));
      const actual = await results(deviceByName(deviceName));
      let worst: Outcome = { error: 0, tolerance };
      expected.forEach((values, i) => {
        const error = relative(actual[i]!, values);
        if (error > worst.error) worst = { error, tolerance, detail: `result ${i}` };
      });
      return worst;
    },
  };
}

function relative(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let most = 0;
  let scale = 1e-6;
  for (let i = 0; i < expected.length; i++) {
    const d = Object.is(actual[i], expected[i]) || actual[i] === expected[i] ? 0 : Math.abs(actual[i]! - expected[i]!);
    most = Number.isNaN(d) ? Infinity : Math.max(most, d);
    if (Number.isFinite(expected[i])) scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return most / scale;
}

/** One case for each kernel of the vocabulary, with drawn sizes; `quick` leaves out the large ones. */
export function kernelCases(random: Random, quick: boolean, dtype: Float): ConformanceCase[] {
  return [...comparisons(random, dtype), ...int32Cases(), ...(quick || dtype === 'float64' ? [] : sizeCases())];
}

const square3 = { kernelHeight: 3, kernelWidth: 3, strideY: 1, strideX: 1, paddingY: 1, paddingX: 1 };
const pixel = { kernelHeight: 1, kernelWidth: 1, strideY: 1, strideX: 1, paddingY: 0, paddingX: 0 };

const convolutionSpecs = {
  '3 × 3': { ...square3, batch: 6, inChannels: 4, outChannels: 8, height: 8, width: 6 },
  '3 × 3 in steps of two': {
    ...square3,
    strideY: 2,
    strideX: 2,
    batch: 2,
    inChannels: 3,
    outChannels: 4,
    height: 9,
    width: 8,
  },
  '3 × 3, sizes odd': { ...square3, batch: 3, inChannels: 5, outChannels: 7, height: 7, width: 5 },
  '1 × 1': { ...pixel, batch: 4, inChannels: 6, outChannels: 8, height: 4, width: 3 },
  '3 × 3, many channels': { ...square3, batch: 2, inChannels: 32, outChannels: 64, height: 6, width: 6 },
  '1 × 1 of odd planes': { ...pixel, batch: 4, inChannels: 8, outChannels: 4, height: 7, width: 7 },
  '1 × 1 in steps of two': {
    ...pixel,
    strideY: 2,
    strideX: 2,
    batch: 2,
    inChannels: 4,
    outChannels: 4,
    height: 8,
    width: 8,
  },
  patches: {
    ...pixel,
    kernelHeight: 4,
    kernelWidth: 2,
    strideY: 4,
    strideX: 2,
    batch: 2,
    inChannels: 3,
    outChannels: 8,
    height: 8,
    width: 8,
  },
  '2 × 3, unlike paddings and steps': {
    batch: 2,
    inChannels: 4,
    outChannels: 4,
    height: 9,
    width: 10,
    kernelHeight: 2,
    kernelWidth: 3,
    strideY: 1,
    strideX: 2,
    paddingY: 0,
    paddingX: 2,
  },
};

/**
 * m, n and k of products, and whether the first factor is the one for all (else the second): sizes that 4, 32 and 64 divide
 * and others, since devices take several results, rows or terms at once; several blocks of either factor.
 */
const productSizes: readonly (readonly [number, number, number, boolean?])[] = [
  ...[17, 16, 64].flatMap((m) => [23, 24].flatMap((n) => [150, 3].map((k) => [m, n, k] as const))),
  ...([
    [32, 12, 7, true],
    [24, 64, 30, true],
    [64, 64, 30, true],
    [128, 128, 9],
    [260, 516, 2],
    [260, 516, 3, true],
    [70, 92, 520, true],
  ] as const),
];

function comparisons(random: Random, dtype: Float): ConformanceCase[] {
  const against = compare.bind(null, dtype);
  const flags = [false, true];
  const products = flags.flatMap((transposeA) =>
    flags.map((transposeB) =>
      against(
        `matmul ${transposeA ? 'Aᵀ' : 'A'}${transposeB ? 'Bᵀ' : 'B'}`,
        (device, draw) =>
          productSizes.map(([m, n, k, broadcastA = false]) =>
            device.matmul(
              device.upload(draw((broadcastA ? 1 : 3) * m * k)),
              device.upload(draw((broadcastA ? 3 : 1) * k * n)),
              { batch: 3, m, n, k, transposeA, transposeB, broadcastA, broadcastB: !broadcastA },
            ),
          ),
        random,
      ),
    ),
  );
  const convolutions = Object.entries(convolutionSpecs).map(([what, spec]) =>
    against(
      `conv2d and its gradients: ${what}`,
      (device, draw) => {
        const s = {
          ...spec,
          outHeight: Math.floor((spec.height + 2 * spec.paddingY - spec.kernelHeight) / spec.strideY) + 1,
          outWidth: Math.floor((spec.width + 2 * spec.paddingX - spec.kernelWidth) / spec.strideX) + 1,
        };
        const x = device.upload(draw(s.batch * s.inChannels * s.height * s.width));
        const weight = device.upload(draw(s.outChannels * s.inChannels * s.kernelHeight * s.kernelWidth));
        const gradOutput = device.upload(draw(s.batch * s.outChannels * s.outHeight * s.outWidth));
        return [
          device.conv2d(x, weight, s),
          device.conv2dInputGrad(gradOutput, weight, s),
          device.conv2dWeightGrad(x, gradOutput, s),
        ];
      },
      random,
    ),
  );
  return [
    ...products,
    ...convolutions,
    against(
      'reductions over a long axis, in the middle and at the end',
      (device, draw) => {
        const x = device.upload(draw(3 * 1001 * 5));
        return (['sum', 'max', 'min'] as const).flatMap((kind) => [
          device.reduce(kind, x, 3, 1001, 5),
          device.reduce(kind, x, 15, 1001, 1),
          device.reduce(kind, x, 1, 15015, 1),
          device.reduce(kind, x, 1, 1, 15015),
        ]);
      },
      random,
    ),
    against(
      'argReduce',
      (device, draw) => {
        const x = device.upload(draw(4 * 300 * 3));
        return [device.argReduce('max', x, 4, 300, 3), device.argReduce('min', x, 12, 300, 1)];
      },
      random,
      0,
    ),
    against(
      'argSort, with equal elements, infinities and NaN',
      (device, draw) => {
        const data = draw(4 * 30 * 3).map((v, i) => [Math.round(4 * v), v, Infinity, v, NaN, -Infinity, 0, v][i % 8]!);
        const x = device.upload(data);
        return [false, true].flatMap((descending) => [
          device.argSort(x, 4, 30, 3, descending),
          device.argSort(x, 12, 30, 1, descending),
          device.argSort(x, 1, 1, 360, descending),
        ]);
      },
      random,
      0,
    ),
    against(
      'a reduction over nothing',
      (device, draw) => {
        const x = device.upload(draw(0));
        return (['sum', 'max', 'min'] as const).map((kind) => device.reduce(kind, x, 2, 0, 3));
      },
      random,
      0,
    ),
    against(
      'permute, slice, pad and expand of five axes',
      (device, draw) => {
        const shape = [2, 3, 4, 5, 6];
        const x = device.upload(draw(sizeOf(shape)));
        const row = device.upload(draw(3 * 5));
        return [
          device.permute(x, shape, [4, 2, 0, 3, 1]),
          device.permute(x, shape, [0, 2, 1, 3, 4]),
          device.permute(x, shape, [0, 1, 2, 4, 3]),
          device.slice(x, shape, [1, 0, 2, 1, 3], [1, 3, 2, 3, 2]),
          device.pad(x, shape, [0, 1, 0, 2, 0], [2, 5, 4, 8, 7], -1.5),
          device.expand(shape, { storage: row, strides: [0, 5, 0, 1, 0] }),
          zipped(device, scalar.mul, shape, [x, row], [shape, [3, 1, 5, 1]]),
        ];
      },
      random,
      0,
    ),
    against(
      'gather, scatterAdd and concat',
      (device, draw) => {
        const x = device.upload(draw(2 * 7 * 5));
        const indices = device.upload(Int32Array.of(6, 0, 3, 3, 6, 1));
        return [
          device.gather(x, indices, 2, 7, 5),
          device.scatterAdd(device.upload(draw(2 * 6 * 5)), indices, 2, 9, 5),
          device.concat([x, device.upload(draw(2 * 3)), device.upload(draw(0)), x], 2, [35, 3, 0, 35]),
        ];
      },
      random,
      1e-6,
    ),
    against(
      'scatterAdd of many rows, most of them empty',
      (device, draw) => {
        const [count, rows, inner] = [300, 1000, 33];
        const spread = Int32Array.from(draw(count), (v) => Math.floor(((v + 1) / 2) * rows));
        const few = Int32Array.from(spread, (v) => [0, rows - 1, 17][v % 3]!);
        const x = device.upload(draw(2 * count * inner));
        return [spread, few].map((indices) => device.scatterAdd(x, device.upload(indices), 2, rows, inner));
      },
      random,
      1e-6,
    ),
    against(
      'adamW, three steps',
      (device, draw) => {
        const all = [1000, 1, 0, 37, 2 ** 19, 2 ** 19, 3].map((size) => ({
          ...{ parameter: device.upload(draw(size)), grad: device.upload(draw(size)) },
          ...{ m: device.fill(size, 0, dtype), v: device.fill(size, 0, dtype) },
        }));
        for (let step = 1; step <= 3; step++)
          fused(device).adamW(all, {
            ...{ learningRate: 1e-2, beta1: 0.9, beta2: 0.98, eps: 1e-6, weightDecay: 0.2, step, gradScale: 0.5 },
          });
        return all.flatMap(({ parameter, m, v }) => [parameter, m, v]);
      },
      random,
    ),
    against(
      'sums of squares of several, together',
      (device, draw) => {
        const xs = [1000, 1, 0, 63, 64, 65, 12_288, 0, 2 ** 20, 129].map((size) => device.upload(draw(size)));
        return [xs, xs.slice(2, 3), xs.slice(0, 1), xs.slice(3, 5)].map((some) => fused(device).sumSquares(some));
      },
      random,
      1e-6,
    ),
    against(
      'slices of neighbours and joins of all kinds',
      (device, draw) => {
        const [x, few] = [device.upload(draw(4 * 5 * 6)), device.upload(draw(7))];
        const cut = (shape: number[], starts: number[], sizes: number[]) => device.slice(x, shape, starts, sizes);
        return [
          ...[cut([120], [17], [50]), cut([4, 5, 6], [1, 0, 0], [2, 5, 6]), cut([1, 20, 6], [0, 3, 0], [1, 7, 6])],
          ...[cut([4, 5, 6], [1, 2, 0], [1, 2, 6]), cut([4, 30], [2, 3], [1, 4]), cut([120], [119], [1])],
          device.concat([few, x, device.upload(draw(0)), few, x], 1, [7, 120, 0, 7, 120]),
          device.concat([x, few, device.upload(draw(0))], 1, [120, 7, 0]),
        ];
      },
      random,
    ),
    against(
      'softmax, logSumExp and layerNorm of long rows',
      (device, draw) => {
        const x = device.upload(draw(9 * 700));
        const kernels = fused(device);
        const [weight, bias] = [device.upload(draw(700)), device.upload(draw(700))];
        const { output, mean, rstd } = kernels.layerNorm(x, weight, bias, 1e-5, 9, 700);
        return [kernels.softmax(x, 9, 700), kernels.logSumExp(x, 9, 700), output, mean, rstd];
      },
      random,
    ),
  ];
}

function int32Cases(): ConformanceCase[] {
  return [
    {
      group: 'kernel',
      name: 'int32 is exact below 2²⁴',
      async run(deviceName) {
        const device = deviceByName(deviceName);
        const values = Int32Array.of(0, -1, 7, 16777215, 16777214, -16777215, 16777213);
        const x = device.upload(values);
        const zero = device.fill(values.length, 0, 'int32');
        const results = [
          x,
          device.permute(x, [7, 1], [1, 0]),
          zipFlat(device, scalar.sub, zipFlat(device, scalar.add, x, zero), zero),
        ];
        for (const result of results) {
          const read = await device.read(result);
          if (!(read instanceof Int32Array) || read.some((value, i) => value !== values[i]))
            return { error: Infinity, tolerance: 0, detail: `${values.join()} became ${read.join()}` };
        }
        return { error: 0, tolerance: 0 };
      },
    },
  ];
}
