/**
 * All built-in ops: functions, and methods of the same names. Importing this enters the ops into the registry. An op is
 * written once, as a function whose first argument is a tensor; its method, type and docstring included, follows.
 */
import type { Tensor } from '../tensor.js';
import * as activations from './activations.js';
import * as arithmetic from './arithmetic.js';
import * as cast from './cast.js';
import * as compare from './compare.js';
import * as conv from './conv.js';
import { addMethods } from './elementwise.js';
import * as explog from './explog.js';
import * as gather from './gather.js';
import * as hyperbolic from './hyperbolic.js';
import * as matmul from './matmul.js';
import * as norm from './norm.js';
import * as reduce from './reduce.js';
import * as composed from './reduce-composed.js';
import * as rounding from './rounding.js';
import * as shape from './shape.js';
import * as slicing from './slicing.js';
import * as softmax from './softmax.js';
import * as trig from './trig.js';

export * from './activations.js';
export * from './arithmetic.js';
export * from './attention.js';
export * from './batch-norm.js';
export * from './cast.js';
export * from './compare.js';
export * from './conv.js';
export * from './explog.js';
export * from './gather.js';
export * from './hyperbolic.js';
export * from './join.js';
export * from './matmul.js';
export * from './norm.js';
export type { Pair } from './options.js';
export * from './reduce.js';
export * from './reduce-composed.js';
export * from './rounding.js';
export * from './shape.js';
export * from './slicing.js';
export * from './softmax.js';
export * from './trig.js';

/** `f(x, …)` as `x.f(…)`. */
type Methods<Functions> = {
  [Name in keyof Functions]: Functions[Name] extends (x: Tensor, ...rest: infer Rest) => infer Result
    ? (...rest: Rest) => Result
    : never;
};

const families = [
  activations,
  arithmetic,
  cast,
  compare,
  composed,
  conv,
  explog,
  gather,
  hyperbolic,
  matmul,
  norm,
  reduce,
  rounding,
  shape,
  slicing,
  softmax,
  trig,
];
for (const functions of families) addMethods(functions);

declare module '../tensor.js' {
  interface Tensor
    extends Methods<typeof activations>,
      Methods<typeof arithmetic>,
      Methods<typeof cast>,
      Methods<typeof compare>,
      Methods<typeof composed>,
      Methods<typeof conv>,
      Methods<typeof explog>,
      Methods<typeof gather>,
      Methods<typeof hyperbolic>,
      Methods<typeof matmul>,
      Methods<typeof norm>,
      Methods<typeof reduce>,
      Methods<typeof rounding>,
      Methods<typeof shape>,
      Methods<typeof slicing>,
      Methods<typeof softmax>,
      Methods<typeof trig> {}
}
