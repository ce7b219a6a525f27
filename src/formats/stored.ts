/** Element types as weight files store them, and how their bytes become numbers. */
import { Float16Array } from '@petamoriken/float16';
import { type DType, type TypedArray, toTypedArray } from '../tensor/dtype.js';
import { DataError } from '../tensor/errors.js';

/** A tensor in a file: its description at once, its numbers when asked. */
export interface StoredTensor {
  /** A key of `storedTypes`. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Reads the elements, row-major. @throws DataError when the file ends early or a number does not fit */
  read(): TypedArray;
  /** The bytes of the elements as the file has them, a copy. Where the format is simple enough. */
  bytes?(): Uint8Array;
}

/** An open file of named tensors. Close it when done. */
export interface WeightFile {
  /** Free text by key. */
  metadata: Record<string, string>;
  tensors: Map<string, StoredTensor>;
  /** CRC-32 of the header, which has those of the tensors: it tells files apart. Only of files that carry checksums. */
  checksum?: string;
  close(): void;
}

interface StoredType {
  bytes: number;
  /** What elements become: half precisions widen to float32, whole numbers must fit int32. */
  dtype: DType;
  /** @param what names the tensor in errors */
  decode(bytes: Uint8Array, what: string): TypedArray;
}

type View<T> = new (buffer: ArrayBufferLike, offset: number, length: number) => T;

function viewAs<T>(view: View<T> & { BYTES_PER_ELEMENT: number }, bytes: Uint8Array): T {
  return new view(bytes.buffer, bytes.byteOffset, bytes.length / view.BYTES_PER_ELEMENT);
}

/** Whole numbers of a width that int32 may not hold. */
function wholeNumbers(values: ArrayLike<number | bigint>, what: string): Int32Array {
  const result = new Int32Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    if ((value | 0) !== value)
      throw new DataError('read', {
        received: `${values[i]} at position ${i} of ${what}`,
        expected: 'whole numbers that int32 holds, [−2³¹, 2³¹)',
      });
    result[i] = value;
  }
  return result;
}

const small = (view: View<ArrayLike<number>> & { BYTES_PER_ELEMENT: number }): StoredType => ({
  bytes: view.BYTES_PER_ELEMENT,
  dtype: 'int32',
  decode: (bytes) => toTypedArray(viewAs(view, bytes), 'int32'),
});
const large = (view: View<ArrayLike<number | bigint>> & { BYTES_PER_ELEMENT: number }): StoredType => ({
  bytes: view.BYTES_PER_ELEMENT,
  dtype: 'int32',
  decode: (bytes, what) => wholeNumbers(viewAs(view, bytes), what),
});

/** By the names of the safetensors format. Bytes are little-endian, as on every machine that runs this. */
export const storedTypes: ReadonlyMap<string, StoredType> = new Map<string, StoredType>([
  ['F64', { bytes: 8, dtype: 'float64', decode: (bytes) => viewAs(Float64Array, bytes) }],
  ['F32', { bytes: 4, dtype: 'float32', decode: (bytes) => viewAs(Float32Array, bytes) }],
  ['F16', { bytes: 2, dtype: 'float32', decode: (bytes) => widenHalf(viewAs(Uint16Array, bytes)) }],
  ['BF16', { bytes: 2, dtype: 'float32', decode: (bytes) => widenBfloat16(viewAs(Uint16Array, bytes)) }],
  ['I64', large(BigInt64Array)],
  ['U64', large(BigUint64Array)],
  ['I32', { bytes: 4, dtype: 'int32', decode: (bytes) => viewAs(Int32Array, bytes) }],
  ['U32', large(Uint32Array)],
  ['I16', small(Int16Array)],
  ['U16', small(Uint16Array)],
  ['I8', small(Int8Array)],
  ['U8', small(Uint8Array)],
  ['BOOL', small(Uint8Array)],
]);

let halfValues: Float32Array | null = null;

/** Half-precision numbers by table, made on first use: a file has millions of them. */
function widenHalf(halves: Uint16Array): Float32Array {
  halfValues ??= new Float32Array(new Float16Array(Uint16Array.from({ length: 65536 }, (_, half) => half).buffer));
  const result = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) result[i] = halfValues[halves[i]!]!;
  return result;
}

/** bfloat16 is the upper half of a float32. */
function widenBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** The nearest bfloat16 number of float32 values, ties to even. */
function narrowToBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (b, i) => (Number.isNaN(values[i]!) ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16));
}

/** How float32 tensors may be stored. */
export type FloatStorage = 'F32' | 'F16' | 'BF16';

/** Float32 values as the bytes of a storage type: the nearest number, ties to even; in F16 infinity beyond 65504. */
export function encodeFloats(values: Float32Array, type: FloatStorage): Uint8Array {
  const { buffer, byteOffset, byteLength } =
    type === 'F32' ? values : type === 'F16' ? new Float16Array(values) : narrowToBfloat16(values);
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** @throws DataError naming the tensor and its type when that is none of ours */
export function storedType(op: string, type: string, what: string): StoredType {
  const known = storedTypes.get(type);
  if (known) return known;
  throw new DataError(op, {
    received: `${what} of type ${JSON.stringify(type)}`,
    expected: `one of ${[...storedTypes.keys()].join(', ')}`,
  });
}
