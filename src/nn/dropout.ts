/** Dropout: parts of a layer's output left out at random. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { context, refuseInCapture } from '../kernels/context.js';
import { allocate } from '../tensor/dtype.js';
import { DomainError } from '../tensor/errors.js';
import type { Random } from '../tensor/random.js';
import { Module } from './module.js';

/**
 * Leaves each element out with probability p, and makes up for it by what stays:
 *
 * y = x ⊙ b / (1 − p), b drawn anew at each call, 0 with probability p and 1 else. The mean of y is x.
 *
 * Derivative: x̄ = ȳ ⊙ b / (1 − p).
 * @param p      in [0, 1]
 * @param random draws b; default the stream that manualSeed() restarts, so that checkpoint() draws the same again
 * @throws DomainError
 * @source Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting"
 */
export function dropout(x: Tensor, { p, random }: { p: number; random?: Random }): Tensor {
  checkProbability('dropout', p);
  if (p === 0) return x;
  refuseInCapture('draws random numbers');
  const source = random ?? context.random;
  const dtype = x.dtype === 'int32' ? 'float32' : x.dtype;
  const mask = allocate(dtype, x.size);
  const [bound, kept] = [p * 2 ** 32, 1 / (1 - p)];
  for (let i = 0; i < mask.length; i++) mask[i] = source.uint32() < bound ? 0 : kept;
  return x.mul(tensor(mask, { shape: x.shape, dtype, device: x.device }));
}

function checkProbability(op: string, p: number): void {
  if (!(p >= 0 && p <= 1)) throw new DomainError(op, { received: `p ${p}`, expected: 'a number in [0, 1]' });
}

/** {@link dropout} in training mode; in evaluation mode y = x. */
export class Dropout extends Module {
  /** @param p probability that an element is left out. Default 0.5. @throws DomainError outside [0, 1] */
  constructor(readonly p = 0.5) {
    super();
    checkProbability('Dropout', p);
  }

  /** x with elements dropped while training, x itself in eval mode. */
  forward(x: Tensor): Tensor {
    return this.training ? dropout(x, { p: this.p }) : x;
  }
}
