/** The optimiser's update: the arguments of assembly/adamw.ts. */
import type { AdamWSpec, AdamWStorages } from '../device.js';
import { at, type Context, grain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

export function adamW({ engine }: Context, { parameter, grad, m, v }: AdamWStorages, s: AdamWSpec) {
  const elements = parameter.size;
  const { learningRate, beta1, beta2, eps, gradScale } = s;
  engine.call(kernel.adamW, chunksOf(elements, grain), {
    dtype: parameter.dtype,
    parameter: at(parameter),
    grad: at(grad),
    m: at(m),
    v: at(v),
    elements,
    learningRate,
    beta1,
    beta2,
    eps,
    decay: 1 - learningRate * s.weightDecay,
    correction1: 1 / (1 - beta1 ** s.step),
    correction2: 1 / (1 - beta2 ** s.step),
    gradScale,
    grain,
  });
}
