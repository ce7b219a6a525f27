/**
 * Batch norm over [batch, channels, inner]. Where a channel has few elements an image, it goes by columns: the images are
 * rows of channels · inner, a chunk is a strip of 16 columns, of which a row is a line of the cache: all of it is used while it is
 * there. Otherwise a chunk is a channel.
 */
import { bytesOf, high, madd, perVector, put } from './lanes';
import { Chunk, scratchPart } from './pool';
import { carefully, centredDot, squares, sum } from './sums';

/** Where the channel's floats of image n begin, in bytes. */
// @ts-ignore: decorator
@inline function plane<T>(n: i32, channel: i32, channels: i32, inner: i32): usize {
  return ((<usize>n * <usize>channels + <usize>channel) * <usize>inner) << alignof<T>();
}

export function batchNorm<T>(
  channel: Chunk, x: usize, weight: usize, bias: usize, y: usize, mean: usize, variance: usize, batch: i32,
  channels: i32, inner: i32, eps: f64,
): void {
  const count = <f64>batch * <f64>inner;
  let sums: f64 = 0;
  for (let n = 0; n < batch; n++) sums += sum<T>(x + plane<T>(n, channel, channels, inner), inner);
  const m = <T>(sums / count);
  let spread: f64 = 0;
  for (let n = 0; n < batch; n++) spread += squares<T>(x + plane<T>(n, channel, channels, inner), inner, m);
  const average = spread / count;
  const at = bytesOf<T>(channel);
  store<T>(mean + at, m);
  store<T>(variance + at, <T>average);
  const scale = v128.splat<T>(<T>(<f64>load<T>(weight + at) / Math.sqrt(average + eps)));
  const shift = v128.splat<T>(load<T>(bias + at));
  const centre = v128.splat<T>(m);
  for (let n = 0; n < batch; n++) {
    let here = plane<T>(n, channel, channels, inner);
    let left = inner;
    do {
      put<T>(y + here, madd<T>(v128.sub<T>(v128.load(x + here), centre), scale, shift), left);
      here += 16;
      left -= perVector<T>();
    } while (left > 0);
  }
}

/** x̄ = (w/σ)(g − mean(g) − n mean(g n)), w̄ = Σ g n, b̄ = Σ g, n = (x − mean)/σ. */
export function batchNormGrad<T>(
  channel: Chunk, gradOutput: usize, x: usize, weight: usize, mean: usize, variance: usize, gradX: usize,
  gradWeight: usize, gradBias: usize, batch: i32, channels: i32, inner: i32, eps: f64,
): void {
  const count = <f64>batch * <f64>inner;
  const at = bytesOf<T>(channel);
  const m = load<T>(mean + at);
  const r = 1 / Math.sqrt(<f64>load<T>(variance + at) + eps);
  let sumG: f64 = 0;
  let sumGx: f64 = 0;
  for (let n = 0; n < batch; n++) {
    const offset = plane<T>(n, channel, channels, inner);
    sumG += sum<T>(gradOutput + offset, inner);
    sumGx += centredDot<T>(x + offset, gradOutput + offset, inner, m);
  }
  const sumGn = sumGx * r;
  store<T>(gradWeight + at, <T>sumGn);
  store<T>(gradBias + at, <T>sumG);
  const gain = <f64>load<T>(weight + at) * r;
  const scale = v128.splat<T>(<T>gain);
  const slope = v128.splat<T>(<T>((-gain * sumGn * r) / count));
  const shift = v128.splat<T>(<T>((-gain * sumG) / count));
  const centre = v128.splat<T>(m);
  for (let n = 0; n < batch; n++) {
    let here = plane<T>(n, channel, channels, inner);
    let left = inner;
    do {
      const linear = madd<T>(v128.sub<T>(v128.load(x + here), centre), slope, shift);
      put<T>(gradX + here, madd<T>(v128.load(gradOutput + here), scale, linear), left);
      here += 16;
      left -= perVector<T>();
    } while (left > 0);
  }
}

/**
 * Sums over the rows of a strip, per column: Σ x, Σ (x − c)² or Σ (x − c) y as `kind` is 0, 1 or 2, as float64 at `sums`.
 * Blocks of 64 rows in float32. Sixteen columns, a line of the cache, are read at once: where fewer count, others' too.
 */
// @ts-ignore: decorator
@inline function columnSums(kind: i32, x: usize, y: usize, bytes: usize, rows: i32, columns: i32, centres: usize, sums: usize): void {
  memory.fill(sums, 0, 128);
  const c0 = v128.load(centres);
  const c1 = v128.load(centres, 16);
  const c2 = v128.load(centres, 32);
  const c3 = v128.load(centres, 48);
  let at = x;
  let other = y;
  for (let from = 0; from < rows; from += 64) {
    let b0 = f32x4.splat(0);
    let b1 = b0;
    let b2 = b0;
    let b3 = b0;
    let left = min(64, rows - from);
    do {
      b0 = f32x4.add(b0, columnTerm(kind, v128.load(at), v128.load(other), c0));
      b1 = f32x4.add(b1, columnTerm(kind, v128.load(at, 16), v128.load(other, 16), c1));
      b2 = f32x4.add(b2, columnTerm(kind, v128.load(at, 32), v128.load(other, 32), c2));
      b3 = f32x4.add(b3, columnTerm(kind, v128.load(at, 48), v128.load(other, 48), c3));
      at += bytes;
      other += bytes;
    } while (--left);
    addFour(sums, b0);
    addFour(sums + 32, b1);
    addFour(sums + 64, b2);
    addFour(sums + 96, b3);
  }
  for (let k = 0; k < columns; k++) {
    const column = <usize>k << 2;
    if (isFinite(load<f64>(sums + 2 * column))) continue;
    const m = load<f32>(centres + column);
    store<f64>(sums + 2 * column, carefully<f32>(kind == 0 ? 0 : kind + 1, x + column, y + column, m, rows, bytes));
  }
}
// @ts-ignore: decorator
@inline function columnTerm(kind: i32, x: v128, y: v128, centre: v128): v128 {
  if (kind == 0) return x;
  const d = f32x4.sub(x, centre);
  return f32x4.mul(d, kind == 1 ? d : y);
}
/** Adds four float32 to four float64. */
// @ts-ignore: decorator
@inline function addFour(sums: usize, block: v128): void {
  v128.store(sums, f64x2.add(v128.load(sums), f64x2.promote_low_f32x4(block)));
  v128.store(sums, f64x2.add(v128.load(sums, 16), high(block)), 16);
}
/** Σ over a channel's columns. */
// @ts-ignore: decorator
@inline function channelSum(sums: usize, column: i32, inner: i32): f64 {
  let total: f64 = 0;
  for (let i = 0; i < inner; i++) total += load<f64>(sums + (<usize>(column + i) << 3));
  return total;
}
// @ts-ignore: decorator
@inline function repeat(at: usize, column: i32, inner: i32, value: f32): void {
  for (let i = 0; i < inner; i++) store<f32>(at + (<usize>(column + i) << 2), value);
}

/** As batchNorm; channels · inner a multiple of 4, inner a divisor of 16. */
export function batchNormColumns(
  strip: Chunk, x: usize, weight: usize, bias: usize, y: usize, mean: usize, variance: usize, batch: i32,
  channels: i32, inner: i32, eps: f64, scratch: usize, scratchBytes: usize,
): void {
  const width = channels * inner;
  const from = strip << 4;
  const columns = min(16, width - from);
  const bytes = <usize>width << 2;
  const offset = <usize>from << 2;
  x += offset;
  const sums = scratchPart(scratch, scratchBytes);
  const centres = sums + 128;
  const scales = centres + 64;
  const shifts = scales + 64;
  const count = <f64>batch * <f64>inner;
  columnSums(0, x, x, bytes, batch, columns, centres, sums);
  for (let j = 0; j < columns; j += inner) {
    const m = <f32>(channelSum(sums, j, inner) / count);
    store<f32>(mean + (<usize>((from + j) / inner) << 2), m);
    repeat(centres, j, inner, m);
  }
  columnSums(1, x, x, bytes, batch, columns, centres, sums);
  for (let j = 0; j < columns; j += inner) {
    const at = <usize>((from + j) / inner) << 2;
    const spread = channelSum(sums, j, inner) / count;
    store<f32>(variance + at, <f32>spread);
    repeat(scales, j, inner, <f32>(<f64>load<f32>(weight + at) / Math.sqrt(spread + eps)));
    repeat(shifts, j, inner, load<f32>(bias + at));
  }
  const stripBytes = <usize>columns << 2;
  let there = y + offset;
  for (let n = 0; n < batch; n++, x += bytes, there += bytes)
    for (let at: usize = 0; at < stripBytes; at += 16) {
      const d = f32x4.sub(v128.load(x + at), v128.load(centres + at));
      v128.store(there + at, madd<f32>(d, v128.load(scales + at), v128.load(shifts + at)));
    }
}

/** As batchNormGrad, by columns. */
export function batchNormColumnsGrad(
  strip: Chunk, gradOutput: usize, x: usize, weight: usize, mean: usize, variance: usize, gradX: usize,
  gradWeight: usize, gradBias: usize, batch: i32, channels: i32, inner: i32, eps: f64, scratch: usize,
  scratchBytes: usize,
): void {
  const width = channels * inner;
  const from = strip << 4;
  const columns = min(16, width - from);
  const bytes = <usize>width << 2;
  const offset = <usize>from << 2;
  const g = gradOutput + offset;
  x += offset;
  const sums = scratchPart(scratch, scratchBytes);
  const products = sums + 128;
  const centres = products + 128;
  const scales = centres + 64;
  const slopes = scales + 64;
  const shifts = slopes + 64;
  const count = <f64>batch * <f64>inner;
  for (let j = 0; j < columns; j += inner) repeat(centres, j, inner, load<f32>(mean + (<usize>((from + j) / inner) << 2)));
  columnSums(0, g, g, bytes, batch, columns, centres, sums);
  columnSums(2, x, g, bytes, batch, columns, centres, products);
  for (let j = 0; j < columns; j += inner) {
    const at = <usize>((from + j) / inner) << 2;
    const r = 1 / Math.sqrt(<f64>load<f32>(variance + at) + eps);
    const sumG = channelSum(sums, j, inner);
    const sumGn = channelSum(products, j, inner) * r;
    store<f32>(gradWeight + at, <f32>sumGn);
    store<f32>(gradBias + at, <f32>sumG);
    const gain = <f64>load<f32>(weight + at) * r;
    repeat(scales, j, inner, <f32>gain);
    repeat(slopes, j, inner, <f32>((-gain * sumGn * r) / count));
    repeat(shifts, j, inner, <f32>((-gain * sumG) / count));
  }
  const stripBytes = <usize>columns << 2;
  let here: usize = 0;
  for (let n = 0; n < batch; n++, here += bytes)
    for (let at: usize = 0; at < stripBytes; at += 16) {
      const d = f32x4.sub(v128.load(x + here + at), v128.load(centres + at));
      const linear = madd<f32>(d, v128.load(slopes + at), v128.load(shifts + at));
      v128.store(gradX + offset + here + at, madd<f32>(v128.load(g + here + at), v128.load(scales + at), linear));
    }
}
