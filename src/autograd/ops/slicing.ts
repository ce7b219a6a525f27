/** Taking parts, and the transpose of it: slice, split, pad. */
import type { Storage } from '../../kernels/device.js';
import { checkInt32 } from '../../tensor/dtype.js';
import { DomainError, describeValue, ShapeError, UsageError } from '../../tensor/errors.js';
import { checkShape, formatShape, normalizeAxis } from '../../tensor/shape.js';
import { defineBuiltIn, defineComposite } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

const sliceOp = defineBuiltIn<{ starts: number[]; sizes: number[] }>({
  name: 'slice',
  equation: 'y[i] = x[start + i]',
  derivative: 'x̄ = ȳ padded with zeros',
  shapes: 'sizes end − start',
  shape: (_, { sizes }) => sizes,
  saves: {},
  kernel: ([x], { device, shapes, params }) => device.slice(x as Storage, shapes[0]!, params.starts, params.sizes),
  vjp: [
    ({ gradOutput, params: { starts, sizes }, shapes: [shape] }) =>
      gradOutput.pad(starts.map((start, i) => [start, shape![i]! - start - sizes[i]!])),
  ],
});

const strideOp = defineComposite<{ axis: number; step: number }>({
  name: 'stride',
  equation: 'y[…, i, …] = x[…, i · step, …]',
  derivative: 'x̄[…, i · step, …] = ȳ[…, i, …], 0 between',
  shapes: 'as x, ⌈n / step⌉ along the axis',
  shape: ([shape], { axis, step }) => shape!.map((size, i) => (i === axis ? Math.ceil(size / step) : size)),
  compose([x], { axis, step }) {
    // An axis of [count, step], of which the first of each is taken.
    const size = x!.shape[axis]!;
    const count = Math.ceil(size / step);
    const [before, after] = [x!.shape.slice(0, axis), x!.shape.slice(axis + 1)];
    return pad(
      x!,
      x!.shape.map((_, i) => [0, i === axis ? count * step - size : 0]),
    )
      .reshape([...before, count, step, ...after])
      .slice([...before.map(() => [0, null] as const), [0, null], [0, 1]])
      .reshape([...before, count, ...after]);
  },
});

/**
 * The block [start, end) along each axis, or every `step`-th of it; axes not named are taken whole, negative numbers count
 * from the end, and `null` as end means the end. Steps go forward: flip() turns an axis round.
 * @throws ShapeError for ranges outside the tensor or a step that is no whole number ≥ 1
 */
export function slice(x: Tensor, ranges: readonly (readonly [number, (number | null)?, number?])[]): Tensor {
  checkTensor('slice', 'x', x);
  if (!Array.isArray(ranges) || ranges.length > x.rank || !ranges.every(Array.isArray))
    throw new ShapeError('slice', {
      received: `${describeValue(ranges)} for shape ${formatShape(x.shape)}`,
      expected: `a list of at most ${x.rank} [start, end] pairs`,
      hint: 'For example x.slice([[0, 2], [1, 3]]).',
    });
  const starts: number[] = [];
  const steps: number[] = [];
  const sizes = x.shape.map((size, axis) => {
    const [start = 0, end = size, step = 1] = (ranges[axis] ?? []) as [number?, (number | null)?, number?];
    const from = start < 0 ? start + size : start;
    const to = end === null ? size : end < 0 ? end + size : end;
    if (!Number.isInteger(from) || !Number.isInteger(to) || from < 0 || to > size || from > to)
      throw new ShapeError('slice', {
        received: `[${start}, ${end}] at axis ${axis} of shape ${formatShape(x.shape)}`,
        expected: `whole numbers with 0 ≤ start ≤ end ≤ ${size}`,
        hint: 'Negative numbers count from the end; null as end means the end.',
      });
    if (!Number.isSafeInteger(step) || step < 1)
      throw new ShapeError('slice', {
        received: `step ${describeValue(step)} at axis ${axis}`,
        expected: 'a whole number ≥ 1',
        hint: 'flip() turns an axis round.',
      });
    starts.push(from);
    steps.push(step);
    return to - from;
  });
  const block = sizes.every((size, i) => size === x.shape[i]) ? x : sliceOp([x], { starts, sizes });
  return steps.reduce((y, step, axis) => (step === 1 ? y : strideOp([y], { axis, step })), block);
}

const padOp = defineBuiltIn<{ before: number[]; shape: number[]; value: number }>({
  name: 'pad',
  equation: 'y[before + i] = x[i], a constant elsewhere',
  derivative: 'x̄ = the middle of ȳ',
  shapes: 'sizes before + n + after',
  shape: (_, { shape }) => shape,
  saves: {},
  kernel: ([x], { device, shapes, params: p }) => device.pad(x as Storage, shapes[0]!, p.before, p.shape, p.value),
  vjp: [
    ({ gradOutput, params: { before }, shapes: [shape] }) =>
      gradOutput.slice(before.map((start, i) => [start, start + shape![i]!])),
  ],
});

/** Surrounds with `value`: [before, after] for each axis. */
export function pad(x: Tensor, widths: readonly (readonly [number, number])[], value = 0): Tensor {
  checkTensor('pad', 'x', x);
  const natural = (width: number) => Number.isInteger(width) && width >= 0;
  const isPair = (pair: unknown) => Array.isArray(pair) && pair.length === 2 && pair.every(natural);
  if (!Array.isArray(widths) || widths.length !== x.rank || !widths.every(isPair))
    throw new ShapeError('pad', {
      received: `${describeValue(widths)} for shape ${formatShape(x.shape)}`,
      expected: `${x.rank} pairs of non-negative whole numbers [before, after]`,
    });
  if (x.dtype === 'int32') checkInt32('pad', value);
  if (typeof value !== 'number')
    throw new UsageError('pad', { received: `${describeValue(value)} as value`, expected: 'a number' });
  if (widths.every(([before, after]) => before + after === 0)) return x;
  const shape = x.shape.map((size, i) => size + widths[i]![0] + widths[i]![1]);
  return padOp([x], { before: widths.map(([before]) => before), shape, value });
}

/**
 * Cuts `axis` (default 0) into parts of `sizes`; one number makes parts of that size, the last of them what is left.
 * @throws ShapeError when the sizes do not add up to the axis
 */
export function split(x: Tensor, sizes: number | readonly number[], options?: { axis?: number }): Tensor[] {
  checkTensor('split', 'x', x);
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
/** Of an empty axis one part, which is empty. */
const partsOf = (length: number, size: number) =>
  Array.from({ length: Math.max(1, Math.ceil(length / size)) }, (_, i) => Math.min(size, length - i * size));
