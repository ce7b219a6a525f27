/** The optimiser's update, in place. */
import { all, bytesOf, madd, perVector, put } from './lanes';
import { Chunk } from './pool';

/** `decay` is 1 − lr·λ, `correction1` 1/(1 − β₁ᵗ), `correction2` 1/(1 − β₂ᵗ); `gradScale` is a factor on the gradient. */
export function adamW<T>(
  chunk: Chunk, parameter: usize, grad: usize, m: usize, v: usize, elements: i32, learningRate: f64, beta1: f64,
  beta2: f64, eps: f64, decay: f64, correction1: f64, correction2: f64, gradScale: f64, grain: i32,
): void {
  const from = chunk * grain;
  const at = bytesOf<T>(from);
  let p = parameter + at;
  let g = grad + at;
  m += at;
  v += at;
  const rate = all<T>((learningRate * correction1));
  const keep1 = all<T>(beta1);
  const keep2 = all<T>(beta2);
  const rest1 = all<T>((1 - beta1));
  const rest2 = all<T>((1 - beta2));
  const least = all<T>(eps);
  const shrink = all<T>(decay);
  const root = all<T>(Math.sqrt(correction2));
  const scale = all<T>(gradScale);
  let left = min(grain, elements - from);
  do {
    const gi = v128.mul<T>(v128.load(g), scale);
    const mi = madd<T>(v128.load(m), keep1, v128.mul<T>(gi, rest1));
    const vi = madd<T>(v128.load(v), keep2, v128.mul<T>(v128.mul<T>(gi, gi), rest2));
    const step = v128.div<T>(v128.mul<T>(mi, rate), madd<T>(v128.sqrt<T>(vi), root, least));
    const next = v128.sub<T>(v128.mul<T>(v128.load(p), shrink), step);
    put<T>(m, mi, left);
    put<T>(v, vi, left);
    put<T>(p, next, left);
    p += 16;
    g += 16;
    m += 16;
    v += 16;
    left -= perVector<T>();
  } while (left > 0);
}
