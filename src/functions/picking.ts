/** Picking elements by index or by truth. */
import { arange, tensor } from '../autograd/create.js';
import { defineComposite } from '../autograd/op.js';
import { checkIndices, checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Tensor } from '../autograd/tensor.js';
import { DomainError, describeValue, ShapeError } from '../tensor/errors.js';
import { formatShape, normalizeAxis, sameShape, sizeOf } from '../tensor/shape.js';

/** y = x picked at int32 `indices`, checked already, along `axis`. */
export const pickAlongAxis = defineComposite<{ axis: number }>({
  name: 'takeAlongAxis',
  equation: 'y[…, j, …] = x[…, index[…, j, …], …]',
  derivative: 'x̄[…, i, …] = Σ_{j: index[…, j, …] = i} ȳ[…, j, …]',
  shapes: 'as the indices',
  nonDifferentiable: [1],
  shape: ([, indices]) => indices!,
  compose([x, indices], { axis }) {
    const [outer, rows, inner] = [sizeOf(x!.shape.slice(0, axis)), x!.shape[axis]!, sizeOf(x!.shape.slice(axis + 1))];
    // Places in the flattened tensor: (o · rows + index) · inner + i.
    const options = { dtype: 'int32', device: x!.storage.device.name } as const;
    const count = indices!.shape[axis]!;
    const starts = Int32Array.from({ length: outer * inner }, (_, k) => {
      const o = Math.floor(k / inner);
      return o * rows * inner + (k - o * inner);
    });
    const places = indices!
      .reshape([outer, count, inner])
      .mul(inner)
      .add(tensor(starts, { shape: [outer, 1, inner], ...options }));
    return x!.reshape([x!.size]).gather(places.reshape(indices!.shape));
  },
});

/**
 * Picks along `axis` by int32 indices of the same shape but for that axis: as argsort() and argmax() give them, one for
 * every row. See {@link Tensor.gather} for the same indices everywhere.
 * @throws ShapeError when another axis differs; DomainError for an index outside [0, size), where the device can be read at once
 */
export function takeAlongAxis(x: Tensor, indices: Tensor, options?: { axis?: number }): Tensor {
  checkTensor('takeAlongAxis', 'x', x);
  const { axis = -1 } = checkOptions('takeAlongAxis', options, ['axis']);
  const place = normalizeAxis('takeAlongAxis', axis, x.shape);
  checkIndices('takeAlongAxis', indices, x.shape[place]!);
  if (indices.rank !== x.rank || indices.shape.some((size, i) => i !== place && size !== x.shape[i]))
    throw new ShapeError('takeAlongAxis', {
      received: `indices ${formatShape(indices.shape)} for shape ${formatShape(x.shape)}`,
      expected: `the same sizes but for axis ${place}`,
    });
  return pickAlongAxis([x, indices], { axis: place });
}

const oneHotOp = defineComposite<{ classes: number }>({
  name: 'oneHot',
  equation: 'y[…, c] = [index[…] = c]',
  derivative: 'none',
  shapes: '[…] → […, classes]',
  nonDifferentiable: [0],
  constant: 'an index is a whole number',
  shape: ([shape], { classes }) => [...shape!, classes],
  compose: ([indices], { classes }) =>
    indices!
      .unsqueeze(-1)
      .equal(arange(0, classes, 1, { dtype: 'int32', device: indices!.storage.device.name }))
      .cast('float32'),
});

/**
 * Whole numbers in [0, classes) as vectors with a single 1: float32 of shape [..., classes].
 * @throws DTypeError unless they are int32; DomainError for one outside, where the device can be read at once
 */
export function oneHot(indices: Tensor, classes: number): Tensor {
  if (!Number.isSafeInteger(classes) || classes < 1)
    throw new DomainError('oneHot', { received: `${describeValue(classes)} classes`, expected: 'a whole number ≥ 1' });
  checkIndices('oneHot', indices, classes);
  return oneHotOp([indices], { classes });
}

/** Places of the flattened mask that are not 0. */
async function truePlaces(mask: Tensor): Promise<number[]> {
  const data = await mask.data();
  const places: number[] = [];
  data.forEach((value, i) => {
    if (value !== 0) places.push(i);
  });
  return places;
}

/**
 * Where x is true (not 0; NaN is not 0): the indices of these elements, row by row, as int32 [count, rank]. It has to read
 * x to know how many there are, so it is asynchronous on every device.
 */
export async function nonzero(x: Tensor): Promise<Tensor> {
  checkTensor('nonzero', 'x', x);
  const places = await truePlaces(x);
  const indices = new Int32Array(places.length * x.rank);
  places.forEach((place, row) => {
    for (let axis = x.rank - 1, rest = place; axis >= 0; axis--) {
      indices[row * x.rank + axis] = rest % x.shape[axis]!;
      rest = Math.floor(rest / x.shape[axis]!);
    }
  });
  return tensor(indices, { shape: [places.length, x.rank], device: x.storage.device.name });
}

/**
 * The elements of x where `mask` is true (not 0), NumPy's x[mask]: a mask of all axes of x gives a vector, one of its first
 * axes gives what stands behind them, [count, ...rest]. Gradients flow to the elements that were picked.
 *
 * It has to read the mask to know how many there are, so it is asynchronous on every device; `mask.where(x, 0)` keeps the
 * shape and reads nothing. @throws ShapeError unless the mask has the first axes of x
 */
export async function maskedSelect(x: Tensor, mask: Tensor): Promise<Tensor> {
  checkTensor('maskedSelect', 'x', x);
  checkTensor('maskedSelect', 'mask', mask);
  if (!sameShape(mask.shape, x.shape.slice(0, mask.rank)))
    throw new ShapeError('maskedSelect', {
      received: `a mask ${formatShape(mask.shape)} for shape ${formatShape(x.shape)}`,
      expected: 'a mask of all axes or of the first ones',
    });
  const places = Int32Array.from(await truePlaces(mask));
  return x.reshape([mask.size, ...x.shape.slice(mask.rank)]).gather(tensor(places, { device: x.storage.device.name }));
}
