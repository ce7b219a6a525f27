/** The two ops between ranks; each is the other's derivative. */
import { defineOp, type OpFunction } from '../autograd/op.js';
import type { Tensor } from '../autograd/tensor.js';
import { ShapeError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import type { Group } from './group.js';

interface Params {
  group: Group;
}

/**
 * What a rank differentiates is the sum of what all ranks compute, L = Σ_s L_s. Rank s has its own copy of x_r, and so
 * ∂L/∂x_r is the sum over s of the gradients of those copies: nothing is divided by the number of ranks.
 */
const gatherOp: OpFunction<Params> = defineOp<Params>({
  name: 'allGather',
  equation: 'y = [x₀; x₁; …], the rows of all ranks, on every rank',
  derivative: 'x̄_r = Σ_s ȳ_s restricted to the rows of rank r: reduceScatter(ȳ)',
  source: 'MPI 3.1, section 5.7; Fürst et al. gather embeddings so over GPUs',
  saves: {},
  forward: ([x], { group }) => group.gatherRows(x!),
  vjp: [({ gradOutput, params }) => scatterOp([gradOutput], params)],
});

const scatterOp: OpFunction<Params> = defineOp<Params>({
  name: 'reduceScatter',
  equation: 'y_r = Σ_s x_s restricted to the rows of rank r',
  derivative: 'x̄ = allGather(ȳ)',
  source: 'MPI 3.1, section 5.10',
  saves: {},
  forward: ([x], { group }) => group.sumOwnRows(x!),
  vjp: [({ gradOutput, params }) => gatherOp([gradOutput], params)],
});

/** @throws ShapeError for a scalar */
export function checkFirstAxis(op: string, x: Tensor): void {
  if (x.rank === 0)
    throw new ShapeError(op, { received: `shape ${formatShape(x.shape)}`, expected: 'a first axis to join along' });
}

/** {@link Group.allGather} for more ranks than one. */
export function allGather(group: Group, x: Tensor): Tensor {
  return gatherOp([x], { group });
}
