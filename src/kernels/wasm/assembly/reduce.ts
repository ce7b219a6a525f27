/** Sums and extremes of [outer, length, inner] over length. */
import { Chunk } from './pool';
import { carefully, dot, largest, put, sum } from './rows';

/** Long rows are summed in parts of this many elements, whatever the number of threads. */
export const PART: i32 = 32768;

export enum Reduction { sum, max, min, squares }

// @ts-ignore: decorator
@inline function reduceRow(kind: i32, x: usize, n: i32): f64 {
  if (kind == Reduction.sum) return sum(x, n);
  if (kind == Reduction.max) return <f64>largest(x, n, 1);
  if (kind == Reduction.min) return -<f64>largest(x, n, -1);
  return dot(x, x, n);
}

/** Rows [rows, length]. */
export function reduceRows(chunk: Chunk, kind: i32, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++)
    store<f32>(y + (<usize>r << 2), <f32>reduceRow(kind, x + ((<usize>r * <usize>length) << 2), length));
}

/** A part of one long row, as float64. */
export function reducePart(chunk: Chunk, kind: i32, x: usize, parts: usize, length: i32, partsPerRow: i32): void {
  const row = chunk / partsPerRow;
  const from = (chunk % partsPerRow) * PART;
  x += ((<usize>row * <usize>length + <usize>from) << 2);
  store<f64>(parts + (<usize>chunk << 3), reduceRow(kind, x, min(PART, length - from)));
}

/** Joins the parts of rows. */
export function joinParts(_chunk: Chunk, kind: i32, parts: usize, y: usize, rows: i32, partsPerRow: i32): void {
  for (let r = 0; r < rows; r++) {
    const first = parts + (<usize>(r * partsPerRow) << 3);
    let result = load<f64>(first);
    for (let p = 1; p < partsPerRow; p++) {
      const next = load<f64>(first + (<usize>p << 3));
      if (kind == Reduction.max) result = max(result, next);
      else if (kind == Reduction.min) result = min(result, next);
      else result += next;
    }
    store<f32>(y + (<usize>r << 2), <f32>result);
  }
}

// @ts-ignore: decorator
@inline function high(v: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3)); }
// @ts-ignore: decorator
@inline function narrow(low: v128, upper: v128): v128 {
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(upper), 0, 1, 4, 5);
}

/** Sums the columns again, in float64, whose sums are not finite: a block of float32 may have overflowed. */
function mend(x: usize, y: usize, columns: i32, length: i32, step: usize): void {
  for (let j = 0; j < columns; j++, x += 4, y += 4)
    if (!isFinite(load<f32>(y))) store<f32>(y, <f32>carefully(0, x, x, 0, length, step));
}

/** Sums of sixteen columns, whole lines of the cache, each in the order of reduceFour. */
function sumSixteen(x: usize, y: usize, length: i32, step: usize): void {
  let l0 = f64x2.splat(0);
  let l1 = l0;
  let l2 = l0;
  let l3 = l0;
  let u0 = l0;
  let u1 = l0;
  let u2 = l0;
  let u3 = l0;
  for (let from = 0; from < length; from += 16) {
    let b0 = f32x4.splat(0);
    let b1 = b0;
    let b2 = b0;
    let b3 = b0;
    for (let l = from; l < min(length, from + 16); l++, x += step) {
      b0 = f32x4.add(b0, v128.load(x));
      b1 = f32x4.add(b1, v128.load(x, 16));
      b2 = f32x4.add(b2, v128.load(x, 32));
      b3 = f32x4.add(b3, v128.load(x, 48));
    }
    l0 = f64x2.add(l0, f64x2.promote_low_f32x4(b0));
    l1 = f64x2.add(l1, f64x2.promote_low_f32x4(b1));
    l2 = f64x2.add(l2, f64x2.promote_low_f32x4(b2));
    l3 = f64x2.add(l3, f64x2.promote_low_f32x4(b3));
    u0 = f64x2.add(u0, high(b0));
    u1 = f64x2.add(u1, high(b1));
    u2 = f64x2.add(u2, high(b2));
    u3 = f64x2.add(u3, high(b3));
  }
  v128.store(y, narrow(l0, u0));
  v128.store(y, narrow(l1, u1), 16);
  v128.store(y, narrow(l2, u2), 32);
  v128.store(y, narrow(l3, u3), 48);
  mend(x - <usize>length * step, y, 16, length, step);
}

/** Four columns at a time, from row to row in blocks of 16. */
// @ts-ignore: decorator
@inline function reduceFour(kind: i32, x: usize, y: usize, length: i32, step: usize, left: i32): void {
  if (kind == Reduction.sum) {
    let low = f64x2.splat(0);
    let upper = f64x2.splat(0);
    for (let from = 0; from < length; from += 16) {
      let block = f32x4.splat(0);
      for (let l = from; l < min(length, from + 16); l++, x += step) block = f32x4.add(block, v128.load(x));
      low = f64x2.add(low, f64x2.promote_low_f32x4(block));
      upper = f64x2.add(upper, high(block));
    }
    put(y, narrow(low, upper), left);
    mend(x - <usize>length * step, y, min(left, 4), length, step);
    return;
  }
  let best = f32x4.splat(kind == Reduction.max ? -Infinity : Infinity);
  for (let l = 0; l < length; l++, x += step)
    best = kind == Reduction.max ? f32x4.max(best, v128.load(x)) : f32x4.min(best, v128.load(x));
  put(y, best, left);
}

/** Columns of [outer, length, inner]. */
export function reduceColumns(
  chunk: Chunk, kind: i32, x: usize, y: usize, length: i32, inner: i32, columns: i32, chunksAlongInner: i32,
): void {
  const outer = chunk / chunksAlongInner;
  const from = (chunk % chunksAlongInner) * columns;
  const to = min(inner, from + columns);
  x += ((<usize>outer * <usize>length * <usize>inner) << 2);
  y += ((<usize>outer * <usize>inner) << 2);
  const step = <usize>inner << 2;
  let i = from;
  if (kind == Reduction.sum)
    for (; i + 16 <= to; i += 16) sumSixteen(x + (<usize>i << 2), y + (<usize>i << 2), length, step);
  for (; i < to; i += 4) {
    const at = <usize>i << 2;
    if (kind == Reduction.sum) reduceFour(Reduction.sum, x + at, y + at, length, step, to - i);
    else if (kind == Reduction.max) reduceFour(Reduction.max, x + at, y + at, length, step, to - i);
    else reduceFour(Reduction.min, x + at, y + at, length, step, to - i);
  }
}

/** Index of the first extreme; a NaN counts as one. `sign` is 1 for the maximum, −1 for the minimum. */
export function argReduce(
  chunk: Chunk, sign: i32, x: usize, y: usize, length: i32, inner: i32, outers: i32, grain: i32,
): void {
  const end = min(outers, (chunk + 1) * grain);
  for (let outer = chunk * grain; outer < end; outer++) argReduceOne(<f32>sign, x, y, outer, length, inner);
}

function argReduceOne(sign: f32, x: usize, y: usize, outer: i32, length: i32, inner: i32): void {
  for (let i = 0; i < inner; i++) {
    let at = x + ((<usize>outer * <usize>length * <usize>inner + <usize>i) << 2);
    let best = load<f32>(at) * sign;
    let index = 0;
    for (let l = 1; l < length && best == best; l++) {
      at += <usize>inner << 2;
      const value = load<f32>(at) * sign;
      if (value > best || value != value) {
        best = value;
        index = l;
      }
    }
    store<i32>(y + ((<usize>outer * <usize>inner + <usize>i) << 2), index);
  }
}
