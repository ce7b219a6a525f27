/** Reductions that are compositions of others: products, norms, deviations, and questions about all elements. */
import { DomainError, describeValue } from '../../tensor/errors.js';
import { formatShape, reducedShape, sizeOf } from '../../tensor/shape.js';
import { type CompositeDefinition, defineComposite, type OpFunction } from '../op.js';
import type { Tensor } from '../tensor.js';
import { type AxisOptions, checkOptions, type ReduceParams, reducedShapes, reduceParams } from './options.js';
import { variance } from './reduce.js';

const reduction = <P extends ReduceParams>(
  definition: Omit<CompositeDefinition<P>, 'shape' | 'shapes' | 'compose'> & { compose(x: Tensor, params: P): Tensor },
): OpFunction<P> =>
  defineComposite<P>({
    ...definition,
    shapes: reducedShapes,
    shape: ([shape], { axes, keepDims }) => reducedShape(shape!, axes, keepDims),
    compose: ([x], params) => definition.compose(x!, params),
  });
/** The parameters as options of another reduction. */
const over = ({ axes, keepDims }: ReduceParams) => ({ axis: axes, keepDims });

const whole = [0, null] as const;
const none = [0, 0] as const;

const prodOp = reduction<ReduceParams>({
  name: 'prod',
  equation: 'y = Π_i x_i',
  derivative: 'x̄_i = ȳ Π_{j ≠ i} x_j',
  compose(x, { axes, keepDims }) {
    const { shape } = x;
    const kept = shape.map((_, i) => i).filter((i) => !axes.includes(i));
    let length = sizeOf(axes.map((axis) => shape[axis]!));
    let rows = x.permute([...kept, ...axes]).reshape([sizeOf(kept.map((axis) => shape[axis]!)), length]);
    // The second half times the first, and again: no division, so the derivative is right beside zeros as well.
    for (; length > 1; length = Math.ceil(length / 2)) {
      const half = Math.ceil(length / 2);
      const rest = rows.slice([whole, [half, null]]).pad([none, [0, 2 * half - length]], 1);
      rows = rows.slice([whole, [0, half]]).mul(rest);
    }
    return (length === 0 ? rows.sum({ axis: 1 }).add(1) : rows).reshape(reducedShape(shape, axes, keepDims));
  },
});

/** y = Π x over `axis` (default all); int32 wraps. Empty: 1. The gradient is that of a product beside zeros, too. */
export function prod(x: Tensor, options?: AxisOptions): Tensor {
  return prodOp([x], reduceParams('prod', x, options));
}

const normOp = reduction<ReduceParams & { ord: 1 | 2 | typeof Infinity }>({
  name: 'norm',
  equation: 'y = (Σ_i |x_i|^ord)^(1/ord); max_i |x_i| for ord = ∞',
  derivative: 'ord 2: x̄_i = ȳ x_i / y, 0 for y = 0',
  int32: 'float32',
  compose(x, { ord, ...params }) {
    if (ord === 1) return x.abs().sum(over(params));
    if (ord === Infinity) return x.abs().max(over(params));
    // By the largest element, which counts as a constant, so that no square overflows or vanishes.
    const largest = x.detach().abs().max({ axis: params.axes, keepDims: true });
    const scale = largest.greater(0).mul(largest.less(Infinity)).where(largest, 1);
    const squares = x.div(scale).square().sum(over(params));
    // √ at 0 has an infinite slope; the norm of zeros has none, as in PyTorch.
    const zero = squares.equal(0);
    return zero.where(0, zero.where(1, squares).sqrt()).mul(scale.reshape(squares.shape));
  },
  test: { avoid: [0] },
});

/**
 * y = (Σ |x|ᵒʳᵈ)^(1/ord) over `axis` (default all): the Euclidean norm (`ord` 2, the default), Σ |x| (1), or max |x|
 * (Infinity). Squares neither overflow nor vanish. The gradient at zeros is 0; largest elements that are equal share it.
 * Empty: 0. @throws DomainError for another `ord`
 */
export function norm(x: Tensor, options?: AxisOptions & { ord?: number }): Tensor {
  const { ord = 2, ...rest } = checkOptions('norm', options, ['axis', 'keepDims', 'ord']);
  if (ord !== 1 && ord !== 2 && ord !== Infinity)
    throw new DomainError('norm', { received: `ord ${describeValue(ord)}`, expected: '1, 2 or Infinity' });
  const params = reduceParams('norm', x, rest);
  const empty = params.axes.some((axis) => x.shape[axis] === 0); // has no largest element
  return normOp([x], { ...params, ord: empty ? 1 : ord });
}

const stdOp = reduction<ReduceParams & { correction: number }>({
  name: 'std',
  equation: 'y = √(Σ_i (x_i − mean(x))² / (n − correction))',
  derivative: 'x̄_i = ȳ (x_i − mean(x)) / ((n − correction) y), 0 for y = 0',
  int32: 'float32',
  compose(x, { correction, ...params }) {
    const count = sizeOf(params.axes.map((axis) => x.shape[axis]!));
    const square = variance(x, over(params)).mul(count / (count - correction));
    const zero = square.equal(0);
    return zero.where(0, zero.where(1, square).sqrt());
  },
});

/**
 * Standard deviation over `axis` (default all): √(Σ (x − mean)² / (n − correction)). `correction` 0, the default, is that
 * of variance(); 1 is that of a sample, PyTorch's default. The gradient where all elements are equal is 0.
 * @throws DomainError when there are no more than `correction` elements
 */
export function std(x: Tensor, options?: AxisOptions & { correction?: number }): Tensor {
  const { correction = 0, ...rest } = checkOptions('std', options, ['axis', 'keepDims', 'correction']);
  const params = reduceParams('std', x, rest);
  const count = sizeOf(params.axes.map((axis) => x.shape[axis]!));
  if (!(correction >= 0 && correction < count))
    throw new DomainError('std', {
      received: `correction ${describeValue(correction)} for ${count} elements of shape ${formatShape(x.shape)}`,
      expected: 'a number ≥ 0 below the number of elements along the axes',
    });
  return stdOp([x], { ...params, correction });
}

const constant = 'a truth is constant wherever it is continuous';

const anyOp = reduction<ReduceParams>({
  name: 'any',
  equation: 'y = [x_i ≠ 0 for some i]',
  derivative: 'none',
  constant,
  compose: (x, params) => x.notEqual(0).sum(over(params)).greater(0),
});

const allOp = reduction<ReduceParams>({
  name: 'all',
  equation: 'y = [x_i ≠ 0 for all i]',
  derivative: 'none',
  constant,
  compose: (x, params) => x.equal(0).sum(over(params)).equal(0),
});

/** 1 where any element along `axis` (default all) is true (not 0; NaN is not 0), else 0. Empty: 0. No derivative. */
export function any(x: Tensor, options?: AxisOptions): Tensor {
  return anyOp([x], reduceParams('any', x, options));
}

/** 1 where all elements along `axis` (default all) are true (not 0; NaN is not 0), else 0. Empty: 1. No derivative. */
export function all(x: Tensor, options?: AxisOptions): Tensor {
  return allOp([x], reduceParams('all', x, options));
}
