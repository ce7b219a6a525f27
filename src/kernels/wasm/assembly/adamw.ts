/** The optimiser's update, in place. */
import { storeSome } from './elementwise';
import { madd } from './math';
import { address, number, size } from './pool';

// @ts-ignore: decorator
@inline function all(x: f32): v128 { return f32x4.splat(x); }

/** Arguments: parameter, grad, m, v, elements, lr, β₁, β₂, ε, 1 − lr·λ, 1/(1 − β₁ᵗ), 1/(1 − β₂ᵗ), factor on grad, grain. */
export function adamW(chunk: i32): void {
  const grain = size(13);
  const from = chunk * grain;
  const count = min(grain, size(4) - from);
  const at = <usize>from << 2;
  let p = address(0) + at;
  let g = address(1) + at;
  let m = address(2) + at;
  let v = address(3) + at;
  const rate = all(<f32>(number(5) * number(10)));
  const beta1 = all(<f32>number(6));
  const beta2 = all(<f32>number(7));
  const rest1 = all(<f32>(1 - number(6)));
  const rest2 = all(<f32>(1 - number(7)));
  const eps = all(<f32>number(8));
  const shrink = all(<f32>number(9));
  const root = all(<f32>Math.sqrt(number(11)));
  const scale = all(<f32>number(12));
  for (let i = 0; i < count; i += 4) {
    const gi = f32x4.mul(v128.load(g), scale);
    const mi = madd(v128.load(m), beta1, f32x4.mul(gi, rest1));
    const vi = madd(v128.load(v), beta2, f32x4.mul(f32x4.mul(gi, gi), rest2));
    const step = f32x4.div(f32x4.mul(mi, rate), madd(f32x4.sqrt(vi), root, eps));
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
