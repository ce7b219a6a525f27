/** Reductions over one, several or all axes. */
import type { ReduceKind, Storage } from '../../kernels/device.js';
import { DomainError } from '../../tensor/errors.js';
import { formatShape, normalizeAxis, reducedShape, type Shape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn, type ForwardContext } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { type AxisOptions, checkOptions, type ReduceParams, reducedShapes, reduceParams } from './options.js';

/**
 * Reduces runs of neighbouring axes, from the last, each run as the middle of [outer, length, inner]. For sums and
 * extremes the order of the runs does not matter.
 */
function reduceAxes(
  kind: ReduceKind,
  x: Storage,
  shape: Shape,
  axes: readonly number[],
  { device }: ForwardContext<unknown>,
): Storage {
  let storage = x;
  const sizes = [...shape];
  for (let last = axes.length - 1; last >= 0; last--) {
    let first = last;
    while (first > 0 && axes[first - 1] === axes[first]! - 1) first--;
    const from = axes[first]!;
    const to = axes[last]! + 1;
    const next = device.reduce(
      kind,
      storage,
      sizeOf(sizes.slice(0, from)),
      sizeOf(sizes.slice(from, to)),
      sizeOf(sizes.slice(to)),
    );
    if (storage !== x) storage.free();
    storage = next;
    sizes.splice(from, to - from);
    last = first;
  }
  return storage;
}

/** gradOutput brought back to rank and repeated over the reduced axes. */
function spread(grad: Tensor, shape: Shape, axes: readonly number[]): Tensor {
  return grad.reshape(reducedShape(shape, axes, true)).expand(shape);
}

const sumOp = defineBuiltIn<ReduceParams>({
  name: 'sum',
  equation: 'y = Σ_i x_i',
  derivative: 'x̄_i = ȳ',
  shapes: reducedShapes,
  shape: ([shape], { axes, keepDims }) => reducedShape(shape!, axes, keepDims),
  saves: {},
  kernel: ([x], context) => {
    const { params, shapes, device } = context;
    if (params.axes.length === 0)
      return device.slice(
        x as Storage,
        shapes[0]!,
        shapes[0]!.map(() => 0),
        shapes[0]!,
      );
    return reduceAxes('sum', x as Storage, shapes[0]!, params.axes, context);
  },
  vjp: [({ gradOutput, params, shapes }) => spread(gradOutput, shapes[0]!, params.axes)],
});

const extreme = (kind: 'max' | 'min', symbol: string) =>
  defineBuiltIn<ReduceParams>({
    name: kind,
    equation: `y = ${kind}_i x_i`,
    derivative: `x̄_i = ȳ [x_i = y] / #{j: x_j = y}${symbol}`,
    shapes: reducedShapes,
    shape: ([shape], { axes, keepDims }) => reducedShape(shape!, axes, keepDims),
    saves: { inputs: [0], output: true },
    kernel: ([x], context) => {
      const { params, shapes, device } = context;
      if (params.axes.length === 0)
        return device.slice(
          x as Storage,
          shapes[0]!,
          shapes[0]!.map(() => 0),
          shapes[0]!,
        );
      return reduceAxes(kind, x as Storage, shapes[0]!, params.axes, context);
    },
    vjp: [
      ({ gradOutput, inputs: [x], output, params: { axes }, shapes }) => {
        const kept = reducedShape(shapes[0]!, axes, true);
        const picked = x!.equal(output.reshape(kept)); // [x_i = y], a constant
        const share = gradOutput.reshape(kept).div(picked.sum({ axis: axes, keepDims: true }));
        return picked.mul(share);
      },
    ],
    test: { distinct: true },
  });

const maxOp = extreme('max', '');
const minOp = extreme('min', '');

const argExtreme = (kind: 'max' | 'min') =>
  defineBuiltIn<{ axis: number; keepDims: boolean }>({
    name: `arg${kind}`,
    equation: `y = the first i with x_i = ${kind}_j x_j`,
    derivative: 'none',
    dtype: () => 'int32',
    shapes: reducedShapes,
    shape: ([shape], { axis, keepDims }) => reducedShape(shape!, [axis], keepDims),
    kernel: ([x], { device, shapes: [shape], params: { axis } }) =>
      device.argReduce(
        kind,
        x as Storage,
        sizeOf(shape!.slice(0, axis)),
        shape![axis]!,
        sizeOf(shape!.slice(axis + 1)),
      ),
    vjp: 'an index is a whole number; gather the values with it instead, or use max()',
    test: { distinct: true },
  });

const argMaxOp = argExtreme('max');
const argMinOp = argExtreme('min');

/** y = Σ x over `axis` (default all), accumulated in higher precision than float32; int32 wraps. Empty: 0. */
export function sum(x: Tensor, options?: AxisOptions): Tensor {
  return sumOp([x], reduceParams('sum', x, options));
}

/** y = (Σ x)/n over `axis` (default all); of int32 as float32. @throws DomainError when there is nothing to average */
export function mean(x: Tensor, options?: AxisOptions): Tensor {
  const reduction = reduceParams('mean', x, options);
  const count = reduction.axes.reduce((product, axis) => product * x.shape[axis]!, 1);
  if (count === 0)
    throw new DomainError('mean', {
      received: `nothing to average in shape ${formatShape(x.shape)}`,
      expected: 'at least one element along the axes',
    });
  return sumOp([x.dtype === 'int32' ? x.cast('float32') : x], reduction).div(count); // whole sums would wrap
}

function nonEmpty(op: string, x: Tensor, axes: readonly number[]): void {
  if (axes.some((axis) => x.shape[axis] === 0))
    throw new DomainError(op, {
      received: `no elements along the axes of shape ${formatShape(x.shape)}`,
      expected: 'at least one',
      hint: `The ${op} of nothing is undefined.`,
    });
}

/** Largest element over `axis` (default all); NaN if any is; ties share the gradient equally. */
export function max(x: Tensor, options?: AxisOptions): Tensor {
  const reduction = reduceParams('max', x, options);
  nonEmpty('max', x, reduction.axes);
  return maxOp([x], reduction);
}

/** Smallest element over `axis` (default all); NaN if any is; ties share the gradient equally. */
export function min(x: Tensor, options?: AxisOptions): Tensor {
  const reduction = reduceParams('min', x, options);
  nonEmpty('min', x, reduction.axes);
  return minOp([x], reduction);
}

function argReduce(op: 'argmax' | 'argmin', x: Tensor, options?: { axis?: number; keepDims?: boolean }): Tensor {
  checkTensor(op, 'x', x);
  const { axis, keepDims = false } = checkOptions(op, options, ['axis', 'keepDims']);
  const target = axis === undefined ? x.reshape([x.size]) : x;
  const normal = normalizeAxis(op, axis ?? 0, target.shape);
  nonEmpty(op, target, [normal]);
  return (op === 'argmax' ? argMaxOp : argMinOp)([target], { axis: normal, keepDims });
}

/** Mean of (x − mean)² over `axis`, the biased variance. */
export function variance(x: Tensor, options?: AxisOptions): Tensor {
  const { axes, keepDims } = reduceParams('variance', x, options);
  const centred = x.sub(mean(x, { axis: axes, keepDims: true }));
  return mean(centred.square(), { axis: axes, keepDims });
}

/** Index (int32) of the first largest element along `axis`; of the flattened tensor without one. */
export function argmax(x: Tensor, options?: { axis?: number; keepDims?: boolean }): Tensor {
  return argReduce('argmax', x, options);
}

/** Index (int32) of the first smallest element along `axis`; of the flattened tensor without one. */
export function argmin(x: Tensor, options?: { axis?: number; keepDims?: boolean }): Tensor {
  return argReduce('argmin', x, options);
}
