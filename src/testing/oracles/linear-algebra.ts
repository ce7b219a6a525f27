/** Systems of equations, determinants and factors of small matrices, by their definitions. */
import type { Random } from '../../tensor/random.js';
import { type Oracle, unravel, type Values } from './oracle.js';

type Matrix = number[][];

/** The matrices of a batch. */
const split = ({ data, shape }: Values): Matrix[] => {
  const [batch, rows, columns] = shape as [number, number, number];
  return Array.from({ length: batch }, (_, b) =>
    Array.from({ length: rows }, (_, i) =>
      Array.from({ length: columns }, (_, j) => data[(b * rows + i) * columns + j]!),
    ),
  );
};

/** By the first row. */
const determinant = (a: Matrix): number =>
  a.length === 0
    ? 1
    : a[0]!.reduce(
        (sum, x, j) =>
          sum + (j % 2 === 0 ? x : -x) * determinant(a.slice(1).map((row) => row.filter((_, k) => k !== j))),
        0,
      );

/** Cramer's rule: the i-th unknown of A x = b. */
const unknown = (a: Matrix, b: readonly number[], i: number) =>
  determinant(a.map((row, r) => row.map((x, j) => (j === i ? b[r]! : x)))) / determinant(a);

/** Matrices with 3 on the diagonal, plus or minus, and rows in another order. */
function drawMatrices(random: Random, batch: number, n: number): number[] {
  return Array.from({ length: batch }, () => {
    const rows = Array.from({ length: n }, (_, i) =>
      Array.from({ length: n }, (_, j) => (i === j ? random.pick([3, -3]) : 0) + 2 * random.uniform() - 1),
    );
    return random.shuffle(rows).flat();
  }).flat();
}

const drawSquare = (random: Random) => {
  const [batch, n] = [random.int(3), random.int(4)];
  const data = drawMatrices(random, batch, n);
  return { shapes: [[batch, n, n]], params: undefined, fixed: { 0: { data, dtype: 'float64' as const } } };
};

export const solve: Oracle<void> = {
  draw(random) {
    const { shapes, ...rest } = drawSquare(random);
    return { ...rest, shapes: [...shapes, [shapes[0]![0]!, shapes[0]![1]!, random.int(3)]] };
  },
  oracle([a, b]) {
    const right = split(b!);
    return split(a!).flatMap((matrix, k) =>
      right[k]!.flatMap((row, i) =>
        row.map((_, j) =>
          unknown(
            matrix,
            right[k]!.map((line) => line[j]!),
            i,
          ),
        ),
      ),
    );
  },
};

export const inv: Oracle<void> = {
  draw: drawSquare,
  oracle: ([a]) =>
    split(a!).flatMap((matrix) =>
      matrix.flatMap((_, i) =>
        matrix.map((_, j) =>
          unknown(
            matrix,
            matrix.map((_, r) => Number(r === j)),
            i,
          ),
        ),
      ),
    ),
};

export const det: Oracle<void> = { draw: drawSquare, oracle: ([a]) => split(a!).map(determinant) };

export const cholesky: Oracle<void> = {
  draw(random) {
    const [batch, n] = [1 + random.int(2), random.int(4)];
    const shape = [batch, n, n];
    const data = Array.from({ length: batch * n * n }, (_, at) => {
      const [, i, j] = unravel(at, shape) as [number, number, number];
      return (i === j ? 4 : 0) + 2 * random.uniform() - 1;
    });
    return { shapes: [shape], params: undefined, fixed: { 0: { data, dtype: 'float64' } } };
  },
  // L_ij = minors of the symmetric part: rows and columns 0 … j − 1, and row i with column j.
  oracle: ([a]) =>
    split(a!).flatMap((given) => {
      const s = given.map((row, i) => row.map((x, j) => (x + given[j]![i]!) / 2));
      const corner = (last: number, j: number) =>
        determinant(
          [...Array(j).keys(), last].map((row) => [...Array(j + 1).keys()].map((column) => s[row]![column]!)),
        );
      const leading = (j: number) => (j === 0 ? 1 : corner(j - 1, j - 1));
      return s.flatMap((row, i) =>
        row.map((_, j) => (j > i ? 0 : corner(i, j) / Math.sqrt(leading(j) * leading(j + 1)))),
      );
    }),
};
