/** Convolution, pooling and their transposes, by visiting everything that they join. */
import type { Windows } from '../../autograd/ops/conv.js';
import type { Conv2dSpec, Pool2dSpec } from '../../kernels/device.js';
import type { Random } from '../../tensor/random.js';
import { type Shape, sizeOf } from '../../tensor/shape.js';
import { type Oracle, ravel, unravel } from './oracle.js';

/** Visits all (n, o, c, i, j, u, v) that a convolution joins, as flat places in image, weight and output. */
function joinAll(s: Conv2dSpec, visit: (image: number, weight: number, output: number) => void): void {
  for (let n = 0; n < s.batch; n++)
    for (let o = 0; o < s.outChannels; o++)
      for (let c = 0; c < s.inChannels; c++)
        for (let i = 0; i < s.outHeight; i++)
          for (let j = 0; j < s.outWidth; j++)
            for (let u = 0; u < s.kernelHeight; u++)
              for (let v = 0; v < s.kernelWidth; v++) {
                const [y, x] = [i * s.strideY + u - s.paddingY, j * s.strideX + v - s.paddingX];
                if (y < 0 || y >= s.height || x < 0 || x >= s.width) continue;
                visit(
                  ((n * s.inChannels + c) * s.height + y) * s.width + x,
                  ((o * s.inChannels + c) * s.kernelHeight + u) * s.kernelWidth + v,
                  ((n * s.outChannels + o) * s.outHeight + i) * s.outWidth + j,
                );
              }
}

function drawConv(random: Random): Conv2dSpec {
  const s = {
    batch: 1 + random.int(2),
    inChannels: 1 + random.int(2),
    height: 2 + random.int(4),
    width: 2 + random.int(4),
    outChannels: 1 + random.int(3),
    kernelHeight: 1 + random.int(2),
    kernelWidth: 1 + random.int(2),
    strideY: 1 + random.int(2),
    strideX: 1 + random.int(2),
    paddingY: random.int(2),
    paddingX: random.int(2),
  };
  return {
    ...s,
    outHeight: Math.floor((s.height + 2 * s.paddingY - s.kernelHeight) / s.strideY) + 1,
    outWidth: Math.floor((s.width + 2 * s.paddingX - s.kernelWidth) / s.strideX) + 1,
  };
}

const image = (s: Conv2dSpec) => [s.batch, s.inChannels, s.height, s.width];
const weight = (s: Conv2dSpec) => [s.outChannels, s.inChannels, s.kernelHeight, s.kernelWidth];
const output = (s: Conv2dSpec) => [s.batch, s.outChannels, s.outHeight, s.outWidth];

/** One of the three products: two of (image, weight, output) are multiplied, the third gathers the sums. */
function product(shapes: (s: Conv2dSpec) => Shape[], result: (s: Conv2dSpec) => Shape, order: readonly number[]) {
  return {
    draw(random) {
      const s = drawConv(random);
      return { shapes: shapes(s), params: s };
    },
    oracle([a, b], s) {
      const y = new Array<number>(sizeOf(result(s))).fill(0);
      joinAll(s, (...places) => {
        const [i, j, k] = order.map((which) => places[which]!) as [number, number, number];
        y[k]! += a!.data[i]! * b!.data[j]!;
      });
      return y;
    },
  } satisfies Oracle<Conv2dSpec>;
}

export const conv2d = product((s) => [image(s), weight(s)], output, [0, 1, 2]);
export const conv2dInputGrad = product((s) => [output(s), weight(s)], image, [2, 1, 0]);
export const conv2dWeightGrad = product((s) => [image(s), output(s)], weight, [0, 2, 1]);

export const sparseConv2d: Oracle<Windows> = {
  draw(random) {
    const groups = 1 + random.int(3);
    const w = {
      strideY: 1 + random.int(2),
      strideX: 1 + random.int(2),
      paddingY: random.int(3),
      paddingX: random.int(2),
    };
    const params = { ...w, groups, dilationY: 1 + random.int(3), dilationX: 1 + random.int(2) };
    const [kernelHeight, kernelWidth] = [1 + random.int(2), 1 + random.int(3)];
    const least = [(kernelHeight - 1) * params.dilationY + 1, (kernelWidth - 1) * params.dilationX + 1] as const;
    const perGroup = 1 + random.int(2);
    const images = [1 + random.int(2), groups * perGroup, least[0] + random.int(3), least[1] + random.int(3)];
    return { shapes: [images, [groups * (1 + random.int(2)), perGroup, kernelHeight, kernelWidth]], params };
  },
  oracle([x, w], p, outputShape) {
    const [, outChannels] = outputShape as [number, number];
    const [, channels, height, width] = x!.shape as [number, number, number, number];
    const [, perGroup, kernelHeight, kernelWidth] = w!.shape as [number, number, number, number];
    return Array.from({ length: sizeOf(outputShape) }, (_, at) => {
      const [n, o, i, j] = unravel(at, outputShape) as [number, number, number, number];
      const group = Math.floor(o / (outChannels / p.groups));
      let sum = 0;
      for (let c = 0; c < perGroup; c++)
        for (let u = 0; u < kernelHeight; u++)
          for (let v = 0; v < kernelWidth; v++) {
            const [row, column] = [
              i * p.strideY + u * p.dilationY - p.paddingY,
              j * p.strideX + v * p.dilationX - p.paddingX,
            ];
            if (row < 0 || row >= height || column < 0 || column >= width) continue;
            const from = ravel([n, group * perGroup + c, row, column], [0, channels, height, width]);
            sum += x!.data[from]! * w!.data[ravel([o, c, u, v], w!.shape)]!;
          }
      return sum;
    });
  },
};

function drawPool(random: Random): Pool2dSpec {
  const s = {
    planes: 1 + random.int(3),
    height: 2 + random.int(4),
    width: 2 + random.int(4),
    kernelY: 1 + random.int(2),
    kernelX: 1 + random.int(2),
    strideY: 1 + random.int(3),
    strideX: 1 + random.int(3),
  };
  return {
    ...s,
    outHeight: Math.floor((s.height - s.kernelY) / s.strideY) + 1,
    outWidth: Math.floor((s.width - s.kernelX) / s.strideX) + 1,
  };
}

/** Visits every element of every window, as flat places in input and output. */
function poolAll(s: Pool2dSpec, visit: (input: number, output: number) => void): void {
  for (let p = 0; p < s.planes; p++)
    for (let i = 0; i < s.outHeight; i++)
      for (let j = 0; j < s.outWidth; j++)
        for (let u = 0; u < s.kernelY; u++)
          for (let v = 0; v < s.kernelX; v++)
            visit(
              (p * s.height + i * s.strideY + u) * s.width + j * s.strideX + v,
              (p * s.outHeight + i) * s.outWidth + j,
            );
}

export const avgPool2d: Oracle<Pool2dSpec> = {
  draw(random) {
    const s = drawPool(random);
    return { shapes: [[s.planes, s.height, s.width]], params: s };
  },
  oracle([x], s, outputShape) {
    const y = new Array<number>(sizeOf(outputShape)).fill(0);
    poolAll(s, (input, output) => {
      y[output]! += x!.data[input]! / (s.kernelX * s.kernelY);
    });
    return y;
  },
};

export const avgPool2dGrad: Oracle<Pool2dSpec> = {
  draw(random) {
    const s = drawPool(random);
    return { shapes: [[s.planes, s.outHeight, s.outWidth]], params: s };
  },
  oracle([g], s, outputShape) {
    const y = new Array<number>(sizeOf(outputShape)).fill(0);
    poolAll(s, (input, output) => {
      y[input]! += g!.data[output]! / (s.kernelX * s.kernelY);
    });
    return y;
  },
};

type Both = [number, number];
export const maxPool2d: Oracle<{ kernel: Both; stride: Both; padding: Both }> = {
  draw(random) {
    const both = (draw: () => number): Both => [draw(), draw()];
    const kernel = both(() => 1 + random.int(3));
    const shape = [1 + random.int(2), ...kernel.map((size) => size + random.int(3))];
    const padding = kernel.map((size) => random.int(Math.floor(size / 2) + 1)) as Both;
    return { shapes: [shape], params: { kernel, stride: both(() => 1 + random.int(3)), padding } };
  },
  oracle([x], { kernel, stride, padding }, outputShape) {
    const [, height, width] = x!.shape as [number, number, number];
    return Array.from({ length: sizeOf(outputShape) }, (_, at) => {
      const [plane, i, j] = unravel(at, outputShape) as [number, number, number];
      let most = -Infinity;
      for (let row = i * stride[0] - padding[0]; row < i * stride[0] - padding[0] + kernel[0]; row++)
        for (let column = j * stride[1] - padding[1]; column < j * stride[1] - padding[1] + kernel[1]; column++)
          if (row >= 0 && row < height && column >= 0 && column < width)
            most = Math.max(most, x!.data[ravel([plane, row, column], x!.shape)]!);
      return most;
    });
  },
};
