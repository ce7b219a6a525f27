/** From SVG to pixels, once: 32×32 RGB on white, kept in a cache file. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DataError } from '../tensor/errors.js';
import type { Drawing } from './emoji.js';

/** Pixels of `count` images, [count, 3, size, size], 0…255. */
export interface Images {
  count: number;
  size: number;
  data: Uint8Array;
}

export interface RasteriseOptions {
  /** Pixels a side. */
  size: number;
  /** Folder of the cache. */
  cacheFolder: string;
  /** Anything that changes the pixels: versions of the packages. */
  key: string;
  /** Called with the number of finished images. */
  onProgress?: (done: number, total: number) => void;
}

const formatVersion = 1;

/**
 * Draws all SVGs, or reads them from the cache when it holds exactly these. A damaged cache file is made anew.
 * Drawings that cannot be rendered come out white and are listed in `broken`.
 * @throws DataError when sharp is missing or the cache folder cannot be written
 */
export async function rasterise(
  drawings: readonly Drawing[],
  options: RasteriseOptions,
): Promise<Images & { broken: number[]; cached: boolean }> {
  const { size, cacheFolder, key, onProgress } = options;
  const hash = createHash('sha256').update(`${formatVersion}|${size}|${key}|${drawings.length}`);
  for (const { style, concept } of drawings) hash.update(`${style}${concept},`);
  const path = join(cacheFolder, `emoji-${size}-${hash.digest('hex').slice(0, 16)}.bin`);
  const length = drawings.length * 3 * size * size;
  const cached = readCache(path, length);
  if (cached) return { count: drawings.length, size, data: cached, broken: [], cached: true };
  const data = new Uint8Array(length).fill(255);
  const broken = await draw(drawings, size, data, onProgress);
  if (broken.length === 0) writeCache(cacheFolder, path, data);
  return { count: drawings.length, size, data, broken, cached: false };
}

const checksum = (data: Uint8Array) => createHash('sha256').update(data).digest();

/** The cached pixels, or null when there are none or they are damaged. */
function readCache(path: string, length: number): Uint8Array | null {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch {
    return null; // not made yet
  }
  const data = new Uint8Array(bytes.buffer, bytes.byteOffset + 32, Math.max(0, bytes.length - 32));
  return data.length === length && bytes.subarray(0, 32).equals(checksum(data)) ? data : null;
}

function writeCache(folder: string, path: string, data: Uint8Array): void {
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${path}.partial`, Buffer.concat([checksum(data), data]));
    renameSync(`${path}.partial`, path);
  } catch (error) {
    throw new DataError('rasterise', {
      received: (error as Error).message,
      expected: 'a writable cache folder',
      hint: 'Name another with --cache.',
    });
  }
}

async function draw(
  drawings: readonly Drawing[],
  size: number,
  data: Uint8Array,
  onProgress?: RasteriseOptions['onProgress'],
): Promise<number[]> {
  const sharp = await import('sharp').then(
    (module) => module.default,
    () => {
      throw new DataError('rasterise', {
        received: 'no package sharp',
        expected: 'it, to draw the pictures',
        hint: 'Install it: npm install --save-dev sharp.',
      });
    },
  );
  const plane = size * size;
  const broken: number[] = [];
  let next = 0;
  let done = 0;
  const worker = async () => {
    while (next < drawings.length) {
      const index = next++;
      try {
        const pixels = await sharp(Buffer.from(drawings[index]!.svg), { density: 96 })
          .resize(size, size, { fit: 'contain', background: '#fff' })
          .flatten({ background: '#fff' })
          .removeAlpha()
          .toColourspace('srgb')
          .raw()
          .toBuffer();
        for (let c = 0; c < 3; c++)
          for (let i = 0; i < plane; i++) data[(index * 3 + c) * plane + i] = pixels[i * 3 + c]!;
      } catch {
        broken.push(index); // reported by the caller, by name
      }
      onProgress?.(++done, drawings.length);
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
  return broken.sort((a, b) => a - b);
}
