/**
 * Infinities and NaN in float64 on the reference device, to which all others are held. An infinity must give the limit
 * where there is one, and a NaN must reach every result that its place has a say in.
 */
import assert from 'node:assert/strict';
import { Random } from 'hopgrad';
import { build } from './build.js';
import { codeOf } from './code.js';
import { type Program, run } from './program.js';
import { fuzzEach } from './recipes.js';

const form = { text: 'text', dtype: 'float64', device: 'reference' } as const;

/** The values of a program of one step, with its inputs replaced. */
async function valuesWith(
  program: Program,
  replace: (x: number, input: number, place: number) => number,
): Promise<number[]> {
  const inputs = program.inputs.map((input, k) =>
    input.dtype === 'int32' ? input : { ...input, data: input.data.map((x, i) => replace(x, k, i)) },
  );
  return (await run({ ...program, inputs, order: 0, refused: null }, form)).values.flat();
}

const called = (program: Program, names: string) =>
  program.lines.some(({ text }) =>
    names.split(' ').some((name) => text.includes(`.${name}(`) || text.includes(`'${name}'`)),
  );

/** Where the formula takes an infinity from another, or over another: NaN is right as well as the limit. */
const mayBeNaN =
  'softmax logSoftmax variance std layerNorm batchNorm attention l2Normalize avgPool2d matmul conv2d conv2dInputGrad conv2dWeightGrad einsum solve inv det cholesky sparseConv2d avgPool2dGrad';

/** What decides by comparing: it has no limit where it jumps, and NaN is its answer nowhere. */
const jumps =
  'argmax argmin greater less greaterEqual lessEqual equal notEqual where logicalNot logicalAnd logicalOr isNaN isFinite any all argsort';

describe('special values in random programs of one step', function () {
  this.timeout(300_000);

  fuzzEach('an infinity gives the limit:', 12, async (recipe) => {
    const program = build({ ...recipe, regimes: ['special'] });
    const used = program.lines.flatMap(({ text }) => text.match(/\bx\d+\b/g) ?? []);
    const apart = program.lines.length === 1 && new Set(used).size === used.length; // x/x and x/(|x| + 1) are ∞/∞
    if (!apart || called(program, `cast sin cos tan sign floor ceil round atan2 ${jumps}`)) return;
    const actual = await valuesWith(program, (x) => x);
    const approach = (variant: number) => {
      const random = new Random(variant, 3);
      return valuesWith(program, (x) => {
        if (Math.abs(x) === Infinity) return Math.sign(x) * 10 ** (60 + 40 * random.uniform());
        if (x === 0) return (random.int(2) - 0.5) * 10 ** (-40 - 40 * random.uniform());
        return Math.abs(x) > 1e9 || Math.abs(x) < 1e-9 ? x : x * (1 + 1e-7 * (random.uniform() - 0.5));
      });
    };
    const near = await Promise.all([1, 2, 3, 4, 5, 6].map(approach));
    for (const [i, value] of actual.entries()) {
      const right = (limit: number | null) =>
        limit === null ||
        value === limit ||
        Math.abs(value - limit) <= 1e-4 * Math.max(1, Math.abs(limit)) ||
        (Number.isNaN(value) && called(program, mayBeNaN));
      if (right(limitOf(near.map((values) => values[i]!)))) continue;
      // Of ∞ − ∞ six may have the same sign by chance.
      while (near.length < 40) near.push(await approach(near.length + 1));
      const around = near.map((values) => values[i]!);
      const limit = limitOf(around);
      if (right(limit)) continue;
      assert.fail(
        `value ${i} is ${value}, but tends to ${limit} (${around.slice(0, 6)})\n\n${codeOf(program, 0, ['reference'])}\n`,
      );
    }
  });

  fuzzEach('a NaN reaches all that it has a say in:', 12, async (recipe) => {
    const program = build({ ...recipe, regimes: ['special'] });
    if (called(program, `cast sort topK ${jumps}`)) return; // in order of size NaN stands last
    const actual = await valuesWith(program, (x) => x);
    const trials = await Promise.all(
      [-0.7, 0.3, 1.9].map((value) => valuesWith(program, (x) => (Number.isNaN(x) ? value : x))),
    );
    actual.forEach((value, i) => {
      const [a, b, c] = trials.map((values) => values[i]!);
      if (Number.isNaN(value) || (a === b && b === c) || ![a, b, c].every(Number.isFinite)) return;
      assert.fail(
        `value ${i} is ${value}, though the NaN decides it (${[a, b, c]})\n\n${codeOf(program, 0, ['reference'])}\n`,
      );
    });
  });
});

/** What numbers computed nearer and nearer to the infinities tend to; null where they do not agree. */
function limitOf(values: readonly number[]): number | null {
  const first = values[0]!;
  if (values.every((x) => Number.isFinite(x) && Math.abs(x - first) <= 1e-5 * Math.max(1, Math.abs(first))))
    return first;
  if (values.every((x) => x > 1e20)) return Infinity;
  return values.every((x) => x < -1e20) ? -Infinity : null;
}
