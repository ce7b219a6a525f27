/** Batch normalisation. A function only: layers know the rest of its state. */
import type { BatchNormSpec, Storage } from '../../kernels/device.js';
import { fused } from '../../kernels/fused.js';
import { DomainError, describeValue, ShapeError } from '../../tensor/errors.js';
import { formatShape, sizeOf } from '../../tensor/shape.js';
import { defineBuiltIn } from '../op.js';
import { checkTensor, Tensor } from '../tensor.js';
import { checkOptions } from './options.js';

/** Sums over batch and inner axes of [batch, channels, inner]. */
const perChannel = (x: Tensor) => x.sum({ axis: [0, 2], keepDims: true });

const batchNormOp = defineBuiltIn<BatchNormSpec & { onStatistics?: (mean: Tensor, variance: Tensor) => void }>({
  name: 'batchNorm',
  equation: 'y = n ⊙ w + b, n = (x − mean) / √(var + ε) per channel over batch and positions, var biased',
  derivative: 'with h = ȳ ⊙ w: x̄ = (h − mean(h) − n ⊙ mean(h ⊙ n)) / √(var + ε), w̄ = Σ ȳ ⊙ n, b̄ = Σ ȳ',
  shapes: '[batch, channels, …], [channels], [channels] → [batch, channels, …]',
  source: 'Ioffe & Szegedy 2015, arXiv 1502.03167',
  int32: 'float32',
  saves: { inputs: [0, 1] },
  kernel([x, weight, bias], { device, params, save }) {
    const { output, mean, variance } = fused(device).batchNorm(
      x as Storage,
      weight as Storage,
      bias as Storage,
      params,
    );
    save(mean, [params.channels]);
    save(variance, [params.channels]);
    params.onStatistics?.(new Tensor(mean, [params.channels]), new Tensor(variance, [params.channels]));
    return output;
  },
  vjp({ gradOutput, inputs: [x, weight], params: { batch, inner, eps }, wants }) {
    const mean = (t: Tensor) => perChannel(t).div(batch * inner);
    const centred = x!.sub(mean(x!));
    const rstd = mean(centred.square()).add(eps).rsqrt();
    const n = centred.mul(rstd);
    const h = gradOutput.mul(weight!.reshape([1, -1, 1]));
    return [
      wants[0]
        ? h
            .sub(mean(h))
            .sub(n.mul(mean(h.mul(n))))
            .mul(rstd)
        : null,
      wants[1] ? perChannel(gradOutput.mul(n)).flatten() : null,
      wants[2] ? perChannel(gradOutput).flatten() : null,
    ];
  },
  fusedVjp({ gradOutput: { storage }, inputs: [x, weight], extra: [mean, variance], params, shapes: [shape] }) {
    const grads = storage.device.fused.batchNormGrad?.(
      storage,
      x!.storage,
      weight!.storage,
      mean!.storage,
      variance!.storage,
      params,
    );
    if (!grads) return null;
    return [
      new Tensor(grads.x, shape!),
      new Tensor(grads.weight, [params.channels]),
      new Tensor(grads.bias, [params.channels]),
    ];
  },
  test: { tolerance32: 1e-4 },
});

/**
 * Batch normalisation in training mode, over axis 1 of [batch, channels, …].
 * @param onStatistics receives the batch's mean and biased variance, [channels] each, without history
 */
export function batchNorm(
  x: Tensor,
  weight: Tensor,
  bias: Tensor,
  options: { eps: number; onStatistics?: (mean: Tensor, variance: Tensor) => void },
): Tensor {
  const { eps, onStatistics } = checkOptions('batchNorm', options, ['eps', 'onStatistics']);
  checkTensor('batchNorm', 'x', x);
  const [batch, channels] = x.shape as [number, number];
  for (const [name, t] of Object.entries({ weight, bias })) checkTensor('batchNorm', name, t);
  if (!(eps >= 0))
    throw new DomainError('batchNorm', { received: `eps ${describeValue(eps)}`, expected: 'a number ≥ 0' });
  const fits = (t: Tensor) => t.rank === 1 && t.shape[0] === channels;
  if (x.rank < 2 || !fits(weight) || !fits(bias))
    throw new ShapeError('batchNorm', {
      received: `shape ${formatShape(x.shape)} with weight ${formatShape(weight.shape)} and bias ${formatShape(bias.shape)}`,
      expected: '[batch, channels, …] and [channels] twice',
    });
  const inner = sizeOf(x.shape.slice(2));
  if (batch * inner < 2)
    throw new DomainError('batchNorm', {
      received: `shape ${formatShape(x.shape)}, one value per channel`,
      expected: 'at least two values per channel in training mode',
      hint: 'Use a larger batch, or model.eval().',
    });
  const spec = { batch, channels, inner, eps, ...(onStatistics && { onStatistics }) };
  return batchNormOp([x.reshape([batch, channels, inner]), weight, bias], spec).reshape(x.shape);
}
