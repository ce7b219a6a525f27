/** Bounds of the products of many vectors with one, from a byte a number: a quarter of what float32 has to read. */
import { Chunk } from './pool';

/** Codes at i … i + 15 of a row with those of the query: the sums of four pairs of products each. */
// @ts-ignore: decorator
@inline function products(row: usize, query: usize, i: usize): v128 {
  return i32x4.add(
    i32x4.dot_i16x8_s(v128.load8x8_s(row + i), v128.load(query + 2 * i)),
    i32x4.dot_i16x8_s(v128.load8x8_s(row + i + 8), v128.load(query + 2 * i + 16)),
  );
}

// @ts-ignore: decorator
@inline function sum(x: v128): i32 {
  return i32x4.extract_lane(x, 0) + i32x4.extract_lane(x, 1) + i32x4.extract_lane(x, 2) + i32x4.extract_lane(x, 3);
}

/** Writes the bounds of a row whose codes gave `dot`. */
// @ts-ignore: decorator
@inline function write(
  r: i32, dot: i32, scales: usize, radii: usize, bounds: usize, rows: i32, base: f32, step: f32, error: f32,
): void {
  const at = <usize>r << 2;
  const about = base + load<f32>(scales + at) * step * <f32>dot;
  const within = load<f32>(radii + at) + error;
  store<f32>(bounds + at, about - within);
  store<f32>(bounds + at + (<usize>rows << 2), about + within);
}

/**
 * lower_r, upper_r = base + scale_r · step · Σ_i codes[r, i] · query[i] ∓ (radius_r + error); the sum exact while it fits into an
 * int32. Codes are int8, the query is int16, dim a multiple of 64. Two rows at a time share what is loaded of the query.
 */
export function boundProducts(
  chunk: Chunk, codes: usize, scales: usize, radii: usize, query: usize, bounds: usize, rows: i32, dim: i32, base: f64,
  step: f64, error: f64, grain: i32,
): void {
  const end = min(rows, (chunk + 1) * grain);
  const bytes = <usize>dim;
  for (let r = chunk * grain; r < end; r += 2) {
    const both = r + 1 < end;
    let first = codes + <usize>r * bytes;
    let second = both ? first + bytes : first;
    const last = first + bytes;
    let q = query;
    let a = i32x4.splat(0);
    let b = i32x4.splat(0);
    while (first < last) {
      a = i32x4.add(a, i32x4.add(products(first, q, 0), products(first, q, 16)));
      b = i32x4.add(b, i32x4.add(products(second, q, 0), products(second, q, 16)));
      a = i32x4.add(a, i32x4.add(products(first, q, 32), products(first, q, 48)));
      b = i32x4.add(b, i32x4.add(products(second, q, 32), products(second, q, 48)));
      first += 64;
      second += 64;
      q += 128;
    }
    write(r, sum(a), scales, radii, bounds, rows, <f32>base, <f32>step, <f32>error);
    if (both) write(r + 1, sum(b), scales, radii, bounds, rows, <f32>base, <f32>step, <f32>error);
  }
}
