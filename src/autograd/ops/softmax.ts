/** Softmax and its relatives, along the last axis; other axes are brought there and back. */
import type { Storage } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { DomainError, ShapeError } from '../../tensor/errors.js';
import { formatShape, normalizeAxis, rowsOf } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

const softmaxOp = defineBuiltIn<void>({
  name: 'softmax',
  equation: 'p_i = e^{x_i} / Σ_j e^{x_j}',
  derivative: 'x̄ = p ⊙ (p̄ − Σ_j p̄_j p_j), from the Jacobian diag(p) − ppᵀ',
  int32: 'float32',
  saves: { output: true },
  kernel: ([x], { device, shapes }) => fused(device).softmax(x as Storage, ...rowsOf(shapes[0]!)),
  vjp: [
    ({ gradOutput, output }) => output.mul(gradOutput.sub(gradOutput.mul(output).sum({ axis: -1, keepDims: true }))),
  ],
  fusedVjp({ gradOutput: { storage }, output, shapes: [shape] }) {
    const grad = storage.device.fused.softmaxGrad?.(storage, output.storage, ...rowsOf(shape!));
    return grad ? [new Tensor(grad, shape!)] : null;
  },
});

const logSoftmaxOp = defineBuiltIn<void>({
  name: 'logSoftmax',
  equation: 'y_i = x_i − ln Σ_j e^{x_j}',
  derivative: 'x̄_i = ȳ_i − p_i Σ_j ȳ_j = ȳ_i (1 − p_i) − p_i Σ_{j≠i} ȳ_j for p = e^y',
  int32: 'float32',
  saves: { output: true },
  kernel: ([x], { device, shapes }) => fused(device).logSoftmax(x as Storage, ...rowsOf(shapes[0]!)),
  vjp: [
    ({ gradOutput, output }) => {
      const others = gradOutput.sum({ axis: -1, keepDims: true }).sub(gradOutput);
      // The second form: near p = 1 the first takes nearly equal numbers from each other.
      return gradOutput.mul(output.expm1()).neg().sub(output.exp().mul(others));
    },
  ],
  fusedVjp({ gradOutput: { storage }, output, shapes: [shape] }) {
    const grad = storage.device.fused.logSoftmaxGrad?.(storage, output.storage, ...rowsOf(shape!));
    return grad ? [new Tensor(grad, shape!)] : null;
  },
});

const logSumExpOp = defineBuiltIn<void>({
  name: 'logSumExp',
  equation: 'y = ln Σ_i e^{x_i}',
  derivative: 'x̄_i = ȳ e^{x_i − y} (0 where a whole row is −∞)',
  shapes: '[…, n] → […]',
  int32: 'float32',
  saves: { inputs: [0], output: true },
  shape: ([shape]) => shape!.slice(0, -1),
  kernel: ([x], { device, shapes }) => fused(device).logSumExp(x as Storage, ...rowsOf(shapes[0]!)),
  vjp: [
    ({ gradOutput, inputs: [x], output }) => {
      // A row of −∞ has y = −∞ and x − y = NaN; any finite y gives the right e^{−∞} = 0.
      const finite = output.equal(-Infinity).where(0, output);
      return x!.sub(finite.unsqueeze(-1)).exp().mul(gradOutput.unsqueeze(-1));
    },
  ],
  fusedVjp({ gradOutput: { storage }, inputs: [x], output, shapes: [shape] }) {
    const grad = storage.device.fused.logSumExpGrad?.(storage, x!.storage, output.storage, ...rowsOf(shape!));
    return grad ? [new Tensor(grad, shape!)] : null;
  },
});

/** Runs a last-axis op along any axis. */
function along(op: string, x: Tensor, axis: number, run: (x: Tensor) => Tensor): Tensor {
  checkTensor(op, 'x', x);
  if (x.rank === 0)
    throw new ShapeError(op, {
      received: 'a scalar',
      expected: 'at least one axis',
      hint: 'reshape([1]) makes it a vector.',
    });
  const place = normalizeAxis(op, axis, x.shape);
  if (x.shape[place] === 0)
    throw new DomainError(op, {
      received: `shape ${formatShape(x.shape)} along axis ${axis}`,
      expected: 'at least one element',
    });
  return place === x.rank - 1 ? run(x) : run(x.transpose(place, -1)).transpose(place, -1);
}

/** p_i = exp(x_i) / Σ_j exp(x_j) along `axis` (default −1), shifted by the maximum. −∞ gives 0. */
export function softmax(x: Tensor, options?: { axis?: number }): Tensor {
  const { axis = -1 } = checkOptions('softmax', options, ['axis']);
  return along('softmax', x, axis, (rows) => softmaxOp([rows]));
}

/** y_i = x_i − ln Σ_j exp(x_j) along `axis` (default −1), shifted by the maximum. */
export function logSoftmax(x: Tensor, options?: { axis?: number }): Tensor {
  const { axis = -1 } = checkOptions('logSoftmax', options, ['axis']);
  return along('logSoftmax', x, axis, (rows) => logSoftmaxOp([rows]));
}

/** y = ln Σ_i exp(x_i) along `axis` (default −1), shifted by the maximum; −∞ where all are −∞. */
export function logSumExp(x: Tensor, options?: { axis?: number; keepDims?: boolean }): Tensor {
  const { axis = -1, keepDims = false } = checkOptions('logSumExp', options, ['axis', 'keepDims']);
  const kept = along('logSumExp', x, axis, (rows) => logSumExpOp([rows]).unsqueeze(-1));
  return keepDims ? kept : kept.squeeze(axis);
}
