/**
 * The official transforms, from a decoded picture to what the encoders see:
 *
 * - training: RandomResizedCrop(S, scale (0.9, 1), ratio (3/4, 4/3), bicubic), RGB, ÷255, normalise (of drawings, on request,
 *   turned views instead: `augment.ts`);
 * - evaluation: Resize(S, bicubic) of the shorter side, CenterCrop(S), RGB, ÷255, normalise.
 *
 * Given the same crop, results equal those of torchvision on Pillow pictures in every bit, with two exceptions, both on
 * purpose: pictures with a palette and 16-bit pictures (Pillow resizes the former by nearest neighbour and cuts the latter
 * at 255; here both become 8-bit colours first). As there, opacity is dropped after resizing (transparent parts come out
 * black where resizing touched them), EXIF orientation and colour profiles are ignored; `background` and `orient` change that.
 *
 * @source torchvision.transforms 0.14; Pillow 9.4; the official CLOOB code, clip/clip.py and training/data.py
 */
import { type Colour, clipMean, clipStd } from '../models/cloob/config.js';
import type { Random } from '../tensor/random.js';
import { turnedView } from './augment.js';
import type { ColourMode, DecodeOptions, Picture } from './decode.js';
import { type Box, type Raster, resizeBicubic } from './resample.js';

/** How a picture becomes what a model sees. */
export interface TransformOptions extends Omit<DecodeOptions, 'drawnSide'> {
  /** Pixels a side of the result, S. */
  size: number;
  /** What training sees: random crops, as officially, or turned and tinted views, for drawings. Default `crop`. */
  view?: 'crop' | 'turned';
  /** Share of the picture's area that a training crop covers, [low, high]. Default [0.9, 1]. */
  scale?: readonly [number, number];
  /** Width over height of a training crop, [low, high]. Default [3/4, 4/3]. */
  ratio?: readonly [number, number];
  /** Colour 0 … 255 laid under transparent parts before anything else. Default null: opacity is dropped, as officially. */
  background?: Colour | null;
  /** Mean and deviation of the channels of 0 … 1 pixels. Default CLIP's. */
  mean?: Colour;
  std?: Colour;
}

/** Python's round: halves go to the even neighbour. */
function roundHalfEven(x: number): number {
  const nearest = Math.round(x);
  return nearest - x === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
}

/**
 * The box of RandomResizedCrop: an area share uniform in `scale`, a log aspect uniform in log `ratio`; ten attempts to fit,
 * then the largest central box within `ratio`. Draws `uniform` four times for a box that fits, twice for one that does not.
 */
export function randomCropBox(
  width: number,
  height: number,
  uniform: () => number,
  { scale = [0.9, 1], ratio = [3 / 4, 4 / 3] }: Pick<TransformOptions, 'scale' | 'ratio'> = {},
): Box {
  const between = ([low, high]: readonly [number, number]) => low + (high - low) * uniform();
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = width * height * between(scale);
    const aspect = Math.exp(between([Math.log(ratio[0]), Math.log(ratio[1])]));
    const [w, h] = [roundHalfEven(Math.sqrt(area * aspect)), roundHalfEven(Math.sqrt(area / aspect))];
    if (w > 0 && w <= width && h > 0 && h <= height) {
      const top = Math.floor(uniform() * (height - h + 1));
      return { left: Math.floor(uniform() * (width - w + 1)), top, width: w, height: h };
    }
  }
  const w = Math.min(width, roundHalfEven(height * ratio[1]));
  const h = Math.min(height, roundHalfEven(width / ratio[0]));
  return { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
}

const whole = ({ width, height }: Raster): Box => ({ left: 0, top: 0, width, height });
const timesOver255 = (a: number, b: number) => {
  const t = a * b + 128; // Pillow's MULDIV255: a·b/255, rounded
  return ((t >> 8) + t) >> 8;
};

/** Every pixel of an interleaved picture changed in place. */
function eachPixel(picture: Picture, change: (data: Raster['data'], at: number, alpha: number) => void): Picture {
  const { data, channels } = picture;
  for (let at = 0; at < data.length; at += channels) change(data, at, at + channels - 1);
  return picture;
}

/** Resizing with opacity weights colours by it: colours × opacity, resize, ÷ opacity. */
function resize(picture: Picture, crop: Box, width: number, height: number, window?: Box): Picture {
  const { mode } = picture;
  const unchanged = crop.width === width && crop.height === height && !window;
  if (!mode.endsWith('A') || unchanged) return { mode, ...resizeBicubic(picture, crop, width, height, window) };
  // Not slice(): of a Buffer, which decoding gives, that is the same memory.
  const weighted = eachPixel({ ...picture, data: new Uint8Array(picture.data) }, (data, at, alpha) => {
    for (let i = at; i < alpha; i++) data[i] = timesOver255(data[i]!, data[alpha]!);
  });
  return eachPixel({ mode, ...resizeBicubic(weighted, crop, width, height, window) }, (data, at, alpha) => {
    const a = data[alpha]!;
    if (a > 0 && a < 255) for (let i = at; i < alpha; i++) data[i] = Math.min(255, Math.floor((255 * data[i]!) / a));
  });
}

/** The evaluation transform up to RGB: shorter side to S, central S×S. */
function resizeAndCrop(picture: Picture, size: number): Picture {
  const { width, height } = picture;
  if (width === size && height === size) return picture;
  const long = Math.trunc((size * Math.max(width, height)) / Math.min(width, height));
  const [w, h] = width <= height ? [size, long] : [long, size];
  const window = { left: roundHalfEven((w - size) / 2), top: roundHalfEven((h - size) / 2), width: size, height: size };
  if (w === width && h === height) return resize(picture, { ...window }, size, size); // cut only
  return resize(picture, whole(picture), w, h, window);
}

/** Laid over a colour: opacity × own + (1 − opacity) × background. */
function flatten(picture: Picture, background: Colour): Picture {
  if (!picture.mode.endsWith('A')) return picture;
  const { data, width, height, channels } = picture;
  const out = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    const alpha = data[(i + 1) * channels - 1]!;
    for (let c = 0; c < 3; c++) {
      const own = data[i * channels + (channels === 4 ? c : 0)]!;
      out[i * 3 + c] = Math.round((own * alpha + background[c]! * (255 - alpha)) / 255);
    }
  }
  return { data: out, width, height, channels: 3, mode: 'RGB' };
}

/** What channel of a pixel at `at` is red, green or blue, by mode; Pillow's `convert('RGB')`. */
const toRgb: Record<ColourMode, (data: Raster['data'], at: number, colour: number) => number> = {
  L: (data, at) => data[at]!,
  LA: (data, at) => data[at]!,
  RGB: (data, at, colour) => data[at + colour]!,
  RGBA: (data, at, colour) => data[at + colour]!,
  CMYK: (data, at, colour) => {
    const light = 255 - data[at + 3]!;
    return light - timesOver255(data[at + colour]!, light);
  },
};

/** Interleaved pixels of any mode to RGB planes, [3, height, width]. */
function planes({ data, width, height, channels, mode }: Picture): Uint8Array {
  const plane = width * height;
  const out = new Uint8Array(3 * plane);
  const colourOf = toRgb[mode];
  for (let colour = 0; colour < 3; colour++)
    for (let i = 0; i < plane; i++) out[colour * plane + i] = colourOf(data, i * channels, colour);
  return out;
}

/** `box` of a picture, resized to S×S: RGB planes [3, S, S], 0 … 255. */
export function cropTransform(picture: Picture, box: Box, size: number): Uint8Array {
  return planes(resize(picture, box, size, size));
}

/** The training transform, up to normalisation: RGB planes [3, S, S], 0 … 255. */
export function trainTransform(picture: Picture, random: Random, options: TransformOptions): Uint8Array {
  const { size, background, view = 'crop' } = options;
  if (view === 'turned')
    return turnedView(
      evalTransform(picture, options),
      size,
      random,
      background === null ? black : (background ?? white),
    );
  const flat = background ? flatten(picture, background) : picture;
  return cropTransform(
    flat,
    randomCropBox(flat.width, flat.height, () => random.uniform(), options),
    size,
  );
}

const white: Colour = [255, 255, 255];
const black: Colour = [0, 0, 0];

/** The evaluation transform, up to normalisation: RGB planes [3, S, S], 0 … 255. */
export function evalTransform(picture: Picture, { size, background }: TransformOptions): Uint8Array {
  return planes(resizeAndCrop(background ? flatten(picture, background) : picture, size));
}

/** (v/255 − mean)/std for every byte v, in float32 steps as torch takes them. */
function normalised(mean: number, std: number): Float32Array {
  const [m, s] = [Math.fround(mean), Math.fround(std)];
  return Float32Array.from({ length: 256 }, (_, v) => Math.fround(Math.fround(v / 255) - m) / s);
}

/** Writes RGB planes [3, S, S], 0 … 255, as the encoder wants them to `out` at `offset`: (v/255 − mean)/std. */
export type Normalise = (pixels: Uint8Array, out: Float32Array, offset?: number) => void;

/** The normalisation with a mean and deviation of each channel. */
export function normaliser({ mean = clipMean, std = clipStd }: Pick<TransformOptions, 'mean' | 'std'> = {}): Normalise {
  const tables = mean.map((m, c) => normalised(m, std[c]!));
  return (pixels, out, offset = 0) => {
    const plane = pixels.length / 3;
    tables.forEach((table, c) => {
      for (let i = c * plane; i < (c + 1) * plane; i++) out[offset + i] = table[pixels[i]!]!;
    });
  };
}
