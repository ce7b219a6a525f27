/**
 * Antialiased bicubic resizing of 8-bit pictures, equal to Pillow's `Image.resize(…, BICUBIC)` in every bit.
 *
 * Each output pixel is a weighted mean of input pixels, first along rows, then along columns:
 *
 *     y[i] = Σ_j k((j + ½ − c_i)/s) x[j] / Σ_j k((j + ½ − c_i)/s),   c_i = (i + ½)·r,   r = inputs / outputs,   s = max(r, 1)
 *
 * | symbol | code         | meaning                                                                       |
 * | ------ | ------------ | ----------------------------------------------------------------------------- |
 * | k      | `cubic`      | Keys' cubic with a = −½: zero beyond 2, one at 0, zero at ±1                  |
 * | r      | `ratio`      | input pixels an output pixel                                                  |
 * | s      | `stretch`    | shrinking widens the kernel (no aliasing), enlarging does not narrow it       |
 * |        | `fixedPoint` | weights are integers over 2²², and each pass rounds to 8 bits, as Pillow does |
 *
 * @source Keys, "Cubic convolution interpolation for digital image processing", 1981; Pillow, src/libImaging/Resample.c
 */

/** A rectangle in pixels. */
export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/** 8-bit pixels, interleaved: [height, width, channels]; those of a canvas are clamped ones. */
export interface Raster {
  data: Uint8Array | Uint8ClampedArray;
  width: number;
  height: number;
  channels: number;
}

const fixedPoint = 22;

function cubic(x: number): number {
  const t = Math.abs(x);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  return t < 2 ? (((t - 5) * t + 8) * t - 4) * -0.5 : 0;
}

/** For each output position: the first input it reads, how many, and their weights (at `stride`·position). */
interface Weights {
  first: Int32Array;
  count: Int32Array;
  weight: Int32Array;
  stride: number;
}

/** Weights of outputs `start` … `start + length` of a line of `inputs` resized to `outputs`. */
function weightsOf(inputs: number, outputs: number, start: number, length: number): Weights {
  const ratio = inputs / outputs;
  const stretch = Math.max(ratio, 1);
  const support = 2 * stretch;
  const stride = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(length);
  const count = new Int32Array(length);
  const weight = new Int32Array(length * stride);
  for (let i = 0; i < length; i++) {
    const centre = (start + i + 0.5) * ratio;
    const from = Math.max(0, Math.trunc(centre - support + 0.5));
    const taps = Math.min(inputs, Math.trunc(centre + support + 0.5)) - from;
    const raw = Array.from({ length: taps }, (_, j) => cubic((j + from - centre + 0.5) * (1 / stretch)));
    const total = raw.reduce((sum, w) => sum + w, 0);
    raw.forEach((w, j) => {
      const scaled = (w / total) * 2 ** fixedPoint;
      weight[i * stride + j] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
    first[i] = from;
    count[i] = taps;
  }
  return { first, count, weight, stride };
}

/** The integer sum as an 8-bit pixel. */
const clip8 = (sum: number) => Math.min(255, Math.max(0, sum >> fixedPoint));
const half = 1 << (fixedPoint - 1);

/** Rows `top` … `top + rows` of the part of the picture that begins at column `left`, resized horizontally. */
function resizeRows(image: Raster, left: number, top: number, rows: number, weights: Weights): Uint8Array {
  const { first, count, weight, stride } = weights;
  const { data, width, channels } = image;
  const out = new Uint8Array(rows * first.length * channels);
  const [second, third, fourth] = [1, 2, 3].map((c) => Math.min(c, channels - 1)) as [number, number, number];
  let at = 0;
  for (let y = 0; y < rows; y++) {
    const row = ((top + y) * width + left) * channels;
    for (let x = 0; x < first.length; x++) {
      let [red, green, blue, alpha] = [half, half, half, half]; // as many as there are channels, the rest repeat the last
      const end = x * stride + count[x]!;
      for (let j = x * stride, from = row + first[x]! * channels; j < end; j++, from += channels) {
        const w = weight[j]!;
        red = (red + Math.imul(data[from]!, w)) | 0;
        green = (green + Math.imul(data[from + second]!, w)) | 0;
        blue = (blue + Math.imul(data[from + third]!, w)) | 0;
        alpha = (alpha + Math.imul(data[from + fourth]!, w)) | 0;
      }
      out[at] = clip8(red);
      out[at + second] = clip8(green);
      out[at + third] = clip8(blue);
      out[at + fourth] = clip8(alpha);
      at += channels;
    }
  }
  return out;
}

/** Lines of `length` bytes, of which the first is row `top` of the picture, resized vertically. */
function resizeColumns(lines: Uint8Array, length: number, top: number, { first, count, weight, stride }: Weights) {
  const out = new Uint8Array(first.length * length);
  const sums = new Int32Array(length);
  for (let y = 0; y < first.length; y++) {
    sums.fill(half);
    for (let j = 0; j < count[y]!; j++) {
      const w = weight[y * stride + j]!;
      const from = (first[y]! - top + j) * length;
      for (let x = 0; x < length; x++) sums[x] = (sums[x]! + Math.imul(lines[from + x]!, w)) | 0;
    }
    for (let x = 0; x < length; x++) out[y * length + x] = clip8(sums[x]!);
  }
  return out;
}

/**
 * The part `crop` of a picture resized to `width`×`height` (nothing outside the crop is read, as if it had been cut out
 * first), or only the part `window` of that result: what would be cut away is not computed.
 *
 * O(rows · width · taps) with taps ≈ 4·max(r, 1).
 */
export function resizeBicubic(
  image: Raster,
  crop: Box,
  width: number,
  height: number,
  window: Box = { left: 0, top: 0, width, height },
): Raster {
  const across = weightsOf(crop.width, width, window.left, window.width);
  const down = weightsOf(crop.height, height, window.top, window.height);
  const last = window.height - 1;
  const top = down.first[0]!; // only the rows that the vertical pass reads
  const rows = down.first[last]! + down.count[last]! - top;
  const lines = resizeRows(image, crop.left, crop.top + top, rows, across);
  const data = resizeColumns(lines, window.width * image.channels, top, down);
  return { data, width: window.width, height: window.height, channels: image.channels };
}
