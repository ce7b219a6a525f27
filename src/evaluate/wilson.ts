/** How far a share that was counted may be from the one that more counting would come to. */
import { DomainError } from '../tensor/errors.js';

/**
 * Wilson's interval of a share p̂ = k / n, at 95 %:
 *
 * (p̂ + z²/2n ± z √(p̂(1 − p̂)/n + z²/4n²)) / (1 + z²/n), z = 1.96.
 *
 * | symbol | code  | range   |                              |
 * |--------|-------|---------|------------------------------|
 * | p̂      | share | [0, 1]  |                              |
 * | n      | count | > 0     | independent trials           |
 *
 * Unlike p̂ ± z √(p̂(1 − p̂)/n) it is inside [0, 1] and not empty at 0 and 1.
 * @returns both ends, in [0, 1]
 * @throws DomainError
 * @source Wilson 1927, "Probable inference, the law of succession, and statistical inference"
 */
export function wilsonInterval(share: number, count: number): [number, number] {
  if (!(share >= 0 && share <= 1 && count > 0))
    throw new DomainError('wilsonInterval', {
      received: `share ${share} of ${count}`,
      expected: 'a share in [0, 1] of at least 1',
    });
  const z = 1.959964;
  const middle = share + z ** 2 / (2 * count);
  const half = z * Math.sqrt((share * (1 - share)) / count + z ** 2 / (4 * count ** 2));
  const scale = 1 + z ** 2 / count;
  return [Math.max(0, (middle - half) / scale), Math.min(1, (middle + half) / scale)];
}
