/**
 * The safetensors format: 8 bytes of header length (little-endian), a JSON header with dtype, shape and byte range of
 * every tensor, then the bytes. Read and written one tensor at a time, so memory stays near the largest one.
 *
 * @source https://github.com/huggingface/safetensors, "Format"
 */
import { closeSync, fstatSync, openSync, readSync, renameSync, writeSync } from 'node:fs';
import { tensor } from '../../autograd/create.js';
import type { Tensor } from '../../autograd/tensor.js';
import { bytesPerElement, type DType, type TypedArray } from '../../tensor/dtype.js';
import { DataError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';

interface Entry {
  dtype: string;
  shape: number[];
  data_offsets: [number, number];
}

export interface SafetensorsFile {
  /** Free text by key, from `__metadata__`. */
  metadata: Record<string, string>;
  tensors: Record<string, Tensor>;
}

/** How the bytes of a stored dtype become numbers. Half precisions widen to float32, int64 must fit int32. */
const decoders: Record<string, { bytes: number; dtype: DType; decode(bytes: Uint8Array): TypedArray }> = {
  F64: { bytes: 8, dtype: 'float64', decode: (b) => new Float64Array(b.buffer, b.byteOffset, b.length / 8) },
  F32: { bytes: 4, dtype: 'float32', decode: (b) => new Float32Array(b.buffer, b.byteOffset, b.length / 4) },
  I32: { bytes: 4, dtype: 'int32', decode: (b) => new Int32Array(b.buffer, b.byteOffset, b.length / 4) },
  I64: {
    bytes: 8,
    dtype: 'int32',
    decode: (b) => Int32Array.from(new BigInt64Array(b.buffer, b.byteOffset, b.length / 8), Number),
  },
  F16: {
    bytes: 2,
    dtype: 'float32',
    decode: (b) => Float32Array.from(new Uint16Array(b.buffer, b.byteOffset, b.length / 2), halfToFloat),
  },
  BF16: { bytes: 2, dtype: 'float32', decode: widenBfloat16 },
};

/** IEEE half precision: sign, 5 exponent bits, 10 fraction bits. */
function halfToFloat(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? Number.NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** bfloat16 is the upper half of a float32. */
function widenBfloat16(bytes: Uint8Array): Float32Array {
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.length / 2);
  return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
}

/**
 * Reads a safetensors file. Tensors are placed by `place` (default: float32 on the default device, others where
 * their dtype lives).
 * @param select reads only the names it accepts; default all
 * @throws DataError when the file is missing, truncated or malformed, or has a dtype that is not supported
 */
export function readSafetensors(
  path: string,
  { device, select = () => true }: { device?: string; select?: (name: string) => boolean } = {},
): SafetensorsFile {
  const fail = (received: string, expected: string): never => {
    throw new DataError('readSafetensors', { received: `${path}: ${received}`, expected });
  };
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    return fail((error as Error).message, 'a readable file');
  }
  try {
    const fileSize = fstatSync(file).size;
    const read = (position: number, length: number): Uint8Array => {
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const count = readSync(file, bytes, done, Math.min(length - done, 2 ** 30), position + done);
        if (count === 0) fail(`ends at byte ${position + done}`, `${position + length} bytes`);
        done += count;
      }
      return bytes;
    };
    if (fileSize < 8) fail(`${fileSize} bytes`, 'a safetensors file');
    const headerSize = Number(new DataView(read(0, 8).buffer).getBigUint64(0, true));
    if (headerSize > fileSize - 8)
      fail(`a header of ${headerSize} bytes in a file of ${fileSize}`, 'a safetensors file');
    let header: Record<string, Entry> & { __metadata__?: Record<string, string> };
    try {
      header = JSON.parse(new TextDecoder().decode(read(8, headerSize)));
    } catch {
      return fail('a header that is no JSON', 'a safetensors file');
    }
    const { __metadata__: metadata = {}, ...entries } = header;
    const tensors: Record<string, Tensor> = {};
    for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(entries as Record<string, Entry>)) {
      if (!select(name)) continue;
      const decoder = decoders[dtype] ?? fail(`dtype ${dtype} of ${name}`, Object.keys(decoders).join(', '));
      const [start, end] = offsets;
      if (end - start !== sizeOf(shape) * decoder.bytes || 8 + headerSize + end > fileSize)
        fail(
          `${name} at bytes ${start} to ${end} of ${fileSize - 8 - headerSize}`,
          `${sizeOf(shape) * decoder.bytes} bytes inside the file`,
        );
      const data = decoder.decode(read(8 + headerSize + start, end - start));
      tensors[name] = tensor(data, {
        shape,
        dtype: decoder.dtype,
        ...(device && decoder.dtype !== 'float64' && { device }),
      });
    }
    return { metadata, tensors };
  } finally {
    closeSync(file);
  }
}

const storedName: Record<DType, string> = { float32: 'F32', float64: 'F64', int32: 'I32' };

/**
 * Writes tensors as a safetensors file: under a temporary name first, so that a crash leaves no half file.
 * @throws DataError when the file cannot be written
 */
export async function writeSafetensors(
  path: string,
  tensors: Record<string, Tensor>,
  metadata: Record<string, string> = {},
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, { dtype, shape, size }] of Object.entries(tensors)) {
    const end = offset + size * bytesPerElement[dtype];
    header[name] = { dtype: storedName[dtype], shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20); // data begins at a multiple of 8
  padded.set(json);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  const partial = `${path}.partial`;
  try {
    const file = openSync(partial, 'w');
    try {
      const write = (bytes: Uint8Array) => {
        for (let done = 0; done < bytes.length; )
          done += writeSync(file, bytes, done, Math.min(bytes.length - done, 2 ** 30));
      };
      write(length);
      write(padded);
      for (const value of Object.values(tensors)) {
        const data = await value.data();
        write(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      }
    } finally {
      closeSync(file);
    }
    renameSync(partial, path);
  } catch (error) {
    throw new DataError('writeSafetensors', {
      received: `${path}: ${(error as Error).message}`,
      expected: 'a writable file',
    });
  }
}
