/** Eigenvalues of symmetric matrices, in float64 on the host. */
import { DomainError, ShapeError } from '../tensor/errors.js';

/**
 * The eigenvalues of a symmetric matrix, largest first.
 *
 * Householder reflections bring A to a tridiagonal T = Qᵀ A Q with the same eigenvalues; implicit QL steps with
 * Wilkinson's shift bring T to diagonal form. About 4/3 n³ operations; errors are a few ulp of the largest eigenvalue.
 *
 * @param matrix n × n numbers, row-major; only the lower triangle is read; not changed
 * @throws ShapeError when `matrix` is not n × n; DomainError for values that are not finite
 * @source Golub & Van Loan 2013, Matrix Computations, algorithms 8.3.1 and 8.3.3
 */
export function symmetricEigenvalues(matrix: ArrayLike<number>, n: number): Float64Array {
  if (!Number.isInteger(n) || n < 0 || matrix.length !== n * n)
    throw new ShapeError('symmetricEigenvalues', {
      received: `${matrix.length} numbers for ${n} rows`,
      expected: `${n * n} numbers`,
    });
  const a = Float64Array.from(matrix);
  if (!a.every(Number.isFinite))
    throw new DomainError('symmetricEigenvalues', {
      received: 'a value that is not finite',
      expected: 'finite values',
    });
  // By a power of two to about 1, so that no product below loses digits to the ends of the number range.
  const largest = a.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return new Float64Array(n);
  const unit = 2 ** Math.floor(Math.log2(largest));
  const { diagonal, below } = tridiagonal(
    a.map((value) => value / unit),
    n,
  );
  diagonalise(diagonal, below);
  return diagonal
    .map((value) => value * unit)
    .sort()
    .reverse();
}

/** The diagonal and what stands below it, after n − 2 reflections from the last row upwards. */
function tridiagonal(a: Float64Array, n: number): { diagonal: Float64Array; below: Float64Array } {
  const diagonal = new Float64Array(n);
  const below = new Float64Array(n); // below[i] couples i and i + 1; the last is 0
  const w = new Float64Array(n);
  for (let k = n - 1; k >= 1; k--) {
    const v = a.subarray(k * n, k * n + k); // row k left of the diagonal: it becomes the reflection's vector
    diagonal[k] = a[k * n + k]!;
    below[k - 1] = reflect(v);
    const squared = v.reduce((sum, value) => sum + value * value, 0);
    if (squared > 0) applyToLeading(a, n, v, squared, w);
  }
  if (n > 0) diagonal[0] = a[0]!;
  return { diagonal, below };
}

/**
 * Turns x into the vector v of the reflection I − 2vvᵀ/vᵀv that maps x to (0, …, 0, α), and returns α. v is 0 where
 * nothing is to be done.
 */
function reflect(x: Float64Array): number {
  const last = x.length - 1;
  const end = x[last]!;
  const scale = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const others = x.subarray(0, last);
  if (others.every((value) => value === 0)) {
    x.fill(0);
    return end;
  }
  let squares = 0;
  for (const value of x) squares += (value / scale) ** 2;
  const alpha = -(Math.sign(end) || 1) * scale * Math.sqrt(squares);
  x[last] = end - alpha;
  for (let i = 0; i <= last; i++) x[i]! /= scale; // its length is free: this keeps squares from overflowing
  return alpha;
}

/** The leading k × k block A ← H A H, H = I − 2vvᵀ/vᵀv: A − v wᵀ − w vᵀ, w = p − (pᵀv/vᵀv) v, p = 2 A v/vᵀv. */
function applyToLeading(a: Float64Array, n: number, v: Float64Array, squared: number, w: Float64Array): void {
  const k = v.length;
  w.fill(0, 0, k);
  for (let i = 0; i < k; i++) {
    let sum = a[i * n + i]! * v[i]!;
    for (let j = 0; j < i; j++) {
      const value = a[i * n + j]!;
      sum += value * v[j]!;
      w[j]! += value * v[i]!;
    }
    w[i]! += sum;
  }
  let along = 0;
  for (let i = 0; i < k; i++) {
    w[i]! *= 2 / squared;
    along += w[i]! * v[i]!;
  }
  for (let i = 0; i < k; i++) w[i]! -= (along / squared) * v[i]!;
  for (let i = 0; i < k; i++) for (let j = 0; j <= i; j++) a[i * n + j]! -= v[i]! * w[j]! + w[i]! * v[j]!;
}

/** Implicit QL steps until every `below` is negligible; `diagonal` then holds the eigenvalues. */
function diagonalise(diagonal: Float64Array, below: Float64Array): void {
  const n = diagonal.length;
  for (let start = 0; start < n; start++) {
    for (let round = 0; ; round++) {
      let end = start;
      while (end < n - 1 && !negligible(diagonal, below, end)) end++;
      if (end === start) break;
      if (round > 50)
        throw new DomainError('symmetricEigenvalues', {
          received: 'no convergence in 50 steps',
          expected: 'finite values',
        });
      qlStep(diagonal, below, start, end);
    }
  }
}

function negligible(diagonal: Float64Array, below: Float64Array, i: number): boolean {
  return Math.abs(below[i]!) <= Number.EPSILON * (Math.abs(diagonal[i]!) + Math.abs(diagonal[i + 1]!));
}

/** One QL step with Wilkinson's shift on rows start … end: rotations chase the bulge upwards. */
function qlStep(diagonal: Float64Array, below: Float64Array, start: number, end: number): void {
  const half = (diagonal[start + 1]! - diagonal[start]!) / (2 * below[start]!);
  const shift = diagonal[start]! - below[start]! / (half + (Math.sign(half) || 1) * Math.hypot(half, 1));
  let g = diagonal[end]! - shift;
  let [sine, cosine, p] = [1, 1, 0];
  for (let i = end - 1; i >= start; i--) {
    const f = sine * below[i]!;
    const b = cosine * below[i]!;
    const r = Math.hypot(f, g);
    below[i + 1] = r;
    if (r === 0) {
      diagonal[i + 1]! -= p;
      below[end] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    g = diagonal[i + 1]! - p;
    const t = (diagonal[i]! - g) * sine + 2 * cosine * b;
    p = sine * t;
    diagonal[i + 1] = g + p;
    g = cosine * t - b;
  }
  diagonal[start]! -= p;
  below[start] = g;
  below[end] = 0;
}
