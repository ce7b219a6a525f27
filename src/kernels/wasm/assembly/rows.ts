/**
 * Kernels over the rows of [rows, length]: softmax and its family, layer norm. Sums run over short blocks in float32 and
 * from block to block in float64. A chunk is a group of rows.
 */
import { storeSome } from './elementwise';
import { exp, madd } from './math';
import { Chunk } from './pool';

// @ts-ignore: decorator
@inline function high(v: v128): v128 { return i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15); }
/** Adds four float32 to two float64 sums. */
// @ts-ignore: decorator
@inline export function widen(total: v128, block: v128): v128 {
  return f64x2.add(total, f64x2.add(f64x2.promote_low_f32x4(block), f64x2.promote_low_f32x4(high(block))));
}
// @ts-ignore: decorator
@inline export function total(v: v128): f64 { return f64x2.extract_lane(v, 0) + f64x2.extract_lane(v, 1); }
/** All ones in the first `count` lanes. */
// @ts-ignore: decorator
@inline export function first(count: i32): v128 { return i32x4.lt_s(i32x4(0, 1, 2, 3), i32x4.splat(count)); }
/** The vector at `at`, of which `left` floats count; the others become `rest`. */
// @ts-ignore: decorator
@inline export function loadSome(at: usize, left: i32, rest: f32): v128 {
  const v = v128.load(at);
  return left >= 4 ? v : v128.bitselect(v, f32x4.splat(rest), first(left));
}
// @ts-ignore: decorator
@inline export function put(at: usize, v: v128, left: i32): void {
  if (left >= 4) v128.store(at, v);
  else storeSome(at, v, left);
}

/** The sums of `accumulate` in float64 alone, over elements `step` bytes apart: for what overflowed in a block. */
export function carefully(kind: i32, x: usize, y: usize, m: f32, n: i32, step: usize): f64 {
  let sum: f64 = 0;
  for (let i = 0; i < n; i++, x += step, y += step) {
    const d = <f64>load<f32>(x) - <f64>m;
    if (kind == 0) sum += <f64>load<f32>(x);
    else if (kind == 1) sum += <f64>load<f32>(x) * <f64>load<f32>(y);
    else sum += kind == 2 ? d * d : d * <f64>load<f32>(y);
  }
  return sum;
}

/** kind 0: Σ x, 1: Σ x y, 2: Σ (x − m)², 3: Σ (x − m) y, over n floats. Blocks of 64; again in float64 where one overflows. */
// @ts-ignore: decorator
@inline function accumulate(kind: i32, x: usize, y: usize, m: f32, n: i32): f64 {
  const centre = f32x4.splat(m);
  const firstX = x;
  const firstY = y;
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let even = f32x4.splat(0);
    let odd = f32x4.splat(0);
    const to = min(n, from + 64);
    for (let i = from; i < to; i += 8) {
      even = f32x4.add(even, term(kind, x, y, centre, m, to - i));
      if (to - i > 4) odd = f32x4.add(odd, term(kind, x + 16, y + 16, centre, m, to - i - 4));
      x += 32;
      y += 32;
    }
    sums = widen(sums, f32x4.add(even, odd));
  }
  const result = total(sums);
  if (isFinite(result)) return result;
  return carefully(kind, firstX, firstY, m, n, 4);
}
// @ts-ignore: decorator
@inline function term(kind: i32, x: usize, y: usize, centre: v128, m: f32, left: i32): v128 {
  if (kind == 0) return loadSome(x, left, 0);
  if (kind == 1) return f32x4.mul(loadSome(x, left, 0), loadSome(y, left, 0));
  const d = f32x4.sub(loadSome(x, left, m), centre);
  return kind == 2 ? f32x4.mul(d, d) : f32x4.mul(d, loadSome(y, left, 0));
}
export function sum(x: usize, n: i32): f64 { return accumulate(0, x, 0, 0, n); }
export function dot(x: usize, y: usize, n: i32): f64 { return accumulate(1, x, y, 0, n); }
export function squares(x: usize, n: i32, m: f32): f64 { return accumulate(2, x, 0, m, n); }
export function centredDot(x: usize, y: usize, n: i32, m: f32): f64 { return accumulate(3, x, y, m, n); }

/** max of scale · x; NaN spreads; −∞ for none. */
export function largest(x: usize, n: i32, scale: f32): f32 {
  const s = f32x4.splat(scale);
  let best = f32x4.splat(-Infinity);
  for (let i = 0; i < n; i += 4) {
    const v = f32x4.mul(v128.load(x + (<usize>i << 2)), s);
    best = f32x4.max(best, n - i >= 4 ? v : v128.bitselect(v, best, first(n - i)));
  }
  return max(
    max(f32x4.extract_lane(best, 0), f32x4.extract_lane(best, 1)),
    max(f32x4.extract_lane(best, 2), f32x4.extract_lane(best, 3)),
  );
}

/** Σ exp(scale · x − shift); the terms go to y. */
// @ts-ignore: decorator
@inline function sumExp(x: usize, y: usize, n: i32, scale: f32, shift: f32): f64 {
  const s = f32x4.splat(scale);
  const t = f32x4.splat(shift);
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let block = f32x4.splat(0);
    const to = min(n, from + 64);
    for (let i = from; i < to; i += 4) {
      const at = <usize>i << 2;
      let e = exp(f32x4.sub(f32x4.mul(v128.load(x + at), s), t));
      if (to - i < 4) e = v128.and(e, first(to - i));
      block = f32x4.add(block, e);
      put(y + at, e, to - i);
    }
    sums = widen(sums, block);
  }
  return total(sums);
}

/** A row's maximum, finite, so that a row of −∞ stays −∞ and does not become NaN. */
// @ts-ignore: decorator
@inline function finiteMax(x: usize, n: i32, scale: f32): f32 { return max(largest(x, n, scale), -3.4028234663852886e38); }

/** y = softmax(scale · x) */
export function softmaxRow(x: usize, y: usize, n: i32, scale: f32): void {
  const factor = f32x4.splat(<f32>(1 / sumExp(x, y, n, scale, finiteMax(x, n, scale))));
  for (let i = 0; i < n; i += 4) {
    const at = y + (<usize>i << 2);
    put(at, f32x4.mul(v128.load(at), factor), n - i);
  }
}

/**
 * ln Σ e^(x − m) for m = max x. The largest, each exactly 1, are counted and not added: in a sum near 1 the others would be lost, and
 * with them all digits of a logarithm near 0.
 */
// @ts-ignore: decorator
@inline function logSumExpShifted(x: usize, n: i32, m: f32): f64 {
  const centre = f32x4.splat(m);
  let largest = i32x4.splat(0);
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let block = f32x4.splat(0);
    const to = min(n, from + 64);
    for (let i = from; i < to; i += 4) {
      const d = f32x4.sub(v128.load(x + (<usize>i << 2)), centre);
      let zero = f32x4.eq(d, f32x4.splat(0));
      let e = exp(d);
      if (to - i < 4) {
        zero = v128.and(zero, first(to - i));
        e = v128.and(e, first(to - i));
      }
      largest = i32x4.sub(largest, zero);
      block = f32x4.add(block, v128.andnot(e, zero));
    }
    sums = widen(sums, block);
  }
  const count =
    i32x4.extract_lane(largest, 0) + i32x4.extract_lane(largest, 1) + i32x4.extract_lane(largest, 2) + i32x4.extract_lane(largest, 3);
  return Math.log1p(total(sums) + <f64>(count - 1));
}

// @ts-ignore: decorator
@inline function logSumExpRow(x: usize, n: i32): f64 {
  const m = min(finiteMax(x, n, 1), 3.4028234663852886e38); // finite, so that ∞ gives ∞ and not ∞ − ∞
  return <f64>m + logSumExpShifted(x, n, m);
}

/** x̄ = scale · p (g − Σ g p); x̄ may be g. */
export function softmaxGradRow(g: usize, p: usize, dx: usize, n: i32, scale: f32): void {
  const mean = f32x4.splat(<f32>dot(g, p, n));
  const s = f32x4.splat(scale);
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    const v = f32x4.mul(f32x4.mul(f32x4.sub(v128.load(g + at), mean), v128.load(p + at)), s);
    put(dx + at, v, n - i);
  }
}

/** y = softmax(x) */
export function softmax(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    softmaxRow(x + r * bytes, y + r * bytes, length, 1);
}

/** x̄ = p (g − Σ g p) */
export function softmaxGrad(
  chunk: Chunk, gradOutput: usize, p: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    softmaxGradRow(gradOutput + r * bytes, p + r * bytes, gradX + r * bytes, length, 1);
}

/** y = (x − max) − log Σ e^(x − max) */
export function logSoftmax(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSoftmaxRow(x + r * bytes, y + r * bytes, length);
}

/** x̄ = g − eʸ Σ g */
export function logSoftmaxGrad(
  chunk: Chunk, gradOutput: usize, y: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSoftmaxGradRow(gradOutput + r * bytes, y + r * bytes, gradX + r * bytes, length);
}

/** y = log Σ eˣ */
export function logSumExp(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    store<f32>(y + (r << 2), <f32>logSumExpRow(x + r * bytes, length));
}

/** x̄ = e^(x − y) g for y = log Σ eˣ */
export function logSumExpGrad(
  chunk: Chunk, gradOutput: usize, x: usize, y: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = <usize>length << 2;
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSumExpGradRow(load<f32>(gradOutput + (r << 2)), x + r * bytes, gradX + r * bytes, length, load<f32>(y + (r << 2)));
}

/** y = (x − max) − ln Σ e^(x − max): in one step x − ln Σ eˣ would round to the digits of x. */
function logSoftmaxRow(x: usize, y: usize, n: i32): void {
  const m = finiteMax(x, n, 1);
  const centre = f32x4.splat(m);
  const logarithm = f32x4.splat(<f32>logSumExpShifted(x, n, m));
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    put(y + at, f32x4.sub(f32x4.sub(v128.load(x + at), centre), logarithm), n - i);
  }
}

/** x̄ = g − e^y Σ g. For the one probability e^y beyond ½ that is g (1 − e^y) − e^y (Σ g − g), which keeps its digits near 1. */
function logSoftmaxGradRow(g: usize, y: usize, dx: usize, n: i32): void {
  const all = sum(g, n);
  const whole = f32x4.splat(<f32>all);
  const half = f32x4.splat(-0.69);
  let near = -1;
  let own: f64 = 0;
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    const logarithm = v128.load(y + at);
    if (v128.any_true(f32x4.gt(logarithm, half)))
      for (let k = i; k < min(n, i + 4); k++)
        if (load<f32>(y + (<usize>k << 2)) > -0.69) {
          near = k;
          own = <f64>load<f32>(g + (<usize>k << 2)); // x̄ may be g
        }
    put(dx + at, f32x4.sub(v128.load(g + at), f32x4.mul(exp(logarithm), whole)), n - i);
  }
  if (near < 0) return;
  const at = <usize>near << 2;
  const logarithm = <f64>load<f32>(y + at);
  store<f32>(dx + at, <f32>(-own * Math.expm1(logarithm) - Math.exp(logarithm) * (all - own)));
}

/** x̄ = e^(x − lse) g */
function logSumExpGradRow(g: f32, x: usize, dx: usize, n: i32, lse: f32): void {
  const shift = f32x4.splat(max(lse, -3.4028234663852886e38));
  const factor = f32x4.splat(g);
  for (let i = 0; i < n; i += 4) {
    const at = <usize>i << 2;
    put(dx + at, f32x4.mul(exp(f32x4.sub(v128.load(x + at), shift)), factor), n - i);
  }
}

export function layerNorm(
  chunk: Chunk, x: usize, weight: usize, bias: usize, y: usize, mean: usize, rstd: usize, rows: i32, length: i32,
  eps: f64, grain: i32,
): void {
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const offset = (<usize>r * <usize>length) << 2;
    const from = x + offset;
    const to = y + offset;
    const m = <f32>(sum(from, length) / <f64>length);
    const inverse = <f32>(1 / Math.sqrt(squares(from, length, m) / <f64>length + eps));
    store<f32>(mean + (<usize>r << 2), m);
    store<f32>(rstd + (<usize>r << 2), inverse);
    const centre = f32x4.splat(m);
    const scale = f32x4.splat(inverse);
    for (let i = 0; i < length; i += 4) {
      const at = <usize>i << 2;
      const n = f32x4.mul(f32x4.sub(v128.load(from + at), centre), scale);
      put(to + at, madd(n, v128.load(weight + at), v128.load(bias + at)), length - i);
    }
  }
}

/**
 * x̄ = r (h − mean(h) − n mean(h n)), h = g w, n = (x − mean) r; and this chunk's part of w̄ = Σ g n and b̄ = Σ g, to be
 * summed by `sumParts`.
 */
export function layerNormGrad(
  chunk: Chunk, gradOutput: usize, x: usize, weight: usize, mean: usize, rstd: usize, gradX: usize, parts: usize,
  rows: i32, length: i32, grain: i32,
): void {
  const bytes = <usize>((length + 3) & ~3) << 2;
  const dw = parts + <usize>chunk * 2 * bytes;
  const db = dw + bytes;
  memory.fill(dw, 0, 2 * bytes);
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const offset = (<usize>r * <usize>length) << 2;
    const g = gradOutput + offset;
    const from = x + offset;
    const m = f32x4.splat(load<f32>(mean + (<usize>r << 2)));
    const s = f32x4.splat(load<f32>(rstd + (<usize>r << 2)));
    let h1 = f64x2.splat(0);
    let h2 = f64x2.splat(0);
    for (let start = 0; start < length; start += 64) {
      let b1 = f32x4.splat(0);
      let b2 = f32x4.splat(0);
      const to = min(length, start + 64);
      for (let i = start; i < to; i += 4) {
        const at = <usize>i << 2;
        const gi = loadSome(g + at, to - i, 0);
        const n = f32x4.mul(f32x4.sub(v128.load(from + at), m), s);
        const gn = v128.and(f32x4.mul(gi, n), first(to - i));
        const w = v128.load(weight + at);
        v128.store(dw + at, f32x4.add(v128.load(dw + at), gn));
        v128.store(db + at, f32x4.add(v128.load(db + at), gi));
        b1 = f32x4.add(b1, v128.and(f32x4.mul(gi, w), first(to - i)));
        b2 = f32x4.add(b2, v128.and(f32x4.mul(gn, w), first(to - i)));
      }
      h1 = widen(h1, b1);
      h2 = widen(h2, b2);
    }
    const mean1 = f32x4.splat(<f32>(total(h1) / <f64>length));
    const mean2 = f32x4.splat(<f32>(total(h2) / <f64>length));
    for (let i = 0; i < length; i += 4) {
      const at = <usize>i << 2;
      const n = f32x4.mul(f32x4.sub(v128.load(from + at), m), s);
      const h = f32x4.mul(v128.load(g + at), v128.load(weight + at));
      const d = f32x4.sub(f32x4.sub(h, mean1), f32x4.mul(n, mean2));
      put(gradX + offset + at, f32x4.mul(d, s), length - i);
    }
  }
}

/** y[i] = Σ over parts of part[i], in float64. `stride` is in bytes. */
export function sumParts(_chunk: Chunk, parts: usize, y: usize, count: i32, stride: usize, length: i32): void {
  for (let i = 0; i < length; i += 4) {
    let low = f64x2.splat(0);
    let upper = f64x2.splat(0);
    for (let p = 0; p < count; p++) {
      const v = v128.load(parts + <usize>p * stride + (<usize>i << 2));
      low = f64x2.add(low, f64x2.promote_low_f32x4(v));
      upper = f64x2.add(upper, f64x2.promote_low_f32x4(high(v)));
    }
    const l = f32x4.demote_f64x2_zero(low);
    const u = f32x4.demote_f64x2_zero(upper);
    put(y + (<usize>i << 2), i8x16.shuffle(l, u, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23), length - i);
  }
}
