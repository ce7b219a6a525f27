/** Half precision in memory: two bytes a number, for weights that wait. Arithmetic is in float32, after widening. */
import { tensor } from '../autograd/create.js';
import { checkTensor, type NestedArray, nest, type Tensor } from '../autograd/tensor.js';
import { DTypeError, describeValue, ShapeError, UsageError } from '../tensor/errors.js';
import { formatTensor } from '../tensor/print.js';
import { checkShape, formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { encodeFloats, storedTypes } from './stored.js';

/**
 * float16 (IEEE 754 binary16): 11 bits of precision, largest 65504, what is beyond becomes infinite. bfloat16: 8 bits of
 * precision in the range of float32.
 */
export type HalfType = 'float16' | 'bfloat16';

/** The names of the safetensors format. */
export const halfNames = { float16: 'F16', bfloat16: 'BF16' } as const;

/**
 * A tensor of float16 or bfloat16, in the memory of the program: half the bytes of float32. It is for keeping, not for
 * computing: `toTensor()` widens it, exactly, and `loadStateDict` and `writeSafetensors` take it as it is.
 */
export class HalfTensor {
  /**
   * @param bits the numbers' 16 bits each, row-major; not copied
   * @throws UsageError, ShapeError when they are not what the shape asks for
   */
  constructor(
    readonly dtype: HalfType,
    readonly shape: Shape,
    readonly bits: Uint16Array,
  ) {
    checkHalfType('HalfTensor', dtype);
    checkShape('HalfTensor', shape);
    if (!(bits instanceof Uint16Array))
      throw new UsageError('HalfTensor', { received: `${describeValue(bits)} as bits`, expected: 'a Uint16Array' });
    if (bits.length !== sizeOf(shape))
      throw new ShapeError('HalfTensor', {
        received: `${bits.length} numbers for shape ${formatShape(shape)}`,
        expected: `${sizeOf(shape)} numbers`,
      });
  }

  /**
   * The nearest half-precision numbers of a float32 tensor, ties to even.
   * @throws DTypeError for other dtypes, which would be rounded twice or not at all
   */
  static async from(x: Tensor, dtype: HalfType): Promise<HalfTensor> {
    checkHalfType('HalfTensor.from', dtype);
    checkTensor('HalfTensor.from', 'x', x);
    const data = await x.data();
    if (!(data instanceof Float32Array))
      throw new DTypeError('HalfTensor.from', {
        received: `a tensor of ${x.dtype}`,
        expected: 'float32',
        hint: "Convert with cast('float32').",
      });
    const bytes = encodeFloats(data, halfNames[dtype]);
    return new HalfTensor(dtype, x.shape, new Uint16Array(bytes.buffer, bytes.byteOffset, data.length));
  }

  /** Number of elements. */
  get size(): number {
    return this.bits.length;
  }

  /** The same numbers as float32 on `device` (default the default device): a copy. */
  toTensor({ device }: { device?: string } = {}): Tensor {
    return tensor(this.toFloat32(), { shape: this.shape, ...(device !== undefined && { device }) });
  }

  /** Shape, dtype and the numbers, shortened as a tensor's are. */
  toString(): string {
    return `HalfTensor ${formatShape(this.shape)} ${this.dtype}\n${formatTensor(this.toFloat32(), this.shape)}`;
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** The numbers, nested by axis, for JSON.stringify, which writes NaN and infinities as null. */
  toJSON(): NestedArray {
    return nest(this.toFloat32(), this.shape);
  }

  /** The same numbers, row-major. */
  toFloat32(): Float32Array {
    const { buffer, byteOffset, byteLength } = this.bits;
    const bytes = new Uint8Array(buffer, byteOffset, byteLength);
    return storedTypes.get(halfNames[this.dtype])!.decode(bytes, 'a half tensor') as Float32Array;
  }
}

/**
 * A state dict in half precision: every float32 tensor as a {@link HalfTensor}, all others as they are.
 * @example const kept = await toHalf(model.stateDict(), 'bfloat16'); … model.loadStateDict(kept);
 */
export async function toHalf(
  state: Readonly<Record<string, Tensor>>,
  dtype: HalfType,
): Promise<Record<string, Tensor | HalfTensor>> {
  checkHalfType('toHalf', dtype);
  const result: Record<string, Tensor | HalfTensor> = {};
  for (const [name, value] of Object.entries(state))
    result[name] = value.dtype === 'float32' ? await HalfTensor.from(value, dtype) : value;
  return result;
}

function checkHalfType(op: string, dtype: unknown): void {
  if (dtype !== 'float16' && dtype !== 'bfloat16')
    throw new DTypeError(op, { received: `dtype ${describeValue(dtype)}`, expected: 'float16 or bfloat16' });
}
