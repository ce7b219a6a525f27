/**
 * Checking gradients against finite differences, in float64: the instrument that every op of this library is tested
 * with, for your functions as well.
 */
import { ones, randn, tensor } from '../autograd/create.js';
import { fresh } from '../autograd/functional.js';
import { differentiate, enableGrad } from '../autograd/graph.js';
import { checkOptions } from '../autograd/ops/options.js';
import { type NestedArray, Tensor } from '../autograd/tensor.js';
import { withDevice } from '../kernels/devices.js';
import type { TypedArray } from '../tensor/dtype.js';
import { GradientError, UsageError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { formatShape, sameShape } from '../tensor/shape.js';

export type CheckMode = 'full' | 'projection' | 'coordinate' | 'taylor';

export interface CheckOptions {
  /**
   * `full` (default): every coordinate. `projection`: one random direction per input, fast. `coordinate`: `coordinates`
   * different random ones per input. `taylor`: the remainder f(x + hv) − f(x) − h ∇f·v must shrink as h², whatever its size.
   */
  mode?: CheckMode;
  /** 2 also checks the gradient of ⟨∇f, w⟩ for a random w. Default 1. */
  order?: 1 | 2;
  /** Everything random follows from it. Default 0. */
  seed?: number;
  /** Step of the central difference, times max(1, |x|). Default 1e-6 (order 1) in float64, 1e-2 in float32. */
  eps?: number;
  /** |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5 in float64, 5e-2 in float32. */
  atol?: number;
  /** Default 1e-4 in float64, 5e-2 in float32. */
  rtol?: number;
  /** Coordinates per input in mode `coordinate`. Default 5. */
  coordinates?: number;
  /**
   * Points where the two one-sided differences disagree: `avoid` (default) reports them as failures, `filter` skips
   * them, `subgradient` accepts any value between the two.
   */
  kinks?: 'avoid' | 'filter' | 'subgradient';
  /** Run backward twice and demand equal bits. Default true. */
  nondeterminism?: boolean;
  /** Device to run on. Default reference, in float64; other devices run in float32. */
  device?: string;
}

export interface GradientFailure {
  /** What was wrong: the value, a kink of f (see `kinks`), a NaN, the shape, a difference between two runs … */
  kind: 'value' | 'kink' | 'nonfinite' | 'shape' | 'nondeterminism' | 'linearity' | 'taylor';
  order: number;
  /** Position of the input. */
  argument: number;
  /** Index into the input, by axis; null for whole-input checks. */
  index: number[] | null;
  analytic: number;
  numeric: number;
  error: number;
  tolerance: number;
  eps: number;
}

/** What a check found. As text (`String(report)`, `${report}`) it says so in a few lines. */
export class GradientReport {
  ok = true;
  /** Comparisons made. */
  checked = 0;
  /** Coordinates passed over at kinks. */
  skippedAtKinks = 0;
  /**
   * Whether what is compared, and the values reported, are projections on a random w: ⟨f(x), w⟩ where f has several
   * results, and ⟨∇f, w⟩ at order 2.
   */
  projected = false;
  failures: GradientFailure[] = [];

  /** @param seed pass it as `seed` to repeat this check exactly */
  constructor(
    readonly mode: CheckMode,
    readonly order: 1 | 2,
    readonly seed: number,
  ) {}

  toString(): string {
    const how = `mode ${this.mode}, order ${this.order}, seed ${this.seed}`;
    const kinks = this.skippedAtKinks > 0 ? `, ${this.skippedAtKinks} coordinates skipped at kinks` : '';
    if (this.ok) return `Gradients agree in ${this.checked} comparisons (${how})${kinks}.`;
    const shown = this.failures.slice(0, 5).map((failure) => `\n  ${line(failure)}`);
    const more = this.failures.length > 5 ? `\n  … ${this.failures.length - 5} more` : '';
    const projected = this.projected
      ? `\n  The values are of projections on a random w: ⟨f(x), w⟩${this.order === 2 ? ', at order 2 of ⟨∇f, w⟩' : ''}.`
      : '';
    return `${this.failures.length} failures in ${this.checked} comparisons (${how})${kinks}:${shown.join('')}${more}${projected}`;
  }
}

function line(f: GradientFailure): string {
  const where = `argument ${f.argument}${f.index ? ` at ${formatShape(f.index)}` : ''}, order ${f.order}`;
  return `${where}: ${f.kind}, analytic ${f.analytic}, numeric ${f.numeric}, error ${f.error.toExponential(2)} > ${f.tolerance.toExponential(2)} (eps ${f.eps})`;
}

type Input = Tensor | NestedArray | TypedArray;
type Differentiable = (...inputs: Tensor[]) => Tensor;

const known = ['mode', 'order', 'seed', 'eps', 'atol', 'rtol', 'coordinates', 'kinks', 'nondeterminism', 'device'];
const modes: readonly CheckMode[] = ['full', 'projection', 'coordinate', 'taylor'];

/**
 * Compares the gradient of f with finite differences. f may return any shape: several results are projected on a random
 * tensor.
 * Inputs are converted to float64 on the reference device (f runs with that as default device); int32 tensors are
 * handed on as they are. Beyond values it checks that gradients have the inputs' shapes, that two backward passes
 * agree bit for bit, that the vjp is linear in gradOutput, and that unused inputs get zeros.
 *
 * Central differences: ∂f/∂x ≈ (f(x + ε) − f(x − ε)) / 2ε, error O(ε²) + O(δ/ε) with δ the rounding of f.
 *
 * @returns a report; never throws for wrong gradients (see assertGradients)
 * @throws UsageError for wrong options; whatever f throws
 * @example await checkGradients((x) => x.mul(x).sum(), [[1, 2, 3]])
 */
export async function checkGradients(
  f: Differentiable,
  inputs: readonly Input[],
  options: CheckOptions = {},
): Promise<GradientReport> {
  checkOptions('checkGradients', options, known);
  const device = options.device ?? 'reference';
  const double = device === 'reference';
  const settings = {
    mode: 'full' as CheckMode,
    order: 1 as 1 | 2,
    seed: 0,
    eps: double ? 1e-6 : 1e-2,
    atol: double ? 1e-5 : 5e-2,
    rtol: double ? 1e-4 : 5e-2,
    coordinates: 5,
    kinks: 'avoid' as const,
    nondeterminism: true,
    ...options,
  };
  if (
    !modes.includes(settings.mode) ||
    ![1, 2].includes(settings.order) ||
    !(settings.eps > 0) ||
    !['avoid', 'filter', 'subgradient'].includes(settings.kinks)
  )
    throw new UsageError('checkGradients', {
      received: written(options),
      expected: `mode ${modes.join(' | ')}, order 1 | 2, eps > 0, kinks avoid | filter | subgradient`,
    });
  if (!Array.isArray(inputs) || inputs.length === 0)
    throw new UsageError('checkGradients', {
      received: 'no list of inputs',
      expected: 'a list with one entry an argument of f',
    });
  const data = await Promise.all(inputs.map((input) => read(input)));
  return withDevice(device, () => {
    const points = data.map(({ values, shape, dtype }) =>
      tensor(values, { shape, dtype: dtype === 'int32' ? 'int32' : double ? 'float64' : 'float32', device }),
    );
    const random = new Random(settings.seed, 77);
    const report = new GradientReport(settings.mode, settings.order, settings.seed);
    const checker = new Checker(f, points, random, settings, report, 1);
    checker.run();
    if (settings.order === 2) {
      report.projected = true;
      const w = points.map((x) => direction(x, random));
      const second: Differentiable = (...xs) => {
        const tracked = xs.map((x) => (x.dtype === 'int32' || x.requiresGrad ? x : fresh(x)));
        const grads = checker.gradients(tracked, null, true);
        return grads
          .map((g, i) => (g ? g.mul(w[i]!).sum() : xs[i]!.cast(w[i]!.dtype).mul(0).sum()))
          .reduce((a, b) => a.add(b));
      };
      // The first gradient is exact to rounding, so its differences bear the same step.
      new Checker(second, points, random, settings, report, 2).run();
    }
    report.ok = report.failures.length === 0;
    return report;
  });
}

/**
 * checkGradients that throws when the report is not ok.
 * @throws GradientError that shows each failure and how to repeat the check
 */
export async function assertGradients(
  f: Differentiable,
  inputs: readonly Input[],
  options: CheckOptions = {},
): Promise<GradientReport> {
  const report = await checkGradients(f, inputs, options);
  if (!report.ok)
    throw new GradientError('assertGradients', {
      received: `${report}\n`,
      expected: 'gradients that agree with finite differences',
      hint: `Repeat with ${written({ mode: report.mode, order: report.order, seed: report.seed, ...options })}.`,
    });
  return report;
}

/** Options as one would write them. */
function written(options: CheckOptions): string {
  const entries = Object.entries(options).filter(([, value]) => value !== undefined);
  return `{ ${entries.map(([key, value]) => `${key}: ${typeof value === 'string' ? `'${value}'` : value}`).join(', ')} }`;
}

async function read(input: Input): Promise<{ values: TypedArray; shape: readonly number[]; dtype: string }> {
  const t =
    input instanceof Tensor ? input : tensor(input, { dtype: input instanceof Int32Array ? 'int32' : 'float64' });
  return { values: await t.data(), shape: t.shape, dtype: t.dtype };
}

function direction(x: Tensor, random: Random): Tensor {
  return randn(x.shape, { random, dtype: x.dtype === 'int32' ? 'float64' : x.dtype, device: x.device });
}

type Settings = Required<CheckOptions> | (Omit<Required<CheckOptions>, 'device'> & { device?: string });

/** One check of one function at one point. */
class Checker {
  /** Projects f's result to a number; fixed by the first evaluation. */
  #cotangent: Tensor | null = null;

  constructor(
    readonly f: Differentiable,
    readonly points: readonly Tensor[],
    readonly random: Random,
    readonly settings: Settings,
    readonly report: GradientReport,
    readonly order: number,
  ) {}

  #project(y: Tensor): Tensor {
    if (y.size > 1) this.report.projected = true;
    this.#cotangent ??= y.size === 1 ? ones(y.shape, { dtype: y.dtype, device: y.device }) : direction(y, this.random);
    return this.#cotangent;
  }

  /** ⟨f(x), cotangent⟩ at points given as plain data. */
  #value(moved: number, data: TypedArray): number {
    const xs = this.points.map((x, i) =>
      i === moved ? tensor(data, { shape: x.shape, dtype: x.dtype, device: x.device }) : x,
    );
    const y = this.f(...xs);
    const values = y.dataSync();
    return dot(this.#project(y).dataSync(), values);
  }

  /** Gradients of ⟨f, cotangent⟩ (or another cotangent) at tracked inputs; null for int32 ones. */
  gradients(tracked: readonly Tensor[], cotangent: Tensor | null, createGraph: boolean): (Tensor | null)[] {
    const y = enableGrad(() => this.f(...tracked));
    const seed = cotangent ?? this.#project(y);
    if (!y.node) return tracked.map((x) => (x.dtype === 'int32' ? null : x.detach().mul(0)));
    const grads = differentiate(y, seed, {
      createGraph,
      wrt: tracked.map((x) => (x.dtype === 'int32' ? null : x.node)),
    });
    return tracked.map((x, i) => (x.dtype === 'int32' ? null : (grads[i] ?? x.detach().mul(0))));
  }

  #fresh(cotangent: Tensor | null = null): (Tensor | null)[] {
    return this.gradients(
      this.points.map((x) => (x.dtype === 'int32' ? x : fresh(x))),
      cotangent,
      false,
    );
  }

  #fail(
    kind: GradientFailure['kind'],
    argument: number,
    index: number[] | null,
    analytic: number,
    numeric: number,
    tolerance: number,
    eps: number,
  ): void {
    this.report.failures.push({
      kind,
      order: this.order,
      argument,
      index,
      analytic,
      numeric,
      error: Math.abs(analytic - numeric),
      tolerance,
      eps,
    });
  }

  run(): void {
    const grads = this.#fresh();
    grads.forEach((grad, argument) => {
      if (!grad) return;
      const x = this.points[argument]!;
      if (!sameShape(grad.shape, x.shape) || grad.dtype !== x.dtype) {
        this.#fail('shape', argument, null, Number.NaN, Number.NaN, 0, 0);
        return;
      }
      const g = grad.dataSync();
      if (this.settings.mode === 'taylor') this.#taylor(argument, g);
      else if (this.settings.mode === 'projection')
        this.#along(argument, g, Float64Array.from(direction(x, this.random).dataSync()), null);
      else for (const i of this.#coordinates(g.length)) this.#along(argument, g, unit(g.length, i), i);
    });
    if (this.settings.nondeterminism) this.#repeat(grads);
    this.#linearity(grads);
  }

  #coordinates(size: number): number[] {
    if (this.settings.mode === 'full') return Array.from({ length: size }, (_, i) => i);
    // Floyd's sampling: each of the last numbers, or where that place is taken, itself.
    const picked = new Set<number>();
    for (let last = Math.max(0, size - this.settings.coordinates); last < size; last++) {
      const place = this.random.int(last + 1);
      picked.add(picked.has(place) ? last : place);
    }
    return [...picked];
  }

  /** Compares ∇f·v with the central difference along v. */
  #along(argument: number, g: TypedArray, v: Float64Array, coordinate: number | null): void {
    const x = this.points[argument]!.dataSync();
    if (x.length === 0) return;
    const scale = coordinate === null ? 1 : Math.max(1, Math.abs(x[coordinate]!));
    const eps = this.settings.eps * scale;
    const at = (h: number) => this.#value(argument, x.map((value, i) => value + h * v[i]!) as TypedArray);
    const [forward, here, backward] = [at(eps), at(0), at(-eps)];
    const numeric = (forward - backward) / (2 * eps);
    const analytic = dot(g, v);
    const tolerance = this.settings.atol + this.settings.rtol * Math.abs(numeric);
    const index = coordinate === null ? null : unravel(coordinate, this.points[argument]!.shape);
    this.report.checked++;
    if (![analytic, numeric].every(Number.isFinite)) {
      this.#fail('nonfinite', argument, index, analytic, numeric, tolerance, eps);
      return;
    }
    const [right, left] = [(forward - here) / eps, (here - backward) / eps];
    if (Math.abs(right - left) > 0.1 * (Math.abs(right) + Math.abs(left)) + 100 * tolerance) {
      const inside = analytic >= Math.min(left, right) - tolerance && analytic <= Math.max(left, right) + tolerance;
      if (this.settings.kinks === 'avoid') this.#fail('kink', argument, index, analytic, numeric, tolerance, eps);
      else if (this.settings.kinks === 'filter') this.report.skippedAtKinks++;
      else if (!inside) this.#fail('value', argument, index, analytic, numeric, tolerance, eps);
      return;
    }
    if (!(Math.abs(analytic - numeric) <= tolerance))
      this.#fail('value', argument, index, analytic, numeric, tolerance, eps);
  }

  /** R(h) = |f(x + hv) − f(x) − h ∇f·v| must fall about fourfold when h halves, or be at rounding level. */
  #taylor(argument: number, g: TypedArray): void {
    const x = this.points[argument]!.dataSync();
    if (x.length === 0) return;
    const v = direction(this.points[argument]!, this.random).dataSync();
    const slope = dot(g, v);
    const here = this.#value(argument, x);
    const steps = [8, 9, 10, 11].map((k) => 2 ** -k);
    const rests = steps.map((h) =>
      Math.abs(this.#value(argument, x.map((value, i) => value + h * v[i]!) as TypedArray) - here - h * slope),
    );
    this.report.checked++;
    const floor = (this.settings.device ?? 'reference') === 'reference' ? 1e-11 : 1e-4;
    const negligible = rests.every((r) => r <= floor * Math.max(1, Math.abs(here), Math.abs(slope)));
    const rate = Math.log2(rests[0]! / rests[3]!) / 3;
    if (!negligible && !(rate > 1.8)) this.#fail('taylor', argument, null, rate, 2, 0.2, steps[3]!);
  }

  #repeat(grads: readonly (Tensor | null)[]): void {
    this.#fresh().forEach((again, argument) => {
      if (!again) return;
      const first = grads[argument]!.dataSync();
      const at = again.dataSync().findIndex((value, i) => !Object.is(value, first[i]));
      if (at >= 0)
        this.#fail('nondeterminism', argument, unravel(at, again.shape), again.dataSync()[at]!, first[at]!, 0, 0);
    });
  }

  /** vjp(c + 2d) = vjp(c) + 2 vjp(d). */
  #linearity(grads: readonly (Tensor | null)[]): void {
    const c = this.#cotangent!;
    const d = direction(c, this.random);
    const both = this.#fresh(c.add(d.mul(2)));
    const other = this.#fresh(d);
    grads.forEach((grad, argument) => {
      if (!grad) return;
      const [a, b, sum] = [grad.dataSync(), other[argument]!.dataSync(), both[argument]!.dataSync()];
      for (let i = 0; i < sum.length; i++) {
        const expected = a[i]! + 2 * b[i]!;
        const tolerance = this.settings.atol + this.settings.rtol * (Math.abs(a[i]!) + 2 * Math.abs(b[i]!));
        if (!(Math.abs(sum[i]! - expected) <= tolerance)) {
          this.#fail('linearity', argument, unravel(i, grad.shape), sum[i]!, expected, tolerance, 0);
          return;
        }
      }
    });
  }
}

/** Σ a_i b_i over the i with b_i ≠ 0, so that a NaN elsewhere is blamed on its own coordinate only. */
function dot(a: TypedArray, b: TypedArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) if (b[i] !== 0) sum += a[i]! * b[i]!;
  return sum;
}

function unit(size: number, i: number): Float64Array {
  const v = new Float64Array(size);
  v[i] = 1;
  return v;
}

function unravel(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]!);
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}
