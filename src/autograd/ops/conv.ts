/** Two-dimensional convolution and average pooling over images [batch, channels, height, width]. */
import type { Conv2dSpec, Pool2dSpec, Storage } from '../../kernels/device.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn, type OpFunction } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

export interface Conv2dOptions {
  /** Step between windows, ≥ 1. Default 1. */
  stride?: Pair;
  /** Zeros around the image, ≥ 0. Default 0. */
  padding?: Pair;
  /** Added to each output channel, [outChannels]. */
  bias?: Tensor | null;
}

function pair(op: string, name: string, value: Pair, least: number): readonly [number, number] {
  const both = typeof value === 'number' ? ([value, value] as const) : value;
  if (!Array.isArray(both) || both.length !== 2 || !both.every((v) => Number.isInteger(v) && v >= least))
    throw new DomainError(op, {
      received: `${name} ${describeValue(value)}`,
      expected: `a whole number ≥ ${least}, or a pair of them`,
    });
  return both;
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
  shape: (_, s) => weightShape(s),
  saves: { inputs: [0, 1] },
  kernel: ([x, g], { device, params }) => device.conv2dWeightGrad(x as Storage, g as Storage, params),
  vjp: [
    ({ gradOutput, inputs: [, g], params }) => inputGradOp([g!, gradOutput], params),
    ({ gradOutput, inputs: [x], params }) => convOp([x!, gradOutput], params),
  ],
});

/**
 * Cross-correlation with weight [outChannels, inChannels, kernelHeight, kernelWidth].
 * Output height = ⌊(height + 2·padding − kernelHeight)/stride⌋ + 1, width likewise.
 * @throws ShapeError when channels differ or the kernel does not fit
 */
export function conv2d(x: Tensor, weight: Tensor, options?: Conv2dOptions): Tensor {
  checkTensor('conv2d', 'x', x);
  const { stride = 1, padding = 0, bias = null } = checkOptions('conv2d', options, ['stride', 'padding', 'bias']);
  checkTensor('conv2d', 'weight', weight);
  const [strideY, strideX] = pair('conv2d', 'stride', stride, 1);
  const [paddingY, paddingX] = pair('conv2d', 'padding', padding, 0);
  const shapes = `image ${formatShape(x.shape)} and weight ${formatShape(weight.shape)}`;
  if (x.rank !== 4 || weight.rank !== 4 || x.shape[1] !== weight.shape[1])
    throw new ShapeError('conv2d', {
      received: shapes,
      expected: '[batch, channels, height, width] and [outChannels, channels, kernelHeight, kernelWidth]',
      hint: x.rank === 3 ? 'Add the batch axis with unsqueeze(0).' : '',
    });
  const [batch, inChannels, height, width] = x.shape as [number, number, number, number];
  const [outChannels, , kernelHeight, kernelWidth] = weight.shape as [number, number, number, number];
  const sizes = {
    batch,
    inChannels,
    height,
    width,
    outChannels,
    kernelHeight,
    kernelWidth,
    strideY,
    strideX,
    paddingY,
    paddingX,
  };
  const spec = { ...sizes, ...outputSize(sizes) };
  if (spec.outHeight < 1 || spec.outWidth < 1)
    throw new ShapeError('conv2d', {
      received: `${shapes} with padding ${paddingY}, ${paddingX}`,
      expected: 'a kernel no larger than the padded image',
    });
  if (bias === null) return convOp([x, weight], spec);
  checkTensor('conv2d', 'bias', bias);
  if (bias.rank !== 1 || bias.shape[0] !== outChannels)
    throw new ShapeError('conv2d', {
      received: `bias ${formatShape(bias.shape)} for weight ${formatShape(weight.shape)}`,
      expected: `[${outChannels}], a number an output channel`,
    });
  return convOp([x, weight], spec).add(bias.reshape([1, outChannels, 1, 1]));
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
  shape: (_, s) => poolShapes(s).input,
  saves: {},
  kernel: ([g], { device, params }) => device.avgPool2dGrad(g as Storage, params),
  vjp: [({ gradOutput, params }) => poolOp([gradOutput], params)],
});

/** Mean over windows of `kernel`, every `stride` (default: kernel); windows that do not fit are left out. */
export function avgPool2d(x: Tensor, options: { kernel: Pair; stride?: Pair }): Tensor {
  checkTensor('avgPool2d', 'x', x);
  const { kernel, stride = kernel } = checkOptions('avgPool2d', options, ['kernel', 'stride']);
  const [kernelY, kernelX] = pair('avgPool2d', 'kernel', kernel, 1);
  const [strideY, strideX] = pair('avgPool2d', 'stride', stride, 1);
  const [height, width] = x.shape.slice(-2) as [number, number];
  if (x.rank < 3 || kernelY > height || kernelX > width)
    throw new ShapeError('avgPool2d', {
      received: `shape ${formatShape(x.shape)} with kernel ${kernelY}×${kernelX}`,
      expected: '[batch, channels, height, width] no smaller than the kernel',
    });
  const planes = sizeOf(x.shape.slice(0, -2));
  const outHeight = Math.floor((height - kernelY) / strideY) + 1;
  const outWidth = Math.floor((width - kernelX) / strideX) + 1;
  const spec = { planes, height, width, kernelY, kernelX, strideY, strideX, outHeight, outWidth };
  return poolOp([x.reshape([planes, height, width])], spec).reshape([...x.shape.slice(0, -2), outHeight, outWidth]);
}
