// What this machine gives to 128-bit SIMD at most: arithmetic on registers alone, and a streaming copy.

/** Multiply and add, fused where the engine has relaxed SIMD. */
// @ts-ignore: decorator
@inline
function step(x: v128, factor: v128, term: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) return f32x4.relaxed_madd(x, factor, term);
  return f32x4.add(f32x4.mul(x, factor), term);
}

/** `rounds` times twelve independent multiply-adds of four numbers: 96 operations a round. */
export function arithmetic(rounds: i32): f32 {
  const factor = f32x4.splat(0.999);
  const term = f32x4.splat(0.001);
  let a = f32x4.splat(1), b = f32x4.splat(2), c = f32x4.splat(3), d = f32x4.splat(4);
  let e = f32x4.splat(5), f = f32x4.splat(6), g = f32x4.splat(7), h = f32x4.splat(8);
  let i = f32x4.splat(9), j = f32x4.splat(10), k = f32x4.splat(11), l = f32x4.splat(12);
  for (let round = 0; round < rounds; round++) {
    a = step(a, factor, term); b = step(b, factor, term); c = step(c, factor, term); d = step(d, factor, term);
    e = step(e, factor, term); f = step(f, factor, term); g = step(g, factor, term); h = step(h, factor, term);
    i = step(i, factor, term); j = step(j, factor, term); k = step(k, factor, term); l = step(l, factor, term);
  }
  const abcd = f32x4.add(f32x4.add(a, b), f32x4.add(c, d));
  const efgh = f32x4.add(f32x4.add(e, f), f32x4.add(g, h));
  const ijkl = f32x4.add(f32x4.add(i, j), f32x4.add(k, l));
  return f32x4.extract_lane(f32x4.add(f32x4.add(abcd, efgh), ijkl), 0);
}

/** Copies `bytes`, a multiple of 64, from one address to another. */
export function copy(to: usize, from: usize, bytes: usize): void {
  for (let at: usize = 0; at < bytes; at += 64) {
    v128.store(to + at, v128.load(from + at));
    v128.store(to + at, v128.load(from + at, 16), 16);
    v128.store(to + at, v128.load(from + at, 32), 32);
    v128.store(to + at, v128.load(from + at, 48), 48);
  }
}
