/**
 * Elementary functions of vectors. Denormals, infinities and NaN behave as in JavaScript's Math. Of float32 four at once,
 * each within 4 ulp (tested); of float64 one lane after the other, by AssemblyScript's Math, from musl.
 *
 * @source exp and log: the reductions of S. Moshier's Cephes library (single precision), of log the coefficients too. Other
 *         coefficients: least-squares fits of our own of the relative error, weighted until its peaks were even.
 */
import { atLeast, atMost, madd as vectorMadd, pick } from './lanes';

// @ts-ignore: decorator
@inline function all(x: f32): v128 { return f32x4.splat(x); }
// @ts-ignore: decorator
@inline function madd(a: v128, b: v128, c: v128): v128 { return vectorMadd<f32>(a, b, c); }

/** 1.5 · 2²³. A float32 added to it is rounded to a whole number, which stands in the last bits of the sum. */
const ROUNDER: f32 = 12582912;
/** x / ln 2 rounded to a whole number n, added to ROUNDER. */
// @ts-ignore: decorator
@inline function octaves(x: v128): v128 { return madd(x, all(1.44269504088896341), all(ROUNDER)); }
/** x − n ln 2; ln 2 in two parts, of which the first times n is exact. */
// @ts-ignore: decorator
@inline function withoutOctaves(x: v128, rounded: v128): v128 {
  const n = f32x4.sub(rounded, all(ROUNDER));
  return madd(n, all(2.12194440e-4), madd(n, all(-0.693359375), x));
}
/** (e^r − 1) / r for |r| ≤ ½ ln 2 */
// @ts-ignore: decorator
@inline function rise(r: v128): v128 {
  let p = all(0.0013822074979543686);
  p = madd(p, r, all(0.008368851616978645));
  p = madd(p, r, all(0.041668254882097244));
  p = madd(p, r, all(0.1666651964187622));
  p = madd(p, r, all(0.4999999403953552));
  return madd(p, r, all(1));
}

/** eˣ = 2ⁿ e^r with |r| ≤ ½ ln 2; 2ⁿ in two factors, so that results may be denormal. */
// @ts-ignore: decorator
@inline function exp4(x: v128): v128 {
  const inside = atLeast<f32>(atMost<f32>(x, all(89)), all(-104.5));
  const rounded = octaves(inside);
  const r = withoutOctaves(inside, rounded);
  // n stands in the last bits; moved by 23, it is in the place of a float's exponent. By 22 and cut off there, ⌊n/2⌋ is.
  const n = i32x4.shl(rounded, 23);
  const half = v128.and(i32x4.shl(rounded, 22), i32x4.splat(0xff800000));
  const y = f32x4.mul(madd(rise(r), r, all(1)), scaleBy(half));
  return f32x4.mul(y, scaleBy(i32x4.sub(n, half)));
}
/** eˣ for x ≤ 0 (up to 70 in fact): 2²⁴ times too much, which is never denormal, and then that less. */
// @ts-ignore: decorator
@inline function expDown4(x: v128): v128 {
  const inside = atLeast<f32>(x, all(-104.5));
  const rounded = octaves(inside);
  const r = withoutOctaves(inside, rounded);
  const scale = i32x4.add(i32x4.shl(rounded, 23), all(16777216));
  return f32x4.mul(f32x4.mul(madd(rise(r), r, all(1)), scale), all(5.9604644775390625e-8));
}
/** 2ⁿ of n in the exponent's place. */
// @ts-ignore: decorator
@inline function scaleBy(n: v128): v128 { return i32x4.add(n, all(1)); }

/** ln x = e ln 2 + ln m with m in [√½, √2). */
// @ts-ignore: decorator
@inline function log4(x: v128): v128 {
  const tiny = f32x4.lt(x, all(1.17549435e-38));
  const scaled = pick(tiny, f32x4.mul(x, all(8388608)), x);
  // Taking away √½'s bits rounds m into [√½, √2) and leaves the exponent above.
  const bits = i32x4.sub(scaled, i32x4.splat(0x3f3504f3));
  let e = f32x4.convert_i32x4_s(i32x4.shr_s(bits, 23));
  e = f32x4.sub(e, v128.and(tiny, all(23)));
  const m = i32x4.add(v128.and(bits, i32x4.splat(0x007fffff)), i32x4.splat(0x3f3504f3));
  const f = f32x4.sub(m, all(1));
  const f2 = f32x4.mul(f, f);
  let p = all(7.0376836292e-2);
  p = madd(p, f, all(-1.1514610310e-1));
  p = madd(p, f, all(1.1676998740e-1));
  p = madd(p, f, all(-1.2420140846e-1));
  p = madd(p, f, all(1.4249322787e-1));
  p = madd(p, f, all(-1.6668057665e-1));
  p = madd(p, f, all(2.0000714765e-1));
  p = madd(p, f, all(-2.4999993993e-1));
  p = madd(p, f, all(3.3333331174e-1));
  let y = f32x4.mul(f32x4.mul(p, f), f2);
  y = madd(e, all(-2.12194440e-4), y);
  y = madd(f2, all(-0.5), y);
  y = madd(e, all(0.693359375), f32x4.add(f, y));
  // x = 0 → −∞, x < 0 or NaN → NaN, ∞ → ∞
  y = pick(f32x4.eq(x, all(0)), all(-Infinity), y);
  y = pick(f32x4.eq(x, all(Infinity)), x, y);
  return pick(f32x4.ge(x, all(0)), y, all(NaN));
}

/** 1 / (1 + e⁻ˣ), from e^(−|x|) so that nothing overflows and small values keep their digits. */
// @ts-ignore: decorator
@inline export function sigmoid<T>(x: v128): v128 {
  const one = v128.splat<T>(1);
  const z = expDown<T>(v128.or(x, v128.splat<T>(-0.0)));
  return v128.div<T>(pick(v128.lt<T>(x, v128.splat<T>(0)), z, one), v128.add<T>(z, one));
}

/** y with the sign of x. */
// @ts-ignore: decorator
@inline function signed(y: v128, x: v128): v128 { return pick(all(-0.0), x, y); }

/** −m / (2 + m) for m = e^(−2|x|) − 1 = 2ⁿ (e^r − 1) + (2ⁿ − 1): near 0, n is 0 and nothing cancels. */
// @ts-ignore: decorator
@inline function tanh4(x: v128): v128 {
  const inside = atLeast<f32>(f32x4.mul(f32x4.abs(x), all(-2)), all(-40));
  const rounded = octaves(inside);
  const r = withoutOctaves(inside, rounded);
  const scale = scaleBy(i32x4.shl(rounded, 23));
  const m = madd(f32x4.mul(rise(r), r), scale, f32x4.sub(scale, all(1)));
  return signed(f32x4.div(m, f32x4.add(all(2), m)), x);
}

/** erf(a)/a − 1 as a polynomial in a², for a < 0.95. */
// @ts-ignore: decorator
@inline function erfNear(s: v128): v128 {
  let p = all(-0.0005862208199687302);
  p = madd(p, s, all(0.0049675386399030685));
  p = madd(p, s, all(-0.026748893782496452));
  p = madd(p, s, all(0.11281321942806244));
  p = madd(p, s, all(-0.37612447142601013));
  return madd(p, s, all(0.12837913632392883));
}

/** Φ(−u) for u ≥ 1, given e^(−u²/2): a polynomial in 1 / (1 + 0.48 u) times it. */
// @ts-ignore: decorator
@inline function normalTail(u: v128, bell: v128): v128 {
  const t = f32x4.div(all(1), madd(u, all(0.48), all(1)));
  let p = all(-0.10817068815231323);
  p = madd(p, t, all(0.34765973687171936));
  p = madd(p, t, all(-0.36843612790107727));
  p = madd(p, t, all(0.058907341212034225));
  p = madd(p, t, all(0.03636014088988304));
  p = madd(p, t, all(0.1504029482603073));
  p = madd(p, t, all(0.1912723183631897));
  p = madd(p, t, all(0.19149896502494812));
  return f32x4.mul(f32x4.mul(p, t), bell);
}

/** (2/√π) ∫₀ˣ e^(−t²) dt */
// @ts-ignore: decorator
@inline function erf4(x: v128): v128 {
  const a = f32x4.abs(x);
  const s = f32x4.mul(x, x);
  const near = madd(erfNear(s), x, x);
  const tail = normalTail(f32x4.mul(a, all(1.4142135623730951)), expDown4(f32x4.neg(s)));
  const far = f32x4.sub(all(1), f32x4.add(tail, tail));
  return pick(f32x4.lt(a, all(0.95)), near, signed(far, x));
}

/** Φ(x) = ½ erfc(−x/√2), the normal distribution function, given e^(−x²/2): ½ + x p(x²) near 0, elsewhere from the tail. */
// @ts-ignore: decorator
@inline function normalCdf4(x: v128, bell: v128): v128 {
  const u = f32x4.abs(x);
  const s = f32x4.mul(x, x);
  let p = all(9.138268796959892e-5);
  p = madd(p, s, all(-0.0011627930216491222));
  p = madd(p, s, all(0.009962120093405247));
  p = madd(p, s, all(-0.0664881020784378));
  p = madd(p, s, all(0.39894214272499084));
  const near = madd(p, x, all(0.5));
  const tail = normalTail(u, bell);
  const far = pick(f32x4.lt(x, all(0)), tail, f32x4.sub(all(1), tail));
  return pick(f32x4.lt(u, all(1)), near, far);
}

/**
 * (2/√π) ∫₀ˣ e^(−t²) dt to the last digits of a double, as the kernel of the op computes it: erf(x) = (2/√π) e^(−x²) Σ_n 2ⁿ x^(2n+1) /
 * (1·3·5 ⋯ (2n+1)).
 * @source Abramowitz & Stegun 7.1.6
 */
function erf1(x: f64): f64 {
  const a = Math.abs(x);
  if (a > 6) return Math.sign(x);
  let term = a;
  let sum = a;
  for (let n = 1; n < 120 && term > 1e-18 * sum; n++) {
    term = (term * 2 * a * a) / <f64>(2 * n + 1);
    sum += term;
  }
  return Math.sign(x) * 1.1283791670955126 * Math.exp(-a * a) * sum;
}

// What has no vector form here goes through float64, lane by lane.
class Exp { apply(x: f64, y: f64): f64 { return Math.exp(x); } }
class Log { apply(x: f64, y: f64): f64 { return Math.log(x); } }
class Tanh { apply(x: f64, y: f64): f64 { return Math.tanh(x); } }
class Erf { apply(x: f64, y: f64): f64 { return erf1(x); } }
class NormalCdf { apply(x: f64, y: f64): f64 { return 0.5 * (1 + erf1(x * 0.7071067811865476)); } }
class Pow { apply(x: f64, y: f64): f64 { return Math.pow(x, y); } }
class Sin { apply(x: f64, y: f64): f64 { return Math.sin(x); } }
class Cos { apply(x: f64, y: f64): f64 { return Math.cos(x); } }
class Atan2 { apply(x: f64, y: f64): f64 { return Math.atan2(x, y); } }
class Tan { apply(x: f64, y: f64): f64 { return Math.tan(x); } }
class Asin { apply(x: f64, y: f64): f64 { return Math.asin(x); } }
class Acos { apply(x: f64, y: f64): f64 { return Math.acos(x); } }
class Atan { apply(x: f64, y: f64): f64 { return Math.atan(x); } }
class Sinh { apply(x: f64, y: f64): f64 { return Math.sinh(x); } }
class Cosh { apply(x: f64, y: f64): f64 { return Math.cosh(x); } }
class Asinh { apply(x: f64, y: f64): f64 { return Math.asinh(x); } }
class Acosh { apply(x: f64, y: f64): f64 { return Math.acosh(x); } }
class Atanh { apply(x: f64, y: f64): f64 { return Math.atanh(x); } }
class Log2 { apply(x: f64, y: f64): f64 { return Math.log2(x); } }
class Log10 { apply(x: f64, y: f64): f64 { return Math.log10(x); } }
class Log1p { apply(x: f64, y: f64): f64 { return Math.log1p(x); } }
class Expm1 { apply(x: f64, y: f64): f64 { return Math.expm1(x); } }

function lanes<F, T>(x: v128, y: v128): v128 {
  const f = changetype<F>(0);
  let r = v128.splat<T>(<T>f.apply(<f64>v128.extract_lane<T>(x, 0), <f64>v128.extract_lane<T>(y, 0)));
  r = v128.replace_lane<T>(r, 1, <T>f.apply(<f64>v128.extract_lane<T>(x, 1), <f64>v128.extract_lane<T>(y, 1)));
  if (sizeof<T>() == 8) return r;
  r = f32x4.replace_lane(r, 2, <f32>f.apply(<f64>f32x4.extract_lane(x, 2), <f64>f32x4.extract_lane(y, 2)));
  return f32x4.replace_lane(r, 3, <f32>f.apply(<f64>f32x4.extract_lane(x, 3), <f64>f32x4.extract_lane(y, 3)));
}
// @ts-ignore: decorator
@inline export function exp<T>(x: v128): v128 { return sizeof<T>() == 4 ? exp4(x) : lanes<Exp, T>(x, x); }
// @ts-ignore: decorator
@inline export function expDown<T>(x: v128): v128 { return sizeof<T>() == 4 ? expDown4(x) : lanes<Exp, T>(x, x); }
// @ts-ignore: decorator
@inline export function log<T>(x: v128): v128 { return sizeof<T>() == 4 ? log4(x) : lanes<Log, T>(x, x); }
// @ts-ignore: decorator
@inline export function tanh<T>(x: v128): v128 { return sizeof<T>() == 4 ? tanh4(x) : lanes<Tanh, T>(x, x); }
// @ts-ignore: decorator
@inline export function erf<T>(x: v128): v128 { return sizeof<T>() == 4 ? erf4(x) : lanes<Erf, T>(x, x); }
// @ts-ignore: decorator
@inline export function normalCdf<T>(x: v128, bell: v128): v128 {
  return sizeof<T>() == 4 ? normalCdf4(x, bell) : lanes<NormalCdf, T>(x, x);
}
/** e^(−x²/2) */
// @ts-ignore: decorator
@inline export function bell<T>(x: v128): v128 { return expDown<T>(v128.mul<T>(v128.mul<T>(x, x), v128.splat<T>(-0.5))); }
// @ts-ignore: decorator
@inline export function pow<T>(x: v128, y: v128): v128 { return lanes<Pow, T>(x, y); }
// @ts-ignore: decorator
@inline export function atan2<T>(x: v128, y: v128): v128 { return lanes<Atan2, T>(x, y); }
// @ts-ignore: decorator
@inline export function sin<T>(x: v128): v128 { return lanes<Sin, T>(x, x); }
// @ts-ignore: decorator
@inline export function cos<T>(x: v128): v128 { return lanes<Cos, T>(x, x); }
// @ts-ignore: decorator
@inline export function log1p<T>(x: v128): v128 { return lanes<Log1p, T>(x, x); }
// @ts-ignore: decorator
@inline export function expm1<T>(x: v128): v128 { return lanes<Expm1, T>(x, x); }
// @ts-ignore: decorator
@inline export function tan<T>(x: v128): v128 { return lanes<Tan, T>(x, x); }
// @ts-ignore: decorator
@inline export function asin<T>(x: v128): v128 { return lanes<Asin, T>(x, x); }
// @ts-ignore: decorator
@inline export function acos<T>(x: v128): v128 { return lanes<Acos, T>(x, x); }
// @ts-ignore: decorator
@inline export function atan<T>(x: v128): v128 { return lanes<Atan, T>(x, x); }
// @ts-ignore: decorator
@inline export function sinh<T>(x: v128): v128 { return lanes<Sinh, T>(x, x); }
// @ts-ignore: decorator
@inline export function cosh<T>(x: v128): v128 { return lanes<Cosh, T>(x, x); }
// @ts-ignore: decorator
@inline export function asinh<T>(x: v128): v128 { return lanes<Asinh, T>(x, x); }
// @ts-ignore: decorator
@inline export function acosh<T>(x: v128): v128 { return lanes<Acosh, T>(x, x); }
// @ts-ignore: decorator
@inline export function atanh<T>(x: v128): v128 { return lanes<Atanh, T>(x, x); }
// @ts-ignore: decorator
@inline export function log2<T>(x: v128): v128 { return lanes<Log2, T>(x, x); }
// @ts-ignore: decorator
@inline export function log10<T>(x: v128): v128 { return lanes<Log10, T>(x, x); }
