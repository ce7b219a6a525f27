/** From the bytes of a picture file to pixels, through sharp (libvips); formats: JPEG, PNG, WebP, GIF, AVIF, TIFF, SVG. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import type { Sharp, SharpOptions } from 'sharp';
import { regularFile } from '../formats/files.js';
import { DataError } from '../tensor/errors.js';
import type { Raster } from './resample.js';
import { loadSharp, type SharpFactory } from './sharp.js';

/** How the channels of a picture are to be read: grey, colours of light, or inks; with an opacity at the end. */
export type ColourMode = 'L' | 'LA' | 'RGB' | 'RGBA' | 'CMYK';

/** A decoded picture, straight (not premultiplied) alpha. */
export interface Picture extends Raster {
  mode: ColourMode;
}

/** Where a picture comes from: a file, the bytes of one, or pixels. */
export type ImageInput = { path: string } | { bytes: Uint8Array } | { pixels: Picture };

/** How a picture file becomes pixels. */
export interface DecodeOptions {
  /** Turn the picture as its EXIF orientation says. The official code does so for TIFF only, which is the default. */
  orient?: boolean;
  /** Pictures with more pixels are refused (memory: 3 to 4 bytes a pixel and worker). Default 178,956,970, as in Pillow. */
  maxPixels?: number;
  /** Drawings without pixels of their own (SVG) are drawn so that their shorter side has so many. Default: one a unit. */
  drawnSide?: number;
}

const reason = (error: unknown) => (error as Error).message.trim().split('\n')[0]!;

/** Largest file of a picture, 256 MiB. */
const mostBytes = 2 ** 28;
/** Longest side, as in JPEG. Beyond, scaling the shorter side to the model's would make pictures without end. */
const longestSide = 65535;

/** Asynchronous, so that files are read side by side; pipes and devices, which may never end, are refused before. */
async function bytesOf(image: { path: string } | { bytes: Uint8Array }): Promise<Uint8Array> {
  if ('bytes' in image) return image.bytes;
  const { path } = image;
  if (!existsSync(path)) throw new DataError('decode', { received: `no such file, ${path}`, expected: 'a picture' });
  const { size } = regularFile('decode', path);
  if (size > mostBytes)
    throw new DataError('decode', { received: `${path} of ${size} bytes`, expected: `at most ${mostBytes}` });
  return readFile(path).catch((error: Error) => {
    throw new DataError('decode', { received: `unreadable file, ${reason(error)}`, expected: 'a picture' });
  });
}

/** SVG dots per inch at which the shorter side gets `drawnSide` pixels; 72 draws one pixel a unit. */
const densityFor = (shorter: number, drawnSide: number) => Math.min(100_000, Math.max(1, (72 * drawnSide) / shorter));

/**
 * Opens, and chooses the colours that come out, `space` being those of the file: inks stay inks, embedded profiles are ignored, TIFF files are turned as
 * their orientation says, as in Pillow.
 */
async function open(
  sharp: SharpFactory,
  bytes: Uint8Array,
  options: SharpOptions,
  { orient, drawnSide }: DecodeOptions,
): Promise<{ image: Sharp; space: string }> {
  const { format, space, width, height, depth } = await sharp(bytes, {
    ...options,
    limitInputPixels: false,
  }).metadata();
  if (Math.max(width, height) > longestSide)
    throw new DataError('decode', {
      received: `${width} × ${height} pixels`,
      expected: `sides of at most ${longestSide}`,
    });
  if (!/^u(char|short)$/.test(depth) || (space === 'cmyk' && depth !== 'uchar'))
    throw new DataError('decode', {
      received: `${space} pixels of type ${depth}`,
      expected: '8 or 16 bits a channel, of inks 8',
    });
  const density = format === 'svg' && drawnSide ? { density: densityFor(Math.min(width, height), drawnSide) } : {};
  const plain = sharp(bytes, { ...options, ...density });
  const image = orient || format === 'tiff' ? plain.autoOrient() : plain;
  return { image: space === 'cmyk' ? image.pipelineColourspace('cmyk').toColourspace('cmyk') : image, space };
}

/**
 * Decodes a picture. Pixels of JPEG, PNG and WebP files are those that Pillow reads, bit for bit (baseline, progressive,
 * grey and CMYK JPEG; PNG with 8 bits; lossy and lossless WebP). Of 16-bit channels the upper byte is kept.
 * Animations give their first frame. Numbers that are no whole ones (float TIFF) and inks of 16 bits are refused.
 *
 * @throws DataError for a missing, broken, truncated or too large file, or when sharp is not installed
 */
export async function decode(
  image: ImageInput,
  { orient = false, maxPixels = 178_956_970, drawnSide }: DecodeOptions = {},
): Promise<Picture> {
  if ('pixels' in image) return image.pixels;
  const sharp = await loadSharp();
  const bytes = await bytesOf(image);
  try {
    const options: SharpOptions = { failOn: 'error', ignoreIcc: true, limitInputPixels: maxPixels };
    const opened = await open(sharp, bytes, options, { orient, ...(drawnSide && { drawnSide }) });
    const { data, info } = await opened.image.raw().toBuffer({ resolveWithObject: true });
    const modes: ColourMode[] = ['L', 'LA', 'RGB', opened.space === 'cmyk' ? 'CMYK' : 'RGBA'];
    return { ...info, data, mode: modes[info.channels - 1]! };
  } catch (error) {
    if (error instanceof DataError) throw error;
    throw new DataError('decode', { received: reason(error), expected: 'a whole picture in a known format' });
  }
}
