/**
 * Systems of equations, inverses, determinants and Cholesky factors of small matrices, composed of ops: a handful of
 * kernels for each column, over all matrices of a batch at once.
 */
import { arange, eye, ones } from '../autograd/create.js';
import { defineBuiltIn, defineComposite, type OpFunction } from '../autograd/op.js';
import { concat } from '../autograd/ops/join.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { ShapeError } from '../tensor/errors.js';
import { broadcastShapes, formatShape, sizeOf } from '../tensor/shape.js';
import { tril } from './diagonals.js';

const all: [number, null] = [0, null];
const firstColumn = (rows: Tensor) => rows.slice([all, all, [0, 1]]);
const otherColumns = (rows: Tensor) => rows.slice([all, all, [1, null]]);

/**
 * Of each of [batch, rows, columns] the row whose first element is the largest, and the others, the first of them in its
 * place: partial pivoting. `stays` is 1 where that row was the first.
 */
function pivoted(rows: Tensor): { top: Tensor; rest: Tensor; stays: Tensor } {
  const count = rows.shape[1]!;
  const at = firstColumn(rows).abs().argmax({ axis: 1, keepDims: true });
  const picked = arange(0, count, 1, { dtype: 'int32', device: rows.storage.device.name })
    .reshape([count, 1])
    .equal(at);
  return {
    top: picked.where(rows, 0).sum({ axis: 1, keepDims: true }), // chosen, not multiplied: 0 · ∞ is NaN
    rest: picked.where(rows.slice([all, [0, 1]]), rows).slice([all, [1, null]]),
    stays: at.equal(0),
  };
}

const solveOp: OpFunction<void> = defineBuiltIn<void>({
  name: 'solve',
  int32: 'refused',
  equation: 'A X = B',
  derivative: 'B̄ = A⁻ᵀ X̄, Ā = −B̄ Xᵀ',
  source: 'elimination of Gauss and Jordan; Giles 2008, "Collected matrix derivative results", 2.3.1',
  shapes: '[batch, n, n], [batch, n, k] → [batch, n, k]',
  shape: ([, b]) => b!,
  saves: { inputs: [0], output: true },
  forward([a, b]) {
    let rows = concat([a!, b!], { axis: 2 });
    let done: Tensor | null = null; // the rows above, in which only the columns to come are left
    for (let column = 0; column < a!.shape[1]!; column++) {
      const { top, rest } = pivoted(rows);
      const unit = otherColumns(top).div(firstColumn(top));
      const without = (others: Tensor) => otherColumns(others).sub(firstColumn(others).mul(unit));
      rows = without(rest);
      done = done ? concat([without(done), unit], { axis: 1 }) : unit;
    }
    return done ?? b!;
  },
  vjp: ({ gradOutput, inputs: [a], output, wants }) => {
    const gradB = solveOp([a!.transpose(), gradOutput], undefined);
    return [wants[0] ? gradB.matmul(output, { transposeB: true }).neg() : null, gradB];
  },
});

const invOp = defineComposite({
  name: 'inv',
  int32: 'refused',
  equation: 'Y = A⁻¹',
  derivative: 'Ā = −Yᵀ Ȳ Yᵀ',
  compose([a]) {
    const { dtype, storage } = a!;
    const identity = eye(a!.shape[1]!, a!.shape[1]!, { dtype, device: storage.device.name });
    return solveOp([a!, identity.expand(a!.shape)], undefined);
  },
});

/** All [batch, n, n, n − 1, n − 1] that are left when row i and column j are taken out of [batch, n, n]. */
function minors(a: Tensor): Tensor {
  const n = a.shape[1]!;
  const options = { dtype: 'int32', device: a.storage.device.name } as const;
  const [row, column] = [arange(0, n, 1, options).reshape([n, 1]), arange(0, n - 1, 1, options)];
  const others = column.add(column.greaterEqual(row)); // all but i, for each i
  return a.gather(others, { axis: 1 }).gather(others, { axis: 3 }).permute([0, 1, 3, 2, 4]);
}

const detOp: OpFunction<void> = defineBuiltIn<void>({
  name: 'det',
  int32: 'refused',
  equation: 'y = det A',
  derivative: 'Ā_ij = ȳ (−1)^(i+j) det(A without row i and column j)',
  source: "elimination of Gauss; Jacobi's formula with cofactors, which are there for singular matrices as well",
  shapes: '[batch, n, n] → [batch]',
  shape: ([shape]) => [shape![0]!],
  saves: { inputs: [0] },
  forward([a]) {
    const [batch, n] = a!.shape as [number, number];
    const { dtype, storage } = a!;
    let product = ones([batch, 1, 1], { dtype, device: storage.device.name });
    let rows = a!;
    for (let column = 0; column < n; column++) {
      const { top, rest, stays } = pivoted(rows);
      const pivot = firstColumn(top);
      product = product.mul(stays.where(pivot, pivot.neg()));
      // Where the largest is 0 so are all others, and nothing has to be taken away.
      const share = firstColumn(rest).div(pivot.equal(0).where(1, pivot));
      rows = otherColumns(rest).sub(share.mul(otherColumns(top)));
    }
    return product.reshape([batch]);
  },
  vjp: [
    ({ gradOutput, inputs: [a] }) => {
      const [batch, n] = a!.shape as [number, number];
      const cofactors = detOp([minors(a!).reshape([batch * n * n, Math.max(0, n - 1), Math.max(0, n - 1)])], undefined);
      const { dtype, storage } = a!;
      const place = arange(0, n, 1, { dtype, device: storage.device.name });
      const odd = place.reshape([n, 1]).add(place).mul(0.5);
      const sign = odd.floor().equal(odd).mul(2).sub(1);
      return gradOutput.reshape([batch, 1, 1]).mul(cofactors.reshape([batch, n, n]).mul(sign));
    },
  ],
});

const choleskyOp: OpFunction<void> = defineBuiltIn<void>({
  name: 'cholesky',
  int32: 'refused',
  equation: 'L Lᵀ = ½(A + Aᵀ), L lower triangular',
  derivative: 'Ā = the symmetric part of L⁻ᵀ Φ(Lᵀ L̄) L⁻¹, Φ the lower triangle with half the diagonal',
  source: 'Murray 2016, "Differentiation of the Cholesky decomposition", arXiv 1602.07527',
  saves: { output: true },
  forward([a]) {
    let rows = symmetric(a!);
    const n = rows.shape[1]!;
    const columns: Tensor[] = [];
    for (let column = 0; column < n; column++) {
      const entries = firstColumn(rows).div(rows.slice([all, [0, 1], [0, 1]]).sqrt());
      columns.push(entries.pad([[0, 0], [column, 0], [0, 0]])); // biome-ignore format: pairs of an axis each
      const below = entries.slice([all, [1, null]]);
      rows = otherColumns(rows.slice([all, [1, null]])).sub(below.mul(below.transpose()));
    }
    return n === 0 ? rows : concat(columns, { axis: 2 });
  },
  vjp: [
    ({ gradOutput, output: l }) => {
      const inner = l.matmul(tril(gradOutput), { transposeA: true });
      const half = tril(inner)
        .add(tril(inner, { offset: -1 }))
        .mul(0.5);
      const left = solveOp([l.transpose(), half], undefined); // L⁻ᵀ Φ
      return symmetric(solveOp([l.transpose(), left.transpose()], undefined)); // its transpose by L⁻¹, transposed
    },
  ],
});

const symmetric = (a: Tensor) => a.add(a.transpose()).mul(0.5);

/** x as a batch of square matrices. @throws ShapeError when it is none */
function matrices(op: string, x: Tensor): Tensor {
  checkTensor(op, 'A', x);
  const [rows, columns] = x.shape.slice(-2);
  if (x.rank < 2 || rows !== columns)
    throw new ShapeError(op, { received: `shape ${formatShape(x.shape)}`, expected: 'square matrices [..., n, n]' });
  return x.reshape([sizeOf(x.shape.slice(0, -2)), rows!, columns!]);
}

/**
 * X with A X = B, for A of [..., n, n] and B of [n] or [..., n, k]; leading axes broadcast. Not finite where A is singular.
 * @throws ShapeError when the sizes do not fit
 */
export function solve(a: Tensor, b: Tensor): Tensor {
  const n = matrices('solve', a).shape[1]!;
  checkTensor('solve', 'B', b);
  const columns = b.rank === 1 ? b.unsqueeze(1) : b;
  if (columns.rank < 2 || columns.shape.at(-2) !== n)
    throw new ShapeError('solve', {
      received: `A ${formatShape(a.shape)} and B ${formatShape(b.shape)}`,
      expected: `B of [${n}] or [..., ${n}, k]`,
    });
  const lead = broadcastShapes('solve', a.shape.slice(0, -2), columns.shape.slice(0, -2));
  const k = columns.shape.at(-1)!;
  const x = solveOp(
    [
      a.expand([...lead, n, n]).reshape([sizeOf(lead), n, n]),
      columns.expand([...lead, n, k]).reshape([sizeOf(lead), n, k]),
    ],
    undefined,
  );
  return x.reshape(b.rank === 1 ? [...lead, n] : [...lead, n, k]);
}

/** The inverses of matrices [..., n, n]; solve() is better where they are only multiplied. Not finite where singular. */
export function inv(a: Tensor): Tensor {
  return invOp([matrices('inv', a)]).reshape(a.shape);
}

/** The determinants of matrices [..., n, n]: [...]. The derivative takes n² determinants: it is for small matrices. */
export function det(a: Tensor): Tensor {
  return detOp([matrices('det', a)]).reshape(a.shape.slice(0, -2));
}

/**
 * The lower triangular L with L Lᵀ = A, for symmetric positive definite A of [..., n, n]; NaN where A is not positive
 * definite. Of a matrix that is not symmetric the symmetric part counts, so the gradient is symmetric.
 */
export function cholesky(a: Tensor): Tensor {
  return choleskyOp([matrices('cholesky', a)]).reshape(a.shape);
}
