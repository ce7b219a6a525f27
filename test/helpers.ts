/** What several tests share. */
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { type Tensor, tensor } from 'hopgrad';

/** A file in test/fixtures, from the compiled test's place. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../test/fixtures/${name}`, import.meta.url));
}

/**
 * Declares a property as a test. A failure prints fast-check's seed and path; set HOPGRAD_SEED to replay the seed and
 * HOPGRAD_RUNS to try more cases.
 */
export function property<T>(
  name: string,
  arbitrary: fc.Arbitrary<T>,
  check: (value: T) => void | Promise<void>,
  runs = 50,
): void {
  it(name, async () => {
    const seed = process.env.HOPGRAD_SEED;
    await fc.assert(
      fc.asyncProperty(arbitrary, async (value) => check(value)),
      {
        numRuns: Number(process.env.HOPGRAD_RUNS ?? runs),
        ...(seed && { seed: Number(seed) }),
      },
    );
  });
}

/** Largest difference between two lists, divided by the largest magnitude in `expected` (at least `floor`). */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-6): number {
  if (actual.length !== expected.length) return Number.NaN;
  let difference = 0;
  let scale = floor;
  for (let i = 0; i < actual.length; i++) {
    const d = Math.abs(actual[i]! - expected[i]!);
    if (!(d <= difference)) difference = d;
    scale = Math.max(scale, Math.abs(expected[i]!));
  }
  return difference / scale;
}

/** A float64 leaf on the reference device, by which gradients are judged. */
export const double = (data: number | number[], requiresGrad = true) =>
  tensor(data, { dtype: 'float64', device: 'reference', requiresGrad });

export function values(t: Tensor): number[] {
  return Array.from(t.dataSync());
}
