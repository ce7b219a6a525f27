/** Shapes, axes and NumPy broadcasting. A shape is a list of non-negative integers; `[]` is a scalar. */
import { AxisError, BroadcastError, describeValue, ShapeError } from './errors.js';

/** Sizes of the axes, outermost first; [] is a scalar. */
export type Shape = readonly number[];

/** Number of elements: the product of the sizes, 1 for a scalar. */
export function sizeOf(shape: Shape): number {
  let size = 1;
  for (let i = 0; i < shape.length; i++) size *= shape[i]!;
  return size;
}

/** Rows and their length: the sizes before the last axis multiplied, and the last; at least one axis. */
export function rowsOf(shape: Shape): [rows: number, length: number] {
  return [sizeOf(shape.slice(0, -1)), shape[shape.length - 1]!];
}

/** `[2, 3]`: a shape as text. */
export function formatShape(shape: Shape): string {
  return `[${shape.join(', ')}]`;
}

/** Whether two shapes are equal. */
export function sameShape(a: Shape, b: Shape): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** Row-major strides, in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= shape[i]!;
  }
  return strides;
}

/** @throws ShapeError when `shape` is not a list of non-negative integers. */
export function checkShape(op: string, shape: unknown): Shape {
  if (Array.isArray(shape) && shape.every((size) => Number.isSafeInteger(size) && size >= 0)) return shape;
  throw new ShapeError(op, {
    received: `shape ${describeValue(shape)}`,
    expected: 'a list of non-negative integers',
    hint: 'A scalar has the shape [].',
  });
}

/** Maps an axis in [-rank, rank) to [0, rank). @throws AxisError outside that range. */
export function normalizeAxis(op: string, axis: number, shape: Shape): number {
  const rank = shape.length;
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  throw new AxisError(op, {
    received: `axis ${describeValue(axis)} for shape ${formatShape(shape)}`,
    expected: rank === 0 ? 'no axis, since a scalar has none' : `an integer in [${-rank}, ${rank - 1}]`,
    hint: 'Negative axes count from the last.',
  });
}

/** Sorted, distinct, non-negative axes; all of them when `axis` is undefined. @throws AxisError */
export function normalizeAxes(op: string, axis: number | readonly number[] | undefined, shape: Shape): number[] {
  if (axis === undefined) return shape.map((_, i) => i);
  const axes = (Array.isArray(axis) ? axis : [axis as number]).map((a) => normalizeAxis(op, a, shape));
  const sorted = [...new Set(axes)].sort((a, b) => a - b);
  if (sorted.length !== axes.length)
    throw new AxisError(op, { received: `axes ${formatShape(axes)}`, expected: 'each axis once' });
  return sorted;
}

/** The shape left after reducing `axes` (sorted, non-negative). */
export function reducedShape(shape: Shape, axes: readonly number[], keepDims: boolean): number[] {
  return keepDims ? shape.map((size, i) => (axes.includes(i) ? 1 : size)) : shape.filter((_, i) => !axes.includes(i));
}

/**
 * NumPy's rule: align shapes at the right; sizes must be equal or 1.
 * @throws BroadcastError naming all shapes
 */
export function broadcastShapes(op: string, ...shapes: Shape[]): Shape {
  const first = shapes[0]!;
  if (shapes.every((shape) => sameShape(shape, first))) return first;
  const rank = Math.max(...shapes.map((shape) => shape.length));
  const result = new Array<number>(rank).fill(1);
  for (const shape of shapes) {
    const offset = rank - shape.length;
    for (let i = 0; i < shape.length; i++) {
      const size = shape[i]!;
      if (size === 1 || size === result[offset + i]) continue;
      if (result[offset + i] !== 1) throw cannotBroadcast(op, shapes, i - shape.length);
      result[offset + i] = size;
    }
  }
  return result;
}

function cannotBroadcast(op: string, shapes: Shape[], axis: number): BroadcastError {
  const sizes = shapes.map((shape) => shape[shape.length + axis] ?? 1);
  return new BroadcastError(op, {
    received: `shapes ${shapes.map(formatShape).join(' and ')} cannot be broadcast: sizes ${sizes.join(' and ')} meet at axis ${axis}`,
    expected: 'equal sizes, or 1, counting axes from the last',
    hint: 'Insert an axis of size 1 with reshape(), or permute() one of them.',
  });
}

/**
 * How to walk several broadcast operands together: the result's shape with neighbouring axes merged wherever
 * every operand allows it, and for each operand its stride along each merged axis (0 where it repeats).
 * Same-shape operands always collapse to one axis with strides 1, a scalar to stride 0.
 */
export interface BroadcastPlan {
  shape: number[];
  strides: number[][];
}

/** Plans operands of `shapes` against the broadcast result `output` (from {@link broadcastShapes}). */
export function broadcastPlan(output: Shape, shapes: readonly Shape[]): BroadcastPlan {
  // By far the most frequent: every operand is as large as the result, or a single element.
  const flat: number[][] = [];
  for (const shape of shapes) {
    if (sameShape(shape, output)) flat.push(stepping);
    else if (sizeOf(shape) === 1) flat.push(staying);
    else return mergedPlan(output, shapes);
  }
  return { shape: [sizeOf(output)], strides: flat };
}
const stepping = [1];
const staying = [0];

function mergedPlan(output: Shape, shapes: readonly Shape[]): BroadcastPlan {
  const full = shapes.map((shape) => {
    const own = stridesOf(shape);
    const offset = output.length - shape.length;
    return output.map((_, i) => (i < offset || shape[i - offset] === 1 ? 0 : own[i - offset]!));
  });
  const shape: number[] = [];
  const strides: number[][] = shapes.map(() => []);
  for (let axis = 0; axis < output.length; axis++) {
    const size = output[axis]!;
    if (size === 1) continue;
    const last = shape.length - 1;
    // Axis i−1 and i merge when stepping i−1 once equals stepping i through its whole length, for every operand.
    if (last >= 0 && full.every((s, k) => strides[k]![last] === s[axis]! * size)) {
      shape[last] = shape[last]! * size;
      full.forEach((s, k) => {
        strides[k]![last] = s[axis]!;
      });
    } else {
      shape.push(size);
      full.forEach((s, k) => {
        strides[k]!.push(s[axis]!);
      });
    }
  }
  if (shape.length === 0) {
    shape.push(1);
    for (const s of strides) s.push(0);
  }
  return { shape, strides };
}
