/**
 * Kernels over the rows of [rows, length]: softmax and its family, layer norm. Sums run over short blocks in their own precision and
 * from block to block in float64. A chunk is a group of rows.
 */
import { bytesOf, first, high, loadSome, madd, narrow, perVector, put, total, widen } from './lanes';
import { exp } from './math';
import { Chunk } from './pool';

/** The largest finite number. */
// @ts-ignore: decorator
@inline function most<T>(): T { return sizeof<T>() == 8 ? <T>f64.MAX_VALUE : <T>f32.MAX_VALUE; }

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
    for (let i = from; i < to; i += 2 * perVector<T>()) {
      even = v128.add<T>(even, term<T>(kind, x, y, centre, m, to - i));
      if (to - i > perVector<T>())
        odd = v128.add<T>(odd, term<T>(kind, x + 16, y + 16, centre, m, to - i - perVector<T>()));
      x += 32;
      y += 32;
    }
    sums = widen<T>(sums, v128.add<T>(even, odd));
  }
  const result = total(sums);
  if (isFinite(result)) return result;
  return carefully<T>(kind, firstX, firstY, m, n, sizeof<T>());
}
// @ts-ignore: decorator
@inline function term<T>(kind: i32, x: usize, y: usize, centre: v128, m: T, left: i32): v128 {
  if (kind == 0) return loadSome<T>(x, left, 0);
  if (kind == 1) return v128.mul<T>(loadSome<T>(x, left, 0), loadSome<T>(y, left, 0));
  const d = v128.sub<T>(loadSome<T>(x, left, m), centre);
  return kind == 2 ? v128.mul<T>(d, d) : v128.mul<T>(d, loadSome<T>(y, left, 0));
}
export function sum<T>(x: usize, n: i32): f64 { return accumulate<T>(0, x, 0, 0, n); }
export function dot<T>(x: usize, y: usize, n: i32): f64 { return accumulate<T>(1, x, y, 0, n); }
export function squares<T>(x: usize, n: i32, m: T): f64 { return accumulate<T>(2, x, 0, m, n); }
export function centredDot<T>(x: usize, y: usize, n: i32, m: T): f64 { return accumulate<T>(3, x, y, m, n); }

/** max of scale · x; NaN spreads; −∞ for none. */
export function largest<T>(x: usize, n: i32, scale: T): T {
  const s = v128.splat<T>(scale);
  let best = v128.splat<T>(-Infinity);
  for (let i = 0; i < n; i += perVector<T>()) {
    const v = v128.mul<T>(v128.load(x + bytesOf<T>(i)), s);
    best = v128.max<T>(best, n - i >= perVector<T>() ? v : v128.bitselect(v, best, first<T>(n - i)));
  }
  const pair = max(v128.extract_lane<T>(best, 0), v128.extract_lane<T>(best, 1));
  if (sizeof<T>() == 8) return pair;
  return max(pair, max(<T>f32x4.extract_lane(best, 2), <T>f32x4.extract_lane(best, 3)));
}

/** Σ exp<T>(scale · x − shift); the terms go to y. */
// @ts-ignore: decorator
@inline function sumExp<T>(x: usize, y: usize, n: i32, scale: T, shift: T): f64 {
  const s = v128.splat<T>(scale);
  const t = v128.splat<T>(shift);
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let block = v128.splat<T>(0);
    const to = min(n, from + 64);
    for (let i = from; i < to; i += perVector<T>()) {
      const at = bytesOf<T>(i);
      let e = exp<T>(v128.sub<T>(v128.mul<T>(v128.load(x + at), s), t));
      if (to - i < perVector<T>()) e = v128.and(e, first<T>(to - i));
      block = v128.add<T>(block, e);
      put<T>(y + at, e, to - i);
    }
    sums = widen<T>(sums, block);
  }
  return total(sums);
}

/** A row's maximum, finite, so that a row of −∞ stays −∞ and does not become NaN. */
// @ts-ignore: decorator
@inline function finiteMax<T>(x: usize, n: i32, scale: T): T { return max(largest<T>(x, n, scale), -most<T>()); }

/** y = softmax<T>(scale · x) */
export function softmaxRow<T>(x: usize, y: usize, n: i32, scale: T): void {
  const factor = v128.splat<T>(<T>(1 / sumExp<T>(x, y, n, scale, finiteMax<T>(x, n, scale))));
  for (let i = 0; i < n; i += perVector<T>()) {
    const at = y + bytesOf<T>(i);
    put<T>(at, v128.mul<T>(v128.load(at), factor), n - i);
  }
}

/**
 * ln Σ e^(x − m) for m = max x. The largest, each exactly 1, are counted and not added: in a sum near 1 the others would be lost, and
 * with them all digits of a logarithm near 0.
 */
// @ts-ignore: decorator
@inline function logSumExpShifted<T>(x: usize, n: i32, m: T): f64 {
  const centre = v128.splat<T>(m);
  let counts = f64x2.splat(0);
  let sums = counts;
  for (let from = 0; from < n; from += 64) {
    let block = v128.splat<T>(0);
    let ones = block;
    const to = min(n, from + 64);
    for (let i = from; i < to; i += perVector<T>()) {
      const d = v128.sub<T>(v128.load(x + bytesOf<T>(i)), centre);
      let zero = v128.eq<T>(d, v128.splat<T>(0));
      let e = exp<T>(d);
      if (to - i < perVector<T>()) {
        zero = v128.and(zero, first<T>(to - i));
        e = v128.and(e, first<T>(to - i));
      }
      ones = v128.add<T>(ones, v128.and(zero, v128.splat<T>(1)));
      block = v128.add<T>(block, v128.andnot(e, zero));
    }
    sums = widen<T>(sums, block);
    counts = widen<T>(counts, ones);
  }
  return Math.log1p(total(sums) + (total(counts) - 1));
}

// @ts-ignore: decorator
@inline function logSumExpRow<T>(x: usize, n: i32): f64 {
  const m = min(finiteMax<T>(x, n, 1), most<T>()); // finite, so that ∞ gives ∞ and not ∞ − ∞
  return <f64>m + logSumExpShifted<T>(x, n, m);
}

/** x̄ = scale · p (g − Σ g p); x̄ may be g. */
export function softmaxGradRow<T>(g: usize, p: usize, dx: usize, n: i32, scale: T): void {
  const mean = v128.splat<T>(<T>dot<T>(g, p, n));
  const s = v128.splat<T>(scale);
  for (let i = 0; i < n; i += perVector<T>()) {
    const at = bytesOf<T>(i);
    const v = v128.mul<T>(v128.mul<T>(v128.sub<T>(v128.load(g + at), mean), v128.load(p + at)), s);
    put<T>(dx + at, v, n - i);
  }
}

/** y = softmax<T>(x) */
export function softmax<T>(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    softmaxRow<T>(x + r * bytes, y + r * bytes, length, 1);
}

/** x̄ = p (g − Σ g p) */
export function softmaxGrad<T>(
  chunk: Chunk, gradOutput: usize, p: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    softmaxGradRow<T>(gradOutput + r * bytes, p + r * bytes, gradX + r * bytes, length, 1);
}

/** y = (x − max) − log Σ e^(x − max) */
export function logSoftmax<T>(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSoftmaxRow<T>(x + r * bytes, y + r * bytes, length);
}

/** x̄ = g − eʸ Σ g */
export function logSoftmaxGrad<T>(
  chunk: Chunk, gradOutput: usize, y: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSoftmaxGradRow<T>(gradOutput + r * bytes, y + r * bytes, gradX + r * bytes, length);
}

/** y = log Σ eˣ */
export function logSumExp<T>(chunk: Chunk, x: usize, y: usize, rows: i32, length: i32, grain: i32): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    store<T>(y + (r << alignof<T>()), <T>logSumExpRow<T>(x + r * bytes, length));
}

/** x̄ = e^(x − y) g for y = log Σ eˣ */
export function logSumExpGrad<T>(
  chunk: Chunk, gradOutput: usize, x: usize, y: usize, gradX: usize, rows: i32, length: i32, grain: i32,
): void {
  const bytes = bytesOf<T>(length);
  for (let r = <usize>(chunk * grain), end = <usize>min(rows, (chunk + 1) * grain); r < end; r++)
    logSumExpGradRow<T>(load<T>(gradOutput + (r << alignof<T>())), x + r * bytes, gradX + r * bytes, length, load<T>(y + (r << alignof<T>())));
}

/** y = (x − max) − ln Σ e^(x − max): in one step x − ln Σ eˣ would round to the digits of x. */
function logSoftmaxRow<T>(x: usize, y: usize, n: i32): void {
  const m = finiteMax<T>(x, n, 1);
  const centre = v128.splat<T>(m);
  const logarithm = v128.splat<T>(<T>logSumExpShifted<T>(x, n, m));
  for (let i = 0; i < n; i += perVector<T>()) {
    const at = bytesOf<T>(i);
    put<T>(y + at, v128.sub<T>(v128.sub<T>(v128.load(x + at), centre), logarithm), n - i);
  }
}

/** x̄ = g − e^y Σ g. For the one probability e^y beyond ½ that is g (1 − e^y) − e^y (Σ g − g), which keeps its digits near 1. */
function logSoftmaxGradRow<T>(g: usize, y: usize, dx: usize, n: i32): void {
  const all = sum<T>(g, n);
  const whole = v128.splat<T>(<T>all);
  const half = v128.splat<T>(<T>-0.69);
  let near = -1;
  let own: f64 = 0;
  for (let i = 0; i < n; i += perVector<T>()) {
    const at = bytesOf<T>(i);
    const logarithm = v128.load(y + at);
    if (v128.any_true(v128.gt<T>(logarithm, half)))
      for (let k = i; k < min(n, i + perVector<T>()); k++)
        if (load<T>(y + bytesOf<T>(k)) > <T>-0.69) {
          near = k;
          own = <f64>load<T>(g + bytesOf<T>(k)); // x̄ may be g
        }
    put<T>(dx + at, v128.sub<T>(v128.load(g + at), v128.mul<T>(exp<T>(logarithm), whole)), n - i);
  }
  if (near < 0) return;
  const at = bytesOf<T>(near);
  const logarithm = <f64>load<T>(y + at);
  store<T>(dx + at, <T>(-own * Math.expm1(logarithm) - Math.exp(logarithm) * (all - own)));
}

/** x̄ = e^(x − lse) g */
function logSumExpGradRow<T>(g: T, x: usize, dx: usize, n: i32, lse: T): void {
  const shift = v128.splat<T>(max(lse, -most<T>()));
  const factor = v128.splat<T>(g);
  for (let i = 0; i < n; i += perVector<T>()) {
    const at = bytesOf<T>(i);
    put<T>(dx + at, v128.mul<T>(exp<T>(v128.sub<T>(v128.load(x + at), shift)), factor), n - i);
  }
}

export function layerNorm<T>(
  chunk: Chunk, x: usize, weight: usize, bias: usize, y: usize, mean: usize, rstd: usize, rows: i32, length: i32,
  eps: f64, grain: i32,
): void {
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const offset = <usize>r * bytesOf<T>(length);
    const from = x + offset;
    const to = y + offset;
    const m = <T>(sum<T>(from, length) / <f64>length);
    const inverse = <T>(1 / Math.sqrt(squares<T>(from, length, m) / <f64>length + eps));
    store<T>(mean + bytesOf<T>(r), m);
    store<T>(rstd + bytesOf<T>(r), inverse);
    const centre = v128.splat<T>(m);
    const scale = v128.splat<T>(inverse);
    for (let i = 0; i < length; i += perVector<T>()) {
      const at = bytesOf<T>(i);
      const n = v128.mul<T>(v128.sub<T>(v128.load(from + at), centre), scale);
      put<T>(to + at, madd<T>(n, v128.load(weight + at), v128.load(bias + at)), length - i);
    }
  }
}

/**
 * x̄ = r (h − mean(h) − n mean(h n)), h = g w, n = (x − mean) r; and this chunk's part of w̄ = Σ g n and b̄ = Σ g, to be
 * summed by `sumParts`.
 */
export function layerNormGrad<T>(
  chunk: Chunk, gradOutput: usize, x: usize, weight: usize, mean: usize, rstd: usize, gradX: usize, parts: usize,
  rows: i32, length: i32, grain: i32,
): void {
  const bytes = bytesOf<T>((length + 3) & ~3);
  const dw = parts + <usize>chunk * 2 * bytes;
  const db = dw + bytes;
  memory.fill(dw, 0, 2 * bytes);
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const offset = <usize>r * bytesOf<T>(length);
    const g = gradOutput + offset;
    const from = x + offset;
    const m = v128.splat<T>(load<T>(mean + bytesOf<T>(r)));
    const s = v128.splat<T>(load<T>(rstd + bytesOf<T>(r)));
    let h1 = f64x2.splat(0);
    let h2 = f64x2.splat(0);
    for (let start = 0; start < length; start += 64) {
      let b1 = v128.splat<T>(0);
      let b2 = v128.splat<T>(0);
      const to = min(length, start + 64);
      for (let i = start; i < to; i += perVector<T>()) {
        const at = bytesOf<T>(i);
        const gi = loadSome<T>(g + at, to - i, 0);
        const n = v128.mul<T>(v128.sub<T>(v128.load(from + at), m), s);
        const gn = v128.and(v128.mul<T>(gi, n), first<T>(to - i));
        const w = v128.load(weight + at);
        v128.store(dw + at, v128.add<T>(v128.load(dw + at), gn));
        v128.store(db + at, v128.add<T>(v128.load(db + at), gi));
        b1 = v128.add<T>(b1, v128.and(v128.mul<T>(gi, w), first<T>(to - i)));
        b2 = v128.add<T>(b2, v128.and(v128.mul<T>(gn, w), first<T>(to - i)));
      }
      h1 = widen<T>(h1, b1);
      h2 = widen<T>(h2, b2);
    }
    const mean1 = v128.splat<T>(<T>(total(h1) / <f64>length));
    const mean2 = v128.splat<T>(<T>(total(h2) / <f64>length));
    for (let i = 0; i < length; i += perVector<T>()) {
      const at = bytesOf<T>(i);
      const n = v128.mul<T>(v128.sub<T>(v128.load(from + at), m), s);
      const h = v128.mul<T>(v128.load(g + at), v128.load(weight + at));
      const d = v128.sub<T>(v128.sub<T>(h, mean1), v128.mul<T>(n, mean2));
      put<T>(gradX + offset + at, v128.mul<T>(d, s), length - i);
    }
  }
}

/** y[i] = Σ over parts of part[i], in float64. `stride` is in bytes. */
export function sumParts<T>(_chunk: Chunk, parts: usize, y: usize, count: i32, stride: usize, length: i32): void {
  for (let i = 0; i < length; i += perVector<T>(), parts += 16) {
    let low = f64x2.splat(0);
    let upper = f64x2.splat(0);
    for (let p: usize = 0; p < <usize>count; p++) {
      const v = v128.load(parts + p * stride);
      low = f64x2.add(low, sizeof<T>() == 8 ? v : f64x2.promote_low_f32x4(v));
      if (sizeof<T>() == 4) upper = f64x2.add(upper, high(v));
    }
    put<T>(y + bytesOf<T>(i), sizeof<T>() == 8 ? low : narrow(low, upper), length - i);
  }
}
