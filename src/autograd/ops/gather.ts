/** Picking entries by index, and the transpose of it. */
import type { Storage } from '../../kernels/device.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape, normalizeAxis, type Shape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn, type OpFunction } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { checkIndices, checkOptions } from './options.js';

interface GatherParams {
  axis: number;
  indexShape: Shape;
}

const gatherOp: OpFunction<GatherParams> = defineBuiltIn({
  name: 'gather',
  equation: 'y[…, j, …] = x[…, index_j, …]',
  derivative: 'x̄[…, i, …] = Σ_{j: index_j = i} ȳ[…, j, …]',
  shapes: 'the axis of x gives way to the axes of the indices',
  nonDifferentiable: [1],
  saves: { inputs: [1] },
  shape: ([shape], { axis, indexShape }) => [...shape!.slice(0, axis), ...indexShape, ...shape!.slice(axis + 1)],
  kernel: ([x, indices], { device, shapes: [shape], params: { axis } }) =>
    device.gather(
      x as Storage,
      indices as Storage,
      sizeOf(shape!.slice(0, axis)),
      shape![axis]!,
      sizeOf(shape!.slice(axis + 1)),
    ),
  vjp: ({ gradOutput, inputs: [, indices], params: { axis }, shapes: [shape] }) => {
    const flat = gradOutput.reshape([...shape!.slice(0, axis), indices!.size, ...shape!.slice(axis + 1)]);
    return [scatterOp([flat, indices!], { axis, rows: shape![axis]! }), null];
  },
});

const scatterOp: OpFunction<{ axis: number; rows: number }> = defineBuiltIn({
  name: 'scatterAdd',
  equation: 'y[…, i, …] = Σ_{j: index_j = i} x[…, j, …]',
  derivative: 'x̄[…, j, …] = ȳ[…, index_j, …]',
  shapes: 'as x, with as many rows along the axis as asked for',
  nonDifferentiable: [1],
  saves: { inputs: [1] },
  shape: ([shape], { axis, rows }) => shape!.map((size, i) => (i === axis ? rows : size)),
  kernel: ([x, indices], { device, shapes: [shape], params: { axis, rows } }) =>
    device.scatterAdd(
      x as Storage,
      indices as Storage,
      sizeOf(shape!.slice(0, axis)),
      rows,
      sizeOf(shape!.slice(axis + 1)),
    ),
  vjp: ({ gradOutput, inputs: [, indices], params: { axis }, shapes: [shape] }) => [
    gatherOp([gradOutput, indices!], { axis, indexShape: [shape![axis]!] }),
    null,
  ],
});

/**
 * Picks entries along `axis` (default 0) by int32 indices of any shape, which takes the place of that axis.
 * @throws DomainError for an index outside [0, size), where the device can be read at once
 */
export function gather(x: Tensor, indices: Tensor, options?: { axis?: number }): Tensor {
  checkTensor('gather', 'x', x);
  const { axis = 0 } = checkOptions('gather', options, ['axis']);
  const place = normalizeAxis('gather', axis, x.shape);
  checkIndices('gather', indices, x.shape[place]!);
  return gatherOp([x, indices], { axis: place, indexShape: indices.shape });
}

/** The transpose of gather: sums entries of `this` into `rows` places along `axis`, by index. */
export function scatterAdd(x: Tensor, indices: Tensor, rows: number, options?: { axis?: number }): Tensor {
  checkTensor('scatterAdd', 'x', x);
  const { axis = 0 } = checkOptions('scatterAdd', options, ['axis']);
  const place = normalizeAxis('scatterAdd', axis, x.shape);
  if (!Number.isInteger(rows) || rows < 0)
    throw new DomainError('scatterAdd', { received: `${describeValue(rows)} rows`, expected: 'a whole number ≥ 0' });
  checkIndices('scatterAdd', indices, rows);
  if (indices.size !== x.shape[place])
    throw new ShapeError('scatterAdd', {
      received: `${indices.size} indices for shape ${formatShape(x.shape)} along axis ${axis}`,
      expected: `${x.shape[place]} indices`,
    });
  return scatterOp([x, indices], { axis: place, rows });
}
