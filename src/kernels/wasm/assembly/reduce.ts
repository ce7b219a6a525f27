/** Sums and extremes of [outer, length, inner] over length. */
import { bytesOf, high, narrow, perVector, put } from './lanes';
import { Chunk } from './pool';
import { carefully, dot, largest, sum } from './sums';

/** Long rows are summed in parts of this many elements, whatever the number of threads. */
export const PART: i32 = 32768;

export enum Reduction { sum, max, min, squares }

// @ts-ignore: decorator
@inline function reduceRow<T>(kind: i32, x: usize, n: i32): f64 {
  if (kind == Reduction.sum) return sum<T>(x, n);
  if (kind == Reduction.max) return <f64>largest<T>(x, n, 1);
  if (kind == Reduction.min) return -<f64>largest<T>(x, n, -1);
  return dot<T>(x, x, n);
}

/** Rows [rows, length]. */
export function reduceRows<T>(chunk: Chunk, kind: i32, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++)
    store<T>(y + bytesOf<T>(r), <T>reduceRow<T>(kind, x + ((<usize>r * <usize>length) << alignof<T>()), length));
}

/** A part of one long row, as float64. */
export function reducePart<T>(chunk: Chunk, kind: i32, x: usize, parts: usize, length: i32, partsPerRow: i32): void {
  const row = chunk / partsPerRow;
  const from = (chunk % partsPerRow) * PART;
  x += ((<usize>row * <usize>length + <usize>from) << alignof<T>());
  store<f64>(parts + (<usize>chunk << 3), reduceRow<T>(kind, x, min(PART, length - from)));
}

/** Joins the parts of rows. */
export function joinParts<T>(_chunk: Chunk, kind: i32, parts: usize, y: usize, rows: i32, partsPerRow: i32): void {
  for (let r = 0; r < rows; r++) {
    const first = parts + (<usize>(r * partsPerRow) << 3);
    let result = load<f64>(first);
    for (let p = 1; p < partsPerRow; p++) {
      const next = load<f64>(first + (<usize>p << 3));
      if (kind == Reduction.max) result = max(result, next);
      else if (kind == Reduction.min) result = min(result, next);
      else result += next;
    }
    store<T>(y + bytesOf<T>(r), <T>result);
  }
}

/** Sums the columns again, in float64, whose sums are not finite: a block of float32 may have overflowed. */
function mend<T>(x: usize, y: usize, columns: i32, length: i32, step: usize): void {
  for (let j = 0; j < columns; j++, x += sizeof<T>(), y += sizeof<T>())
    if (!isFinite(load<T>(y))) store<T>(y, <T>carefully<T>(0, x, x, 0, length, step));
}

/** Sums of sixteen columns, whole lines of the cache, each in the order of reduceVector. */
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
  mend<f32>(x - <usize>length * step, y, 16, length, step);
}

/** A vector of columns at a time, from row to row in blocks of 16. */
// @ts-ignore: decorator
@inline function reduceVector<T>(kind: i32, x: usize, y: usize, length: i32, step: usize, left: i32): void {
  if (kind == Reduction.sum) {
    let low = f64x2.splat(0);
    let upper = f64x2.splat(0);
    for (let from = 0; from < length; from += 16) {
      let block = v128.splat<T>(0);
      for (let l = from; l < min(length, from + 16); l++, x += step) block = v128.add<T>(block, v128.load(x));
      low = f64x2.add(low, sizeof<T>() == 8 ? block : f64x2.promote_low_f32x4(block));
      if (sizeof<T>() == 4) upper = f64x2.add(upper, high(block));
    }
    put<T>(y, sizeof<T>() == 8 ? low : narrow(low, upper), left);
    mend<T>(x - <usize>length * step, y, min(left, perVector<T>()), length, step);
    return;
  }
  let best = v128.splat<T>(kind == Reduction.max ? -Infinity : Infinity);
  for (let l = 0; l < length; l++, x += step)
    best = kind == Reduction.max ? v128.max<T>(best, v128.load(x)) : v128.min<T>(best, v128.load(x));
  put<T>(y, best, left);
}

/** Columns of [outer, length, inner]. */
export function reduceColumns<T>(
  chunk: Chunk, kind: i32, x: usize, y: usize, length: i32, inner: i32, columns: i32, chunksAlongInner: i32,
): void {
  const outer = chunk / chunksAlongInner;
  const from = (chunk % chunksAlongInner) * columns;
  const to = min(inner, from + columns);
  x += ((<usize>outer * <usize>length * <usize>inner) << alignof<T>());
  y += ((<usize>outer * <usize>inner) << alignof<T>());
  const step = bytesOf<T>(inner);
  let i = from;
  if (sizeof<T>() == 4 && kind == Reduction.sum)
    for (; i + 16 <= to; i += 16) sumSixteen(x + bytesOf<T>(i), y + bytesOf<T>(i), length, step);
  for (; i < to; i += perVector<T>()) {
    const at = bytesOf<T>(i);
    if (kind == Reduction.sum) reduceVector<T>(Reduction.sum, x + at, y + at, length, step, to - i);
    else if (kind == Reduction.max) reduceVector<T>(Reduction.max, x + at, y + at, length, step, to - i);
    else reduceVector<T>(Reduction.min, x + at, y + at, length, step, to - i);
  }
}

/** Index of the first extreme; a NaN counts as one. `sign` is 1 for the maximum, −1 for the minimum. */
export function argReduce<T>(
  chunk: Chunk, sign: i32, x: usize, y: usize, length: i32, inner: i32, outers: i32, grain: i32,
): void {
  const end = min(outers, (chunk + 1) * grain);
  for (let outer = chunk * grain; outer < end; outer++) argReduceOne<T>(<T>sign, x, y, outer, length, inner);
}

function argReduceOne<T>(sign: T, x: usize, y: usize, outer: i32, length: i32, inner: i32): void {
  for (let i = 0; i < inner; i++) {
    let at = x + ((<usize>outer * <usize>length * <usize>inner + <usize>i) << alignof<T>());
    let best = load<T>(at) * sign;
    let index = 0;
    for (let l = 1; l < length && best == best; l++) {
      at += bytesOf<T>(inner);
      const value = load<T>(at) * sign;
      if (value > best || value != value) {
        best = value;
        index = l;
      }
    }
    store<i32>(y + ((<usize>outer * <usize>inner + <usize>i) << 2), index);
  }
}
