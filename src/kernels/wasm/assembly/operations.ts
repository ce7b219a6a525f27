/**
 * The elementwise operations. A class that is exported and has `apply` is one: its name, beginning with a small letter, is that of the
 * scalar kernel.
 */
import { all, atLeast, atMost, flag, madd, pick } from './lanes';
import {
  acos, acosh, asin, asinh, atan, atan2, atanh, bell, cos, cosh, erf, exp, expDown, expm1, log, log10, log1p, log2, normalCdf, pow, sigmoid,
  sin, sinh, tan, tanh,
} from './math';

/** Operations that compute for longer than they load and store: two vectors at a time, of float32, share constants and overlap. */
export class Long {}

// y = apply(a, b, c). In gradients a is ȳ and b the value saved in the forward pass.
export class Same {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return a;
  }
}
export class Add {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.add<T>(a, b);
  }
}
export class Sub {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.sub<T>(a, b);
  }
}
export class Mul {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(a, b);
  }
}
export class Div {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.div<T>(a, b);
  }
}
export class Maximum {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.max<T>(a, b);
  }
}
export class Minimum {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.min<T>(a, b);
  }
}
export class Equal {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return flag<T>(v128.eq<T>(a, b));
  }
}
export class Greater {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return flag<T>(v128.gt<T>(a, b));
  }
}
export class Less {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return flag<T>(v128.lt<T>(a, b));
  }
}
export class GreaterEqual {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return flag<T>(v128.ge<T>(a, b));
  }
}
export class LessEqual {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return flag<T>(v128.le<T>(a, b));
  }
}
export class Neg {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.neg<T>(a);
  }
}
export class Abs {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.abs<T>(a);
  }
}
export class Sign {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return pick(v128.gt<T>(a, all<T>(0)), all<T>(1), pick(v128.lt<T>(a, all<T>(0)), all<T>(-1), a));
  }
}
export class Square {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(a, a);
  }
}
export class Sqrt {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.sqrt<T>(a);
  }
}
export class Rsqrt {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.div<T>(all<T>(1), v128.sqrt<T>(a));
  }
}
export class Reciprocal {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.div<T>(all<T>(1), a);
  }
}
export class Exp extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return exp<T>(a);
  }
}
export class Log extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return log<T>(a);
  }
}
export class Tanh extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return tanh<T>(a);
  }
}
export class Sigmoid extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return sigmoid<T>(a);
  }
}
export class Relu {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 { // NaN is not below 0 and passes
    return v128.andnot(a, v128.lt<T>(a, all<T>(0)));
  }
}
/** Beyond, slopes are what they are there, and ∞ · 0 would be NaN. */
// @ts-ignore: decorator
@inline function within1000<T>(x: v128): v128 { return atMost<T>(atLeast<T>(x, all<T>(-1000)), all<T>(1000)); }
export class Gelu extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(atLeast<T>(a, all<T>(-1000)), normalCdf<T>(a, bell<T>(a))); // not −∞ · 0
  }
}
export class QuickGelu extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(atLeast<T>(a, all<T>(-1000)), sigmoid<T>(v128.mul<T>(a, all<T>(1.702))));
  }
}
export class Erf extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return erf<T>(a);
  }
}
export class Softplus {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.add<T>(atLeast<T>(a, all<T>(0)), log1p<T>(expDown<T>(v128.or(a, all<T>(-0.0)))));
  }
}
export class TanhGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(a, v128.sub<T>(all<T>(1), v128.mul<T>(b, b)));
  }
}
export class SigmoidGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(v128.mul<T>(a, b), v128.sub<T>(all<T>(1), b));
  }
}
export class ReluGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.andnot(a, v128.le<T>(b, all<T>(0))); // NaN is not below 0 and passes
  }
}
export class GeluGrad extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 { // Φ(x) + x φ(x)
    const e = bell<T>(b);
    const density = v128.mul<T>(all<T>(0.3989422804014327), e);
    return v128.mul<T>(a, madd<T>(within1000<T>(b), density, normalCdf<T>(b, e)));
  }
}
export class QuickGeluGrad extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 { // σ (1 + 1.702 x (1 − σ))
    const near = v128.mul<T>(all<T>(1.702), within1000<T>(b));
    const s = sigmoid<T>(near);
    const slope = v128.mul<T>(near, v128.sub<T>(all<T>(1), s));
    return v128.mul<T>(v128.mul<T>(a, s), v128.add<T>(all<T>(1), slope));
  }
}
export class ErfGrad extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(v128.mul<T>(a, all<T>(1.1283791670955126)), expDown<T>(v128.neg<T>(v128.mul<T>(b, b))));
  }
}
export class SoftplusGrad extends Long {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(a, sigmoid<T>(b));
  }
}
export class SquareGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(v128.add<T>(b, b), a);
  }
}
export class SqrtGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.div<T>(a, v128.add<T>(b, b));
  }
}
export class RsqrtGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(v128.mul<T>(all<T>(-0.5), a), v128.mul<T>(v128.mul<T>(b, b), b));
  }
}
export class ReciprocalGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.neg<T>(v128.mul<T>(v128.mul<T>(a, b), b));
  }
}
export class AbsGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return pick(v128.gt<T>(b, all<T>(0)), a, v128.and(v128.neg<T>(a), v128.lt<T>(b, all<T>(0))));
  }
}
export class Pow {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return pow<T>(a, b);
  }
}
export class Sin {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return sin<T>(a);
  }
}
export class Cos {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return cos<T>(a);
  }
}
export class Log1p {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return log1p<T>(a);
  }
}
export class Expm1 {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return expm1<T>(a);
  }
}
export class Floor {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.floor<T>(a);
  }
}
export class Ceil {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.ceil<T>(a);
  }
}
export class Round {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.nearest<T>(a);
  }
}
export class Tan {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return tan<T>(a);
  }
}
export class Asin {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return asin<T>(a);
  }
}
export class Acos {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return acos<T>(a);
  }
}
export class Atan {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return atan<T>(a);
  }
}
export class Sinh {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return sinh<T>(a);
  }
}
export class Cosh {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return cosh<T>(a);
  }
}
export class Asinh {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return asinh<T>(a);
  }
}
export class Acosh {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return acosh<T>(a);
  }
}
export class Atanh {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return atanh<T>(a);
  }
}
export class Log2 {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return log2<T>(a);
  }
}
export class Log10 {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return log10<T>(a);
  }
}
export class Atan2 {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return atan2<T>(a, b);
  }
}
export class SinGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.mul<T>(a, cos<T>(b));
  }
}
export class CosGrad {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.neg<T>(v128.mul<T>(a, sin<T>(b)));
  }
}
export class Select {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 {
    return v128.bitselect(b, c, v128.ne<T>(a, all<T>(0)));
  }
}
export class SelectInt {
  @inline apply<T>(a: v128, b: v128, c: v128): v128 { // float32 by an int32 condition
    return v128.bitselect(b, c, i32x4.ne(a, i32x4.splat(0)));
  }
}
