/** The directions in which embeddings vary most: a map of them. */
import { noGrad } from '../autograd/graph.js';
import type { Tensor } from '../autograd/tensor.js';
import { DomainError } from '../tensor/errors.js';
import { type ChunkOption, covariance } from './embedding-statistics.js';

/**
 * The `count` leading eigenvectors of a symmetric positive semidefinite matrix, by orthogonal iteration:
 * V ← orth(A V), until V no longer turns.
 *
 * Where eigenvalues nearly coincide, any basis of their space is as good; it is what comes out after `rounds`.
 * @param matrix n × n numbers, row-major
 * @returns unit vectors, [count][n], the one of the largest eigenvalue first; and the eigenvalues vᵀ A v
 * @source Golub & Van Loan 2013, Matrix Computations, section 8.2.4
 */
export function leadingEigenvectors(
  matrix: ArrayLike<number>,
  n: number,
  count: number,
  rounds = 500,
): { vectors: Float64Array[]; values: number[] } {
  if (!(Number.isInteger(count) && count >= 1 && count <= n))
    throw new DomainError('leadingEigenvectors', { received: `${count} of ${n}`, expected: `1 … ${n}` });
  const times = (v: Float64Array) =>
    Float64Array.from({ length: n }, (_, i) => {
      let sum = 0;
      for (let j = 0; j < n; j++) sum += matrix[i * n + j]! * v[j]!;
      return sum;
    });
  // Any start that is orthogonal to no direction in particular.
  let vectors = orthonormal(
    Array.from({ length: count }, (_, k) => Float64Array.from({ length: n }, (_, i) => Math.cos((k + 1) * (i + 1)))),
  );
  for (let round = 0; round < rounds; round++) {
    const next = orthonormal(vectors.map(times));
    const turned = next.some((v, k) => 1 - Math.abs(dot(v, vectors[k]!)) > 1e-15);
    vectors = next;
    if (!turned) break;
  }
  return { vectors, values: vectors.map((v) => dot(v, times(v))) };
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);

/** Gram–Schmidt, twice, which is enough; what is left of a vector inside the span of those before it is a unit vector outside. */
function orthonormal(vectors: readonly Float64Array[]): Float64Array[] {
  const done: Float64Array[] = [];
  for (const vector of vectors) {
    let v = vector;
    for (let axis = -1; ; axis++) {
      for (let pass = 0; pass < 2; pass++)
        for (const u of done) {
          const along = dot(u, v);
          v = v.map((value, i) => value - along * u[i]!);
        }
      const norm = Math.sqrt(dot(v, v));
      if (norm > 1e-12 * Math.sqrt(dot(vector, vector)) && norm > 0) {
        done.push(v.map((value) => value / norm));
        break;
      }
      v = new Float64Array(v.length); // the next axis that is not in the span
      v[axis + 1] = 1;
    }
  }
  return done;
}

export interface Components {
  /** Coordinates of each row, [n][count]. */
  coordinates: number[][];
  /** Share of the variance along each, in [0, 1]; 0 when nothing varies. */
  shares: number[];
}

/**
 * Principal components of unit vectors (embeddings are normalised here): c_i = Vᵀ (x_i − x̄), V the leading eigenvectors of the
 * covariance. Each direction points to where the farthest row is, so that the same embeddings give the same map.
 * @param x [n, dim]
 */
export async function principalComponents(
  x: Tensor,
  { count = 2, ...options }: ChunkOption & { count?: number } = {},
): Promise<Components> {
  const { mean, matrix } = await covariance(x, options);
  const dim = x.shape[1]!;
  const { vectors, values } = leadingEigenvectors(matrix, dim, Math.min(count, dim));
  const rows = await noGrad(() => x.l2Normalize()).data();
  const coordinates = Array.from({ length: x.shape[0]! }, (_, i) =>
    vectors.map((v) => v.reduce((sum, value, j) => sum + value * (rows[i * dim + j]! - mean[j]!), 0)),
  );
  for (let k = 0; k < vectors.length; k++) {
    const farthest = coordinates.reduce((most, c) => (Math.abs(c[k]!) > Math.abs(most) ? c[k]! : most), 0);
    if (farthest < 0) for (const c of coordinates) c[k] = -c[k]!;
  }
  const trace = Array.from({ length: dim }, (_, i) => matrix[i * dim + i]!).reduce((a, b) => a + b, 0);
  return { coordinates, shares: values.map((value) => (trace > 0 ? Math.max(0, value) / trace : 0)) };
}
