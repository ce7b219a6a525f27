/** Parts of a model that keep nothing for their derivative. */
import { checkpoint } from '../autograd/checkpoint.js';
import { scoped } from '../autograd/functional.js';
import type { Tensor } from '../autograd/tensor.js';

/**
 * {@link checkpoint} of a function that hands out nothing but its result: all else that it makes the first time is freed
 * at its end. `checkpoint` itself frees only what the derivative would have kept, as a function may have stored
 * the rest somewhere; that waits for the collector, which does not come in the midst of a step.
 */
export function recompute(fn: (x: Tensor) => Tensor, x: Tensor): Tensor {
  let first = true;
  return checkpoint((inputs: Tensor) => {
    if (!first) return fn(inputs); // backward follows, and needs what is inside
    first = false;
    return scoped(() => fn(inputs));
  }, x);
}
