/** Options of tensor methods, checked: a bare number where an object belongs must not be ignored silently. */
import { DomainError, DTypeError, describeValue, UsageError } from '../../tensor/errors.js';
import { normalizeAxes } from '../../tensor/shape.js';
import { checkTensor, Tensor } from '../tensor.js';

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

/** The shape rule of reductions, for a person. */
export const reducedShapes = 'without the reduced axes; keepDims leaves them with size 1';

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

/** One number for both directions, or [vertical, horizontal]. */
export type Pair = number | readonly [number, number];

/** `value` as a pair of whole numbers. @throws DomainError when it is none, or below `least` */
export function pair(op: string, name: string, value: Pair, least: number): readonly [number, number] {
  const both = typeof value === 'number' ? ([value, value] as const) : value;
  if (!Array.isArray(both) || both.length !== 2 || !both.every((v) => Number.isInteger(v) && v >= least))
    throw new DomainError(op, {
      received: `${name} ${describeValue(value)}`,
      expected: `a whole number ≥ ${least}, or a pair of them`,
    });
  return both;
}

/** @throws DTypeError unless `indices` are int32; DomainError for one outside [0, rows), where they can be read at once */
export function checkIndices(op: string, indices: Tensor, rows: number): void {
  if (!(indices instanceof Tensor) || indices.dtype !== 'int32')
    throw new DTypeError(op, {
      received: indices instanceof Tensor ? `${indices.dtype} indices` : 'indices that are no tensor',
      expected: 'an int32 tensor',
      hint: "Make them with tensor([…], { dtype: 'int32' }) or argmax().",
    });
  // A device that answers at once is checked; on others an index outside reads some other element.
  const { device } = indices.storage;
  if (!device.synchronous) return;
  const wrong = device.readSync(indices.storage).find((index) => index < 0 || index >= rows);
  if (wrong !== undefined)
    throw new DomainError(op, { received: `index ${wrong}`, expected: `whole numbers in [0, ${rows})` });
}
