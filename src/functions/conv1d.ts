/** Convolution along one axis. */
import { conv2d } from '../autograd/ops/conv.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';

/** How the windows of a convolution along one axis lie. */
export interface Conv1dOptions {
  /** Step between windows, ≥ 1. Default 1. */
  stride?: number;
  /** Zeros at both ends, ≥ 0. Default 0. */
  padding?: number;
  /** Distance between neighbours in a window, ≥ 1. Default 1. */
  dilation?: number;
  /** Parts of the channels that are convolved each by itself. Default 1. */
  groups?: number;
  /** Added to each output channel, [outChannels]. */
  bias?: Tensor | null;
}

/**
 * Cross-correlation of [batch, channels, length] with weight [outChannels, channels / groups, kernel], as conv2d of images
 * of one row: y[n,o,i] = Σ_{c,u} x[n, c, i·stride + u·dilation − padding] · w[o,c,u].
 * Output length = ⌊(length + 2·padding − dilation·(kernel − 1) − 1)/stride⌋ + 1.
 * @throws ShapeError when channels differ or the kernel does not fit
 */
export function conv1d(x: Tensor, weight: Tensor, options?: Conv1dOptions): Tensor {
  checkTensor('conv1d', 'x', x);
  checkTensor('conv1d', 'weight', weight);
  const known = ['stride', 'padding', 'dilation', 'groups', 'bias'];
  const { stride = 1, padding = 0, dilation = 1, ...rest } = checkOptions('conv1d', options, known);
  if (x.rank !== 3 || weight.rank !== 3)
    throw new ShapeError('conv1d', {
      received: `shapes ${formatShape(x.shape)} and ${formatShape(weight.shape)}`,
      expected: '[batch, channels, length] and [outChannels, channels / groups, kernel]',
    });
  const y = conv2d(x.unsqueeze(2), weight.unsqueeze(2), {
    ...rest,
    stride: [1, stride],
    padding: [0, padding],
    dilation: [1, dilation],
  });
  return y.squeeze(2);
}
