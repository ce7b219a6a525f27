/** More kinds of random tensors; randn() and uniform() stand in autograd/create.ts. All draw from one explicit stream. */
import { draw, type RandomOptions, uniform } from '../autograd/create.js';
import { Tensor } from '../autograd/tensor.js';
import { checkInt32 } from '../tensor/dtype.js';
import { DomainError, describeValue } from '../tensor/errors.js';
import type { Random } from '../tensor/random.js';
import { copies } from './common.js';

/**
 * Whole numbers spread evenly over [low, high), `low` 0 by default; int32 unless another dtype is asked for.
 * @throws DomainError unless low < high are whole numbers
 */
export function randint(shape: readonly number[], options: RandomOptions & { low?: number; high: number }): Tensor {
  const { low = 0, high, ...rest } = options;
  if (!Number.isSafeInteger(low) || !Number.isSafeInteger(high) || low >= high || !Number.isSafeInteger(high - low))
    throw new DomainError('randint', {
      received: `low ${describeValue(low)} and high ${describeValue(high)}`,
      expected: 'whole numbers, low below high',
    });
  const { dtype = 'int32' } = rest;
  if (dtype === 'int32') checkInt32('randint', [low, high - 1]);
  return draw('randint', shape, { ...rest, dtype }, (random) => low + random.int(high - low), true);
}

/**
 * 1 with probability p, else 0; p (default ½) is one number, or a tensor that broadcasts to `shape`. float32 unless another
 * dtype is asked for; with a tensor of probabilities its dtype. No gradient flows to p.
 * @throws DomainError for a number outside [0, 1]
 */
export function bernoulli(shape: readonly number[], options: RandomOptions & { p?: number | Tensor } = {}): Tensor {
  const { p = 0.5, ...rest } = options;
  if (p instanceof Tensor) {
    const placed = p.dtype === 'float64' ? { dtype: p.dtype } : {};
    return uniform(shape, { device: p.storage.device.name, ...placed, ...rest }).less(p.detach());
  }
  if (!(p >= 0 && p <= 1))
    throw new DomainError('bernoulli', { received: `p ${describeValue(p)}`, expected: 'a probability in [0, 1]' });
  return draw('bernoulli', shape, rest, (random) => Number(random.uniform() < p), true);
}

/** The numbers 0 … n − 1 in random order, all orders as likely; int32 unless another dtype is asked for. */
export function permutation(n: number, options: RandomOptions = {}): Tensor {
  copies('permutation', n);
  let order: number[] | null = null;
  const next = (random: Random) => {
    order ??= random.shuffle(Array.from({ length: n }, (_, i) => i));
    return order.pop()!;
  };
  return draw('permutation', [n], { dtype: 'int32', ...options }, next, true);
}

/**
 * One standard normal number in [a, b], by rejection: of normal numbers, of even ones where the interval is short, of
 * exponential ones where it is far out.
 *
 * @source Robert, "Simulation of truncated normal variables", Statistics and Computing 1995, arXiv 0907.4010
 */
function truncated(random: Random, a: number, b: number): number {
  if (a + b < 0) return -truncated(random, -b, -a);
  const least = Math.max(a, 0);
  if (b - a <= 2 / (1 + least))
    for (;;) {
      const z = a + (b - a) * random.uniform();
      if (random.uniform() <= Math.exp((least * least - z * z) / 2)) return z;
    }
  if (a < 0.3)
    for (;;) {
      const z = random.normal();
      if (z >= a && z <= b) return z;
    }
  const rate = (a + Math.sqrt(a * a + 4)) / 2;
  for (;;) {
    const z = a - Math.log(1 - random.uniform()) / rate;
    if (z <= b && random.uniform() <= Math.exp(-((z - rate) ** 2) / 2)) return z;
  }
}

/**
 * Normal numbers of the given mean (default 0) and standard deviation `std` (default 1) of which those outside [low, high]
 * are thrown away: by default farther than 2 std from the mean. Rounding to the dtype may reach a little over a bound.
 * @throws DomainError unless std > 0 and low < high
 */
export function truncatedNormal(
  shape: readonly number[],
  options: RandomOptions & { mean?: number; std?: number; low?: number; high?: number } = {},
): Tensor {
  const { mean = 0, std = 1, low = mean - 2 * std, high = mean + 2 * std, ...rest } = options;
  if (!(std > 0 && std < Infinity && Number.isFinite(mean) && low < high && low < Infinity && high > -Infinity))
    throw new DomainError('truncatedNormal', {
      received: `mean ${mean}, std ${std}, from ${low} to ${high}`,
      expected: 'a finite mean, std > 0, low < high',
    });
  const [a, b] = [(low - mean) / std, (high - mean) / std];
  const clip = (x: number) => Math.min(Math.max(x, low), high);
  return draw('truncatedNormal', shape, rest, (random) => clip(mean + std * truncated(random, a, b)));
}
