/** Batch norm over [batch, channels, inner]; a chunk is a channel. */
import { madd } from './math';
import { address, number, size } from './pool';
import { centredDot, put, squares, sum } from './rows';

/** Where the channel's floats of image n begin, in bytes. */
// @ts-ignore: decorator
@inline function plane(n: i32, channel: i32, channels: i32, inner: i32): usize {
  return ((<usize>n * <usize>channels + <usize>channel) * <usize>inner) << 2;
}

/** Arguments: x, weight, bias, y, mean, variance; batch, channels, inner, eps. */
export function batchNorm(channel: i32): void {
  const x = address(0);
  const batch = size(6);
  const channels = size(7);
  const inner = size(8);
  const count = <f64>batch * <f64>inner;
  let sums: f64 = 0;
  for (let n = 0; n < batch; n++) sums += sum(x + plane(n, channel, channels, inner), inner);
  const m = <f32>(sums / count);
  let spread: f64 = 0;
  for (let n = 0; n < batch; n++) spread += squares(x + plane(n, channel, channels, inner), inner, m);
  const variance = spread / count;
  const at = <usize>channel << 2;
  store<f32>(address(4) + at, m);
  store<f32>(address(5) + at, <f32>variance);
  const scale = f32x4.splat(<f32>(<f64>load<f32>(address(1) + at) / Math.sqrt(variance + number(9))));
  const shift = f32x4.splat(load<f32>(address(2) + at));
  const centre = f32x4.splat(m);
  for (let n = 0; n < batch; n++) {
    const offset = plane(n, channel, channels, inner);
    for (let i = 0; i < inner; i += 4) {
      const here = offset + (<usize>i << 2);
      put(address(3) + here, madd(f32x4.sub(v128.load(x + here), centre), scale, shift), inner - i);
    }
  }
}

/**
 * x̄ = (w/σ)(g − mean(g) − n mean(g n)), w̄ = Σ g n, b̄ = Σ g, n = (x − mean)/σ.
 * Arguments: g, x, weight, mean, variance, x̄, w̄, b̄; batch, channels, inner, eps.
 */
export function batchNormGrad(channel: i32): void {
  const g = address(0);
  const x = address(1);
  const batch = size(8);
  const channels = size(9);
  const inner = size(10);
  const count = <f64>batch * <f64>inner;
  const at = <usize>channel << 2;
  const m = load<f32>(address(3) + at);
  const r = 1 / Math.sqrt(<f64>load<f32>(address(4) + at) + number(11));
  let sumG: f64 = 0;
  let sumGx: f64 = 0;
  for (let n = 0; n < batch; n++) {
    const offset = plane(n, channel, channels, inner);
    sumG += sum(g + offset, inner);
    sumGx += centredDot(x + offset, g + offset, inner, m);
  }
  const sumGn = sumGx * r;
  store<f32>(address(6) + at, <f32>sumGn);
  store<f32>(address(7) + at, <f32>sumG);
  const gain = <f64>load<f32>(address(2) + at) * r;
  const scale = f32x4.splat(<f32>gain);
  const slope = f32x4.splat(<f32>((-gain * sumGn * r) / count));
  const shift = f32x4.splat(<f32>((-gain * sumG) / count));
  const centre = f32x4.splat(m);
  for (let n = 0; n < batch; n++) {
    const offset = plane(n, channel, channels, inner);
    for (let i = 0; i < inner; i += 4) {
      const here = offset + (<usize>i << 2);
      const linear = madd(f32x4.sub(v128.load(x + here), centre), slope, shift);
      put(address(5) + here, madd(v128.load(g + here), scale, linear), inner - i);
    }
  }
}
