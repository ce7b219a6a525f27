/** Sums and products of all elements so far, by doubling: log₂ n steps, each over the whole tensor. */
import { defineBuiltIn, defineComposite, type OpFunction } from '../autograd/op.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { normalizeAxis } from '../tensor/shape.js';
import { wholeRanges } from './common.js';

interface ScanParams {
  axis: number;
  reverse: boolean;
}

/**
 * After k steps element i has joined the 2ᵏ elements up to it; a step joins it with the 2ᵏ before these.
 *
 * @source Hillis & Steele, "Data parallel algorithms", CACM 1986
 */
function scan(
  x: Tensor,
  { axis, reverse }: ScanParams,
  neutral: number,
  join: (a: Tensor, b: Tensor) => Tensor,
): Tensor {
  const size = x.shape[axis]!;
  let y = x;
  for (let step = 1; step < size; step *= 2) {
    const kept = y.slice([...wholeRanges(axis), reverse ? [step, size] : [0, size - step]]);
    const moved = kept.pad(
      x.shape.map((_, i) => (i !== axis ? [0, 0] : reverse ? [0, step] : [step, 0])),
      neutral,
    );
    y = join(y, moved);
  }
  return y;
}

const cumsumOp: OpFunction<ScanParams> = defineBuiltIn({
  name: 'cumsum',
  equation: 'y_i = Σ_{j ≤ i} x_j',
  derivative: 'x̄_i = Σ_{j ≥ i} ȳ_j',
  saves: {},
  forward: ([x], params) => scan(x!, params, 0, (a, b) => a.add(b)),
  vjp: [({ gradOutput, params }) => cumsumOp([gradOutput], { ...params, reverse: !params.reverse })],
});

const cumprodOp = defineComposite<ScanParams>({
  name: 'cumprod',
  equation: 'y_i = Π_{j ≤ i} x_j',
  derivative: 'x̄_i = Σ_{k ≥ i} ȳ_k Π_{j ≤ k, j ≠ i} x_j',
  // Products of products, no division: the derivative is right beside zeros as well.
  compose: ([x], params) => scan(x!, params, 1, (a, b) => a.mul(b)),
});

interface ScanOptions {
  /** Default: the first. */
  axis?: number;
  /** From the end to the beginning. Default false. */
  reverse?: boolean;
}

function scanParams(op: string, x: Tensor, options: ScanOptions | undefined): ScanParams {
  checkTensor(op, 'x', x);
  const { axis = 0, reverse = false } = checkOptions(op, options, ['axis', 'reverse']);
  return { axis: normalizeAxis(op, axis, x.shape), reverse };
}

/**
 * y_i = x_1 + … + x_i along `axis`; int32 wraps. Sums of sums, so rounding grows with log n; sums of neighbours must be
 * finite where the result is to be.
 */
export function cumsum(x: Tensor, options?: ScanOptions): Tensor {
  return cumsumOp([x], scanParams('cumsum', x, options));
}

/**
 * y_i = x_1 · … · x_i along `axis`; int32 wraps. The gradient is that of a product beside zeros, too. Products of
 * neighbours must be finite where the result is to be.
 */
export function cumprod(x: Tensor, options?: ScanOptions): Tensor {
  return cumprodOp([x], scanParams('cumprod', x, options));
}
