/** Options of tensor methods, checked: a bare number where an object belongs must not be ignored silently. */
import { describeValue, UsageError } from '../../tensor/errors.js';
import { normalizeAxes } from '../../tensor/shape.js';
import { checkTensor, type Tensor } from '../tensor.js';

export interface AxisOptions {
  /** Axis or axes, negative counting from the last. Default: all. */
  axis?: number | readonly number[];
  /** Keep the reduced axes with size 1. Default false. */
  keepDims?: boolean;
}

/** @throws UsageError when `options` is not an object, or has keys other than `known` */
export function checkOptions<T extends object>(op: string, options: T | undefined, known: readonly string[]): T {
  if (options === undefined) return {} as T;
  if (typeof options !== 'object' || options === null || Array.isArray(options))
    throw new UsageError(op, {
      received: `${describeValue(options)} as options`,
      expected: `an object with ${known.join(', ')}`,
      hint: `For example ${op}({ ${known[0]}: … }).`,
    });
  for (const key of Object.keys(options)) {
    if (!known.includes(key))
      throw new UsageError(op, {
        received: `an option ${key}`,
        expected: known.join(', '),
        hint: key === 'dim' ? 'It is called axis here.' : '',
      });
  }
  return options;
}

export interface ReduceParams {
  /** Sorted, non-negative. */
  axes: number[];
  keepDims: boolean;
}

/** Options of a reduction, checked: normal axes, in order. */
export function reduceParams(op: string, x: Tensor, options: AxisOptions | undefined): ReduceParams {
  checkTensor(op, 'x', x);
  const { axis, keepDims = false } = checkOptions(op, options, ['axis', 'keepDims']);
  return { axes: normalizeAxes(op, axis, x.shape), keepDims };
}
