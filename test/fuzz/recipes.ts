/** Programs as fast-check draws and shrinks them, and how many: seconds in the suite, as long as wanted by itself. */
import fc from 'fast-check';
import { type Recipe, stepNames } from './build.js';
import { methods } from './steps.js';

const numbers = (count: number) => fc.array(fc.nat(65535), { minLength: count, maxLength: count });

/** Recipes of `steps` steps at most, of all steps there are or of those named. */
export function recipes({
  steps = 6,
  names = stepNames(),
}: {
  steps?: number;
  names?: readonly string[];
} = {}): fc.Arbitrary<Recipe> {
  return fc.record({
    inputs: fc.array(numbers(12), { minLength: 1, maxLength: 2 }),
    steps: fc.array(fc.record({ name: fc.constantFrom(...names), choices: numbers(16) }), {
      minLength: 1,
      maxLength: steps,
    }),
  });
}

/**
 * Declares a property as a test. The suite tries the same programs every time; `npm run fuzz -- --times 20` tries twenty
 * times as many new ones, and `--seed` and `--path` repeat what a failure names.
 */
export function fuzz(
  name: string,
  runs: number,
  recipe: fc.Arbitrary<Recipe>,
  check: (recipe: Recipe) => Promise<void>,
): void {
  it(name, async function () {
    const { HOPGRAD_FUZZ_TIMES: times = '1', HOPGRAD_FUZZ_SEED: seed = '1', HOPGRAD_FUZZ_PATH: path } = process.env;
    const own = [...this.test!.fullTitle()].reduce((hash, char) => (31 * hash + char.charCodeAt(0)) | 0, Number(seed));
    if (Number(times) > 1) this.timeout(0);
    await fc.assert(fc.asyncProperty(recipe, check), {
      numRuns: Math.ceil(runs * Number(times)),
      seed: path ? Number(seed) : own, // not the same choices for each test; a failure names its seed
      ...(path && { path }),
    });
  });
}

/** The same for each step by itself, so that rare ones are tried as often as all others, and those with options twice as often. */
export function fuzzEach(
  what: string,
  runs: number,
  check: (recipe: Recipe) => Promise<void>,
  names = stepNames(),
): void {
  describe(what, () => {
    for (const name of names)
      fuzz(name, name in methods ? 2 * runs : runs, recipes({ steps: 1, names: [name] }), check);
  });
}
