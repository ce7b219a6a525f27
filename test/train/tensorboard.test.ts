/** Event files of TensorBoard: bytes as Google's own library makes them, and a reader written from the formats' descriptions. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  crc32c,
  EventFile,
  record,
  restartEvent,
  scalarsEvent,
  scalarsOf,
  versionEvent,
} from '#src/train/tensorboard.js';
import { property } from '../helpers.js';

const ascii = (text: string) => new TextEncoder().encode(text);
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

/** CRC-32C by its definition: the remainder of a division of polynomials, a bit at a time. */
function slowCrc(bytes: Uint8Array): number {
  let crc = 0xffffffffn;
  for (const byte of bytes) {
    crc ^= BigInt(byte);
    for (let bit = 0; bit < 8; bit++) crc = crc & 1n ? (crc >> 1n) ^ 0x82f63b78n : crc >> 1n;
  }
  return Number(crc ^ 0xffffffffn);
}

/** The data of every record, their lengths and checksums verified. */
function readRecords(bytes: Uint8Array): Uint8Array[] {
  const found: Uint8Array[] = [];
  const check = (data: Uint8Array, stored: number) => {
    const crc = BigInt(slowCrc(data));
    const masked = ((((crc >> 15n) | (crc << 17n)) & 0xffffffffn) + 0xa282ead8n) & 0xffffffffn;
    assert.equal(stored, Number(masked), 'a checksum');
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at < bytes.length; ) {
    const length = Number(view.getBigUint64(at, true));
    check(bytes.subarray(at, at + 8), view.getUint32(at + 8, true));
    const data = bytes.subarray(at + 12, at + 12 + length);
    check(data, view.getUint32(at + 12 + length, true));
    found.push(data);
    at += length + 16;
  }
  return found;
}

/** The fields of a message: number → values; those with a length as bytes. */
function readMessage(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const fields = new Map<number, (number | Uint8Array)[]>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let [value, scale] = [0n, 1n];
    for (;;) {
      const byte = bytes[at++]!;
      value += BigInt(byte & 127) * scale;
      scale *= 128n;
      if (byte < 128) return Number(value);
    }
  };
  while (at < bytes.length) {
    const key = varint();
    let value: number | Uint8Array;
    if (key % 8 === 0) value = varint();
    else if (key % 8 === 1) value = view.getFloat64((at += 8) - 8, true);
    else if (key % 8 === 5) value = view.getFloat32((at += 4) - 4, true);
    else {
      assert.equal(key % 8, 2);
      const length = varint();
      value = bytes.subarray(at, (at += length));
    }
    fields.set(key >> 3, [...(fields.get(key >> 3) ?? []), value]);
  }
  return fields;
}

/** An event as plain values. */
function readEvent(bytes: Uint8Array) {
  const fields = readMessage(bytes);
  const text = (value: unknown) => new TextDecoder().decode(value as Uint8Array);
  const scalars = (fields.get(5) ?? []).flatMap((summary) =>
    (readMessage(summary as Uint8Array).get(1) ?? []).map((value) => {
      const own = readMessage(value as Uint8Array);
      return [text(own.get(1)![0]), own.get(2)![0] as number] as const;
    }),
  );
  return {
    time: fields.get(1)![0] as number,
    step: (fields.get(2)?.[0] ?? 0) as number,
    version: fields.has(3) ? text(fields.get(3)![0]) : null,
    status: fields.has(7) ? readMessage(fields.get(7)![0] as Uint8Array).get(1)![0] : null,
    scalars: Object.fromEntries(scalars),
  };
}

describe('event files of TensorBoard', () => {
  it('have the checksum of RFC 3720', () => {
    assert.equal(crc32c(ascii('123456789')), 0xe3069283);
    assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
    assert.equal(crc32c(new Uint8Array(32).fill(255)), 0x62a8ab43);
    assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
  });

  it('have messages of the bytes that protobuf for Python writes', () => {
    const scalars = scalarsEvent(1700000000.25, 3000000000, { 'train/loss': 0.5, 'val/τ': -2 });
    assert.equal(
      hex(scalars),
      '0900001040fc54d9411080bcc1960b2a220a110a0a747261696e2f6c6f7373150000003f0a0d0a0676616c2fcf8415000000c0',
    );
    assert.equal(hex(restartEvent(2, 7)), '09000000000000004010073a020801');
    assert.equal(hex(versionEvent(2)), '0900000000000000401a0d627261696e2e4576656e743a32');
  });

  const tag = fc.string({ unit: 'grapheme', minLength: 1 });
  property(
    'are read back as they were written, whatever numbers and tags',
    fc.tuple(
      fc.double({ noNaN: true }),
      fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      fc.dictionary(tag, fc.float(), { noNullPrototype: true }),
    ),
    ([time, step, values]) => {
      const [data] = readRecords(record(scalarsEvent(time, step, values)));
      const read = readEvent(data!);
      assert.deepEqual([read.time, read.step, read.scalars], [time, step, values]);
    },
  );

  it('begin with their version, and say from where steps are done again', () => {
    const files = new Map<string, number[]>();
    const append = (name: string, bytes: Uint8Array) => void files.set(name, [...(files.get(name) ?? []), ...bytes]);
    const before = Date.now() / 1000;
    new EventFile(append, 0).add(1, { a: 1 });
    new EventFile(append, 40).add(41, { a: 2 });
    const [fresh, resumed] = [...files.values()].map((bytes) => readRecords(Uint8Array.from(bytes)).map(readEvent));
    assert.equal(files.size, 2);
    for (const name of files.keys()) assert.match(name, /^events\.out\.tfevents\.\d{10}\./);
    assert.deepEqual(fresh!.map(({ step, version }) => [step, version]), [[0, 'brain.Event:2'], [1, null]]); // biome-ignore format: a line
    assert.deepEqual(resumed!.map(({ step, version, status, scalars }) => [step, version, status, scalars]), [[0, 'brain.Event:2', null, {}], [41, null, 1, {}], [41, null, null, { a: 2 }]]); // biome-ignore format: a line
    for (const { time } of fresh!) assert.ok(time >= before && time <= Date.now() / 1000);
  });

  it('name numbers by their paths', () => {
    assert.deepEqual(scalarsOf('val', { loss: 1, none: null, text: 'a', recall: { 1: 0.5 } }), {
      'val/loss': 1,
      'val/recall/1': 0.5,
    });
  });
});
