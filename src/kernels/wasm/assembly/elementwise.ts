/**
 * Elementwise loops with broadcasting: out[i] = f(a[i], b[i], c[i]) over up to three axes. An operand's innermost step
 * is one element or none; one that stays is copied into a 16-byte slot first, so one loop serves all cases.
 * A class that is exported is an operation: its name, beginning with a small letter, is that of the scalar kernel.
 */
import { applyRow } from './generated';
import {
  acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, erf, exp, expm1, log, log10, log1p, log2, madd, normalCdf, pick,
  pow, sigmoid, sin, sinh, tan, tanh,
} from './math';
import { Chunk, List3, List9, addressAt, sizeAt, splatSlot } from './pool';

// @ts-ignore: decorator
@inline function all(x: f32): v128 { return f32x4.splat(x); }
// @ts-ignore: decorator
@inline function flag(mask: v128): v128 { return v128.and(mask, all(1)); }

// y = apply(a, b, c). In gradients a is ȳ and b the value saved in the forward pass.
export class Same {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return a;
  }
}
export class Add {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.add(a, b);
  }
}
export class Sub {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.sub(a, b);
  }
}
export class Mul {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, b);
  }
}
export class Div {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(a, b);
  }
}
export class Maximum {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.max(a, b);
  }
}
export class Minimum {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.min(a, b);
  }
}
export class Equal {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.eq(a, b));
  }
}
export class Greater {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.gt(a, b));
  }
}
export class Less {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.lt(a, b));
  }
}
export class GreaterEqual {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.ge(a, b));
  }
}
export class LessEqual {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return flag(f32x4.le(a, b));
  }
}
export class Neg {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(a);
  }
}
export class Abs {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.abs(a);
  }
}
export class Sign {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pick(f32x4.gt(a, all(0)), all(1), pick(f32x4.lt(a, all(0)), all(-1), a));
  }
}
export class Square {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, a);
  }
}
export class Sqrt {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.sqrt(a);
  }
}
export class Rsqrt {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(all(1), f32x4.sqrt(a));
  }
}
export class Reciprocal {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(all(1), a);
  }
}
export class Exp {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return exp(a);
  }
}
export class Log {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log(a);
  }
}
export class Tanh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return tanh(a);
  }
}
export class Sigmoid {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return sigmoid(a);
  }
}
export class Relu {
  @inline apply(a: v128, b: v128, c: v128): v128 { // NaN is not below 0 and passes
    return v128.andnot(a, f32x4.lt(a, all(0)));
  }
}
/** Beyond, slopes are what they are there, and ∞ · 0 would be NaN. */
// @ts-ignore: decorator
@inline function within1000(x: v128): v128 { return f32x4.min(f32x4.max(x, all(-1000)), all(1000)); }
export class Gelu {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.max(a, all(-1000)), normalCdf(a)); // not −∞ · 0
  }
}
export class QuickGelu {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.max(a, all(-1000)), sigmoid(f32x4.mul(a, all(1.702))));
  }
}
export class Erf {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return erf(a);
  }
}
export class Softplus {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.add(f32x4.max(a, all(0)), log1p(exp(f32x4.neg(f32x4.abs(a)))));
  }
}
export class TanhGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, f32x4.sub(all(1), f32x4.mul(b, b)));
  }
}
export class SigmoidGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(a, b), f32x4.sub(all(1), b));
  }
}
export class ReluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return v128.andnot(a, f32x4.le(b, all(0))); // NaN is not below 0 and passes
  }
}
export class GeluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 { // Φ(x) + x φ(x)
    const density = f32x4.mul(all(0.3989422804014327), exp(f32x4.mul(all(-0.5), f32x4.mul(b, b))));
    return f32x4.mul(a, madd(within1000(b), density, normalCdf(b)));
  }
}
export class QuickGeluGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 { // σ (1 + 1.702 x (1 − σ))
    const near = f32x4.mul(all(1.702), within1000(b));
    const s = sigmoid(near);
    const slope = f32x4.mul(near, f32x4.sub(all(1), s));
    return f32x4.mul(f32x4.mul(a, s), f32x4.add(all(1), slope));
  }
}
export class ErfGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(a, all(1.1283791670955126)), exp(f32x4.neg(f32x4.mul(b, b))));
  }
}
export class SoftplusGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, sigmoid(b));
  }
}
export class SquareGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.add(b, b), a);
  }
}
export class SqrtGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.div(a, f32x4.add(b, b));
  }
}
export class RsqrtGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(f32x4.mul(all(-0.5), a), f32x4.mul(f32x4.mul(b, b), b));
  }
}
export class ReciprocalGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(f32x4.mul(f32x4.mul(a, b), b));
  }
}
export class AbsGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pick(f32x4.gt(b, all(0)), a, v128.and(f32x4.neg(a), f32x4.lt(b, all(0))));
  }
}
export class Pow {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return pow(a, b);
  }
}
export class Sin {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return sin(a);
  }
}
export class Cos {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return cos(a);
  }
}
export class Log1p {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log1p(a);
  }
}
export class Expm1 {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return expm1(a);
  }
}
export class Floor {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.floor(a);
  }
}
export class Ceil {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.ceil(a);
  }
}
export class Round {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.nearest(a);
  }
}
export class Tan {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return tan(a);
  }
}
export class Asin {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return asin(a);
  }
}
export class Acos {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return acos(a);
  }
}
export class Atan {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return atan(a);
  }
}
export class Sinh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return sinh(a);
  }
}
export class Cosh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return cosh(a);
  }
}
export class Asinh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return asinh(a);
  }
}
export class Acosh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return acosh(a);
  }
}
export class Atanh {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return atanh(a);
  }
}
export class Log2 {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log2(a);
  }
}
export class Log10 {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return log10(a);
  }
}
export class Atan2 {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return atan2(a, b);
  }
}
export class SinGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.mul(a, cos(b));
  }
}
export class CosGrad {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return f32x4.neg(f32x4.mul(a, sin(b)));
  }
}
export class Select {
  @inline apply(a: v128, b: v128, c: v128): v128 {
    return v128.bitselect(b, c, f32x4.ne(a, all(0)));
  }
}
export class SelectInt {
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

export function each<T>(out: usize, a: usize, b: usize, c: usize, n: i32, da: usize, db: usize, dc: usize): void {
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

/** The operand's place in one row: itself where it steps, four copies of its one value where it does not. */
// @ts-ignore: decorator
@inline function operand(slot: i32, at: usize, step: usize): usize {
  return step != 0 ? at : splatSlot(slot, at);
}

/**
 * `operands` are addresses, `sizes` those of three axes, `strides` three an operand, in elements; `grain` counts elements
 * where there is one row only, else rows.
 */
export function elementwise(
  chunk: Chunk, operation: i32, out: usize, operands: List3, sizes: List3, strides: List9, grain: i32,
): void {
  const middle = sizeAt(sizes, 1);
  const rows = sizeAt(sizes, 0) * middle;
  const columns = sizeAt(sizes, 2);
  const a = addressAt(operands, 0);
  const b = addressAt(operands, 1);
  const c = addressAt(operands, 2);
  const ax = addressAt(strides, 2);
  const bx = addressAt(strides, 5);
  const cx = addressAt(strides, 8);
  if (rows == 1) {
    const from = chunk * grain;
    const at = <usize>from << 2;
    applyRow(
      operation, out + at,
      operand(0, a + at * ax, ax),
      operand(1, b + at * bx, bx),
      operand(2, c + at * cx, cx),
      min(grain, columns - from), ax << 4, bx << 4, cx << 4,
    );
    return;
  }
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const z = <usize>(r / middle);
    const y = <usize>(r % middle);
    applyRow(
      operation, out + ((<usize>r * <usize>columns) << 2),
      operand(0, a + ((z * addressAt(strides, 0) + y * addressAt(strides, 1)) << 2), ax),
      operand(1, b + ((z * addressAt(strides, 3) + y * addressAt(strides, 4)) << 2), bx),
      operand(2, c + ((z * addressAt(strides, 6) + y * addressAt(strides, 7)) << 2), cx),
      columns, ax << 4, bx << 4, cx << 4,
    );
  }
}

/** `bits` are those of the value, as an int32. */
export function fill(chunk: Chunk, out: usize, bits: i32, grain: i32, elements: i32): void {
  const from = chunk * grain;
  const count = min(grain, elements - from);
  let at = out + (<usize>from << 2);
  const value = i32x4.splat(bits);
  const end = at + (<usize>(count & ~3) << 2);
  for (; at < end; at += 16) v128.store(at, value);
  if (count & 3) storeSome(at, value, count & 3);
}
