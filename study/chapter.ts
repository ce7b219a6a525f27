/** What the chapters share: exact tensors and what is often asked of them. */
import { fileURLToPath } from 'node:url';
import { randn, type Tensor, tensor } from 'hopgrad';
import { infoLoobLoss } from 'hopgrad/nn';
import { meanInterval } from '#src/evaluate/student.js';

/** Chapters compute in double precision: their claims are identities. */
export const exact = { dtype: 'float64', device: 'reference' } as const;

/** Where prepared data is kept. */
export const cacheFolder = fileURLToPath(new URL('../../.cache', import.meta.url));

export function unitVectors(n: number, dim: number, seed: number): Tensor {
  return randn([n, dim], { ...exact, seed }).l2Normalize();
}

/** Unit vectors in `clusters` groups; `spread` is the length of the deviation from a centre of length 1. */
export function clusteredVectors(n: number, dim: number, clusters: number, spread: number, seed: number): Tensor {
  const centres = unitVectors(clusters, dim, seed);
  const member = tensor(
    Int32Array.from({ length: n }, (_, i) => i % clusters),
    { device: exact.device },
  );
  return centres
    .gather(member)
    .add(unitVectors(n, dim, seed + 1).mul(spread))
    .l2Normalize();
}

export function values(t: Tensor): Float64Array {
  return Float64Array.from(t.dataSync());
}

export function largestDifference(a: Tensor, b: Tensor): number {
  return values(a.sub(b).abs().max())[0]!;
}

export function mean(numbers: ArrayLike<number>): number {
  return Array.from(numbers).reduce((a, b) => a + b, 0) / numbers.length;
}

export function deviation(numbers: ArrayLike<number>): number {
  const centre = mean(numbers);
  return Math.sqrt(mean(Array.from(numbers, (x) => (x - centre) ** 2)));
}

/** Mean ± standard deviation, in % unless scaled otherwise; of one value that alone. */
export function withDeviation(numbers: readonly number[], { scale = 100, digits = 1 } = {}): string {
  if (numbers.length === 0) return '';
  const told = (x: number) => (scale * x).toFixed(digits).replace('-', '−');
  const { mean: centre, sd } = meanInterval(numbers);
  return sd === null ? told(centre) : `${told(centre)} ± ${told(sd)}`;
}

/** InfoLOOB both ways, on the scale of CLOOB's loss. */
export const infoLoob = (x: Tensor, y: Tensor, invTau: number): Tensor =>
  infoLoobLoss(x, y, { invTau })
    .add(infoLoobLoss(y, x, { invTau }))
    .div(invTau);
