/** From SVG to pixels, once: RGB, kept in a cache file. */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Colour } from '../models/cloob/config.js';
import { DataError } from '../tensor/errors.js';
import { Preparer } from './preparer.js';
import { loadSharp } from './sharp.js';
import type { TransformOptions } from './transforms.js';

/** Pixels of `count` images, [count, size, size, 3], 0…255. */
export interface Images {
  count: number;
  size: number;
  data: Uint8Array;
}

export interface RasteriseOptions {
  /** Pixels a side. */
  size: number;
  /** Under transparent parts; null: opacity is dropped. Default white. */
  background?: Colour | null;
  /** Folder of the cache. */
  cacheFolder: string;
  /** Threads. Default: one fewer than processors. */
  workers?: number;
  /** Called with the number of finished images. */
  onProgress?: (done: number, total: number) => void;
}

/** To be raised when other pixels come out of the code here. */
const formatVersion = 2;

const white: Colour = [255, 255, 255];

/**
 * Draws all SVGs as the loader draws SVG files (`decode.ts`, `transforms.ts`), or reads them from the cache when it holds
 * exactly these, drawn by exactly this sharp. A damaged cache file is made anew; processes may do so at the same time.
 * Drawings that cannot be rendered come out white and are listed in `broken`, and then nothing is cached.
 * @throws DataError when sharp is missing or the cache folder cannot be written
 */
export async function rasterise(
  drawings: readonly { svg: string }[],
  { size, background = white, cacheFolder, workers, onProgress }: RasteriseOptions,
): Promise<Images & { broken: number[]; cached: boolean }> {
  const { versions } = await loadSharp();
  const drawn = [formatVersion, size, versions, ...(String(background) === String(white) ? [] : [background])];
  const hash = createHash('sha256').update(JSON.stringify(drawn));
  for (const { svg } of drawings) hash.update(svg).update('\0');
  const path = join(cacheFolder, `emoji-${size}-${hash.digest('hex').slice(0, 16)}.bin`);
  const length = drawings.length * 3 * size * size;
  const images = { count: drawings.length, size };
  const cached = await readCache(path, length);
  if (cached) return { ...images, data: cached, broken: [], cached: true };
  const data = new Uint8Array(length).fill(255);
  const broken = await draw(drawings, { size, background }, data, workers, onProgress);
  if (broken.length === 0) await writeCache(cacheFolder, path, data);
  return { ...images, data, broken, cached: false };
}

const checksum = (data: Uint8Array) => createHash('sha256').update(data).digest();

/** The cached pixels, or null when there are none or they are damaged. */
async function readCache(path: string, length: number): Promise<Uint8Array | null> {
  const bytes = await readFile(path).catch(() => null); // not made yet
  if (bytes === null) return null;
  const data = bytes.subarray(32);
  return data.length === length && bytes.subarray(0, 32).equals(checksum(data))
    ? new Uint8Array(data.buffer, data.byteOffset, length)
    : null;
}

async function writeCache(folder: string, path: string, data: Uint8Array): Promise<void> {
  const partial = `${path}.${randomUUID()}.partial`; // a name of its own: another process may be writing the same
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(partial, Buffer.concat([checksum(data), data]));
    await rename(partial, path);
  } catch (error) {
    await rm(partial, { force: true }).catch(() => {}); // the first error is the one to tell
    throw new DataError('rasterise', {
      received: (error as Error).message,
      expected: 'a writable cache folder',
      hint: 'Name another with --cache.',
    });
  }
}

/** Draws into `data`; returns the drawings that failed. */
async function draw(
  drawings: readonly { svg: string }[],
  transform: Pick<TransformOptions, 'size' | 'background'>,
  data: Uint8Array,
  workers: number | undefined,
  onProgress?: RasteriseOptions['onProgress'],
): Promise<number[]> {
  const preparer = new Preparer(workers);
  const plane = transform.size ** 2;
  const broken: number[] = [];
  let next = 0;
  let done = 0;
  const inTurn = async () => {
    while (next < drawings.length) {
      const index = next++;
      const prepared = await preparer.run({ image: { bytes: Buffer.from(drawings[index]!.svg) }, transform });
      if ('pixels' in prepared)
        for (let i = 0; i < plane; i++)
          for (let c = 0; c < 3; c++) data[(index * plane + i) * 3 + c] = prepared.pixels[c * plane + i]!;
      else broken.push(index); // reported by the caller, by name
      onProgress?.(++done, drawings.length);
    }
  };
  try {
    await Promise.all(Array.from({ length: 16 }, inTurn));
  } finally {
    await preparer.close();
  }
  return broken.sort((a, b) => a - b);
}
