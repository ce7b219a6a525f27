/** Element types as weight files store them, how their bytes become numbers, and where the bytes are. */
import { type DType, type TypedArray, toTypedArray } from '../tensor/dtype.js';
import { DataError } from '../tensor/errors.js';

/** A tensor in a file: its description at once, its numbers when asked. */
export interface StoredTensor {
  /** A key of {@link storedTypes}. */
  readonly type: string;
  readonly shape: readonly number[];
  /** Reads the elements, row-major. @throws DataError when the file ends early or a number does not fit */
  read(): TypedArray;
}

/** An open file of named tensors. Close it when done. */
export interface WeightFile {
  /** Free text by key. */
  metadata: Record<string, string>;
  tensors: Map<string, StoredTensor>;
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
  halfValues ??= Float32Array.from({ length: 65536 }, (_, half) => halfToFloat(half));
  const result = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) result[i] = halfValues[halves[i]!]!;
  return result;
}

/** IEEE half precision: sign, 5 exponent bits, 10 fraction bits. */
export function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** bfloat16 is the upper half of a float32. */
function widenBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** The nearest whole number, halves to the even one. */
function roundToEven(x: number): number {
  const below = Math.floor(x);
  const rest = x - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}

/** The nearest half-precision number, ties to even; beyond 65504 infinity. */
export function floatToHalf(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (Number.isNaN(x)) return 0x7e00;
  if (size < 2 ** -14) return sign | roundToEven(size * 2 ** 24); // subnormal: steps of 2⁻²⁴
  if (size >= 65520) return sign | 0x7c00;
  let exponent = Math.floor(Math.log2(size));
  if (size < 2 ** exponent) exponent--; // log2 may round up just below a power of two
  // A fraction that rounds up to 1024 carries into the exponent, as it must.
  return sign | (((exponent + 15) << 10) + roundToEven((size / 2 ** exponent - 1) * 1024));
}

/** The nearest bfloat16 number of float32 values, ties to even. */
function narrowToBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  return Uint16Array.from(bits, (b, i) => (Number.isNaN(values[i]!) ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16));
}

/** How float32 tensors may be stored. */
export type FloatStorage = 'F32' | 'F16' | 'BF16';

/** Float32 values as the bytes of a storage type. */
export function encodeFloats(values: Float32Array, type: FloatStorage): Uint8Array {
  const stored =
    type === 'F32' ? values : type === 'F16' ? Uint16Array.from(values, floatToHalf) : narrowToBfloat16(values);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
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

/** Bytes that are read piece by piece. */
export interface ByteSource {
  readonly size: number;
  /** @throws DataError when there are not that many */
  read(position: number, length: number): Uint8Array;
  close(): void;
}

/** Node's file system, found without an import: browsers load these modules too. */
export function fileSystem(op: string): typeof import('node:fs') {
  const node = (globalThis as { process?: { getBuiltinModule?(name: string): unknown } }).process;
  const fs = node?.getBuiltinModule?.('node:fs') as typeof import('node:fs') | undefined;
  if (fs) return fs;
  throw new DataError(op, {
    received: 'a file name where there is no file system',
    expected: 'Node',
    hint: 'Pass the bytes of a safetensors file instead.',
  });
}

/** Most bytes of one read or write call. */
export const chunkBytes = 2 ** 30;

/** @throws DataError when the file cannot be opened */
export function openFile(op: string, path: string): ByteSource {
  const fs = fileSystem(op);
  let file: number;
  try {
    file = fs.openSync(path, 'r');
  } catch (error) {
    throw new DataError(op, { received: `${path}: ${(error as Error).message}`, expected: 'a readable file' });
  }
  const { size } = fs.fstatSync(file);
  const read = (position: number, length: number): Uint8Array => {
    if (position + length > size)
      throw new DataError(op, {
        received: `${path}: ends at byte ${size}`,
        expected: `bytes ${position} to ${position + length}`,
        hint: 'Was it copied or written completely?',
      });
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const count = fs.readSync(file, bytes, done, Math.min(length - done, chunkBytes), position + done);
      if (count === 0) throw new DataError(op, { received: `${path}: became shorter while it was read` });
      done += count;
    }
    return bytes;
  };
  return { size, read, close: () => fs.closeSync(file) };
}

/** Bytes in memory. Reads are copies, so that every view is aligned. */
export function openBytes(op: string, bytes: Uint8Array): ByteSource {
  const read = (position: number, length: number): Uint8Array => {
    if (position + length > bytes.length)
      throw new DataError(op, {
        received: `${bytes.length} bytes`,
        expected: `bytes ${position} to ${position + length}`,
      });
    return new Uint8Array(bytes.subarray(position, position + length));
  };
  return { size: bytes.length, read, close: () => {} };
}
