/** Undoing broadcasting, in one place: the adjoint of repeating is summing. */
import { type Shape, sameShape } from '../tensor/shape.js';
import type { Tensor } from './tensor.js';

/**
 * Sums `grad` over the axes along which an operand of shape `shape` was repeated.
 * The adjoint of expand: ⟨expand(x), g⟩ = ⟨x, unbroadcast(g)⟩.
 */
export function unbroadcast(grad: Tensor, shape: Shape): Tensor {
  if (sameShape(grad.shape, shape)) return grad;
  const offset = grad.shape.length - shape.length;
  const axes = grad.shape.flatMap((size, i) => (i < offset || (shape[i - offset] === 1 && size !== 1) ? [i] : []));
  const summed = axes.length > 0 ? grad.sum({ axis: axes }) : grad;
  return sameShape(summed.shape, shape) ? summed : summed.reshape(shape);
}
