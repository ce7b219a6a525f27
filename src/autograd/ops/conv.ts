/** Two-dimensional convolution and average pooling over images [batch, channels, height, width]. */
import type { Conv2dSpec, Pool2dSpec, Storage } from '../../kernels/device.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn, defineComposite, type OpFunction } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { concat } from './join.js';
import { checkOptions, type Pair, pair } from './options.js';

/** How the windows of a convolution lie; a pair is [vertical, horizontal], one number stands for both. */
export interface Conv2dOptions {
  /** Step between windows, ≥ 1. Default 1. */
  stride?: Pair;
  /** Zeros around the image, ≥ 0. Default 0. */
  padding?: Pair;
  /** Distance between neighbours in a window, ≥ 1. Default 1. */
  dilation?: Pair;
  /** Parts of the channels that are convolved each by itself. Default 1. */
  groups?: number;
  /** Added to each output channel, [outChannels]. */
  bias?: Tensor | null;
}

function outputSize(s: Omit<Conv2dSpec, 'outHeight' | 'outWidth'>): { outHeight: number; outWidth: number } {
  return {
    outHeight: Math.floor((s.height + 2 * s.paddingY - s.kernelHeight) / s.strideY) + 1,
    outWidth: Math.floor((s.width + 2 * s.paddingX - s.kernelWidth) / s.strideX) + 1,
  };
}

const imageShape = (s: Conv2dSpec) => [s.batch, s.inChannels, s.height, s.width];
const weightShape = (s: Conv2dSpec) => [s.outChannels, s.inChannels, s.kernelHeight, s.kernelWidth];
const outputShape = (s: Conv2dSpec) => [s.batch, s.outChannels, s.outHeight, s.outWidth];

// conv2d is bilinear in x and w. With ⟨ȳ, conv(x, w)⟩ as the trilinear form behind all three, each op's derivatives
// are the other two: that closes the family under differentiation of any order.
const convOp: OpFunction<Conv2dSpec> = defineBuiltIn({
  name: 'conv2d',
  int32: 'refused',
  equation: 'y[n,o,i,j] = Σ_{c,u,v} x[n, c, i·s + u − p, j·s + v − p] · w[o,c,u,v]',
  derivative: 'x̄ = inputGrad(ȳ, w), w̄ = weightGrad(x, ȳ)',
  shapes:
    '[batch, C, height, width], [O, C, u, v] → [batch, O, outHeight, outWidth]; outHeight = ⌊(height + 2p − u) / s⌋ + 1',
  shape: (_, s) => outputShape(s),
  saves: { inputs: [0, 1] },
  kernel: ([x, w], { device, params }) => device.conv2d(x as Storage, w as Storage, params),
  vjp: [
    ({ gradOutput, inputs: [, w], params }) => inputGradOp([gradOutput, w!], params),
    ({ gradOutput, inputs: [x], params }) => weightGradOp([x!, gradOutput], params),
  ],
});

const inputGradOp: OpFunction<Conv2dSpec> = defineBuiltIn({
  name: 'conv2dInputGrad',
  int32: 'refused',
  equation: 'y = ∂⟨g, conv2d(x, w)⟩/∂x, which does not depend on x',
  derivative: 'ḡ = conv2d(ȳ, w), w̄ = weightGrad(ȳ, g)',
  shapes: '[batch, O, outHeight, outWidth], [O, C, u, v] → [batch, C, height, width]',
  shape: (_, s) => imageShape(s),
  saves: { inputs: [0, 1] },
  kernel: ([g, w], { device, params }) => device.conv2dInputGrad(g as Storage, w as Storage, params),
  vjp: [
    ({ gradOutput, inputs: [, w], params }) => convOp([gradOutput, w!], params),
    ({ gradOutput, inputs: [g], params }) => weightGradOp([gradOutput, g!], params),
  ],
});

const weightGradOp: OpFunction<Conv2dSpec> = defineBuiltIn({
  name: 'conv2dWeightGrad',
  int32: 'refused',
  equation: 'y = ∂⟨g, conv2d(x, w)⟩/∂w, which does not depend on w',
  derivative: 'x̄ = inputGrad(g, ȳ), ḡ = conv2d(x, ȳ)',
  shapes: '[batch, C, height, width], [batch, O, outHeight, outWidth] → [O, C, u, v]',
  shape: (_, s) => weightShape(s),
  saves: { inputs: [0, 1] },
  kernel: ([x, g], { device, params }) => device.conv2dWeightGrad(x as Storage, g as Storage, params),
  vjp: [
    ({ gradOutput, inputs: [, g], params }) => inputGradOp([g!, gradOutput], params),
    ({ gradOutput, inputs: [x], params }) => convOp([x!, gradOutput], params),
  ],
});

/** Where windows are: everything about a convolution but its sizes. */
/** Parameters of {@link conv2d}: its options for each axis. */
export interface Windows {
  strideY: number;
  strideX: number;
  paddingY: number;
  paddingX: number;
  dilationY: number;
  dilationX: number;
  groups: number;
}

function specOf(image: Shape, weight: Shape, { dilationY, dilationX, groups, ...w }: Windows): Conv2dSpec {
  const [batch, inChannels, height, width] = image as [number, number, number, number];
  const [outChannels, , kernelHeight, kernelWidth] = weight as [number, number, number, number];
  const sizes = { batch, inChannels, height, width, outChannels, kernelHeight, kernelWidth, ...w };
  // A dilated kernel reaches as far as one of this size.
  const reach = { kernelHeight: (kernelHeight - 1) * dilationY + 1, kernelWidth: (kernelWidth - 1) * dilationX + 1 };
  return { ...sizes, ...outputSize({ ...sizes, ...reach }) };
}

const sparseOp: OpFunction<Windows> = defineComposite({
  name: 'sparseConv2d',
  int32: 'refused',
  equation:
    'y[n,o,i,j] = Σ_{c,u,v} x[n, g·C + c, i·s + u·d − p, j·s + v·d − p] · w[o,c,u,v], c < C = channels / groups, o in group g',
  derivative: 'x̄ and w̄ as of the convolutions that it is a sum of',
  shapes: '[batch, channels, height, width], [O, C, u, v] → [batch, O, outHeight, outWidth]; C = channels / groups',
  shape: ([x, w], windows) => outputShape(specOf(x!, w!, windows)),
  compose([x, w], { groups, ...windows }) {
    if (groups > 1) {
      const images = x!.split(x!.shape[1]! / groups, { axis: 1 });
      const weights = w!.split(w!.shape[0]! / groups);
      return concat(
        images.map((image, g) => conv2dOf(image, weights[g]!, { ...windows, groups: 1 })),
        { axis: 1 },
      );
    }
    // One place of the kernel at a time: a kernel with zeros between would multiply them with infinities.
    const { strideY, strideX, paddingY, paddingX, dilationY, dilationX } = windows;
    const { outHeight, outWidth, kernelHeight, kernelWidth } = specOf(x!.shape, w!.shape, { ...windows, groups });
    const padded = x!.pad([
      [0, 0],
      [0, 0],
      [paddingY, paddingY],
      [paddingX, paddingX],
    ]);
    const near = { ...windows, groups, paddingY: 0, paddingX: 0, dilationY: 1, dilationX: 1 };
    const all: [number, null] = [0, null];
    const seen = (start: number, out: number, stride: number): [number, number] => [
      start,
      start + (out - 1) * stride + 1,
    ];
    let sum: Tensor | null = null;
    for (let u = 0; u < kernelHeight; u++)
      for (let v = 0; v < kernelWidth; v++) {
        const rows = seen(u * dilationY, outHeight, strideY);
        const columns = seen(v * dilationX, outWidth, strideX);
        const part = conv2dOf(
          padded.slice([all, all, rows, columns]),
          w!.slice([all, all, [u, u + 1], [v, v + 1]]),
          near,
        );
        sum = sum ? sum.add(part) : part;
      }
    return sum!;
  },
});

/** The kernel itself where it is dense, else sums and joins of it. */
function conv2dOf(x: Tensor, weight: Tensor, windows: Windows): Tensor {
  const dense = windows.groups === 1 && windows.dilationY === 1 && windows.dilationX === 1;
  return dense ? convOp([x, weight], specOf(x.shape, weight.shape, windows)) : sparseOp([x, weight], windows);
}

/**
 * Cross-correlation with weight [outChannels, channels / groups, kernelHeight, kernelWidth].
 * Output height = ⌊(height + 2·padding − dilation·(kernelHeight − 1) − 1)/stride⌋ + 1, width likewise.
 * @throws ShapeError when channels differ or the kernel does not fit
 */
export function conv2d(x: Tensor, weight: Tensor, options?: Conv2dOptions): Tensor {
  checkTensor('conv2d', 'x', x);
  const {
    stride = 1,
    padding = 0,
    dilation = 1,
    groups = 1,
    bias = null,
  } = checkOptions('conv2d', options, ['stride', 'padding', 'dilation', 'groups', 'bias']);
  checkTensor('conv2d', 'weight', weight);
  const [strideY, strideX] = pair('conv2d', 'stride', stride, 1);
  const [paddingY, paddingX] = pair('conv2d', 'padding', padding, 0);
  const [dilationY, dilationX] = pair('conv2d', 'dilation', dilation, 1);
  if (!Number.isInteger(groups) || groups < 1)
    throw new DomainError('conv2d', { received: `${describeValue(groups)} groups`, expected: 'a whole number ≥ 1' });
  const shapes = `image ${formatShape(x.shape)} and weight ${formatShape(weight.shape)}`;
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== weight.shape[1]! * groups || weight.shape[0]! % groups !== 0)
    throw new ShapeError('conv2d', {
      received: `${shapes}${groups > 1 ? ` in ${groups} groups` : ''}`,
      expected:
        groups > 1
          ? `[batch, channels, height, width] and [outChannels, channels / ${groups}, kernelHeight, kernelWidth], outChannels a multiple of ${groups}`
          : '[batch, channels, height, width] and [outChannels, channels, kernelHeight, kernelWidth]',
      hint: x.rank === 3 ? 'Add the batch axis with unsqueeze(0).' : '',
    });
  const windows = { strideY, strideX, paddingY, paddingX, dilationY, dilationX, groups };
  const spec = specOf(x.shape, weight.shape, windows);
  if (spec.outHeight < 1 || spec.outWidth < 1)
    throw new ShapeError('conv2d', {
      received: `${shapes} with padding ${paddingY}, ${paddingX}`,
      expected: 'a kernel no larger than the padded image',
    });
  const y = conv2dOf(x, weight, windows);
  if (bias === null) return y;
  const { outChannels } = spec;
  checkTensor('conv2d', 'bias', bias);
  if (bias.rank !== 1 || bias.shape[0] !== outChannels)
    throw new ShapeError('conv2d', {
      received: `bias ${formatShape(bias.shape)} for weight ${formatShape(weight.shape)}`,
      expected: `[${outChannels}], a number an output channel`,
    });
  return y.add(bias.reshape([1, outChannels, 1, 1]));
}

const poolShapes = (s: Pool2dSpec): { input: Shape; output: Shape } => ({
  input: [s.planes, s.height, s.width],
  output: [s.planes, s.outHeight, s.outWidth],
});

const poolOp: OpFunction<Pool2dSpec> = defineBuiltIn({
  name: 'avgPool2d',
  int32: 'refused',
  equation: 'y[i,j] = mean of x over the window at (i·s, j·s)',
  derivative: 'x̄ = ȳ / window size, summed over the windows that contain the element',
  shapes: '[planes, height, width] → [planes, outHeight, outWidth]; outHeight = ⌊(height − kernel) / s⌋ + 1',
  shape: (_, s) => poolShapes(s).output,
  saves: {},
  kernel: ([x], { device, params }) => device.avgPool2d(x as Storage, params),
  vjp: [({ gradOutput, params }) => poolGradOp([gradOutput], params)],
});

const poolGradOp: OpFunction<Pool2dSpec> = defineBuiltIn({
  name: 'avgPool2dGrad',
  int32: 'refused',
  equation: 'y = the transpose of avgPool2d applied to g',
  derivative: 'ḡ = avgPool2d(ȳ)',
  shapes: '[planes, outHeight, outWidth] → [planes, height, width]',
  shape: (_, s) => poolShapes(s).input,
  saves: {},
  kernel: ([g], { device, params }) => device.avgPool2dGrad(g as Storage, params),
  vjp: [({ gradOutput, params }) => poolOp([gradOutput], params)],
});

/** Windows of an average pool; a pair is [vertical, horizontal], one number stands for both. */
export interface AvgPool2dOptions {
  /** Size of the windows. */
  kernel: Pair;
  /** Step between windows. Default: their size. */
  stride?: Pair;
  /** Zeros around the image, at most half a window. Default 0. */
  padding?: Pair;
  /** Whether these zeros count among the elements of a window. Default true, as in PyTorch. */
  countPadding?: boolean;
}

/**
 * Mean over windows of `kernel`, every `stride` (default: kernel); windows that do not fit are left out.
 * @throws ShapeError unless x is [..., height, width] and holds a window
 */
export function avgPool2d(x: Tensor, options: AvgPool2dOptions): Tensor {
  checkTensor('avgPool2d', 'x', x);
  const known = ['kernel', 'stride', 'padding', 'countPadding'];
  const { kernel, stride = kernel, padding = 0, countPadding = true } = checkOptions('avgPool2d', options, known);
  const [kernelY, kernelX] = pair('avgPool2d', 'kernel', kernel, 1);
  const [strideY, strideX] = pair('avgPool2d', 'stride', stride, 1);
  const around = pair('avgPool2d', 'padding', padding, 0);
  if (2 * around[0] > kernelY || 2 * around[1] > kernelX)
    throw new DomainError('avgPool2d', {
      received: `padding ${around[0]}, ${around[1]} for a window of ${kernelY}×${kernelX}`,
      expected: 'at most half a window',
    });
  const [height, width] = x.shape.slice(-2).map((size, axis) => size + 2 * around[axis]!) as [number, number];
  if (x.rank < 3 || kernelY > height || kernelX > width)
    throw new ShapeError('avgPool2d', {
      received: `shape ${formatShape(x.shape)} with kernel ${kernelY}×${kernelX}`,
      expected: '[batch, channels, height, width] no smaller than the kernel',
    });
  const planes = sizeOf(x.shape.slice(0, -2));
  const outHeight = Math.floor((height - kernelY) / strideY) + 1;
  const outWidth = Math.floor((width - kernelX) / strideX) + 1;
  const spec = { planes, height, width, kernelY, kernelX, strideY, strideX, outHeight, outWidth };
  const pooled = (image: Tensor) => {
    const flat = image.reshape([-1, ...image.shape.slice(-2)]);
    return poolOp([flat.pad([[0, 0], ...around.map((size) => [size, size] as const)])], {
      ...spec,
      planes: flat.shape[0]!,
    });
  };
  let y = pooled(x);
  // What of a window is not padding, as a part of the window.
  if (!countPadding)
    y = y.div(
      pooled(
        x
          .detach()
          .slice(x.shape.slice(0, -2).map(() => [0, 1]))
          .mul(0)
          .add(1),
      ),
    );
  return y.reshape([...x.shape.slice(0, -2), outHeight, outWidth]);
}
