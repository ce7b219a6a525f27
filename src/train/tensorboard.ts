/**
 * TensorBoard's event files: a sequence of records, each a message Event that holds a Summary of numbers by tag.
 *
 * A record is its length (uint64), the masked CRC-32C of these eight bytes (uint32), the data, and their masked CRC-32C, all
 * little-endian. Messages are protocol buffers: fields of a number and a kind, whole numbers as varints.
 * @source TensorFlow, "TFRecords format details"; tensorboard/compat/proto/event.proto and summary.proto
 */
import { hostname } from 'node:os';

/** CRC-32C of every byte: Castagnoli's polynomial, bits reversed. */
const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** The CRC-32C (Castagnoli) of bytes, as iSCSI has it. @source RFC 3720, appendix B.4 */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = table[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** CRCs of data that hold CRCs are weak, so the format turns and moves them: rotr(crc, 15) + 0xa282ead8. */
const masked = (bytes: Uint8Array) => {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
};

/** Data as a record. */
export function record(data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + data.length + 4);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(bytes.subarray(0, 8)), true);
  bytes.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return bytes;
}

/** A whole number ≥ 0: seven bits a byte, the lowest first, the eighth says that more follow. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) + 128);
  return [...bytes, value];
}

/** Kinds of fields. */
const [whole, eight, sized, four] = [0, 1, 2, 5];
const key = (field: number, kind: number) => varint(8 * field + kind!);
const wholeField = (field: number, value: number) => [...key(field, whole!), ...varint(value)];
const bytesField = (field: number, bytes: ArrayLike<number>) => [
  ...key(field, sized!),
  ...varint(bytes.length),
  ...Array.from(bytes),
];
const textField = (field: number, text: string) => bytesField(field, new TextEncoder().encode(text));
const doubleField = (field: number, value: number) => [
  ...key(field, eight!),
  ...new Uint8Array(new Float64Array([value]).buffer),
];
const floatField = (field: number, value: number) => [
  ...key(field, four!),
  ...new Uint8Array(new Float32Array([value]).buffer),
];

/** Event { wall_time = 1, step = 2, … }; a step of 0 is left out, as all defaults. @param time seconds since 1970 */
const event = (time: number, step: number, content: readonly number[]) =>
  Uint8Array.from([...doubleField(1, time), ...(step > 0 ? wholeField(2, step) : []), ...content]);

/** The first event of a file: file_version = 3. */
export const versionEvent = (time: number) => event(time, 0, textField(3, 'brain.Event:2'));

/** Says that what other files have from `step` on is taken again: session_log = 7 { status = 1: START }. */
export const restartEvent = (time: number, step: number) => event(time, step, bytesField(7, wholeField(1, 1)));

/** Numbers by tag: summary = 5 { value = 1 { tag = 1, simple_value = 2 } … }. */
export const scalarsEvent = (time: number, step: number, scalars: Record<string, number>) => {
  const values = Object.entries(scalars).flatMap(([tag, value]) =>
    bytesField(1, [...textField(1, tag), ...floatField(2, value)]),
  );
  return event(time, step, bytesField(5, values));
};

/** The numbers in an object, by their paths: { a: { b: 1 }, c: null } is { 'prefix/a/b': 1 }. */
export function scalarsOf(prefix: string, values: object): Record<string, number> {
  const found: Record<string, number> = {};
  for (const [name, value] of Object.entries(values))
    if (typeof value === 'number') found[`${prefix}/${name}`] = value;
    else if (typeof value === 'object' && value !== null) Object.assign(found, scalarsOf(`${prefix}/${name}`, value));
  return found;
}

/** Event files that this process has begun. */
let files = 0;

/** An event file: a new one for every start of a run. */
export class EventFile {
  readonly name: string;
  readonly #append: (bytes: Uint8Array) => void;

  /**
   * @param append adds bytes to the file of a name
   * @param step   steps that were done before: what other files have after it counts no longer
   */
  constructor(append: (name: string, bytes: Uint8Array) => void, step: number) {
    const time = Date.now() / 1000;
    this.name = `events.out.tfevents.${Math.floor(time)}.${hostname()}.${process.pid}.${files++}`;
    this.#append = (bytes) => append(this.name, record(bytes));
    this.#append(versionEvent(time));
    if (step > 0) this.#append(restartEvent(time, step + 1));
  }

  /** Adds numbers of a step. */
  add(step: number, scalars: Record<string, number>): void {
    this.#append(scalarsEvent(Date.now() / 1000, step, scalars));
  }
}
