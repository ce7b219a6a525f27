/**
 * The arguments of assembly/move.ts. Permute, slice, pad, concat and expand are one kernel, strided copies, with different
 * strides.
 */
import { bytesPerElement } from '../../tensor/dtype.js';
import type { Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

/** Axes besides the innermost that the kernel counts over. */
const mostAxes = 5;

interface Strided {
  storage: Storage;
  /** Elements before the first. */
  offset: number;
  strides: readonly number[];
}

/** Copies a block of `sizes` from one strided view to another, whose innermost stride must be 1 or its size 1. */
export function moveBlock({ engine }: Context, sizes: readonly number[], source: Strided, target: Strided): void {
  const { dtype } = source.storage;
  const bytes = bytesPerElement[dtype];
  const axes = merge(sizes, source.strides, target.strides);
  const inner = axes.at(-1)?.t === 1 ? axes.pop()! : { size: 1, s: 1, t: 1 };
  const outer = axes.slice(-mostAxes);
  const loops = axes.slice(0, -mostAxes);
  const rows = outer.reduce((product, { size }) => product * size, 1);
  if (rows * inner.size === 0) return;
  const grain = Math.ceil(rowGrain(inner.size) / 4) * 4; // whole blocks of four for transposing
  const lengths = outer.map(({ size }) => size);
  const sourceStrides = outer.map(({ s }) => s);
  const targetStrides = outer.map(({ t }) => t);
  const walk = (level: number, from: number, to: number): void => {
    const loop = loops[level];
    if (loop) {
      for (let i = 0; i < loop.size; i++) walk(level + 1, from + bytes * i * loop.s, to + bytes * i * loop.t);
      return;
    }
    engine.call(kernel.moveRows, chunksOf(rows, grain), {
      dtype,
      source: from,
      target: to,
      n: inner.size,
      stride: inner.s,
      rows,
      grain,
      axes: outer.length,
      sizes: lengths,
      sourceStrides,
      targetStrides,
    });
  };
  walk(0, at(source.storage) + bytes * source.offset, at(target.storage) + bytes * target.offset);
}

/** Neighbouring axes that are one axis on both sides become one; axes of size 1 vanish. */
function merge(
  sizes: readonly number[],
  source: readonly number[],
  target: readonly number[],
): { size: number; s: number; t: number }[] {
  const axes: { size: number; s: number; t: number }[] = [];
  sizes.forEach((size, i) => {
    if (size === 1) return;
    const axis = { size, s: source[i]!, t: target[i]! };
    const last = axes.at(-1);
    if (last && last.s === axis.s * size && last.t === axis.t * size)
      axes[axes.length - 1] = { ...axis, size: last.size * size };
    else axes.push(axis);
  });
  return axes;
}

/** [outer, rows, inner] and indices [count] → [outer, count, inner] */
export function gather(
  { engine, allocate }: Context,
  x: Storage,
  indices: Storage,
  outer: number,
  rows: number,
  inner: number,
): Storage {
  const count = indices.size;
  const all = outer * count;
  const y = allocate(x.dtype, all * inner);
  const grain = rowGrain(inner);
  engine.call(kernel.gather, chunksOf(all, grain), {
    dtype: x.dtype,
    x: at(x),
    indices: at(indices),
    y: at(y),
    count,
    rows,
    inner,
    all,
    grain,
  });
  return y;
}

/** Adds [outer, count, inner] to the rows of y [outer, rows, inner] that the indices name. */
export function scatterAdd(
  { engine }: Context,
  x: Storage,
  indices: Storage,
  y: Storage,
  outer: number,
  rows: number,
  inner: number,
): void {
  const columns = Math.min(inner, 64);
  const chunksAlongInner = chunksOf(inner, columns);
  engine.call(kernel.scatterAdd, outer * chunksAlongInner, {
    dtype: x.dtype,
    x: at(x),
    indices: at(indices),
    y: at(y),
    count: indices.size,
    rows,
    inner,
    columns,
    chunksAlongInner,
  });
}
