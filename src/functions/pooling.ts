/** The largest value of each window of an image. */
import { arange, tensor, zeros } from '../autograd/create.js';
import { defineBuiltIn } from '../autograd/op.js';
import { checkOptions, type Pair, pair } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { largestOf } from '../tensor/dtype.js';
import { DomainError, ShapeError } from '../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';

type Both = readonly [vertical: number, horizontal: number];

/** Windows of a maximum pool; a pair is [vertical, horizontal], one number stands for both. */
export interface MaxPool2dOptions {
  /** Size of the windows. */
  kernel: Pair;
  /** Step between windows. Default: their size. */
  stride?: Pair;
  /** On each side, at most half a window; what is padded is −∞. Default 0. */
  padding?: Pair;
}

/** The options as pairs. @throws DomainError for what is no size */
export function maxPoolWindows(op: string, { kernel, stride = kernel, padding = 0 }: MaxPool2dOptions): Windows {
  const windows = {
    kernel: pair(op, 'kernel', kernel, 1),
    stride: pair(op, 'stride', stride, 1),
    padding: pair(op, 'padding', padding, 0),
  };
  windows.padding.forEach((size, axis) => {
    if (2 * size > windows.kernel[axis]!)
      throw new DomainError(op, {
        received: `padding ${size} for a window of ${windows.kernel[axis]}`,
        expected: 'a whole number from 0 to half of the window',
      });
  });
  return windows;
}

interface Windows {
  kernel: Both;
  stride: Both;
  padding: Both;
}

const outSizes = (shape: Shape, { kernel, stride, padding }: Windows) =>
  shape.slice(-2).map((size, axis) => Math.floor((size + 2 * padding[axis]! - kernel[axis]!) / stride[axis]!) + 1) as [
    number,
    number,
  ];

/** With what is padded, and at the end enough for whole strides from every place. */
const padded = (flat: Tensor, { padding, stride }: Windows) =>
  flat.pad([[0, 0], ...padding.map((size, axis) => [size, size + stride[axis]!] as const)], -Infinity);

/** The values at one place of all windows, for one place after the other. */
function placesOf(image: Tensor, { kernel, stride }: Windows, out: Both): (() => Tensor)[] {
  return Array.from({ length: kernel[0] * kernel[1] }, (_, k) => () => {
    const ranges = [Math.floor(k / kernel[1]), k % kernel[1]].map((start, axis): [number, number, number] => [
      start,
      start + out[axis]! * stride[axis]!,
      stride[axis]!,
    ]);
    return image.slice([[0, null], ...ranges]);
  });
}

/** Where in its plane the first largest element of each window is, as int32 [planes, outHeight, outWidth]. */
function firstLargest(flat: Tensor, output: Tensor, windows: Windows): Tensor {
  const out = output.shape.slice(1) as unknown as Both;
  // NaN above all numbers, so that one comparison finds it, too.
  const ranked = (x: Tensor) => x.isNaN().where(Infinity, x.minimum(largestOf[output.dtype]));
  const most = ranked(output);
  const places = placesOf(padded(ranked(flat), windows), windows, out);
  let place = zeros(output.shape, { dtype: output.dtype, device: output.storage.device.name });
  for (let k = places.length - 1; k >= 0; k--) {
    place = places[k]!().less(most).where(place, k);
  }
  const row = place.add(0.5).div(windows.kernel[1]).floor();
  const within = [row, place.sub(row.mul(windows.kernel[1]))];
  const [height, width] = flat.shape.slice(1) as [number, number];
  /** The coordinate along an axis; within the image where a window of −∞ begins outside. */
  const coordinate = (axis: 0 | 1) => {
    const starts = Array.from({ length: out[axis] }, (_, i) => i * windows.stride[axis] - windows.padding[axis]);
    const shape = axis === 0 ? [out[0], 1] : [out[1]];
    const { dtype, storage } = output;
    return within[axis]!.add(tensor(starts, { shape, dtype, device: storage.device.name })).clip(
      0,
      [height, width][axis]! - 1,
    );
  };
  return coordinate(0).mul(width).add(coordinate(1)).cast('int32');
}

const maxPoolOp = defineBuiltIn<Windows>({
  name: 'maxPool2d',
  int32: 'refused',
  equation: 'y[…, i, j] = max over a, b of x[…, i·s + a − p, j·s + b − p]',
  derivative: 'x̄ gets ȳ where the first largest element of a window is',
  shapes: '[planes, height, width] → [planes, outHeight, outWidth]; outHeight = ⌊(height + 2p − kernel) / s⌋ + 1',
  shape: ([shape], windows) => [shape![0]!, ...outSizes(shape!, windows)],
  saves: { inputs: [0], output: true },
  // One pass of `maximum` for each place in the window.
  forward: ([x], windows) =>
    placesOf(padded(x!, windows), windows, outSizes(x!.shape, windows))
      .map((values) => values())
      .reduce((most, values) => most.maximum(values)),
  vjp: [
    ({ gradOutput, inputs: [x], output, params }) => {
      const [planes, height, width] = x!.shape as [number, number, number];
      const places = firstLargest(x!.detach(), output.detach(), params);
      const options = { dtype: 'int32', device: x!.storage.device.name } as const;
      const starts = arange(0, planes * height * width, height * width, options).reshape([planes, 1, 1]);
      return gradOutput
        .reshape([gradOutput.size])
        .scatterAdd(places.add(starts).reshape([places.size]), x!.size)
        .reshape(x!.shape);
    },
  ],
  test: { distinct: true },
});

/**
 * The largest element of each window of [..., height, width]; NaN if any is. Windows that do not fit are left out.
 * Of equal largest elements the first gets the gradient, as in PyTorch.
 * @throws ShapeError unless x holds a window; DomainError for what is no size, or padding of more than half a window
 */
export function maxPool2d(x: Tensor, options: MaxPool2dOptions): Tensor {
  checkTensor('maxPool2d', 'x', x);
  const windows = maxPoolWindows('maxPool2d', checkOptions('maxPool2d', options, ['kernel', 'stride', 'padding']));
  const empty = x.shape.slice(-2).includes(0); // a window of nothing but padding
  if (x.rank < 3 || empty || outSizes(x.shape, windows).some((size) => size < 1))
    throw new ShapeError('maxPool2d', {
      received: `shape ${formatShape(x.shape)}`,
      expected: `[batch, channels, height, width] of at least ${windows.kernel[0]} × ${windows.kernel[1]}`,
    });
  const [height, width] = x.shape.slice(-2) as [number, number];
  const y = maxPoolOp([x.reshape([sizeOf(x.shape.slice(0, -2)), height, width])], windows);
  return y.reshape([...x.shape.slice(0, -2), ...y.shape.slice(-2)]);
}
