/** Fused row-wise and channel-wise kernels. Sums run in float64, which costs little here and loses nothing. */

/** Σ x over n consecutive floats, in two float64 lanes. */
function sum64(x: usize, n: i32): f64 {
  let total = f64x2.splat(0);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const v = v128.load(x + (<usize>i << 2));
    total = f64x2.add(total, f64x2.promote_low_f32x4(v));
    total = f64x2.add(total, f64x2.promote_low_f32x4(i8x16.shuffle(v, v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)));
  }
  let result = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  for (; i < n; i++) result += <f64>load<f32>(x + (<usize>i << 2));
  return result;
}

/** Σ a · b over n consecutive floats, in float64. */
function dot64(a: usize, b: usize, n: i32): f64 {
  let total = f64x2.splat(0);
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const x = f64x2.promote_low_f32x4(v128.load64_zero(a + (<usize>i << 2)));
    const y = f64x2.promote_low_f32x4(v128.load64_zero(b + (<usize>i << 2)));
    total = f64x2.add(total, f64x2.mul(x, y));
  }
  let result = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  if (i < n) result += <f64>load<f32>(a + (<usize>i << 2)) * <f64>load<f32>(b + (<usize>i << 2));
  return result;
}

/** Σ (x − mean)² in float64. */
function squares64(x: usize, n: i32, mean: f64): f64 {
  const centre = f64x2.splat(mean);
  let total = f64x2.splat(0);
  let i = 0;
  for (; i + 2 <= n; i += 2) {
    const d = f64x2.sub(f64x2.promote_low_f32x4(v128.load64_zero(x + (<usize>i << 2))), centre);
    total = f64x2.add(total, f64x2.mul(d, d));
  }
  let result = f64x2.extract_lane(total, 0) + f64x2.extract_lane(total, 1);
  if (i < n) {
    const d = <f64>load<f32>(x + (<usize>i << 2)) - mean;
    result += d * d;
  }
  return result;
}

/** y = x · scale + shift over n floats. */
function affine(x: usize, y: usize, n: i32, scale: f32, shift: f32): void {
  const s = f32x4.splat(scale);
  const t = f32x4.splat(shift);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const at = <usize>i << 2;
    v128.store(y + at, f32x4.add(f32x4.mul(v128.load(x + at), s), t));
  }
  for (; i < n; i++) {
    const at = <usize>i << 2;
    store<f32>(y + at, load<f32>(x + at) * scale + shift);
  }
}

/** Σ of each row: [rows, length] → [rows]. */
export function sumRows(x: usize, y: usize, rows: i32, length: i32): void {
  for (let r = 0; r < rows; r++) store<f32>(y + (<usize>r << 2), <f32>sum64(x + ((<usize>r * <usize>length) << 2), length));
}

export function sumSquares(x: usize, y: usize, n: i32): void {
  store<f32>(y, <f32>dot64(x, x, n));
}

export function batchNorm(
  x: usize, weight: usize, bias: usize, y: usize, mean: usize, variance: usize,
  batch: i32, channels: i32, inner: i32, eps: f64,
): void {
  const count = <f64>batch * <f64>inner;
  for (let c = 0; c < channels; c++) {
    let total: f64 = 0;
    for (let n = 0; n < batch; n++) total += sum64(x + ((<usize>(n * channels + c) * <usize>inner) << 2), inner);
    const m = total / count;
    let squares: f64 = 0;
    for (let n = 0; n < batch; n++) squares += squares64(x + ((<usize>(n * channels + c) * <usize>inner) << 2), inner, m);
    const v = squares / count;
    const at = <usize>c << 2;
    store<f32>(mean + at, <f32>m);
    store<f32>(variance + at, <f32>v);
    const scale = <f64>load<f32>(weight + at) / Math.sqrt(v + eps);
    const shift = <f64>load<f32>(bias + at) - m * scale;
    for (let n = 0; n < batch; n++) {
      const offset = (<usize>(n * channels + c) * <usize>inner) << 2;
      affine(x + offset, y + offset, inner, <f32>scale, <f32>shift);
    }
  }
}

/** x̄ = (w/σ)(g − mean(g) − n · mean(g n)), w̄ = Σ g n, b̄ = Σ g per channel, n = (x − mean)/σ. */
export function batchNormGrad(
  g: usize, x: usize, weight: usize, mean: usize, variance: usize, dx: usize, dw: usize, db: usize,
  batch: i32, channels: i32, inner: i32, eps: f64,
): void {
  const count = <f64>batch * <f64>inner;
  for (let c = 0; c < channels; c++) {
    const at = <usize>c << 2;
    const m = <f64>load<f32>(mean + at);
    const r = 1 / Math.sqrt(<f64>load<f32>(variance + at) + eps);
    let sumG: f64 = 0;
    let sumGx: f64 = 0;
    for (let n = 0; n < batch; n++) {
      const offset = (<usize>(n * channels + c) * <usize>inner) << 2;
      sumG += sum64(g + offset, inner);
      sumGx += dot64(g + offset, x + offset, inner);
    }
    const sumGn = (sumGx - m * sumG) * r;
    store<f32>(dw + at, <f32>sumGn);
    store<f32>(db + at, <f32>sumG);
    // x̄ = a g + b x + d
    const a = <f64>load<f32>(weight + at) * r;
    const b = (-a * sumGn * r) / count;
    const d = (-a * sumG) / count - b * m;
    const va = f32x4.splat(<f32>a);
    const vb = f32x4.splat(<f32>b);
    const vd = f32x4.splat(<f32>d);
    for (let n = 0; n < batch; n++) {
      const offset = (<usize>(n * channels + c) * <usize>inner) << 2;
      let i = 0;
      for (; i + 4 <= inner; i += 4) {
        const o = offset + (<usize>i << 2);
        v128.store(dx + o, f32x4.add(f32x4.add(f32x4.mul(va, v128.load(g + o)), f32x4.mul(vb, v128.load(x + o))), vd));
      }
      for (; i < inner; i++) {
        const o = offset + (<usize>i << 2);
        store<f32>(dx + o, <f32>(a * <f64>load<f32>(g + o) + b * <f64>load<f32>(x + o) + d));
      }
    }
  }
}

export function layerNorm(
  x: usize, weight: usize, bias: usize, y: usize, mean: usize, rstd: usize, rows: i32, length: i32, eps: f64,
): void {
  for (let row = 0; row < rows; row++) {
    const offset = (<usize>row * <usize>length) << 2;
    const m = sum64(x + offset, length) / <f64>length;
    const r = 1 / Math.sqrt(squares64(x + offset, length, m) / <f64>length + eps);
    store<f32>(mean + (<usize>row << 2), <f32>m);
    store<f32>(rstd + (<usize>row << 2), <f32>r);
    for (let i = 0; i < length; i++) {
      const at = <usize>i << 2;
      const n = <f32>((<f64>load<f32>(x + offset + at) - m) * r);
      store<f32>(y + offset + at, n * load<f32>(weight + at) + load<f32>(bias + at));
    }
  }
}

/** `sums` is scratch for 2 · length float64. */
export function layerNormGrad(
  g: usize, x: usize, weight: usize, mean: usize, rstd: usize, dx: usize, dw: usize, db: usize, rows: i32, length: i32, sums: usize,
): void {
  memory.fill(sums, 0, <usize>length << 4);
  for (let row = 0; row < rows; row++) {
    const offset = (<usize>row * <usize>length) << 2;
    const m = <f64>load<f32>(mean + (<usize>row << 2));
    const r = <f64>load<f32>(rstd + (<usize>row << 2));
    let h1: f64 = 0;
    let h2: f64 = 0;
    for (let i = 0; i < length; i++) {
      const at = <usize>i << 2;
      const n = (<f64>load<f32>(x + offset + at) - m) * r;
      const gi = <f64>load<f32>(g + offset + at);
      const h = gi * <f64>load<f32>(weight + at);
      h1 += h;
      h2 += h * n;
      const slot = sums + (<usize>i << 4);
      store<f64>(slot, load<f64>(slot) + gi * n);
      store<f64>(slot, load<f64>(slot, 8) + gi, 8);
    }
    h1 /= <f64>length;
    h2 /= <f64>length;
    for (let i = 0; i < length; i++) {
      const at = <usize>i << 2;
      const n = (<f64>load<f32>(x + offset + at) - m) * r;
      const h = <f64>load<f32>(g + offset + at) * <f64>load<f32>(weight + at);
      store<f32>(dx + offset + at, <f32>((h - h1 - n * h2) * r));
    }
  }
  for (let i = 0; i < length; i++) {
    store<f32>(dw + (<usize>i << 2), <f32>load<f64>(sums + (<usize>i << 4)));
    store<f32>(db + (<usize>i << 2), <f32>load<f64>(sums + (<usize>i << 4), 8));
  }
}

export function adamW(
  p: usize, g: usize, m: usize, v: usize, n: i32,
  lr: f64, beta1: f64, beta2: f64, eps: f64, decay: f64, correction1: f64, correction2: f64, gradScale: f64,
): void {
  for (let i = 0; i < n; i++) {
    const at = <usize>i << 2;
    const gi = <f64>load<f32>(g + at) * gradScale;
    const mi = beta1 * <f64>load<f32>(m + at) + (1 - beta1) * gi;
    const vi = beta2 * <f64>load<f32>(v + at) + (1 - beta2) * gi * gi;
    store<f32>(m + at, <f32>mi);
    store<f32>(v + at, <f32>vi);
    const update = mi / correction1 / (Math.sqrt(vi / correction2) + eps);
    store<f32>(p + at, <f32>(<f64>load<f32>(p + at) * (1 - lr * decay) - lr * update));
  }
}
