/**
 * Elementwise loops with broadcasting: out[i] = f(a[i], b[i], c[i]) over up to three axes. An operand's innermost step
 * is one element or none; one that stays is copied into a 16-byte slot first, so one loop serves all cases.
 * The order of `row` is the order of the names in ../elementwise.ts.
 */
import { cos, erf, exp, expm1, log, log1p, madd, normalCdf, pick, pow, sigmoid, sin, tanh } from './math';
import { address, size, splatSlot } from './pool';

// @ts-ignore: decorator
@inline function all(x: f32): v128 { return f32x4.splat(x); }
// @ts-ignore: decorator
@inline function flag(mask: v128): v128 { return v128.and(mask, all(1)); }

// One class an operation, y = apply(a, b, c). In gradients a is ȳ and b the value saved in the forward pass.
class Copy {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return a;
  }
}
class Add {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.add(a, b);
  }
}
class Sub {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.sub(a, b);
  }
}
class Mul {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, b);
  }
}
class Div {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(a, b);
  }
}
class Maximum {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.max(a, b);
  }
}
class Minimum {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.min(a, b);
  }
}
class Equal {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.eq(a, b));
  }
}
class Greater {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.gt(a, b));
  }
}
class Less {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.lt(a, b));
  }
}
class GreaterEqual {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.ge(a, b));
  }
}
class LessEqual {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.le(a, b));
  }
}
class Neg {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(a);
  }
}
class Abs {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.abs(a);
  }
}
class Sign {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pick(f32x4.gt(a, all(0)), all(1), pick(f32x4.lt(a, all(0)), all(-1), a));
  }
}
class Square {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, a);
  }
}
class Sqrt {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.sqrt(a);
  }
}
class Rsqrt {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(all(1), f32x4.sqrt(a));
  }
}
class Reciprocal {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(all(1), a);
  }
}
class Exp {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return exp(a);
  }
}
class Log {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log(a);
  }
}
class Tanh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return tanh(a);
  }
}
class Sigmoid {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return sigmoid(a);
  }
}
class Relu {
  @inline apply(a: v128, b: v128, c: v128): v128 { // NaN is not below 0 and passes
    return v128.andnot(a, f32x4.lt(a, all(0)));
  }
}
class Gelu {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, normalCdf(a));
  }
}
class QuickGelu {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, sigmoid(f32x4.mul(a, all(1.702))));
  }
}
class Erf {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return erf(a);
  }
}
class Softplus {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.add(f32x4.max(a, all(0)), log1p(exp(f32x4.neg(f32x4.abs(a)))));
  }
}
class TanhGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, f32x4.sub(all(1), f32x4.mul(b, b)));
  }
}
class SigmoidGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(a, b), f32x4.sub(all(1), b));
  }
}
class ReluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return v128.and(a, f32x4.gt(b, all(0)));
  }
}
class GeluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 { // Φ(x) + x φ(x)
    const density = f32x4.mul(all(0.3989422804014327), exp(f32x4.mul(all(-0.5), f32x4.mul(b, b))));
    return f32x4.mul(a, madd(b, density, normalCdf(b)));
  }
}
class QuickGeluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 { // σ (1 + 1.702 x (1 − σ))
    const s = sigmoid(f32x4.mul(b, all(1.702)));
    const slope = f32x4.mul(f32x4.mul(all(1.702), b), f32x4.sub(all(1), s));
    return f32x4.mul(f32x4.mul(a, s), f32x4.add(all(1), slope));
  }
}
class ErfGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(a, all(1.1283791670955126)), exp(f32x4.neg(f32x4.mul(b, b))));
  }
}
class SoftplusGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, sigmoid(b));
  }
}
class SquareGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.add(b, b), a);
  }
}
class SqrtGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(a, f32x4.add(b, b));
  }
}
class RsqrtGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(all(-0.5), a), f32x4.mul(f32x4.mul(b, b), b));
  }
}
class ReciprocalGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(f32x4.mul(f32x4.mul(a, b), b));
  }
}
class AbsGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pick(f32x4.gt(b, all(0)), a, v128.and(f32x4.neg(a), f32x4.lt(b, all(0))));
  }
}
class Pow {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pow(a, b);
  }
}
class Sin {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return sin(a);
  }
}
class Cos {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return cos(a);
  }
}
class Log1p {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log1p(a);
  }
}
class Expm1 {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return expm1(a);
  }
}
class SinGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, cos(b));
  }
}
class CosGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(f32x4.mul(a, sin(b)));
  }
}
class Select {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return v128.bitselect(b, c, f32x4.ne(a, all(0)));
  }
}
class SelectInt {
  @inline apply(a: v128, b: v128, c: v128): v128 { // an int32 condition
    return v128.bitselect(b, c, i32x4.ne(a, all(0)));
  }
}

/** Writes the first `count` (1 to 3) lanes. */
// @ts-ignore: decorator
@inline export function storeSome(at: usize, value: v128, count: i32): void {
  store<f32>(at, f32x4.extract_lane(value, 0));
  if (count > 1) store<f32>(at + 4, f32x4.extract_lane(value, 1));
  if (count > 2) store<f32>(at + 8, f32x4.extract_lane(value, 2));
}

function each<T>(out: usize, a: usize, b: usize, c: usize, n: i32, da: usize, db: usize, dc: usize): void {
  for (; n > 0; n -= 4) {
    const y = changetype<T>(0).apply(v128.load(a), v128.load(b), v128.load(c));
    if (n >= 4) v128.store(out, y);
    else storeSome(out, y, n);
    a += da;
    b += db;
    c += dc;
    out += 16;
  }
}

function row(op: i32, out: usize, a: usize, b: usize, c: usize, n: i32, da: usize, db: usize, dc: usize): void {
  switch (op) {
    case 0: each<Copy>(out, a, b, c, n, da, db, dc); break;
    case 1: each<Add>(out, a, b, c, n, da, db, dc); break;
    case 2: each<Sub>(out, a, b, c, n, da, db, dc); break;
    case 3: each<Mul>(out, a, b, c, n, da, db, dc); break;
    case 4: each<Div>(out, a, b, c, n, da, db, dc); break;
    case 5: each<Maximum>(out, a, b, c, n, da, db, dc); break;
    case 6: each<Minimum>(out, a, b, c, n, da, db, dc); break;
    case 7: each<Equal>(out, a, b, c, n, da, db, dc); break;
    case 8: each<Greater>(out, a, b, c, n, da, db, dc); break;
    case 9: each<Less>(out, a, b, c, n, da, db, dc); break;
    case 10: each<GreaterEqual>(out, a, b, c, n, da, db, dc); break;
    case 11: each<LessEqual>(out, a, b, c, n, da, db, dc); break;
    case 12: each<Neg>(out, a, b, c, n, da, db, dc); break;
    case 13: each<Abs>(out, a, b, c, n, da, db, dc); break;
    case 14: each<Sign>(out, a, b, c, n, da, db, dc); break;
    case 15: each<Square>(out, a, b, c, n, da, db, dc); break;
    case 16: each<Sqrt>(out, a, b, c, n, da, db, dc); break;
    case 17: each<Rsqrt>(out, a, b, c, n, da, db, dc); break;
    case 18: each<Reciprocal>(out, a, b, c, n, da, db, dc); break;
    case 19: each<Exp>(out, a, b, c, n, da, db, dc); break;
    case 20: each<Log>(out, a, b, c, n, da, db, dc); break;
    case 21: each<Tanh>(out, a, b, c, n, da, db, dc); break;
    case 22: each<Sigmoid>(out, a, b, c, n, da, db, dc); break;
    case 23: each<Relu>(out, a, b, c, n, da, db, dc); break;
    case 24: each<Gelu>(out, a, b, c, n, da, db, dc); break;
    case 25: each<QuickGelu>(out, a, b, c, n, da, db, dc); break;
    case 26: each<Erf>(out, a, b, c, n, da, db, dc); break;
    case 27: each<Softplus>(out, a, b, c, n, da, db, dc); break;
    case 28: each<TanhGrad>(out, a, b, c, n, da, db, dc); break;
    case 29: each<SigmoidGrad>(out, a, b, c, n, da, db, dc); break;
    case 30: each<ReluGrad>(out, a, b, c, n, da, db, dc); break;
    case 31: each<GeluGrad>(out, a, b, c, n, da, db, dc); break;
    case 32: each<QuickGeluGrad>(out, a, b, c, n, da, db, dc); break;
    case 33: each<ErfGrad>(out, a, b, c, n, da, db, dc); break;
    case 34: each<SoftplusGrad>(out, a, b, c, n, da, db, dc); break;
    case 35: each<SquareGrad>(out, a, b, c, n, da, db, dc); break;
    case 36: each<SqrtGrad>(out, a, b, c, n, da, db, dc); break;
    case 37: each<RsqrtGrad>(out, a, b, c, n, da, db, dc); break;
    case 38: each<ReciprocalGrad>(out, a, b, c, n, da, db, dc); break;
    case 39: each<AbsGrad>(out, a, b, c, n, da, db, dc); break;
    case 40: each<Pow>(out, a, b, c, n, da, db, dc); break;
    case 41: each<Sin>(out, a, b, c, n, da, db, dc); break;
    case 42: each<Cos>(out, a, b, c, n, da, db, dc); break;
    case 43: each<Log1p>(out, a, b, c, n, da, db, dc); break;
    case 44: each<Expm1>(out, a, b, c, n, da, db, dc); break;
    case 45: each<SinGrad>(out, a, b, c, n, da, db, dc); break;
    case 46: each<CosGrad>(out, a, b, c, n, da, db, dc); break;
    case 47: each<Select>(out, a, b, c, n, da, db, dc); break;
    default: each<SelectInt>(out, a, b, c, n, da, db, dc);
  }
}

/** The operand's place in one row: itself where it steps, four copies of its one value where it does not. */
// @ts-ignore: decorator
@inline function operand(slot: i32, at: usize, step: usize): usize {
  return step != 0 ? at : splatSlot(slot, at);
}

/**
 * Arguments: op, out, a, b, c; sizes of three axes; strides (elements) of a, b, c along them; elements (one row only) or
 * rows a chunk.
 */
export function elementwise(chunk: i32): void {
  const op = size(0);
  const out = address(1);
  const rows = size(5) * size(6);
  const columns = size(7);
  const grain = size(17);
  const da = address(10) << 4;
  const db = address(13) << 4;
  const dc = address(16) << 4;
  if (rows == 1) {
    const from = chunk * grain;
    const at = <usize>from;
    row(
      op, out + (at << 2),
      operand(0, address(2) + (at << 2) * address(10), da),
      operand(1, address(3) + (at << 2) * address(13), db),
      operand(2, address(4) + (at << 2) * address(16), dc),
      min(grain, columns - from), da, db, dc,
    );
    return;
  }
  const end = min(rows, (chunk + 1) * grain);
  const middle = size(6);
  for (let r = chunk * grain; r < end; r++) {
    const z = <usize>(r / middle);
    const y = <usize>(r % middle);
    row(
      op, out + ((<usize>r * <usize>columns) << 2),
      operand(0, address(2) + ((z * address(8) + y * address(9)) << 2), da),
      operand(1, address(3) + ((z * address(11) + y * address(12)) << 2), db),
      operand(2, address(4) + ((z * address(14) + y * address(15)) << 2), dc),
      columns, da, db, dc,
    );
  }
}

/** Arguments: out, bits of the value (an int32), elements a chunk, elements. */
export function fill(chunk: i32): void {
  const grain = size(2);
  const from = chunk * grain;
  const count = min(grain, size(3) - from);
  let at = address(0) + (<usize>from << 2);
  const value = i32x4.splat(size(1));
  const end = at + (<usize>(count & ~3) << 2);
  for (; at < end; at += 16) v128.store(at, value);
  if (count & 3) storeSome(at, value, count & 3);
}
