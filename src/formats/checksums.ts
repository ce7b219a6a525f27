/**
 * Checksums inside a safetensors file, in its metadata, where other readers do not mind them. The value of
 * `hopgrad.crc32` is a CRC-32 of the header, taken with its own eight digits as zeros, and one of the bytes of every
 * tensor, in the order of the header. Any flipped bit of a file is in one of them.
 */
import { canSum, crc32 } from './files.js';

export const checksumKey = 'hopgrad.crc32';

const digits = (sum: number) => sum.toString(16).padStart(8, '0');
const unknown = digits(0);

/** Metadata with the checksums of the tensors, and room for the header's. */
export function withSums(metadata: Record<string, string>, sums: readonly number[]): Record<string, string> {
  return { ...metadata, [checksumKey]: [unknown, ...sums.map(digits)].join(' ') };
}

/** Where the eight digits of the header's own checksum begin; −1 when it has none. */
function placeOfOwn(header: Uint8Array): number {
  const key = new TextEncoder().encode(`"${checksumKey}":"`); // inside a text the quotes would be escaped
  for (let at = 0; at + key.length + 8 <= header.length; at++)
    if (key.every((byte, i) => header[at + i] === byte)) return at + key.length;
  return -1;
}

/** Writes the header's own checksum into it. */
export function seal(header: Uint8Array): Uint8Array {
  header.set(new TextEncoder().encode(digits(crc32(header, 0))), placeOfOwn(header));
  return header;
}

/**
 * The checksums that a header carries, in the order of its tensors, after its own has been verified; null where it has
 * none, as files of other programs, or where nothing can compute them (browsers).
 * @param header with the eight bytes of its length
 * @param fail   called with what is wrong
 */
export function readSums(
  header: Uint8Array,
  metadata: Record<string, string>,
  count: number,
  fail: (received: string, expected: string) => never,
): string[] | null {
  const found = metadata[checksumKey];
  if (found === undefined || !canSum()) return null;
  const [own, ...sums] = found.split(' ');
  if (sums.length !== count) fail(`${sums.length} checksums`, `one for each of ${count} tensors`);
  const blank = Uint8Array.from(header);
  blank.set(new TextEncoder().encode(unknown), placeOfOwn(header));
  const sum = digits(crc32(blank, 0));
  if (sum !== own) fail(`a header whose checksum is ${sum}`, `${own}, as it was written`);
  return sums;
}

/** @param fail called when the bytes of a tensor are not those that were written */
export function verifySum(bytes: Uint8Array, expected: string, fail: (received: string, expected: string) => never) {
  const sum = digits(crc32(bytes, 0));
  if (sum !== expected) fail(`bytes whose checksum is ${sum}`, `${expected}, as they were written`);
}
