/** Batches that are spread over several processes: what modules that look at the whole batch ask of them. */
import type { Tensor } from '../autograd/tensor.js';
import { Center } from './center.js';
import type { Module } from './module.js';
import { BatchNorm } from './norms.js';

/** The parts of a batch, all of one size. */
export interface Across {
  /** How many parts there are. */
  readonly size: number;
  /** The mean of what each part has, in its shape; differentiable, for a loss that is the sum of what the parts compute. */
  mean(x: Tensor): Tensor;
}

/** Lets centring, and batch norm if asked, see the whole batch. */
export function lookAcross(model: Module, across: Across | null, { batchNorm }: { batchNorm: boolean }): void {
  for (const [, module] of model.namedModules())
    if (module instanceof Center || (batchNorm && module instanceof BatchNorm)) module.across = across;
}
