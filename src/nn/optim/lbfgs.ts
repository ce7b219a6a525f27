/**
 * L-BFGS: minimising a smooth function of many numbers, with a curvature learnt from the last few steps. In float64
 * on the host: for problems such as logistic regression, whose value and gradient come whole, not from a mini-batch.
 */
import { DomainError } from '../../tensor/errors.js';

/** f(x) and ∇f(x). */
export interface Evaluation {
  value: number;
  gradient: Float64Array;
}

/** What L-BFGS minimises: value and gradient at a point. */
export type Objective = (x: Float64Array) => Evaluation | Promise<Evaluation>;

/** When L-BFGS ends, and how much it remembers. */
export interface LbfgsOptions {
  /** m, how many steps the curvature is learnt from. Default 10. */
  history?: number;
  /** Default 1000. */
  maxIterations?: number;
  /** Done when no component of the gradient is larger. Default 1e-5. */
  gradientTolerance?: number;
}

export interface LbfgsResult extends Evaluation {
  x: Float64Array;
  iterations: number;
  evaluations: number;
  /** `precision`: no step along the direction decreases f any more, as rounding allows no better. */
  stopped: 'gradient' | 'iterations' | 'precision';
}

/** One pair of the history: s = x′ − x, y = ∇f′ − ∇f, ρ = 1/(sᵀy). */
interface Step {
  s: Float64Array;
  y: Float64Array;
  rho: number;
}

/** A point on the line x + t d, with slope ∇fᵀd. */
interface LinePoint extends Evaluation {
  t: number;
  x: Float64Array;
  slope: number;
}

/** Sufficient decrease and curvature of the strong Wolfe conditions, the usual choice for quasi-Newton directions. */
const decrease = 1e-4;
const curvature = 0.9;
const maxLineEvaluations = 30;

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** y ← y + factor · x */
function addScaled(y: Float64Array, factor: number, x: Float64Array): void {
  for (let i = 0; i < y.length; i++) y[i]! += factor * x[i]!;
}

function largestMagnitude(x: Float64Array): number {
  let largest = 0;
  for (const value of x) if (!(Math.abs(value) <= largest)) largest = Math.abs(value);
  return largest;
}

/** @throws DomainError for a gradient that is not finite, naming the component */
function checkGradient(value: number, gradient: Float64Array): void {
  const i = gradient.findIndex((g) => !Number.isFinite(g));
  if (i >= 0)
    throw new DomainError('minimizeLbfgs', {
      received: `${gradient[i]} in component ${i} of the gradient, where the value is ${value}`,
      expected: 'a finite gradient wherever the value is finite',
    });
}

/**
 * The two-loop recursion: −H ∇f, where H is the inverse Hessian that the history describes, starting from γI,
 * γ = sᵀy / yᵀy of the newest step.
 * @source Nocedal & Wright 2006, Numerical Optimization, algorithm 7.4
 */
function direction(gradient: Float64Array, history: readonly Step[]): Float64Array {
  const q = gradient.map((g) => -g);
  const newestFirst = [...history].reverse();
  const alphas = newestFirst.map(({ s, y, rho }) => {
    const alpha = rho * dot(s, q);
    addScaled(q, -alpha, y);
    return alpha;
  });
  const newest = newestFirst[0];
  const gamma = newest ? 1 / (newest.rho * dot(newest.y, newest.y)) : 1;
  const d = q.map((value) => gamma * value);
  history.forEach(({ s, y, rho }, i) => {
    addScaled(d, alphas[history.length - 1 - i]! - rho * dot(y, d), s);
  });
  return d;
}

/** Where the cubic through two points with slopes has its minimum, kept well inside the interval. */
function cubicMinimum(a: LinePoint, b: LinePoint): number {
  const d1 = a.slope + b.slope - (3 * (a.value - b.value)) / (a.t - b.t);
  const d2 = Math.sign(b.t - a.t) * Math.sqrt(d1 * d1 - a.slope * b.slope);
  const t = b.t - ((b.t - a.t) * (b.slope + d2 - d1)) / (b.slope - a.slope + 2 * d2);
  const [low, high] = [Math.min(a.t, b.t), Math.max(a.t, b.t)];
  const margin = 0.1 * (high - low);
  return t >= low + margin && t <= high - margin ? t : (low + high) / 2;
}

/**
 * A point that satisfies the strong Wolfe conditions: f(t) ≤ f(0) + c₁ t f′(0) and |f′(t)| ≤ c₂ |f′(0)|. Steps grow
 * until an interval holds such a point; then the interval shrinks. Null when rounding leaves nothing to gain.
 * @source Nocedal & Wright 2006, algorithms 3.5 and 3.6
 */
async function lineSearch(
  at: (t: number) => Promise<LinePoint>,
  start: LinePoint,
  first: number,
): Promise<LinePoint | null> {
  const enough = (p: LinePoint) => p.value <= start.value + decrease * p.t * start.slope;
  const flat = (p: LinePoint) => Math.abs(p.slope) <= -curvature * start.slope;
  let [low, high]: [LinePoint, LinePoint | null] = [start, null];
  let t = first;
  for (let i = 0; i < maxLineEvaluations; i++) {
    const point = await at(t);
    if (!enough(point) || (low !== start && point.value >= low.value)) high = point;
    else if (flat(point)) return point;
    else {
      // The interval [low, high] holds a minimum when the slope at low points into it.
      if (point.slope * ((high?.t ?? Number.POSITIVE_INFINITY) - point.t) >= 0) high = low;
      low = point;
    }
    t = high ? cubicMinimum(low, high) : 2 * t;
  }
  return low.value < start.value ? low : null; // it decreases f, if not by as much as it could
}

/**
 * Minimises f from x.
 *
 * | symbol | code      | shape                            |
 * |--------|-----------|----------------------------------|
 * | f, ∇f  | objective | value and gradient at a point    |
 * | x      | start     | [n]; not changed                 |
 *
 * For convex f the result is the minimum; elsewhere a point where the gradient vanishes.
 * @throws DomainError when f is not finite at the start, its gradient where f is, or an option is out of range
 * @source Liu & Nocedal 1989, "On the limited memory BFGS method for large scale optimization"
 * @example await minimizeLbfgs((x) => ({ value: x[0]! ** 2, gradient: Float64Array.of(2 * x[0]!) }), Float64Array.of(3))
 */
export async function minimizeLbfgs(
  objective: Objective,
  start: Float64Array,
  { history: memory = 10, maxIterations = 1000, gradientTolerance = 1e-5 }: LbfgsOptions = {},
): Promise<LbfgsResult> {
  if (!(memory >= 1) || !(maxIterations >= 0) || !(gradientTolerance >= 0))
    throw new DomainError('minimizeLbfgs', {
      received: `history ${memory}, maxIterations ${maxIterations}, gradientTolerance ${gradientTolerance}`,
      expected: 'history ≥ 1 and numbers ≥ 0',
    });
  let x: Float64Array = start.slice();
  let { value, gradient } = await objective(x);
  if (!Number.isFinite(value))
    throw new DomainError('minimizeLbfgs', { received: `the value ${value} at the start`, expected: 'a finite value' });
  checkGradient(value, gradient);
  let evaluations = 1;
  const history: Step[] = [];
  const result = (iterations: number, stopped: LbfgsResult['stopped']): LbfgsResult => ({
    x,
    value,
    gradient,
    iterations,
    evaluations,
    stopped,
  });
  for (let iteration = 0; iteration < maxIterations; iteration++) {
    if (largestMagnitude(gradient) <= gradientTolerance) return result(iteration, 'gradient');
    const d = direction(gradient, history);
    const from: LinePoint = { t: 0, x, value, gradient, slope: dot(gradient, d) };
    const at = async (t: number): Promise<LinePoint> => {
      const moved = from.x.slice();
      addScaled(moved, t, d);
      evaluations++;
      const there = await objective(moved);
      if (Number.isFinite(there.value)) checkGradient(there.value, there.gradient); // elsewhere the step was too long
      return { ...there, t, x: moved, slope: dot(there.gradient, d) };
    };
    // Without a history the length of the step is a guess: no longer than 1.
    const first = history.length > 0 ? 1 : Math.min(1, 1 / Math.sqrt(dot(gradient, gradient)));
    const next = from.slope < 0 ? await lineSearch(at, from, first) : null;
    if (!next) return result(iteration, 'precision');
    const s = next.x.map((value, i) => value - x[i]!);
    const y = next.gradient.map((value, i) => value - gradient[i]!);
    const sy = dot(s, y);
    if (sy > 0) history.push({ s, y, rho: 1 / sy });
    if (history.length > memory) history.shift();
    ({ x, value, gradient } = next);
  }
  return result(maxIterations, largestMagnitude(gradient) <= gradientTolerance ? 'gradient' : 'iterations');
}
