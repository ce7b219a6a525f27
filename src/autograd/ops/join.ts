/** Joining tensors. As functions these take a list, as methods what follows the first tensor. */
import type { Storage } from '../../kernels/device.js';
import { describeValue, ShapeError, UsageError } from '../../tensor/errors.js';
import { formatShape, normalizeAxis, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { addMethods } from './elementwise.js';
import { checkOptions } from './options.js';

declare module '../tensor.js' {
  interface Tensor {
    /** Joins along an existing axis (default 0). */
    concat(others: Tensor | readonly Tensor[], options?: { axis?: number }): Tensor;
    /** Joins along a new axis (default 0). */
    stack(others: Tensor | readonly Tensor[], options?: { axis?: number }): Tensor;
  }
}

const concatOp = defineBuiltIn<{ axis: number }>({
  name: 'concat',
  equation: 'y = [x₁; x₂; …] along an axis',
  derivative: 'x̄_k = the part of ȳ that came from x_k',
  shapes: 'sizes add up along the axis, all others are equal',
  shape: (shapes, { axis }) => shapes[0]!.map((size, i) => (i === axis ? shapes.reduce((n, s) => n + s[i]!, 0) : size)),
  saves: {},
  kernel: (inputs, { device, shapes, params: { axis } }) =>
    device.concat(
      inputs as Storage[],
      sizeOf(shapes[0]!.slice(0, axis)),
      shapes.map((shape) => sizeOf(shape.slice(axis))),
    ),
  vjp: ({ gradOutput, params: { axis }, shapes, wants }) => {
    let start = 0;
    return shapes.map((shape, k) => {
      const end = start + shape[axis]!;
      const ranges = shape.map((size, i): [number, number] => (i === axis ? [start, end] : [0, size]));
      start = end;
      return wants[k] ? gradOutput.slice(ranges) : null;
    });
  },
});

/** Joins tensors along an existing axis (default 0). All other sizes must agree. @throws ShapeError naming all shapes */
export function concat(tensors: readonly Tensor[], options?: { axis?: number }): Tensor {
  const { axis = 0 } = checkOptions('concat', options, ['axis']);
  checkList('concat', tensors);
  const first = tensors[0]!.shape;
  const place = normalizeAxis('concat', axis, first);
  if (
    !tensors.every(
      ({ shape }) => shape.length === first.length && shape.every((size, i) => i === place || size === first[i]),
    )
  )
    throw new ShapeError('concat', {
      received: `shapes ${tensors.map(({ shape }) => formatShape(shape)).join(', ')} along axis ${axis}`,
      expected: 'equal sizes on all other axes',
    });
  return concatOp(tensors, { axis: place });
}

/** Joins same-shape tensors along a new axis (default 0). @throws ShapeError naming all shapes */
export function stack(tensors: readonly Tensor[], options?: { axis?: number }): Tensor {
  const { axis = 0 } = checkOptions('stack', options, ['axis']);
  checkList('stack', tensors);
  const place = normalizeAxis('stack', axis, [...tensors[0]!.shape, 1]);
  if (!tensors.every(({ shape }) => formatShape(shape) === formatShape(tensors[0]!.shape)))
    throw new ShapeError('stack', {
      received: `shapes ${tensors.map(({ shape }) => formatShape(shape)).join(', ')}`,
      expected: 'equal shapes',
      hint: 'concat() joins along an existing axis.',
    });
  return concat(
    tensors.map((t) => t.unsqueeze(place)),
    { axis: place },
  );
}

function checkList(op: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors))
    throw new UsageError(op, {
      received: describeValue(tensors),
      expected: 'a list of tensors',
      hint: `${op}([a, b]) or a.${op}(b).`,
    });
  if (tensors.length === 0) throw new ShapeError(op, { received: 'no tensors', expected: 'at least one' });
  tensors.forEach((t, i) => {
    checkTensor(op, `tensor ${i}`, t);
  });
}

addMethods({
  concat: (x: Tensor, others: Tensor | readonly Tensor[], options?: { axis?: number }) =>
    concat([x, ...[others].flat()], options),
  stack: (x: Tensor, others: Tensor | readonly Tensor[], options?: { axis?: number }) =>
    stack([x, ...[others].flat()], options),
});
