/** Normalisations along an axis: layer norm, and unit length. */
import type { Storage } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape, normalizeAxis, rowsOf } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, Tensor } from '../tensor.js';
import { div } from './arithmetic.js';
import { checkOptions } from './options.js';

const layerNormOp = defineBuiltIn<{ eps: number }>({
  name: 'layerNorm',
  equation: 'y = n ⊙ w + b, n = (x − mean(x)) / √(var(x) + ε) over the last axis, var biased',
  derivative: 'with h = ȳ ⊙ w: x̄ = (h − mean(h) − n ⊙ mean(h ⊙ n)) / √(var + ε), w̄ = Σ ȳ ⊙ n, b̄ = Σ ȳ',
  shapes: '[…, n], [n], [n] → […, n]',
  source: 'Ba, Kiros & Hinton 2016, arXiv 1607.06450',
  int32: 'float32',
  saves: { inputs: [0, 1] },
  kernel([x, weight, bias], { device, shapes: [shape], params: { eps }, save }) {
    const [rows, length] = rowsOf(shape!);
    const { output, mean, rstd } = fused(device).layerNorm(
      x as Storage,
      weight as Storage,
      bias as Storage,
      eps,
      rows,
      length,
    );
    const over = [...shape!.slice(0, -1), 1];
    save(mean, over);
    save(rstd, over);
    return output;
  },
  vjp({ gradOutput, inputs: [x, weight], extra, params: { eps }, wants }) {
    const over = { axis: -1, keepDims: true };
    const [mean = x!.mean(over)] = extra;
    const centred = x!.sub(mean);
    const [, rstd = centred.square().mean(over).add(eps).rsqrt()] = extra;
    const n = centred.mul(rstd);
    const h = gradOutput.mul(weight!);
    const rows = x!.shape.slice(0, -1).map((_, i) => i);
    return [
      wants[0]
        ? h
            .sub(h.mean(over))
            .sub(n.mul(h.mul(n).mean(over)))
            .mul(rstd)
        : null,
      wants[1] ? gradOutput.mul(n).sum({ axis: rows }) : null,
      wants[2] ? gradOutput.sum({ axis: rows }) : null,
    ];
  },
  fusedVjp({ gradOutput: { storage }, inputs: [x, weight], extra: [mean, rstd], shapes: [shape] }) {
    const grads = storage.device.fused.layerNormGrad?.(
      storage,
      x!.storage,
      weight!.storage,
      mean!.storage,
      rstd!.storage,
      ...rowsOf(shape!),
    );
    if (!grads) return null;
    const size = [shape![shape!.length - 1]!];
    return [new Tensor(grads.x, shape!), new Tensor(grads.weight, size), new Tensor(grads.bias, size)];
  },
  test: { tolerance32: 1e-4 },
});

/** (x − mean)/√(variance + eps) · weight + bias over the last axis; weight and bias are [size] (default 1 and 0). */
export function layerNorm(x: Tensor, options?: { weight?: Tensor | null; bias?: Tensor | null; eps?: number }): Tensor {
  checkTensor('layerNorm', 'x', x);
  const { weight, bias, eps = 1e-5 } = checkOptions('layerNorm', options, ['weight', 'bias', 'eps']);
  const size = x.shape[x.rank - 1];
  if (!size)
    throw new ShapeError('layerNorm', {
      received: `shape ${formatShape(x.shape)}`,
      expected: 'a last axis with at least one element',
    });
  if (!(eps >= 0))
    throw new DomainError('layerNorm', { received: `eps ${describeValue(eps)}`, expected: 'a number ≥ 0' });
  for (const [name, t] of [
    ['weight', weight],
    ['bias', bias],
  ] as const)
    if (t !== undefined && t !== null) {
      checkTensor('layerNorm', name, t);
      if (t.rank === 1 && t.shape[0] === size) continue;
      throw new ShapeError('layerNorm', {
        received: `${name} ${formatShape(t.shape)} for shape ${formatShape(x.shape)}`,
        expected: `[${size}]`,
      });
    }
  const constant = (value: number) => new Tensor(x.storage.device.fill(size, value, x.dtype), [size]);
  return layerNormOp([x, weight ?? constant(1), bias ?? constant(0)], { eps });
}

/**
 * x / max(‖x‖₂, eps) along `axis` (default −1). The derivative at ‖x‖ < eps is that of x/eps, so a zero vector
 * gives zeros and finite gradients. eps default 1e-12.
 */
export function l2Normalize(x: Tensor, options?: { axis?: number; eps?: number }): Tensor {
  checkTensor('l2Normalize', 'x', x);
  const { axis = -1, eps = 1e-12 } = checkOptions('l2Normalize', options, ['axis', 'eps']);
  normalizeAxis('l2Normalize', axis, x.shape);
  if (!(eps >= 0))
    throw new DomainError('l2Normalize', { received: `eps ${describeValue(eps)}`, expected: 'a number ≥ 0' });
  if (x.size === 0) return x;
  const over = { axis, keepDims: true };
  // Squares of what is far from 1 overflow or vanish: such rows are divided by their largest element first.
  const largest = x.detach().abs().max(over);
  const extreme = largest.greater(1e15).add(largest.less(1e-15)).mul(largest.greater(0)).mul(largest.less(Infinity));
  const scale = extreme.where(largest, 1);
  const unit = x.div(scale);
  const squares = unit.square().sum(over);
  // √ at 0 has an infinite slope: up to eps the norm is the constant eps.
  const least = div(eps, scale);
  const short = squares.lessEqual(least.square());
  return unit.div(short.where(least, short.where(1, squares).sqrt()));
}
