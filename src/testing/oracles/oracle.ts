/** What an oracle is, and the loops that several of them share. */
import type { OpTest } from '../../autograd/op.js';
import { type Shape, sizeOf } from '../../tensor/shape.js';

/** How trials of an op are drawn, and the op in plain loops, written independently of its kernel. */
export type Oracle<P> = Pick<OpTest<P>, 'draw' | 'scalar' | 'oracle'>;

/** An input as an oracle sees it. */
export interface Values {
  data: ArrayLike<number>;
  shape: Shape;
}

/** Applies `f` to each row of plain numbers. */
export function perRow({ data, shape }: Values, f: (row: number[]) => number[]): number[] {
  const length = shape[shape.length - 1]!;
  return Array.from({ length: sizeOf(shape.slice(0, -1)) }, (_, r) =>
    f(Array.from({ length }, (_, i) => data[r * length + i]!)),
  ).flat();
}

/** Position i of a row-major shape as one index an axis. */
export function unravel(i: number, shape: Shape): number[] {
  const index = new Array<number>(shape.length);
  for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
    index[axis] = rest % shape[axis]!;
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}

/** The inverse of unravel. */
export function ravel(index: readonly number[], shape: Shape): number {
  return index.reduce((flat, i, axis) => flat * shape[axis]! + i, 0);
}
