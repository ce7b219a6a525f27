/** Matrix product, batched and broadcasting over leading axes. */
import type { Storage } from '../../kernels/device.js';
import { ShapeError } from '../../tensor/errors.js';
import { broadcastShapes, formatShape, type Shape, sameShape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn, type OpFunction } from '../op.js';
import { checkTensor, type Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

/** Which factor of a matrix product is transposed. */
export interface MatmulOptions {
  /** Use the transpose of this (its last two axes), without a copy. */
  transposeA?: boolean;
  /** Use the transpose of the other, without a copy. */
  transposeB?: boolean;
}

interface MatmulParams {
  transposeA: boolean;
  transposeB: boolean;
}

/** Rows and columns of op(x). */
const matrix = (shape: Shape, transposed: boolean): [number, number] => {
  const [rows, columns] = shape.slice(-2) as [number, number];
  return transposed ? [columns, rows] : [rows, columns];
};

/**
 * Both factors have the same leading axes, or one has none (a matrix shared by the whole batch).
 *
 * With C = op(A) op(B) and C̄ = gradOutput, ⟨C̄, dA·B⟩ = ⟨C̄Bᵀ, dA⟩ gives Ā = C̄ Bᵀ, and likewise B̄ = Aᵀ C̄. Stored
 * transposed, a factor wants its gradient transposed: (C̄ Bᵀ)ᵀ = B C̄ᵀ. Flags do all transposing; nothing is copied.
 */
const matmulOp: OpFunction<MatmulParams> = defineBuiltIn({
  name: 'matmul',
  int32: 'refused',
  equation: 'C = op(A) op(B)',
  derivative: 'Ā = C̄ Bᵀ, B̄ = Aᵀ C̄ (transposed where the factor is stored so)',
  shapes: 'a […, m, k] and b […, k, n] give […, m, n], the leading axes broadcast',
  saves: { inputs: [0, 1] },
  shape([a, b], { transposeA, transposeB }) {
    const [m, k] = matrix(a!, transposeA);
    const [k2, n] = matrix(b!, transposeB);
    if (k !== k2)
      throw new ShapeError('matmul', {
        received: `inner sizes differ: left ${formatShape(a!)}${transposeA ? ' transposed' : ''} (inner ${k}), right ${formatShape(b!)}${transposeB ? ' transposed' : ''} (inner ${k2})`,
        expected: 'equal inner sizes',
        hint: k === n ? 'Did you mean right.transpose()?' : m === k2 ? 'Did you mean left.transpose()?' : '',
      });
    return [...(a!.length > 2 ? a! : b!).slice(0, -2), m, n];
  },
  kernel([a, b], { device, shapes, params: { transposeA, transposeB }, outputShape }) {
    const [m, k] = matrix(shapes[0]!, transposeA);
    const [, n] = matrix(shapes[1]!, transposeB);
    const batch = sizeOf(outputShape.slice(0, -2));
    const broadcastA = shapes[0]!.length === 2 && batch !== 1;
    const broadcastB = shapes[1]!.length === 2 && batch !== 1;
    return device.matmul(a as Storage, b as Storage, {
      batch,
      m,
      n,
      k,
      transposeA,
      transposeB,
      broadcastA,
      broadcastB,
    });
  },
  vjp: [
    ({ gradOutput: g, inputs: [, b], params: { transposeA, transposeB }, shapes }) =>
      shared(
        transposeA
          ? multiply(b!, g, transposeB, true) // B C̄ᵀ
          : multiply(g, b!, false, !transposeB), // C̄ Bᵀ
        shapes[0]!,
      ),
    ({ gradOutput: g, inputs: [a], params: { transposeA, transposeB }, shapes }) =>
      shared(
        transposeB
          ? multiply(g, a!, true, transposeA) // C̄ᵀ A
          : multiply(a!, g, !transposeA, false), // Aᵀ C̄
        shapes[1]!,
      ),
  ],
});

function multiply(a: Tensor, b: Tensor, transposeA: boolean, transposeB: boolean): Tensor {
  return matmulOp([a, b], { transposeA, transposeB });
}

/** A matrix shared by a batch gets the sum of the batch's gradients. */
function shared(grad: Tensor, shape: Shape): Tensor {
  return shape.length === 2 && grad.rank > 2
    ? grad.reshape([sizeOf(grad.shape.slice(0, -2)), ...shape]).sum({ axis: 0 })
    : grad;
}

/**
 * Matrix product of the last two axes; leading axes broadcast. A vector is taken as a row on the left and as a
 * column on the right, and that axis is dropped from the result, as in NumPy.
 * @throws ShapeError naming both shapes
 */
export function matmul(a: Tensor, b: Tensor, options?: MatmulOptions): Tensor {
  const { transposeA = false, transposeB = false } = checkOptions('matmul', options, ['transposeA', 'transposeB']);
  checkTensor('matmul', 'left factor', a);
  checkTensor('matmul', 'right factor', b);
  if (a.rank === 0 || b.rank === 0)
    throw new ShapeError('matmul', {
      received: `shapes ${formatShape(a.shape)} and ${formatShape(b.shape)}`,
      expected: 'at least one axis each',
      hint: 'Use mul() to multiply by a scalar.',
    });
  if (a.rank === 1) {
    const product = matmul(a.unsqueeze(0), b, { transposeB });
    return product.squeeze(b.rank === 1 ? 0 : -2);
  }
  if (b.rank === 1) return matmul(a, b.unsqueeze(1), { transposeA }).squeeze(-1);
  // Many rows times one matrix is a single, taller product: [batch, m, k] · [k, n] = [batch · m, k] · [k, n].
  if (b.rank === 2 && a.rank > 2 && !transposeA) {
    const rows = sizeOf(a.shape.slice(0, -1));
    if (a.shape[a.rank - 1] === matrix(b.shape, transposeB)[0]) {
      const product = multiply(a.reshape([rows, a.shape[a.rank - 1]!]), b, false, transposeB);
      return product.reshape([...a.shape.slice(0, -1), product.shape[1]!]);
    }
  }
  const [leadA, leadB] = [a.shape.slice(0, -2), b.shape.slice(0, -2)];
  if (leadA.length > 0 && leadB.length > 0 && !sameShape(leadA, leadB)) {
    const lead = broadcastShapes('matmul', leadA, leadB);
    return multiply(
      a.expand([...lead, ...a.shape.slice(-2)]),
      b.expand([...lead, ...b.shape.slice(-2)]),
      transposeA,
      transposeB,
    );
  }
  return multiply(a, b, transposeA, transposeB);
}
