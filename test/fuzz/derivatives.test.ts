/**
 * Derivatives of random programs against differences, in double precision: of order k against those of order k − 1,
 * up to the third. The devices share the derivatives' formulas, so comparing devices would not find a wrong one.
 */
import assert from 'node:assert/strict';
import { grad, registeredOps, type Tensor, tensor } from 'hopgrad';
import { build, type Recipe } from './build.js';
import { codeOf } from './code.js';
import { compile, helpers, type Program, weighted } from './program.js';
import { fuzz, fuzzEach, recipes } from './recipes.js';

type Point = Float64Array[];

/** The program as a function from its float inputs to one number; other inputs stay. */
function lossOf(program: Program): { loss: (...xs: Tensor[]) => Tensor; free: number[]; largest: number } {
  const body = compile(program, 'text');
  const inputs = program.inputs.map(({ data, shape, dtype }) =>
    tensor(data, {
      shape,
      dtype: dtype === 'int32' ? 'int32' : 'float64',
      device: 'reference',
      requiresGrad: dtype !== 'int32',
    }),
  );
  const free = program.inputs.flatMap(({ dtype, data }, i) => (dtype === 'int32' || data.length === 0 ? [] : [i]));
  const { values, results } = body(helpers, inputs);
  const smooth = results.map((y) => y.requiresGrad);
  return {
    free,
    largest: values.flatMap((y) => [...y.dataSync()]).reduce((most, x) => Math.max(most, Math.abs(x)), 0), // or NaN
    loss: (...xs) => {
      const { results } = body(
        helpers,
        inputs.map((x, i) => (free.includes(i) ? xs[free.indexOf(i)]! : x.detach())),
      );
      return weighted(
        results.filter((_, i) => smooth[i]),
        0,
      );
    },
  };
}

/** d/dt of f(x + t·direction), as a function of x. */
const along =
  (f: (...xs: Tensor[]) => Tensor, direction: Tensor[]) =>
  (...xs: Tensor[]): Tensor => {
    const grads = [grad(f)(...xs)].flat() as Tensor[];
    return grads.map((g, i) => g.mul(direction[i]!).sum()).reduce((a, b) => a.add(b));
  };

/**
 * Whether a program may be defined at a point alone and yet have a derivative there: a branch not taken, 0⁰ by rule, or a
 * singular matrix, of which rounding decides whether it has a factor.
 */
const excepted = ({ lines, inputs }: Program) =>
  lines.some(({ text }) => /\b(where|cholesky)\b/.test(text)) || inputs.some(({ data }) => data.includes(0));

/** Whether it may touch kinks without crossing them: |x²| at 0 is smooth, but no rule of slopes knows its second derivative. */
const kinked = ({ lines }: Program) =>
  lines.some(
    ({ text }) =>
      /\bclip\b/.test(text) || // is two of them
      (lines.length > 1 && /\b(abs|relu|maximum|minimum|max|min|norm|sign)\b/.test(text)),
  );

/** What is wrong with the derivatives in this direction, or null. */
function wrong(
  program: Program,
  active: readonly number[],
  phase: number,
  beside = 0,
): { order: number; text: string } | null {
  const { loss, free, largest } = lossOf(program);
  const at: Point = free.map((i) =>
    Float64Array.from(program.inputs[i]!.data, (x, k) => x + beside * (1 + Math.sin(k + i) / 2)),
  );
  const shapes = free.map((i) => program.inputs[i]!.shape);
  const fixed = at.map((data, i) => tensor(data, { shape: shapes[i]!, device: 'reference' }));
  const steps = active.map((i) => at[i]!.map((_, k) => Math.sin(2.3 * k + 1.1 * i + phase) + 0.1));
  const direction = steps.map((data, j) => tensor(data, { shape: shapes[active[j]!]!, device: 'reference' }));
  let f = (...xs: Tensor[]) => loss(...fixed.map((x, i) => (active.includes(i) ? xs[active.indexOf(i)]! : x)));
  for (let order = 1; order <= 3; order++) {
    const derivative = along(f, direction);
    const value = (g: typeof f, t: number) =>
      g(
        ...active.map((i, j) =>
          tensor(
            at[i]!.map((x, k) => x + t * steps[j]![k]!),
            { shape: shapes[i]!, device: 'reference' },
          ),
        ),
      ).dataSync()[0]!;
    const h = 2 ** -11;
    const [far, near] = [h, h / 2].map((t) => ({ ahead: value(f, t), behind: value(f, -t), t })) as [Side, Side];
    const here = value(f, 0);
    const central = ({ ahead, behind, t }: Side) => (ahead - behind) / (2 * t);
    const bend = ({ ahead, behind, t }: Side) => (ahead + behind - 2 * here) / t; // halves with t where f is smooth
    const scale = Math.max(Math.abs(here), Math.abs(far.ahead), Math.abs(far.behind), 1);
    const noise = (1e-11 * scale) / h;
    const smooth =
      Math.abs(bend(near)) < 0.6 * Math.abs(bend(far)) + noise &&
      Math.abs(central(near)) < 1.5 * Math.abs(central(far)) + noise && // it doubles with 1/t where f jumps
      Math.abs(central(far) - central(near)) < 0.05 * scale;
    const alone = [far.ahead, far.behind, near.ahead, near.behind].every(Number.isNaN) && Number.isFinite(here);
    if (alone && !excepted(program)) {
      const actual = value(derivative, 0);
      if (Number.isNaN(actual)) return null;
      const text = `derivative ${order} is ${actual}, where the function is defined at that point alone`;
      return { order, text };
    }
    if (!Number.isFinite(here + far.ahead + far.behind + near.ahead + near.behind) || !smooth) return null;
    const expected = central(near) + (central(near) - central(far)) / 3;
    const lost = 2 ** -52 * largest ** 2; // a large value off by its last digit, times its like
    const tolerance = noise + lost + 2 * Math.abs(central(near) - central(far)) + 1e-6 * Math.abs(expected);
    const actual = value(derivative, 0);
    if (Math.abs(actual - expected) <= tolerance) f = derivative;
    else if (beside === 0 && kinked(program)) return wrong(program, active, phase, 2 ** -6);
    else
      return {
        order,
        text: `derivative ${order} along ${active.map((i) => `x${free[i]}`)} is ${actual}, not ${expected} (±${tolerance.toPrecision(2)})`,
      };
  }
  return null;
}
interface Side {
  ahead: number;
  behind: number;
  t: number;
}

describe('derivatives of random programs', function () {
  this.timeout(300_000);
  const asDifferences = async (recipe: Recipe) => {
    const program = build({ regimes: ['ties', 'ordinary'], ...recipe });
    const { free, largest } = lossOf(program);
    if (!Number.isFinite(largest) || program.inputs.some(({ data }) => data.length > 24)) return;
    const all = free.map((_, i) => i);
    for (const active of all.length > 1 ? [all, ...all.map((i) => [i])] : all.length ? [all] : []) {
      const found = wrong(program, active, active.length);
      if (found) assert.fail(`${found.text}\n\n${codeOf(program, Math.min(found.order, 2), ['reference'])}\n`);
    }
  };
  const edged = [...registeredOps().values()].flatMap(({ name, test }) => (test?.scalar && test.domain ? [name] : []));
  fuzzEach('of one step are what differences say, to the third order:', 4, asDifferences);
  fuzz(
    'of one step at and beyond the edges of where it is defined are what differences say, if there are any',
    150,
    recipes({ steps: 1, names: [...new Array<string>(6).fill('pow'), ...edged] }),
    (recipe) => asDifferences({ ...recipe, regimes: ['edges'], ranks: [0, 1], sizes: [1, 2] }),
  );
  fuzz('of up to 3 steps are what differences say, to the third order', 150, recipes({ steps: 3 }), asDifferences);
});
