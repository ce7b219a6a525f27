/** Element types. Reductions and products of float32 are accumulated in higher precision than they are stored. */
import { DTypeError, describeValue } from './errors.js';

/** Types of elements: float64 lives on wasm and reference, int32 is exact below 2²⁴. */
export type DType = 'float32' | 'float64' | 'int32';
/** Arrays that hold the elements of a {@link DType}. */
export type TypedArray = Float32Array | Float64Array | Int32Array;

const constructors = { float32: Float32Array, float64: Float64Array, int32: Int32Array } as const;

export const bytesPerElement: Record<DType, number> = { float32: 4, float64: 8, int32: 4 };

/** The largest finite number of each dtype. */
export const largestOf: Record<DType, number> = {
  float32: 3.4028234663852886e38,
  float64: Number.MAX_VALUE,
  int32: 2147483647,
};

/** A zero-filled typed array of `size` elements. */
export function allocate(dtype: DType, size: number): TypedArray {
  return new constructors[dtype](size);
}

/** `size` elements of `buffer` in place, from byte `address` on. */
export function viewOf(dtype: DType, buffer: ArrayBufferLike, address: number, size: number): TypedArray {
  return new constructors[dtype](buffer as ArrayBuffer, address, size); // shared buffers do as well
}

/** A copy of `data` as an array of `dtype`. */
export function toTypedArray(data: ArrayLike<number>, dtype: DType): TypedArray {
  return constructors[dtype].from(data);
}

/** The dtype that a typed array holds. */
export function dtypeOf(data: TypedArray): DType {
  return data instanceof Float32Array ? 'float32' : data instanceof Float64Array ? 'float64' : 'int32';
}

/** @throws DTypeError when int32 does not hold a number, or one of a list, exactly */
export function checkInt32(op: string, data: ArrayLike<number> | number): void {
  if (data instanceof Int32Array) return;
  const list = typeof data === 'number' ? [data] : data;
  for (let i = 0; i < list.length; i++)
    if ((list[i]! | 0) !== list[i])
      throw new DTypeError(op, {
        received: `${list[i]}${typeof data === 'number' ? '' : ` at position ${i}`} for int32`,
        expected: 'whole numbers in [−2³¹, 2³¹)',
        hint: 'Use float32, or round first.',
      });
}

/** @throws DTypeError when `dtype` is not one of ours. */
export function checkDType(op: string, dtype: unknown): DType {
  if (typeof dtype === 'string' && dtype in constructors) return dtype as DType;
  throw new DTypeError(op, {
    received: `dtype ${describeValue(dtype)}`,
    expected: 'float32, float64 or int32',
    hint: 'Convert the data first; half precision and 64-bit integers are not element types here.',
  });
}

const rank: Record<DType, number> = { int32: 0, float32: 1, float64: 2 };

/** The wider of two dtypes: int32 < float32 < float64. */
export function promote(a: DType, b: DType): DType {
  return rank[a] >= rank[b] ? a : b;
}

/** The largest number of a float dtype below `bound`, a finite number. */
export function below(bound: number, dtype: 'float32' | 'float64'): number {
  const number = dtype === 'float32' ? Float32Array.of(bound) : Float64Array.of(bound);
  if (number[0]! < bound) return number[0]!;
  if (number[0] === 0) return dtype === 'float32' ? -(2 ** -149) : -Number.MIN_VALUE;
  // Of one sign, floating-point numbers are ordered as their bits are.
  const bits = dtype === 'float32' ? new Int32Array(number.buffer) : new BigInt64Array(number.buffer);
  if (bits instanceof Int32Array) bits[0]! -= Math.sign(bound);
  else bits[0]! -= BigInt(Math.sign(bound));
  return number[0]!;
}
