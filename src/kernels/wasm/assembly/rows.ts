/**
 * Kernels over the rows of [rows, length], length ≥ 1: softmax and its family, layer norm. A chunk is a group of rows. Exponentials
 * are added up in blocks, as in sums.ts. A NaN is not looked for: it spreads through the sums.
 */
import { atLeast, bytesOf, first, flag, high, madd, narrow, perVector, pick, put, total, widen } from './lanes';
import { expDown } from './math';
import { Chunk } from './pool';
import { dot, largestLane, squares, sum, wholePairs } from './sums';

/** The largest finite number. */
// @ts-ignore: decorator
@inline function most<T>(): T { return sizeof<T>() == 8 ? <T>f64.MAX_VALUE : <T>f32.MAX_VALUE; }

/** Σ exp<T>(scale · x − shift) where that is the maximum; the terms go to y. */
// @ts-ignore: decorator
@inline function sumExp<T>(x: usize, y: usize, n: i32, scale: T, shift: T): f64 {
  const s = v128.splat<T>(scale);
  const t = v128.splat<T>(shift);
  let sums = f64x2.splat(0);
  for (let from = 0; from < n; from += 64) {
    let even = v128.splat<T>(0);
    let odd = v128.splat<T>(0);
    const to = min(n, from + 64);
    const pairs = wholePairs<T>(from, to);
    let i = from;
    if (i < pairs) {
      do {
        const e = expDown<T>(v128.sub<T>(v128.mul<T>(v128.load(x), s), t));
        const o = expDown<T>(v128.sub<T>(v128.mul<T>(v128.load(x, 16), s), t));
        v128.store(y, e);
        v128.store(y, o, 16);
        even = v128.add<T>(even, e);
        odd = v128.add<T>(odd, o);
        x += 32;
        y += 32;
        i += 2 * perVector<T>();
      } while (i < pairs);
    }
    for (; i < to; i += perVector<T>()) {
      const e = v128.and(expDown<T>(v128.sub<T>(v128.mul<T>(v128.load(x), s), t)), first<T>(to - i));
      put<T>(y, e, to - i);
      even = v128.add<T>(even, e);
      x += 16;
      y += 16;
    }
    sums = widen<T>(sums, v128.add<T>(even, odd));
  }
  return total(sums);
}

/** A row's maximum without its NaN, which sums spread; finite, so that a row of −∞ stays −∞ and does not become NaN. */
// @ts-ignore: decorator
@inline function finiteMax<T>(x: usize, n: i32, scale: T): T {
  const s = v128.splat<T>(scale);
  let even = v128.splat<T>(-most<T>());
  let odd = even;
  const pairs = wholePairs<T>(0, n);
  let i = 0;
  if (i < pairs) {
    do {
      even = atLeast<T>(even, v128.mul<T>(v128.load(x), s));
      odd = atLeast<T>(odd, v128.mul<T>(v128.load(x, 16), s));
      x += 32;
      i += 2 * perVector<T>();
    } while (i < pairs);
  }
  for (; i < n; i += perVector<T>(), x += 16)
    even = atLeast<T>(even, pick(first<T>(n - i), v128.mul<T>(v128.load(x), s), even));
  return largestLane<T>(atLeast<T>(even, odd));
}

/** y = softmax<T>(scale · x) */
export function softmaxRow<T>(x: usize, y: usize, n: i32, scale: T): void {
  const factor = v128.splat<T>(<T>(1 / sumExp<T>(x, y, n, scale, finiteMax<T>(x, n, scale))));
  do {
    put<T>(y, v128.mul<T>(v128.load(y), factor), n);
    y += 16;
    n -= perVector<T>();
  } while (n > 0);
}

// @ts-ignore: decorator
@inline function isZero<T>(d: v128): v128 { return flag<T>(v128.eq<T>(d, v128.splat<T>(0))); }
// @ts-ignore: decorator
@inline function expUnlessZero<T>(d: v128): v128 { return v128.andnot(expDown<T>(d), v128.eq<T>(d, v128.splat<T>(0))); }

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
    const pairs = wholePairs<T>(from, to);
    let i = from;
    if (i < pairs) {
      do {
        const even = v128.sub<T>(v128.load(x), centre);
        const odd = v128.sub<T>(v128.load(x, 16), centre);
        ones = v128.add<T>(ones, v128.add<T>(isZero<T>(even), isZero<T>(odd)));
        block = v128.add<T>(block, v128.add<T>(expUnlessZero<T>(even), expUnlessZero<T>(odd)));
        x += 32;
        i += 2 * perVector<T>();
      } while (i < pairs);
    }
    for (; i < to; i += perVector<T>(), x += 16) {
      const d = v128.sub<T>(v128.load(x), centre);
      ones = v128.add<T>(ones, v128.and(isZero<T>(d), first<T>(to - i)));
      block = v128.add<T>(block, v128.and(expUnlessZero<T>(d), first<T>(to - i)));
    }
    sums = widen<T>(sums, block);
    counts = widen<T>(counts, ones);
  }
  return Math.log1p(total(sums) + (total(counts) - 1));
}

// @ts-ignore: decorator
@inline function logSumExpRow<T>(x: usize, n: i32): f64 {
  const m = finiteMax<T>(x, n, 1);
  if (m > most<T>()) return dot<T>(x, x, n); // ∞, and not ∞ − ∞; NaN where there is one
  return <f64>m + logSumExpShifted<T>(x, n, m);
}

/** x̄ = scale · p (g − Σ g p); x̄ may be g. */
export function softmaxGradRow<T>(g: usize, p: usize, dx: usize, n: i32, scale: T): void {
  const mean = v128.splat<T>(<T>dot<T>(g, p, n));
  const s = v128.splat<T>(scale);
  let at: usize = 0;
  do {
    const v = v128.mul<T>(v128.mul<T>(v128.sub<T>(v128.load(g + at), mean), v128.load(p + at)), s);
    put<T>(dx + at, v, n);
    at += 16;
    n -= perVector<T>();
  } while (n > 0);
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
  do {
    put<T>(y, v128.sub<T>(v128.sub<T>(v128.load(x), centre), logarithm), n);
    x += 16;
    y += 16;
    n -= perVector<T>();
  } while (n > 0);
}

/** x̄ = g − e^y Σ g. For the one probability e^y beyond ½ that is g (1 − e^y) − e^y (Σ g − g), which keeps its digits near 1. */
function logSoftmaxGradRow<T>(g: usize, y: usize, dx: usize, n: i32): void {
  const all = sum<T>(g, n);
  const whole = v128.splat<T>(<T>all);
  const near = likely<T>(y, n);
  const own = near < 0 ? 0 : <f64>load<T>(g + bytesOf<T>(near)); // x̄ may be g
  let at: usize = 0;
  let left = n;
  do {
    put<T>(dx + at, v128.sub<T>(v128.load(g + at), v128.mul<T>(expDown<T>(v128.load(y + at)), whole)), left);
    at += 16;
    left -= perVector<T>();
  } while (left > 0);
  if (near < 0) return;
  const logarithm = <f64>load<T>(y + bytesOf<T>(near));
  store<T>(dx + bytesOf<T>(near), <T>(-own * Math.expm1(logarithm) - Math.exp(logarithm) * (all - own)));
}
/** The index of the one e^y beyond ½, or −1. */
function likely<T>(y: usize, n: i32): i32 {
  const half = v128.splat<T>(<T>-0.69);
  let found = half;
  let at: usize = 0;
  do {
    found = atLeast<T>(found, v128.load(y + at));
    at += 16;
  } while (at < bytesOf<T>(n));
  if (!v128.any_true(v128.gt<T>(found, half))) return -1;
  let i = n - 1;
  while (i >= 0 && !(load<T>(y + bytesOf<T>(i)) > <T>-0.69)) i--;
  return i;
}

/** x̄ = e^(x − lse) g */
function logSumExpGradRow<T>(g: T, x: usize, dx: usize, n: i32, lse: T): void {
  const shift = v128.splat<T>(max(lse, -most<T>()));
  const factor = v128.splat<T>(g);
  do {
    put<T>(dx, v128.mul<T>(expDown<T>(v128.sub<T>(v128.load(x), shift)), factor), n);
    x += 16;
    dx += 16;
    n -= perVector<T>();
  } while (n > 0);
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
    let at: usize = 0;
    let left = length;
    do {
      const n = v128.mul<T>(v128.sub<T>(v128.load(from + at), centre), scale);
      put<T>(to + at, madd<T>(n, v128.load(weight + at), v128.load(bias + at)), left);
      at += 16;
      left -= perVector<T>();
    } while (left > 0);
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
      let left = min(length - start, 64);
      let at = bytesOf<T>(start);
      do {
        let gi = v128.load(g + at);
        let xi = v128.load(from + at);
        let w = v128.load(weight + at);
        if (left < perVector<T>()) {
          const there = first<T>(left);
          gi = v128.and(gi, there);
          xi = pick(there, xi, m);
          w = v128.and(w, there);
        }
        const gn = v128.mul<T>(gi, v128.mul<T>(v128.sub<T>(xi, m), s));
        v128.store(dw + at, v128.add<T>(v128.load(dw + at), gn));
        v128.store(db + at, v128.add<T>(v128.load(db + at), gi));
        b1 = v128.add<T>(b1, v128.mul<T>(gi, w));
        b2 = v128.add<T>(b2, v128.mul<T>(gn, w));
        at += 16;
        left -= perVector<T>();
      } while (left > 0);
      h1 = widen<T>(h1, b1);
      h2 = widen<T>(h2, b2);
    }
    const mean1 = v128.splat<T>(<T>(total(h1) / <f64>length));
    const mean2 = v128.splat<T>(<T>(total(h2) / <f64>length));
    let at: usize = 0;
    let left = length;
    do {
      const n = v128.mul<T>(v128.sub<T>(v128.load(from + at), m), s);
      const h = v128.mul<T>(v128.load(g + at), v128.load(weight + at));
      const d = v128.sub<T>(v128.sub<T>(h, mean1), v128.mul<T>(n, mean2));
      put<T>(gradX + offset + at, v128.mul<T>(d, s), left);
      at += 16;
      left -= perVector<T>();
    } while (left > 0);
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
