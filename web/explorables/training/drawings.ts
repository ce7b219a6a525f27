/**
 * The drawings that the tab trains on, as `scripts/pack-drawings.mjs` packs them: gzip over the length of the header
 * (uint32, little-endian), the header as JSON, and the pixels, [drawings, size, size, 3] bytes, each less the byte of the
 * pixel to its left.
 */
import { preprocessing } from 'hopgrad/models/cloob';
import { config } from './model.js';

export interface Drawings {
  /** Pixels a side. */
  size: number;
  /** The style that is never trained on. */
  heldOut: string;
  /** Who drew the styles. */
  sources: { style: string; name: string; author: string; license: string; url: string }[];
  concepts: { name: string; keywords: string[] }[];
  /** In the order of the pixels; `concept` counts `concepts`. */
  drawings: { concept: number; style: string }[];
  /** [drawings, size, size, 3], 0 … 255. */
  pixels: Uint8Array;
}

/** Whether bytes begin as gzip does: some servers unpack such files by themselves. */
const isPacked = (bytes: Uint8Array) => bytes[0] === 0x1f && bytes[1] === 0x8b;

/** Reads the packed file. @throws Error for a file that is none, or is cut off */
export async function unpackDrawings(file: Uint8Array<ArrayBuffer>): Promise<Drawings> {
  const stream = new Blob([file]).stream();
  const open = isPacked(file) ? stream.pipeThrough(new DecompressionStream('gzip')) : stream;
  const bytes = new Uint8Array(await new Response(open).arrayBuffer());
  const start = 4 + new DataView(bytes.buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, start))) as Omit<Drawings, 'pixels'>;
  const pixels = bytes.subarray(start);
  const { size, drawings } = header;
  if (pixels.length !== drawings.length * size * size * 3)
    throw new Error(
      `The file of drawings has ${pixels.length} bytes of pixels, not those of ${drawings.length} drawings`,
    );
  for (let i = 0; i < pixels.length; i++) if (i % (3 * size) >= 3) pixels[i] = (pixels[i]! + pixels[i - 3]!) & 255;
  return { ...header, pixels };
}

/** The pixels of one drawing, [size, size, 3]. */
export function pixelsOf({ pixels, size }: Drawings, drawing: number): Uint8Array {
  const length = 3 * size * size;
  return pixels.subarray(drawing * length, (drawing + 1) * length);
}

/** The held-out drawing of each concept. */
export function heldOutOf({ concepts, drawings, heldOut }: Drawings): number[] {
  return concepts.map((_, i) => drawings.findIndex(({ concept, style }) => concept === i && style === heldOut));
}

/** Pictures as the image encoder sees them: [pictures, 3, size, size], normalised channel by channel. */
export function normalised(pictures: readonly Uint8Array[]): Float32Array {
  const { size, mean, std } = preprocessing(config);
  const plane = size * size;
  const values = new Float32Array(pictures.length * 3 * plane);
  pictures.forEach((picture, n) => {
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < plane; i++)
        values[(n * 3 + c) * plane + i] = (picture[3 * i + c]! / 255 - mean[c]!) / std[c]!;
  });
  return values;
}
