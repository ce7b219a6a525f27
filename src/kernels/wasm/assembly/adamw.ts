/** The optimiser's update, in place. */
import { storeSome } from './elementwise';
import { madd } from './math';
import { Chunk } from './pool';

// @ts-ignore: decorator
@inline function all(x: f32): v128 { return f32x4.splat(x); }

/** `decay` is 1 − lr·λ, `correction1` 1/(1 − β₁ᵗ), `correction2` 1/(1 − β₂ᵗ); `gradScale` is a factor on the gradient. */
export function adamW(
  chunk: Chunk, parameter: usize, grad: usize, m: usize, v: usize, elements: i32, learningRate: f64, beta1: f64,
  beta2: f64, eps: f64, decay: f64, correction1: f64, correction2: f64, gradScale: f64, grain: i32,
): void {
  const from = chunk * grain;
  const count = min(grain, elements - from);
  const at = <usize>from << 2;
  let p = parameter + at;
  let g = grad + at;
  m += at;
  v += at;
  const rate = all(<f32>(learningRate * correction1));
  const keep1 = all(<f32>beta1);
  const keep2 = all(<f32>beta2);
  const rest1 = all(<f32>(1 - beta1));
  const rest2 = all(<f32>(1 - beta2));
  const least = all(<f32>eps);
  const shrink = all(<f32>decay);
  const root = all(<f32>Math.sqrt(correction2));
  const scale = all(<f32>gradScale);
  for (let i = 0; i < count; i += 4) {
    const gi = f32x4.mul(v128.load(g), scale);
    const mi = madd(v128.load(m), keep1, f32x4.mul(gi, rest1));
    const vi = madd(v128.load(v), keep2, f32x4.mul(f32x4.mul(gi, gi), rest2));
    const step = f32x4.div(f32x4.mul(mi, rate), madd(f32x4.sqrt(vi), root, least));
    const next = f32x4.sub(f32x4.mul(v128.load(p), shrink), step);
    const left = count - i;
    if (left >= 4) {
      v128.store(m, mi);
      v128.store(v, vi);
      v128.store(p, next);
    } else {
      storeSome(m, mi, left);
      storeSome(v, vi, left);
      storeSome(p, next, left);
    }
    p += 16;
    g += 16;
    m += 16;
    v += 16;
  }
}
