/** A tensor passed on as another one: the same elements, a node of its own. */
import { defineBuiltIn } from '../op.js';
import { Tensor } from '../tensor.js';

/** A new tensor object that shares storage and history: what functional grad differentiates with respect to. */
export const identity = defineBuiltIn<void>({
  name: 'identity',
  equation: 'y = x',
  derivative: 'x̄ = ȳ',
  saves: {},
  forward: ([x]) => new Tensor(x!.storage, x!.shape),
  vjp: [({ gradOutput }) => gradOutput],
  test: { scalar: (x) => x! },
});
