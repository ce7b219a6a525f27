/** What several of these functions share. */
import { DomainError, describeValue } from '../tensor/errors.js';

/** The ranges of slice() for the first `count` axes, all whole. */
export const wholeRanges = (count: number): [number, null][] => Array.from({ length: count }, () => [0, null]);

/** @throws DomainError unless `count` is a whole number ≥ 0 */
export function copies(op: string, count: number): void {
  if (!Number.isSafeInteger(count) || count < 0)
    throw new DomainError(op, { received: `${describeValue(count)} copies`, expected: 'a whole number ≥ 0' });
}
