/** Sums and extremes of [outer, length, inner] over length. */
import { address, size } from './pool';
import { dot, first, largest, put, sum, widen } from './rows';

/** Long rows are summed in parts of this many elements, whatever the number of threads. */
export const PART: i32 = 32768;

/** kind 0 sum, 1 max, 2 min, 3 sum of squares. */
// @ts-ignore: decorator
@inline function reduceRow(kind: i32, x: usize, n: i32): f64 {
  if (kind == 0) return sum(x, n);
  if (kind == 1) return <f64>largest(x, n, 1);
  if (kind == 2) return -<f64>largest(x, n, -1);
  return dot(x, x, n);
}

/** Rows [outer, length]. Arguments: kind, x, y, rows, length, rows a chunk. */
export function reduceRows(chunk: i32): void {
  const length = size(4);
  const grain = size(5);
  const end = min(size(3), (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++)
    store<f32>(address(2) + (<usize>r << 2), <f32>reduceRow(size(0), address(1) + ((<usize>r * <usize>length) << 2), length));
}

/** A part of one long row, as float64. Arguments: kind, x, parts, -, length of a row, parts a row. */
export function reducePart(chunk: i32): void {
  const length = size(4);
  const row = chunk / size(5);
  const from = (chunk % size(5)) * PART;
  const x = address(1) + ((<usize>row * <usize>length + <usize>from) << 2);
  store<f64>(address(2) + (<usize>chunk << 3), reduceRow(size(0), x, min(PART, length - from)));
}

/** Joins the parts of rows. Arguments: kind, parts, y, rows, parts a row. */
export function joinParts(_chunk: i32): void {
  const count = size(4);
  for (let r = 0; r < size(3); r++) {
    const parts = address(1) + (<usize>(r * count) << 3);
    let result = load<f64>(parts);
    for (let p = 1; p < count; p++) {
      const next = load<f64>(parts + (<usize>p << 3));
      if (size(0) == 1) result = max(result, next);
      else if (size(0) == 2) result = min(result, next);
      else result += next;
    }
    store<f32>(address(2) + (<usize>r << 2), <f32>result);
  }
}

// @ts-ignore: decorator
@inline function high(v: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3)); }
// @ts-ignore: decorator
@inline function narrow(low: v128, upper: v128): v128 {
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(upper), 0, 1, 4, 5);
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
}

/** Four columns at a time, from row to row in blocks of 16. */
// @ts-ignore: decorator
@inline function reduceFour(kind: i32, x: usize, y: usize, length: i32, step: usize, left: i32): void {
  if (kind == 0) {
    let low = f64x2.splat(0);
    let upper = f64x2.splat(0);
    for (let from = 0; from < length; from += 16) {
      let block = f32x4.splat(0);
      for (let l = from; l < min(length, from + 16); l++, x += step) block = f32x4.add(block, v128.load(x));
      low = f64x2.add(low, f64x2.promote_low_f32x4(block));
      upper = f64x2.add(upper, high(block));
    }
    put(y, narrow(low, upper), left);
    return;
  }
  let best = f32x4.splat(kind == 1 ? -Infinity : Infinity);
  for (let l = 0; l < length; l++, x += step)
    best = kind == 1 ? f32x4.max(best, v128.load(x)) : f32x4.min(best, v128.load(x));
  put(y, best, left);
}

/** Columns of [outer, length, inner]. Arguments: kind, x, y, length, inner, columns a chunk, chunks along inner. */
export function reduceColumns(chunk: i32): void {
  const inner = size(4);
  const outer = chunk / size(6);
  const from = (chunk % size(6)) * size(5);
  const to = min(inner, from + size(5));
  const x = address(1) + ((<usize>outer * <usize>size(3) * <usize>inner) << 2);
  const y = address(2) + ((<usize>outer * <usize>inner) << 2);
  const step = <usize>inner << 2;
  let i = from;
  if (size(0) == 0)
    for (; i + 16 <= to; i += 16) sumSixteen(x + (<usize>i << 2), y + (<usize>i << 2), size(3), step);
  for (; i < to; i += 4) {
    const at = <usize>i << 2;
    if (size(0) == 0) reduceFour(0, x + at, y + at, size(3), step, to - i);
    else if (size(0) == 1) reduceFour(1, x + at, y + at, size(3), step, to - i);
    else reduceFour(2, x + at, y + at, size(3), step, to - i);
  }
}

/** Index of the first extreme; a NaN counts as one. Arguments: 1 for max or −1 for min, x, y, length, inner, outer, outers a chunk. */
export function argReduce(chunk: i32): void {
  const end = min(size(5), (chunk + 1) * size(6));
  for (let outer = chunk * size(6); outer < end; outer++) argReduceOne(outer);
}

function argReduceOne(outer: i32): void {
  const sign = <f32>size(0);
  const length = size(3);
  const inner = size(4);
  for (let i = 0; i < inner; i++) {
    let x = address(1) + ((<usize>outer * <usize>length * <usize>inner + <usize>i) << 2);
    let best = load<f32>(x) * sign;
    let index = 0;
    for (let l = 1; l < length && best == best; l++) {
      x += <usize>inner << 2;
      const value = load<f32>(x) * sign;
      if (value > best || value != value) {
        best = value;
        index = l;
      }
    }
    store<i32>(address(2) + ((<usize>outer * <usize>inner + <usize>i) << 2), index);
  }
}
