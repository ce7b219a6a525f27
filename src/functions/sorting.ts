/** Sorting along an axis. NaN counts as the largest number, as in PyTorch and NumPy; equal elements keep their order. */
import { defineBuiltIn, defineComposite } from '../autograd/op.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import type { Storage } from '../kernels/device.js';
import { DomainError, describeValue } from '../tensor/errors.js';
import { normalizeAxis, sizeOf } from '../tensor/shape.js';
import { wholeRanges } from './common.js';
import { pickAlongAxis } from './picking.js';

interface SortParams {
  axis: number;
  descending: boolean;
}

const argsortOp = defineBuiltIn<SortParams>({
  name: 'argsort',
  equation: 'y = the permutation with x[y_1] ≤ x[y_2] ≤ …',
  derivative: 'none',
  dtype: () => 'int32',
  saves: {},
  kernel: ([x], { device, shapes: [shape], params: { axis, descending } }) =>
    device.argSort(
      x as Storage,
      sizeOf(shape!.slice(0, axis)),
      shape![axis]!,
      sizeOf(shape!.slice(axis + 1)),
      descending,
    ),
  vjp: 'an index is a whole number; sort() has the values and their derivative',
  test: { distinct: true },
});

const sortOp = defineComposite<SortParams>({
  name: 'sort',
  equation: 'y = the elements of x, y_1 ≤ y_2 ≤ …',
  derivative: 'x̄[order_i] = ȳ_i',
  compose: ([x], params) => pickAlongAxis([x!, argsortOp([x!.detach()], params)], params),
  test: { distinct: true },
});

const topKOp = defineComposite<SortParams & { k: number }>({
  name: 'topK',
  equation: 'y = the k largest elements of x, y_1 ≥ y_2 ≥ …',
  derivative: 'x̄[order_i] = ȳ_i, 0 for all others',
  shapes: 'as x, k along the axis',
  shape: ([shape], { axis, k }) => shape!.map((size, i) => (i === axis ? k : size)),
  compose: ([x], params) => pickAlongAxis([x!, topPlaces(x!, params)], params),
  test: { distinct: true },
});

const topPlaces = (x: Tensor, { k, ...params }: SortParams & { k: number }) =>
  argsortOp([x.detach()], params).slice([...wholeRanges(params.axis), [0, k]]);

interface SortOptions {
  /** Default: the last. */
  axis?: number;
  /** The largest first. Default false. */
  descending?: boolean;
}

function sortParams(op: string, x: Tensor, options: SortOptions | undefined): SortParams {
  checkTensor(op, 'x', x);
  const { axis = -1, descending = false } = checkOptions(op, options, ['axis', 'descending']);
  return { axis: normalizeAxis(op, axis, x.shape), descending };
}

/** The elements in order along `axis`, with gradients. */
export function sort(x: Tensor, options?: SortOptions): Tensor {
  return sortOp([x], sortParams('sort', x, options));
}

/** The places (int32) that the elements in order along `axis` come from: takeAlongAxis(x, argsort(x)) is sort(x). */
export function argsort(x: Tensor, options?: SortOptions): Tensor {
  return argsortOp([x], sortParams('argsort', x, options));
}

/**
 * The k largest elements along `axis` (default the last), the largest first, and their places (int32); the smallest with
 * `largest: false`. NaN counts as the largest. @throws DomainError for a k outside [0, size]
 */
export function topK(
  x: Tensor,
  k: number,
  options?: { axis?: number; largest?: boolean },
): { values: Tensor; indices: Tensor } {
  const { axis, largest = true } = checkOptions('topK', options, ['axis', 'largest']);
  const params = sortParams('topK', x, { ...(axis !== undefined && { axis }), descending: largest });
  const size = x.shape[params.axis]!;
  if (!Number.isInteger(k) || k < 0 || k > size)
    throw new DomainError('topK', {
      received: `k ${describeValue(k)} of ${size} elements along the axis`,
      expected: `a whole number in [0, ${size}]`,
    });
  return { values: topKOp([x], { ...params, k }), indices: topPlaces(x, { ...params, k }) };
}
