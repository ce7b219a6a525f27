/** Taking parts and joining them: slice, split, pad, concat, stack. */
import type { Storage } from '../../kernels/device.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { checkShape, formatShape, normalizeAxis, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { addMethods } from './elementwise.js';
import { checkOptions } from './options.js';

declare module '../tensor.js' {
  interface Tensor {
    /**
     * The block [start, end) along each axis; axes not named are taken whole, negative numbers count from the
     * end, and `null` as end means the end. @throws ShapeError for ranges outside the tensor
     */
    slice(ranges: readonly (readonly [number, (number | null)?])[]): Tensor;
    /** Surrounds with `value`: [before, after] for each axis. */
    pad(widths: readonly (readonly [number, number])[], value?: number): Tensor;
    /** Cuts `axis` (default 0) into parts: of one size (the last may be smaller), or of the listed sizes. */
    split(sizes: number | readonly number[], options?: { axis?: number }): Tensor[];
    /** Joins along an existing axis (default 0). */
    concat(others: Tensor | readonly Tensor[], options?: { axis?: number }): Tensor;
    /** Joins along a new axis (default 0). */
    stack(others: Tensor | readonly Tensor[], options?: { axis?: number }): Tensor;
  }
}

const sliceOp = defineBuiltIn<{ starts: number[]; sizes: number[] }>({
  name: 'slice',
  equation: 'y[i] = x[start + i]',
  derivative: 'x̄ = ȳ padded with zeros',
  shape: (_, { sizes }) => sizes,
  saves: {},
  kernel: ([x], { device, shapes, params }) => device.slice(x as Storage, shapes[0]!, params.starts, params.sizes),
  vjp: [
    ({ gradOutput, params: { starts, sizes }, shapes: [shape] }) =>
      gradOutput.pad(starts.map((start, i) => [start, shape![i]! - start - sizes[i]!])),
  ],
});

export function slice(x: Tensor, ranges: readonly (readonly [number, (number | null)?])[]): Tensor {
  if (!Array.isArray(ranges) || ranges.length > x.rank || !ranges.every(Array.isArray))
    throw new ShapeError('slice', {
      received: `${describeValue(ranges)} for shape ${formatShape(x.shape)}`,
      expected: `a list of at most ${x.rank} [start, end] pairs`,
      hint: 'For example x.slice([[0, 2], [1, 3]]).',
    });
  const starts: number[] = [];
  const sizes = x.shape.map((size, axis) => {
    const [start = 0, end = size] = (ranges[axis] ?? []) as [number?, (number | null)?];
    const from = start < 0 ? start + size : start;
    const to = end === null ? size : end < 0 ? end + size : end;
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to > size || from > to)
      throw new ShapeError('slice', {
        received: `[${start}, ${end}] at axis ${axis} of shape ${formatShape(x.shape)}`,
        expected: `whole numbers with 0 ≤ start ≤ end ≤ ${size}`,
        hint: 'Negative numbers count from the end; null as end means the end.',
      });
    starts.push(from);
    return to - from;
  });
  return sizes.every((size, i) => size === x.shape[i]) ? x : sliceOp([x], { starts, sizes });
}

const padOp = defineBuiltIn<{ before: number[]; shape: number[]; value: number }>({
  name: 'pad',
  equation: 'y[before + i] = x[i], a constant elsewhere',
  derivative: 'x̄ = the middle of ȳ',
  shape: (_, { shape }) => shape,
  saves: {},
  kernel: ([x], { device, shapes, params: p }) => device.pad(x as Storage, shapes[0]!, p.before, p.shape, p.value),
  vjp: [
    ({ gradOutput, params: { before }, shapes: [shape] }) =>
      gradOutput.slice(before.map((start, i) => [start, start + shape![i]!])),
  ],
});

export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  const natural = (width: number) => Number.isInteger(width) && width >= 0;
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(natural);
  if (!Array.isArray(widths) || widths.length !== x.rank || !widths.every(isPair))
    throw new ShapeError('pad', {
      received: `${describeValue(widths)} for shape ${formatShape(x.shape)}`,
      expected: `${x.rank} pairs of non-negative whole numbers [before, after]`,
    });
  if (widths.every(([before, after]) => before + after === 0)) return x;
  const shape = x.shape.map((size, i) => size + widths[i]![0] + widths[i]![1]);
  return padOp([x], { before: widths.map(([before]) => before), shape, value });
}

const concatOp = defineBuiltIn<{ axis: number }>({
  name: 'concat',
  equation: 'y = [x₁; x₂; …] along an axis',
  derivative: 'x̄_k = the part of ȳ that came from x_k',
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

/** Joins tensors along an existing axis. All other sizes must agree. @throws ShapeError naming all shapes */
export function concat(tensors: readonly Tensor[], { axis = 0 }: { axis?: number } = {}): Tensor {
  if (tensors.length === 0) throw new ShapeError('concat', { received: 'no tensors', expected: 'at least one' });
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

/** Joins same-shape tensors along a new axis. @throws ShapeError naming all shapes */
export function stack(tensors: readonly Tensor[], { axis = 0 }: { axis?: number } = {}): Tensor {
  if (tensors.length === 0) throw new ShapeError('stack', { received: 'no tensors', expected: 'at least one' });
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

/**
 * Cuts an axis into parts of `sizes`; one number makes parts of that size, the last of them what is left.
 * @throws ShapeError when the sizes do not add up to the axis
 */
export function split(x: Tensor, sizes: number | readonly number[], options?: { axis?: number }): Tensor[] {
  const { axis = 0 } = checkOptions('split', options, ['axis']);
  const place = normalizeAxis('split', axis, x.shape);
  const length = x.shape[place]!;
  if (typeof sizes === 'number') {
    if (!Number.isInteger(sizes) || sizes < 1)
      throw new DomainError('split', { received: `parts of size ${sizes}`, expected: 'a whole number ≥ 1' });
    return split(x, partsOf(length, sizes), { axis });
  }
  if (sizeSum(checkShape('split', sizes)) !== length)
    throw new ShapeError('split', {
      received: `sizes ${formatShape(sizes)} for axis ${axis} of shape ${formatShape(x.shape)}`,
      expected: `sizes that add up to ${length}`,
    });
  const before = x.shape.slice(0, place).map((size) => [0, size] as const);
  return sizes.map((size, i) => {
    const start = sizeSum(sizes.slice(0, i));
    return slice(x, [...before, [start, start + size]]);
  });
}

const sizeSum = (sizes: readonly number[]) => sizes.reduce((sum, size) => sum + size, 0);
const partsOf = (length: number, size: number) =>
  Array.from({ length: Math.ceil(length / size) }, (_, i) => Math.min(size, length - i * size));

function list(op: string, x: Tensor, others: Tensor | readonly Tensor[]): Tensor[] {
  return [x, ...(Array.isArray(others) ? others : [others])].map((t, i) => {
    checkTensor(op, `tensor ${i}`, t);
    return t;
  });
}

addMethods({
  slice,
  pad,
  split,
  concat: (x: Tensor, others: Tensor | readonly Tensor[], options?: { axis?: number }) =>
    concat(list('concat', x, others), checkOptions('concat', options, ['axis'])),
  stack: (x: Tensor, others: Tensor | readonly Tensor[], options?: { axis?: number }) =>
    stack(list('stack', x, others), checkOptions('stack', options, ['axis'])),
});
