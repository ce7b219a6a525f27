/** How far a mean over few runs may be from the one that more runs would come to. */
import { DomainError } from '../tensor/errors.js';

/**
 * P(|T| ≤ t) of Student's distribution, as the finite sums that it has for whole ν. With θ = atan(t/√ν):
 *
 * - ν = 1: 2θ/π
 * - ν odd: (2/π) (θ + sin θ (cos θ + ⅔ cos³θ + … + (2·4⋯(ν−3))/(3·5⋯(ν−2)) cos^(ν−2) θ))
 * - ν even: sin θ (1 + ½ cos²θ + … + (1·3⋯(ν−3))/(2·4⋯(ν−2)) cos^(ν−2) θ)
 *
 * @param theta atan(t/√ν), in [0, π/2]
 * @param freedom ν, degrees of freedom, whole and ≥ 1
 * @source Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4
 */
function withinAngle(theta: number, freedom: number): number {
  const isOdd = freedom % 2 === 1;
  const [sine, cosine] = [Math.sin(theta), Math.cos(theta)];
  let [sum, term] = [0, isOdd ? cosine : 1];
  for (let k = isOdd ? 3 : 2; k <= freedom; k += 2) {
    sum += term;
    term *= ((k - 1) / k) * cosine ** 2;
  }
  return isOdd ? (2 / Math.PI) * (theta + sine * sum) : sine * sum;
}

/**
 * t with P(|T| ≤ t) = `level` for Student's distribution: 12.706 for one degree of freedom, 1.96 for very many.
 * @param freedom ν, whole and ≥ 1
 * @param level   in (0, 1)
 * @throws DomainError
 */
export function studentBound(freedom: number, level = 0.95): number {
  if (!(Number.isSafeInteger(freedom) && freedom >= 1 && level > 0 && level < 1))
    throw new DomainError('studentBound', {
      received: `${freedom} degrees of freedom, level ${level}`,
      expected: 'a whole number ≥ 1, and a level in (0, 1)',
    });
  let [low, high] = [0, Math.PI / 2];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (withinAngle(middle, freedom) < level) low = middle;
    else high = middle;
  }
  return Math.sqrt(freedom) * Math.tan((low + high) / 2);
}

/** What some numbers come to. */
export interface MeanInterval {
  /** How many there are. */
  count: number;
  mean: number;
  /** Standard deviation, n − 1 below the sum; null for one number. */
  sd: number | null;
  /** Half the width of the interval; null for one number. */
  half: number | null;
}

/**
 * Mean, standard deviation s, and Student's interval of the mean:
 *
 * x̄ ± t s/√n,  s² = Σ (xᵢ − x̄)² / (n − 1),  P(|T| ≤ t) = 0.95 for n − 1 degrees of freedom.
 *
 * It covers the true mean in 95 % of samples if the numbers are independent draws of a normal distribution. For paired
 * numbers aᵢ, bᵢ of the same seed give it the differences aᵢ − bᵢ: what the seed does to both cancels.
 * @param numbers at least one, finite
 * @throws DomainError
 * @source Student 1908, "The probable error of a mean"
 */
export function meanInterval(numbers: readonly number[]): MeanInterval {
  const count = numbers.length;
  if (count === 0 || !numbers.every(Number.isFinite))
    throw new DomainError('meanInterval', {
      received: count === 0 ? 'no numbers' : `${numbers.find((x) => !Number.isFinite(x))}`,
      expected: 'finite numbers, at least one',
    });
  const mean = numbers.reduce((sum, x) => sum + x, 0) / count;
  if (count === 1) return { count, mean, sd: null, half: null };
  const sd = Math.sqrt(numbers.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (count - 1));
  return { count, mean, sd, half: (studentBound(count - 1) * sd) / Math.sqrt(count) };
}
