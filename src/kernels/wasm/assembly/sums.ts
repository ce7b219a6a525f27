/** Sums and maxima of rows. Sums run over short blocks in their own precision and from block to block in float64. */
import { bytesOf, first, loadSome, perVector, total, widen } from './lanes';

/** The sums of `accumulate` in float64 alone, over elements `step` bytes apart: for what overflowed in a block. */
export function carefully<T>(kind: i32, x: usize, y: usize, m: T, n: i32, step: usize): f64 {
  let sum: f64 = 0;
  for (let i = 0; i < n; i++, x += step, y += step) {
    const d = <f64>load<T>(x) - <f64>m;
    if (kind == 0) sum += <f64>load<T>(x);
    else if (kind == 1) sum += <f64>load<T>(x) * <f64>load<T>(y);
    else sum += kind == 2 ? d * d : d * <f64>load<T>(y);
  }
  return sum;
}

/** From `from`, how far two vectors at a time go before `to`. */
// @ts-ignore: decorator
@inline export function wholePairs<T>(from: i32, to: i32): i32 { return from + ((to - from) & -2 * perVector<T>()); }

/** kind 0: Σ x, 1: Σ x y, 2: Σ (x − m)², 3: Σ (x − m) y, over n floats. Blocks of 64; again in float64 where one overflows. */
// @ts-ignore: decorator
@inline function accumulate<T>(kind: i32, x: usize, y: usize, m: T, n: i32): f64 {
  const centre = v128.splat<T>(m);
  const firstX = x;
  const firstY = y;
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let even = v128.splat<T>(0);
    let odd = v128.splat<T>(0);
    const to = min(n, from + 64);
    const pairs = wholePairs<T>(from, to);
    let i = from;
    if (i < pairs) {
      do {
        even = v128.add<T>(even, term<T>(kind, v128.load(x), v128.load(y), centre));
        odd = v128.add<T>(odd, term<T>(kind, v128.load(x, 16), v128.load(y, 16), centre));
        x += 32;
        y += 32;
        i += 2 * perVector<T>();
      } while (i < pairs);
    }
    for (; i < to; i += perVector<T>()) {
      even = v128.add<T>(even, term<T>(kind, loadSome<T>(x, to - i, m), loadSome<T>(y, to - i, 0), centre));
      x += 16;
      y += 16;
    }
    sums = widen<T>(sums, v128.add<T>(even, odd));
  }
  const result = total(sums);
  if (isFinite(result)) return result;
  return carefully<T>(kind, firstX, firstY, m, n, sizeof<T>());
}
// @ts-ignore: decorator
@inline function term<T>(kind: i32, x: v128, y: v128, centre: v128): v128 {
  if (kind == 0) return x;
  if (kind == 1) return v128.mul<T>(x, y);
  const d = v128.sub<T>(x, centre);
  return kind == 2 ? v128.mul<T>(d, d) : v128.mul<T>(d, y);
}
export function sum<T>(x: usize, n: i32): f64 { return accumulate<T>(0, x, x, 0, n); }
export function dot<T>(x: usize, y: usize, n: i32): f64 { return accumulate<T>(1, x, y, 0, n); }
export function squares<T>(x: usize, n: i32, m: T): f64 { return accumulate<T>(2, x, x, m, n); }
export function centredDot<T>(x: usize, y: usize, n: i32, m: T): f64 { return accumulate<T>(3, x, y, m, n); }

/** max of scale · x; NaN spreads; −∞ for none. */
export function largest<T>(x: usize, n: i32, scale: T): T {
  const s = v128.splat<T>(scale);
  let best = v128.splat<T>(-Infinity);
  for (let i = 0; i < n; i += perVector<T>()) {
    const v = v128.mul<T>(v128.load(x + bytesOf<T>(i)), s);
    best = v128.max<T>(best, n - i >= perVector<T>() ? v : v128.bitselect(v, best, first<T>(n - i)));
  }
  return largestLane<T>(best);
}
/** The largest of a vector's numbers; NaN spreads. */
// @ts-ignore: decorator
@inline export function largestLane<T>(v: v128): T {
  const pair = max(v128.extract_lane<T>(v, 0), v128.extract_lane<T>(v, 1));
  if (sizeof<T>() == 8) return pair;
  return max(pair, max(<T>f32x4.extract_lane(v, 2), <T>f32x4.extract_lane(v, 3)));
}
