/** The safetensors format: round trips, every element type, large offsets, and files that are broken in every way. */
import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { DataError, DomainError, type Tensor, tensor } from 'hopgrad';
import { loadCheckpoint, openTorchFile, readSafetensors, writeSafetensors } from 'hopgrad/models/cloob';
import { safetensorsHeader } from '#src/formats/safetensors.js';
import { encodeFloats, storedTypes } from '#src/formats/stored.js';
import { fixture, property } from '../helpers.js';

/** A file's bytes from a header (or its text) and data. */
function file(header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array {
  const json = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + data.length);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  bytes.set(data, 8 + json.length);
  return bytes;
}

const bytesOf = (view: ArrayBufferView) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength);

function single(dtype: string, view: ArrayBufferView & { length: number }): Tensor {
  const entry = { dtype, shape: [view.length], data_offsets: [0, view.byteLength] };
  return readSafetensors(file({ x: entry }, bytesOf(view))).tensors.x!;
}

describe('safetensors', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'hopgrad-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  const names = fc.string({ minLength: 1 }).filter((name) => name !== '__metadata__');
  const shapes = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
  const stored = fc.oneof(
    fc.record({ dtype: fc.constant('float32' as const), shape: shapes, value: fc.float() }),
    fc.record({ dtype: fc.constant('float64' as const), shape: shapes, value: fc.double() }),
    fc.record({ dtype: fc.constant('int32' as const), shape: shapes, value: fc.integer() }),
  );
  property(
    'gives back what was written: names, shapes, types, values and metadata',
    fc.tuple(fc.dictionary(names, stored), fc.dictionary(fc.string(), fc.string())),
    async ([entries, metadata]) => {
      const path = join(folder, 'round.safetensors');
      const tensors = Object.fromEntries(
        Object.entries(entries).map(([name, { dtype, shape, value }]) => {
          const size = shape.reduce((a, b) => a * b, 1);
          return [name, tensor(new Array(size).fill(value), { shape, dtype })];
        }),
      );
      await writeSafetensors(path, tensors, metadata);
      const back = readSafetensors(path);
      assert.deepEqual({ ...back.metadata }, { ...metadata });
      assert.deepEqual(Object.keys(back.tensors).sort(), Object.keys(tensors).sort());
      for (const [name, value] of Object.entries(tensors)) {
        assert.deepEqual(back.tensors[name]!.shape, value.shape);
        assert.deepEqual(back.tensors[name]!.dataSync(), value.dataSync());
      }
      assert.ok(!existsSync(`${path}.partial`));
    },
  );

  it('reads every element type', () => {
    assert.deepEqual(single('F64', Float64Array.of(1e300, -0)).dataSync(), Float64Array.of(1e300, -0));
    assert.deepEqual(single('I64', BigInt64Array.of(2147483647n, -5n)).dataSync(), Int32Array.of(2147483647, -5));
    assert.deepEqual(single('U64', BigUint64Array.of(7n)).dataSync(), Int32Array.of(7));
    assert.deepEqual(single('U32', Uint32Array.of(7)).dataSync(), Int32Array.of(7));
    assert.deepEqual(single('I16', Int16Array.of(-3)).dataSync(), Int32Array.of(-3));
    assert.deepEqual(single('U16', Uint16Array.of(65535)).dataSync(), Int32Array.of(65535));
    assert.deepEqual(single('I8', Int8Array.of(-3)).dataSync(), Int32Array.of(-3));
    assert.deepEqual(single('U8', Uint8Array.of(200)).dataSync(), Int32Array.of(200));
    assert.deepEqual(single('BOOL', Uint8Array.of(1, 0)).dataSync(), Int32Array.of(1, 0));
    assert.deepEqual(single('BF16', Uint16Array.of(0x3fc0, 0xff80)).dataSync(), Float32Array.of(1.5, -Infinity));
    assert.deepEqual(
      single('F16', Uint16Array.of(0x3e00, 0x0001, 0x7bff, 0xfc00)).dataSync(),
      Float32Array.of(1.5, 2 ** -24, 65504, -Infinity),
    );
  });

  it('says of a path too long to be one, such as the text of a file, only how it begins', async () => {
    const path = 'A'.repeat(1e6);
    for (const read of [loadCheckpoint, readSafetensors, openTorchFile])
      await assert.rejects(
        async () => read(path),
        (error: Error) =>
          error.name === 'DataError' && /name too long/i.test(error.message) && error.stack!.length < 5000,
        read.name,
      );
  });

  it('refuses whole numbers that int32 does not hold', () => {
    for (const [dtype, view] of [
      ['I64', BigInt64Array.of(2n ** 31n)],
      ['U64', BigUint64Array.of(2n ** 63n)],
      ['U32', Uint32Array.of(2 ** 31)],
    ] as const)
      assert.throws(() => single(dtype, view), DataError);
  });

  /** IEEE half precision: sign, 5 exponent bits, 10 fraction bits. */
  const halfValue = (half: number) => {
    const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
    const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    const special = exponent === 31 && (fraction ? Number.NaN : Infinity);
    return (half & 0x8000 ? -1 : 1) * (special === false ? size : special);
  };
  const toHalf = (values: Float32Array) => new Uint16Array(encodeFloats(values, 'F16').buffer);

  it('converts every half-precision number to float and back', () => {
    const halves = Uint16Array.from({ length: 65536 }, (_, half) => half);
    const floats = storedTypes.get('F16')!.decode(bytesOf(halves), 'x') as Float32Array;
    toHalf(floats).forEach((half, i) => {
      assert.ok(Object.is(floats[i], halfValue(i)), `${i}`);
      if (Number.isNaN(floats[i])) assert.ok(Number.isNaN(halfValue(half)));
      else assert.equal(half, i);
    });
  });

  property('rounds to the nearest half-precision number, ties to even', fc.float({ noNaN: true }), (x) => {
    const [half] = toHalf(Float32Array.of(x)) as unknown as [number];
    if (Math.abs(x) >= 65520) return assert.equal(half & 0x7fff, 0x7c00);
    const error = Math.abs(halfValue(half) - x);
    for (const other of [half - 1, half + 1]) {
      const distance = Math.abs(halfValue(other & 0xffff) - x);
      if (Number.isFinite(distance)) assert.ok(error < distance || (error === distance && half % 2 === 0));
    }
  });

  it('writes half precisions', async () => {
    const path = join(folder, 'half.safetensors');
    const x = tensor([1.5, -1 / 3, 1e-7, 70000, 0]);
    const n = tensor([3], { dtype: 'int32' });
    for (const [floats, third, tiny, large] of [
      ['F16', -0.333251953125, 2 * 2 ** -24, Infinity],
      ['BF16', -0.333984375, 1.00117176818e-7, 70144],
    ] as const) {
      await writeSafetensors(path, { x, n }, {}, { floats });
      const back = readSafetensors(path).tensors;
      assert.deepEqual(back.x!.dataSync(), Float32Array.of(1.5, third, tiny, large, 0));
      assert.deepEqual(back.n!.dataSync(), Int32Array.of(3));
    }
  });

  it('reads a tensor beyond 4 GiB without reading what is before it', () => {
    const path = join(folder, 'large.safetensors');
    const big = 5 * 2 ** 30;
    const header = safetensorsHeader(
      { big: { dtype: 'float32', shape: [big / 4] }, small: { dtype: 'float32', shape: [2] } },
      {},
    );
    const handle = openSync(path, 'w'); // sparse: the gap takes no room
    writeSync(handle, header);
    ftruncateSync(handle, header.length + big);
    writeSync(handle, bytesOf(Float32Array.of(3, 4)), 0, 8, header.length + big);
    closeSync(handle);
    const { tensors } = readSafetensors(path, { select: (name) => name === 'small' });
    assert.deepEqual(Object.keys(tensors), ['small']);
    assert.deepEqual(tensors.small!.dataSync(), Float32Array.of(3, 4));
  });

  const entry = { dtype: 'F32', shape: [2], data_offsets: [0, 8] };
  const data = new Uint8Array(8);
  const broken: Record<string, Uint8Array> = {
    'an empty file': new Uint8Array(),
    'a header longer than the file': file({ x: entry }).fill(255, 0, 8),
    'a header that is no JSON': file('{"x": '),
    'a header that is a list': file('[]'),
    'invalid UTF-8': file('{"x": 1}').fill(255, 10, 11),
    'an entry that is null': file({ x: null }, data),
    'no dtype': file({ x: { ...entry, dtype: undefined } }, data),
    'an unknown dtype': file({ x: { ...entry, dtype: 'F8_E5M2' } }, data),
    'a dtype named like a member of objects': file({ x: { ...entry, dtype: 'constructor' } }, data),
    'a negative size': file({ x: { ...entry, shape: [-2] } }, data),
    'a size that is no number': file({ x: { ...entry, shape: ['2'] } }, data),
    'sizes whose product overflows': file({ x: { ...entry, shape: [2 ** 40, 2 ** 40] } }, data),
    'no offsets': file({ x: { ...entry, data_offsets: [] } }, data),
    'offsets in reverse': file({ x: { ...entry, data_offsets: [8, 0] } }, data),
    'fractional offsets': file({ x: { ...entry, data_offsets: [0, 7.5] } }, data),
    'offsets that do not fit the shape': file({ x: { ...entry, shape: [1] } }, data),
    'overlapping tensors': file({ x: entry, y: { ...entry, data_offsets: [4, 12] } }, new Uint8Array(12)),
    'a gap between tensors': file({ x: entry, y: { ...entry, data_offsets: [12, 20] } }, new Uint8Array(20)),
    'a truncated tensor': file({ x: entry }, data.subarray(1)),
    'bytes after the last tensor': file({ x: entry }, new Uint8Array(9)),
    'metadata that is no text': file({ __metadata__: { a: 1 } }),
  };
  for (const [what, bytes] of Object.entries(broken))
    it(`refuses ${what}`, () => {
      assert.throws(() => readSafetensors(bytes), DataError);
      const path = join(folder, 'broken.safetensors');
      writeFileSync(path, bytes);
      assert.throws(
        () => readSafetensors(path),
        (error: Error) => error instanceof DataError && error.message.includes(path),
      );
    });

  const valid = readFileSync(fixture('official-tiny-vit.safetensors')).subarray(0, 4096);
  property(
    'a damaged header gives a DataError or a valid file, nothing else',
    fc.tuple(fc.nat(4095), fc.nat(255), fc.integer({ min: 0, max: 4096 })),
    ([position, value, length]) => {
      const bytes = new Uint8Array(valid);
      bytes[position] = value;
      try {
        readSafetensors(bytes.subarray(0, length));
      } catch (error) {
        assert.ok(error instanceof DataError, String(error));
      }
    },
    300,
  );

  it('notices every flipped bit of a file it wrote', async () => {
    const path = join(folder, 'summed.safetensors');
    await writeSafetensors(
      path,
      { 'a.weight': tensor([[1, 2, 3]]), b: tensor([4], { dtype: 'int32' }) },
      { note: 'yes' },
    );
    const whole = readFileSync(path);
    assert.deepEqual(readSafetensors(whole).metadata, { note: 'yes' });
    for (let bit = 0; bit < 8 * whole.length; bit++) {
      const bytes = Uint8Array.from(whole);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      let seen: string[] | null = null;
      try {
        const { metadata } = readSafetensors(bytes);
        seen = Object.keys(metadata).filter((key) => key !== 'note'); // the name of the checksums, itself damaged
      } catch (error) {
        assert.ok(error instanceof DataError, `bit ${bit}: ${error}`);
      }
      if (seen) assert.equal(seen.length, 1, `bit ${bit} of ${8 * whole.length} goes unnoticed`);
    }
  });

  it('refuses numbers that are not finite where that is asked, and leaves the file as it was', async () => {
    const path = join(folder, 'finite.safetensors');
    await writeSafetensors(path, { x: tensor([1]) });
    for (const value of [Number.NaN, Infinity])
      await assert.rejects(
        writeSafetensors(path, { x: tensor([1, value]) }, {}, { finite: true }),
        (error: Error) => error instanceof DomainError && /position 1 of x/.test(error.message),
      );
    assert.deepEqual(await readSafetensors(path).tensors.x!.array(), [1]);
    assert.equal(existsSync(`${path}.partial`), false);
  });

  it('says which file cannot be read or written', async () => {
    const missing = join(folder, 'no', 'file.safetensors');
    assert.throws(
      () => readSafetensors(missing),
      (error: Error) => error instanceof DataError && error.message.includes(missing),
    );
    await assert.rejects(
      writeSafetensors(missing, {}),
      (error: Error) => error instanceof DataError && error.message.includes(missing),
    );
  });
});
