/** One function at one point: its gradient against finite differences. */
import { ones, randn, tensor } from '../autograd/create.js';
import { fresh } from '../autograd/functional.js';
import { differentiate, enableGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { withDevice } from '../kernels/devices.js';
import type { TypedArray } from '../tensor/dtype.js';
import type { Random } from '../tensor/random.js';
import { sameShape } from '../tensor/shape.js';
import type { CheckOptions, Differentiable } from './check-gradients.js';
import type { GradientFailure, GradientReport } from './report.js';

/** A random tensor like x, in floats. */
export function direction(x: Tensor, random: Random): Tensor {
  return randn(x.shape, { random, dtype: x.dtype === 'int32' ? 'float64' : x.dtype, device: x.device });
}

export type Settings = Required<Omit<CheckOptions, 'device' | 'dtype'>>;

/** Compares the derivatives of one function at one point with finite differences. */
export class Checker {
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

  /** f with the points' device as default. */
  #evaluate(xs: readonly Tensor[]): Tensor {
    return withDevice(this.points[0]!.device, () => this.f(...xs));
  }

  /** ⟨f(x), cotangent⟩ at points given as plain data. Awaited, so that the memory of thousands of evaluations comes back. */
  async #value(moved: number, data: TypedArray): Promise<number> {
    const xs = this.points.map((x, i) =>
      i === moved ? tensor(data, { shape: x.shape, dtype: x.dtype, device: x.device }) : x,
    );
    const y = this.#evaluate(xs);
    const values = await y.data();
    return dot(this.#project(y).dataSync(), values);
  }

  /** Gradients of ⟨f, cotangent⟩ (or another cotangent) at tracked inputs; null for int32 ones. */
  gradients(tracked: readonly Tensor[], cotangent: Tensor | null, createGraph: boolean): (Tensor | null)[] {
    const y = enableGrad(() => this.#evaluate(tracked));
    const seed = cotangent ?? this.#project(y);
    if (!y.node) return tracked.map((x) => (x.dtype === 'int32' ? null : x.detach().mul(0)));
    const grads = withDevice(y.device, () =>
      differentiate(y, seed, { createGraph, wrt: tracked.map((x) => (x.dtype === 'int32' ? null : x.node)) }),
    );
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

  async run(): Promise<void> {
    const grads = this.#fresh();
    for (const [argument, grad] of grads.entries()) {
      if (!grad) continue;
      const x = this.points[argument]!;
      if (!sameShape(grad.shape, x.shape) || grad.dtype !== x.dtype) {
        this.#fail('shape', argument, null, Number.NaN, Number.NaN, 0, 0);
        continue;
      }
      const g = grad.dataSync();
      if (this.settings.mode === 'taylor') await this.#taylor(argument, g);
      else if (this.settings.mode === 'projection')
        await this.#along(argument, g, Float64Array.from(direction(x, this.random).dataSync()), null);
      else for (const i of this.#coordinates(g.length)) await this.#along(argument, g, unit(g.length, i), i);
    }
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
  async #along(argument: number, g: TypedArray, v: Float64Array, coordinate: number | null): Promise<void> {
    const x = this.points[argument]!.dataSync();
    if (x.length === 0) return;
    const scale = coordinate === null ? 1 : Math.max(1, Math.abs(x[coordinate]!));
    const eps = this.settings.eps * scale;
    const at = (h: number) => this.#value(argument, x.map((value, i) => value + h * v[i]!) as TypedArray);
    const [forward, here, backward] = [await at(eps), await at(0), await at(-eps)];
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
  async #taylor(argument: number, g: TypedArray): Promise<void> {
    const x = this.points[argument]!.dataSync();
    if (x.length === 0) return;
    const v = direction(this.points[argument]!, this.random).dataSync();
    const slope = dot(g, v);
    const here = await this.#value(argument, x);
    const steps = [8, 9, 10, 11].map((k) => 2 ** -k);
    const rests: number[] = [];
    for (const h of steps) {
      const there = await this.#value(argument, x.map((value, i) => value + h * v[i]!) as TypedArray);
      rests.push(Math.abs(there - here - h * slope));
    }
    this.report.checked++;
    const floor = this.points[argument]!.dtype === 'float64' ? 1e-11 : 1e-4;
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
export function dot(a: TypedArray, b: TypedArray): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) if (b[i] !== 0) sum += a[i]! * b[i]!;
  return sum;
}

function unit(size: number, i: number): Float64Array {
  const v = new Float64Array(size);
  v[i] = 1;
  return v;
}

/** The index by axis of a place in row-major order. */
export function unravel(flat: number, shape: readonly number[]): number[] {
  const index: number[] = [];
  let rest = flat;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    index.unshift(rest % shape[axis]!);
    rest = Math.floor(rest / shape[axis]!);
  }
  return index;
}
