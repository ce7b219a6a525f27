/** What holds of derivatives beside finite differences: forward and reverse agree, adjoints, batches, devices. */
import { jvp, vjp } from '../autograd/derivatives.js';
import { fresh } from '../autograd/functional.js';
import { differentiate } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import type { Tensor } from '../autograd/tensor.js';
import { withDevice } from '../kernels/devices.js';
import type { TypedArray } from '../tensor/dtype.js';
import { ShapeError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import type { Differentiable } from './check-gradients.js';
import { direction, dot, type Settings, unravel } from './checker.js';
import type { GradientFailure, GradientReport } from './report.js';

/** A function at a point, and how to report on it. */
interface Given {
  f: Differentiable;
  points: readonly Tensor[];
  random: Random;
  settings: Settings;
  report: GradientReport;
}

/** f of some of its inputs, the others staying as they are. */
function partial({ f, points }: Given, places: readonly number[]): Differentiable {
  return (...some) => f(...points.map((x, i) => (places.includes(i) ? some[places.indexOf(i)]! : x)));
}

/** The inputs that have gradients. */
export const floats = ({ points }: Given) => points.flatMap((x, i) => (x.dtype === 'int32' ? [] : [i]));

function compare(
  report: GradientReport,
  what: Pick<GradientFailure, 'kind' | 'argument' | 'index' | 'analytic' | 'numeric' | 'tolerance' | 'device'>,
): boolean {
  report.checked++;
  const error = Math.abs(what.analytic - what.numeric);
  if (error <= what.tolerance || Object.is(what.analytic, what.numeric)) return true;
  report.failures.push({ order: 1, error, eps: 0, ...what });
  return false;
}

/** The first element of `actual` that is not near enough to `expected`, reported. */
function compareAll(
  report: GradientReport,
  what: Pick<GradientFailure, 'kind' | 'argument' | 'device'>,
  [actual, expected]: [{ data: TypedArray; shape: readonly number[] }, { data: TypedArray; shape: readonly number[] }],
  toleranceOf: (value: number) => number,
): void {
  if (!sameShape(actual.shape, expected.shape)) {
    report.checked++;
    const tolerance = 0;
    const sizes = { analytic: actual.data.length, numeric: expected.data.length, error: Number.NaN };
    report.failures.push({ ...what, kind: 'shape', order: 1, index: null, eps: 0, tolerance, ...sizes });
    return;
  }
  for (let i = 0; i < expected.data.length; i++) {
    const [analytic, numeric] = [actual.data[i]!, expected.data[i]!];
    const index = unravel(i, expected.shape);
    if (!compare(report, { ...what, index, analytic, numeric, tolerance: toleranceOf(numeric) })) return;
  }
}

const read = (t: Tensor) => ({ data: t.dataSync(), shape: t.shape });
const toleranceOf =
  ({ settings: { atol, rtol } }: Given) =>
  (value: number) =>
    atol + rtol * Math.abs(value);

/** ⟨w, J v⟩ = ⟨Jᵀ w, v⟩, one input at a time. */
export function checkForward(given: Given): void {
  for (const argument of floats(given)) {
    const f = partial(given, [argument]);
    const x = given.points[argument]!;
    const v = direction(x, given.random);
    const { value, tangent } = jvp(f, [x], [v]);
    const w = direction(value, given.random);
    const analytic = dot(w.dataSync(), tangent.dataSync());
    const numeric = dot(v.dataSync(), vjp(f, x).pull(w).dataSync());
    const tolerance = toleranceOf(given)(numeric);
    compare(given.report, { kind: 'forward', argument, index: null, analytic, numeric, tolerance });
  }
}

/** ⟨f(v), w⟩ = ⟨v, fᵀ w⟩, fᵀ taken elsewhere than at v: a linear f has one everywhere. */
export function checkAdjoint(given: Given, places: readonly number[]): void {
  const f = partial(given, places);
  const xs = places.map((i) => given.points[i]!);
  const vs = xs.map((x) => direction(x, given.random));
  const at = f(...vs);
  const w = direction(at, given.random);
  const pulled = [vjp(f, ...xs).pull(w) as Tensor | Tensor[]].flat();
  const analytic = dot(w.dataSync(), at.dataSync());
  const numeric = pulled.reduce((sum, part, i) => sum + dot(vs[i]!.dataSync(), part.dataSync()), 0);
  const argument = places.length === 1 ? places[0]! : null;
  const tolerance = toleranceOf(given)(numeric);
  compare(given.report, { kind: 'adjoint', argument, index: null, analytic, numeric, tolerance });
}

/** f of a batch, and its gradients, are those of a loop over batches of one entry. */
export function checkBatched(given: Given, places: readonly number[]): void {
  const { f, points, random, report } = given;
  const [count] = points[places[0]!]!.shape;
  if (!count || places.some((i) => points[i]!.shape[0] !== count))
    throw new ShapeError('checkGradients', {
      received: `batched inputs of shapes ${places.map((i) => formatShape(points[i]!.shape)).join(' and ')}`,
      expected: 'the same leading axis, of at least one entry',
    });
  const entry = (xs: readonly Tensor[], i: number) =>
    xs.map((x, n) => (places.includes(n) ? x.slice([[i, i + 1]]) : x));
  const loop: Differentiable = (...xs) => concat(Array.from({ length: count }, (_, i) => f(...entry(xs, i))));
  const [whole, single] = [f(...points), loop(...points)];
  const near = toleranceOf(given);
  compareAll(report, { kind: 'batched', argument: null }, [read(whole), read(single)], near);
  if (!sameShape(whole.shape, single.shape)) return;
  const w = direction(whole, random);
  for (const argument of floats(given)) {
    const gradient = (g: Differentiable) =>
      read(vjp(partial({ ...given, f: g }, [argument]), points[argument]!).pull(w));
    compareAll(report, { kind: 'batched', argument }, [gradient(f), gradient(loop)], near);
  }
}

/**
 * f and its gradients on a device against the reference, which computes in float64.
 * @param there the inputs on the device, in float32; @param reference the same numbers on the reference
 */
export async function checkDevice(
  f: Differentiable,
  { name, there, reference }: { name: string; there: readonly Tensor[]; reference: readonly Tensor[] },
  seed: number,
  report: GradientReport,
): Promise<void> {
  const run = async (device: string, xs: readonly Tensor[]) => {
    const results = withDevice(device, () => {
      const own = xs.map((x) => (x.dtype === 'int32' ? x : fresh(x)));
      const y = f(...own);
      const w = direction(y.detach().cast('float32'), new Random(seed, 78)).cast(y.dtype);
      const grads = y.node ? differentiate(y, w, { wrt: own.map((x) => x.node) }) : own.map(() => null);
      return [y, ...grads.map((grad, i) => grad ?? (xs[i]!.dtype === 'int32' ? null : xs[i]!.mul(0)))];
    });
    return Promise.all(results.map(async (t) => t && { data: await t.data(), shape: t.shape }));
  };
  const expected = await run(
    'reference',
    reference.map((x) => (x.dtype === 'int32' ? x : x.cast('float64'))),
  );
  const actual = await run(name, there);
  expected.forEach((right, i) => {
    if (!right) return;
    const largest = Array.from<number>(right.data).reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const argument = i === 0 ? null : i - 1;
    compareAll(
      report,
      { kind: 'device', argument, device: name },
      [actual[i]!, right],
      () => 1e-4 * Math.max(largest, 1e-3),
    );
  });
}
