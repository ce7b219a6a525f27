/** Initialisers: how a parameter begins. Each takes a shape and draws from the generator it was given, or the global one. */
import { full, randn, type TensorOptions, uniform } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { context } from '../kernels/context.js';
import type { Random } from '../tensor/random.js';
import { sizeOf } from '../tensor/shape.js';

/** Where parameters are made: generator, dtype and device. */
export interface Placement extends Omit<TensorOptions, 'requiresGrad'> {
  /** Default: the stream that manualSeed() restarts, from which each layer takes what comes next. */
  random?: Random;
  /** Zeros instead of random numbers: for weights that are overwritten at once. */
  blank?: boolean;
}

/** A placement with its generator in place. */
export function place(placement: Placement = {}): Placement & { random: Random } {
  return { ...placement, random: placement.random ?? context.random };
}

/** N(0, std²). */
export function normal(shape: readonly number[], std: number, placement: Placement): Tensor {
  return placement.blank ? constant(shape, 0, placement) : randn(shape, { ...placement, std });
}

/** U(−bound, bound). */
function symmetric(shape: readonly number[], bound: number, placement: Placement): Tensor {
  return placement.blank ? constant(shape, 0, placement) : uniform(shape, { ...placement, low: -bound, high: bound });
}

/** Inputs that one output sums: all sizes but the first. */
const fanIn = (shape: readonly number[]) => sizeOf(shape.slice(1));

/** U(−1/√fanIn, 1/√fanIn): PyTorch's default for linear and convolution weights (Kaiming uniform with a = √5). */
export function kaimingUniform(shape: readonly number[], placement: Placement): Tensor {
  return fanInUniform(shape, fanIn(shape), placement);
}

/** U(−1/√n, 1/√n): PyTorch's default for biases, n being the weight's fan-in. */
export function fanInUniform(shape: readonly number[], n: number, placement: Placement): Tensor {
  return symmetric(shape, n > 0 ? 1 / Math.sqrt(n) : 0, placement);
}

/**
 * U(−b, b) with b = √(6 / (fanIn + fanOut)).
 * @source Glorot & Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"
 */
export function xavierUniform(shape: readonly number[], placement: Placement): Tensor {
  return symmetric(shape, Math.sqrt(6 / (shape[0]! + fanIn(shape))), placement);
}

/** One value everywhere. */
export function constant(shape: readonly number[], value: number, placement: Placement): Tensor {
  const { dtype, device } = placement;
  return full(shape, value, { ...(dtype && { dtype }), ...(device && { device }) });
}
