/** Ops that rearrange or repeat elements. Each is linear; each derivative is its adjoint. */
import type { Storage } from '../../kernels/device.js';
import { AxisError, describeValue, ShapeError } from '../../tensor/errors.js';
import {
  broadcastPlan,
  broadcastShapes,
  checkShape,
  formatShape,
  normalizeAxis,
  type Shape,
  sameShape,
  sizeOf,
} from '../../tensor/shape.js';
import { unbroadcast } from '../broadcast.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';

const reshapeOp = defineBuiltIn<{ shape: Shape }>({
  name: 'reshape',
  equation: 'y = x, read in another shape',
  derivative: 'x̄ = ȳ in the shape of x',
  shapes: 'any of as many elements',
  shape: (_, { shape }) => shape,
  saves: {},
  kernel: ([x]) => x as Storage,
  vjp: [({ gradOutput, shapes }) => gradOutput.reshape(shapes[0]!)],
});

/** The same elements in another shape; one size may be −1 and is worked out. No copy. */
export function reshape(x: Tensor, shape: readonly number[]): Tensor {
  checkTensor('reshape', 'x', x);
  if (Array.isArray(shape) && sameShape(shape, x.shape)) return x;
  const holes = Array.isArray(shape) ? shape.filter((size) => size === -1).length : 0;
  const known = checkShape('reshape', holes ? shape.map((size) => (size === -1 ? 1 : size)) : shape);
  if (holes === 1 && sizeOf(known) === 0)
    throw new ShapeError('reshape', {
      received: `${formatShape(shape)} for shape ${formatShape(x.shape)}`,
      expected: 'sizes that say what -1 is',
      hint: 'Beside a 0 it could be anything: write the number.',
    });
  const rest = holes === 1 ? x.size / sizeOf(known) : 1;
  const full = holes ? shape.map((size) => (size === -1 ? rest : size)) : [...known];
  if (holes > 1 || !Number.isInteger(rest) || sizeOf(full) !== x.size)
    throw new ShapeError('reshape', {
      received: `${formatShape(shape)} for shape ${formatShape(x.shape)} with ${x.size} elements`,
      expected: holes > 1 ? 'at most one -1' : `a shape with ${x.size} elements`,
      hint: 'Write -1 for one size to have it worked out.',
    });
  return reshapeOp([x], { shape: full });
}

const permuteOp = defineBuiltIn<{ axes: readonly number[] }>({
  name: 'permute',
  equation: 'y[i_{a_0}, i_{a_1}, …] = x[i_0, i_1, …]',
  derivative: 'x̄ = ȳ permuted by the inverse',
  shapes: 'the axes of x in another order',
  shape: ([shape], { axes }) => axes.map((axis) => shape![axis]!),
  saves: {},
  kernel: ([x], { device, shapes, params }) => device.permute(x as Storage, shapes[0]!, params.axes),
  vjp: [({ gradOutput, params: { axes } }) => gradOutput.permute(axes.map((_, i) => axes.indexOf(i)))],
});

/** Axis i of the result is axis axes[i] of this. Without axes: all reversed. */
export function permute(x: Tensor, axes?: readonly number[]): Tensor {
  checkTensor('permute', 'x', x);
  if (axes !== undefined && !Array.isArray(axes))
    throw new AxisError('permute', {
      received: describeValue(axes),
      expected: 'a list of axes',
      hint: 'For example x.permute([1, 0]); transpose() exchanges two.',
    });
  const order = (axes ?? x.shape.map((_, i) => x.rank - 1 - i)).map((axis) => normalizeAxis('permute', axis, x.shape));
  if (order.length !== x.rank || new Set(order).size !== x.rank)
    throw new AxisError('permute', {
      received: `axes ${formatShape(axes ?? [])} for shape ${formatShape(x.shape)}`,
      expected: `each of the ${x.rank} axes once`,
    });
  return order.every((axis, i) => axis === i) ? x : permuteOp([x], { axes: order });
}

/** Exchanges two axes, by default the last two. */
export function transpose(x: Tensor, axis0 = -2, axis1 = -1): Tensor {
  checkTensor('transpose', 'x', x);
  if (x.rank < 2)
    throw new ShapeError('transpose', {
      received: `shape ${formatShape(x.shape)}`,
      expected: 'at least two axes',
      hint: 'Give a vector a second axis with reshape([-1, 1]).',
    });
  const order = x.shape.map((_, i) => i);
  const [i, j] = [normalizeAxis('transpose', axis0, x.shape), normalizeAxis('transpose', axis1, x.shape)];
  [order[i], order[j]] = [order[j]!, order[i]!];
  return permute(x, order);
}

const expandOp = defineBuiltIn<{ shape: Shape }>({
  name: 'expand',
  equation: 'y[…, i, …] = x[…, 0, …] along repeated axes',
  derivative: 'x̄ = Σ ȳ over the repeated axes',
  shapes: 'as x, axes of size 1 repeated and new ones in front',
  shape: (_, { shape }) => shape,
  saves: {},
  kernel: ([x], { device, shapes, outputShape }) => {
    const { shape, strides } = broadcastPlan(outputShape, shapes);
    return device.expand(shape, { storage: x as Storage, strides: strides[0]! });
  },
  vjp: [({ gradOutput, shapes }) => unbroadcast(gradOutput, shapes[0]!)],
});

/** Repeats axes of size 1 (and missing leading axes) up to `shape`, NumPy's broadcast_to. */
export function expand(x: Tensor, shape: readonly number[]): Tensor {
  checkTensor('expand', 'x', x);
  checkShape('expand', shape);
  if (sameShape(x.shape, shape)) return x;
  if (!sameShape(broadcastShapes('expand', x.shape, shape), shape))
    throw new ShapeError('expand', {
      received: `shape ${formatShape(x.shape)} to ${formatShape(shape)}`,
      expected: 'a shape that this one broadcasts to',
      hint: 'Only axes of size 1, and missing leading axes, are repeated.',
    });
  return expandOp([x], { shape: [...shape] });
}

/** Inserts an axis of size 1. */
export function unsqueeze(x: Tensor, axis: number): Tensor {
  checkTensor('unsqueeze', 'x', x);
  const place = normalizeAxis('unsqueeze', axis, [...x.shape, 1]);
  return reshape(x, [...x.shape.slice(0, place), 1, ...x.shape.slice(place)]);
}

/** Removes one axis of size 1, or all. */
export function squeeze(x: Tensor, axis?: number): Tensor {
  checkTensor('squeeze', 'x', x);
  if (axis === undefined)
    return reshape(
      x,
      x.shape.filter((size) => size !== 1),
    );
  const place = normalizeAxis('squeeze', axis, x.shape);
  if (x.shape[place] !== 1)
    throw new ShapeError('squeeze', {
      received: `axis ${axis} of shape ${formatShape(x.shape)}`,
      expected: 'an axis of size 1',
    });
  return reshape(
    x,
    x.shape.filter((_, i) => i !== place),
  );
}

/** Merges all axes from `from` on. Default 0: a vector. */
export function flatten(x: Tensor, from = 0): Tensor {
  checkTensor('flatten', 'x', x);
  if (x.rank === 0) return reshape(x, [1]);
  const first = normalizeAxis('flatten', from, x.shape);
  return reshape(x, [...x.shape.slice(0, first), sizeOf(x.shape.slice(first))]);
}
