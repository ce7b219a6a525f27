/**
 * fast-check generators of shapes and tensors. Tensors are drawn as shape × seed, their values from our generator:
 * shrinking then works on what matters, and a failure is replayed by two small numbers.
 */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import type { DType } from '../tensor/dtype.js';
import { Random } from '../tensor/random.js';
import { type Shape, sizeOf } from '../tensor/shape.js';
import { fastCheck } from './fast-check.js';

// The comment stays in the declarations: without fast-check, which is optional, the type is any and no error of the library.
// biome-ignore lint/suspicious/noTsIgnore: there is an error only where fast-check is missing
/** @ts-ignore */
type Arbitrary<T> = import('fast-check').Arbitrary<T>;

/** Bounds of drawn shapes. */
export interface ShapeOptions {
  /** Default 0: scalars are included. */
  minRank?: number;
  /** Default 4. */
  maxRank?: number;
  /** Smallest size of an axis. Default 0: empty tensors are included. */
  minSize?: number;
  /** Largest size of an axis. Default 5. */
  maxSize?: number;
}

/** Shapes: lists of sizes. */
export function shapes({ minRank = 0, maxRank = 4, minSize = 0, maxSize = 5 }: ShapeOptions = {}): Arbitrary<number[]> {
  const fc = fastCheck('shapes');
  return fc.array(fc.integer({ min: minSize, max: maxSize }), { minLength: minRank, maxLength: maxRank });
}

/** `count` shapes that broadcast together: each drops leading axes or sets axes of a common shape to 1. */
export function broadcastableShapes(count = 2, options: ShapeOptions = {}): Arbitrary<number[][]> {
  const fc = fastCheck('broadcastableShapes');
  return shapes(options).chain((full) =>
    fc.array(
      fc
        .tuple(
          fc.integer({ min: 0, max: full.length }),
          fc.array(fc.boolean(), { minLength: full.length, maxLength: full.length }),
        )
        .map(([drop, ones]) => full.map((size, i) => (ones[i] ? 1 : size)).slice(drop)),
      { minLength: count, maxLength: count },
    ),
  );
}

/** Bounds of drawn tensors. */
export interface TensorArbitraryOptions extends ShapeOptions {
  /** A fixed shape instead of a drawn one. */
  shape?: Shape;
  /** Range of values. Default [-2, 2]. */
  min?: number;
  max?: number;
  /** Default float64, on the reference device. */
  dtype?: DType;
  device?: string;
}

/** Tensors with values spread evenly over [min, max]. */
export function tensors({
  shape,
  min = -2,
  max = 2,
  dtype = 'float64',
  device,
  ...options
}: TensorArbitraryOptions = {}): Arbitrary<Tensor> {
  const fc = fastCheck('tensors');
  const drawn = shape ? fc.constant([...shape]) : shapes(options);
  return fc.tuple(drawn, fc.nat()).map(([dims, seed]) => {
    const random = new Random(seed);
    const data = Array.from({ length: sizeOf(dims) }, () => {
      const value = min + (max - min) * random.uniform();
      return dtype === 'int32' ? Math.round(value) : value;
    });
    return tensor(dtype === 'float64' ? Float64Array.from(data) : data, {
      shape: dims,
      dtype,
      ...(device && { device }),
    });
  });
}
