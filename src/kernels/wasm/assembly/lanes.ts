/** What the kernels of float32 and of float64 have in common: one text, made for T = f32 and for T = f64. */

/** How many numbers a vector holds. */
// @ts-ignore: decorator
@inline export function perVector<T>(): i32 { return 16 >> <i32>alignof<T>(); }
/** The bytes of n numbers. */
// @ts-ignore: decorator
@inline export function bytesOf<T>(n: i32): usize { return <usize>n << alignof<T>(); }
// @ts-ignore: decorator
@inline export function all<T>(x: f64): v128 { return v128.splat<T>(<T>x); }
/** a · b + c */
// @ts-ignore: decorator
@inline export function madd<T>(a: v128, b: v128, c: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return v128.relaxed_madd<T>(a, b, c);
  return v128.add<T>(v128.mul<T>(a, b), c);
}
/** The larger of x and a number, NaN where x is. One instruction; v128.max, which asks for NaN on both sides, is seven. */
// @ts-ignore: decorator
@inline export function atLeast<T>(x: v128, least: v128): v128 { return v128.pmax<T>(x, least); }
// @ts-ignore: decorator
@inline export function atMost<T>(x: v128, most: v128): v128 { return v128.pmin<T>(x, most); }
/** mask ? a : b */
// @ts-ignore: decorator
@inline export function pick(mask: v128, a: v128, b: v128): v128 { return v128.bitselect(a, b, mask); }
/** All ones in the first `count` lanes. */
// @ts-ignore: decorator
@inline export function first<T>(count: i32): v128 {
  if (sizeof<T>() == 8) return i64x2.gt_s(i64x2.splat(count), i64x2(0, 1));
  return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count));
}
/** Writes the first `count` lanes, at least one and not all. */
// @ts-ignore: decorator
@inline export function storeSome<T>(at: usize, value: v128, count: i32): void {
  store<T>(at, v128.extract_lane<T>(value, 0));
  if (sizeof<T>() == 4) {
    if (count > 1) store<f32>(at + 4, f32x4.extract_lane(value, 1));
    if (count > 2) store<f32>(at + 8, f32x4.extract_lane(value, 2));
  }
}
/** The vector at `at`, of which `left` numbers count; the others become `rest`. */
// @ts-ignore: decorator
@inline export function loadSome<T>(at: usize, left: i32, rest: T): v128 {
  const v = v128.load(at);
  return left >= perVector<T>() ? v : v128.bitselect(v, v128.splat<T>(rest), first<T>(left));
}
// @ts-ignore: decorator
@inline export function put<T>(at: usize, v: v128, left: i32): void {
  if (left >= perVector<T>()) v128.store(at, v);
  else storeSome<T>(at, v, left);
}
/** The upper half of four float32, as float64. */
// @ts-ignore: decorator
@inline export function high(v: v128): v128 { return f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3)); }
/** Two pairs of float64 as four float32. */
// @ts-ignore: decorator
@inline export function narrow(low: v128, upper: v128): v128 {
  return v128.shuffle<f32>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(upper), 0, 1, 4, 5);
}
/** Adds a vector to two float64 sums. */
// @ts-ignore: decorator
@inline export function widen<T>(total: v128, block: v128): v128 {
  if (sizeof<T>() == 8) return f64x2.add(total, block);
  return f64x2.add(total, f64x2.add(f64x2.promote_low_f32x4(block), high(block)));
}
// @ts-ignore: decorator
@inline export function total(v: v128): f64 { return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1); }

/** 1 where a mask has bits, else 0. */
// @ts-ignore: decorator
@inline export function flag<T>(mask: v128): v128 { return v128.and(mask, all<T>(1)); }
