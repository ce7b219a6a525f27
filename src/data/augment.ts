/** From stored pixels to what the model sees: random crops and light, then CLIP's normalisation. */
import type { Random } from '../tensor/random.js';
import type { Images } from './rasterise.js';

/** Mean and deviation of each channel of 0…1 pixels, as CLIP uses them. */
export const clipMean = [0.48145466, 0.4578275, 0.40821073] as const;
export const clipStd = [0.26862954, 0.26130258, 0.27577711] as const;

/** Image `index`, normalised, into `out` at `offset`: (pixel/255 − mean)/std. */
export function normaliseInto(out: Float32Array, offset: number, { data, size }: Images, index: number): void {
  const plane = size * size;
  for (let c = 0; c < 3; c++)
    for (let i = 0; i < plane; i++)
      out[offset + c * plane + i] = (data[(index * 3 + c) * plane + i]! / 255 - clipMean[c]!) / clipStd[c]!;
}

/**
 * A random view of image `index`: scaled by 0.8 to 1.15, moved, turned by up to 10°, and lightened or tinted a little.
 * Bilinear; outside the picture is white. No mirroring: a left arrow is not a right arrow.
 */
export function augmentInto(
  out: Float32Array,
  offset: number,
  { data, size }: Images,
  index: number,
  random: Random,
): void {
  const plane = size * size;
  const scale = 1 / (0.8 + 0.35 * random.uniform());
  const angle = ((random.uniform() * 2 - 1) * 10 * Math.PI) / 180;
  const shift = () => (random.uniform() * 2 - 1) * 0.08 * size;
  const [shiftX, shiftY] = [shift(), shift()];
  const gain = [0, 1, 2].map(() => 0.9 + 0.2 * random.uniform());
  const light = (random.uniform() * 2 - 1) * 0.08;
  const [cos, sin] = [Math.cos(angle) * scale, Math.sin(angle) * scale];
  const centre = (size - 1) / 2;
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++) {
      const [dx, dy] = [x - centre - shiftX, y - centre - shiftY];
      const [sx, sy] = [centre + cos * dx - sin * dy, centre + sin * dx + cos * dy];
      const [x0, y0] = [Math.floor(sx), Math.floor(sy)];
      const [fx, fy] = [sx - x0, sy - y0];
      const inside = x0 >= 0 && y0 >= 0 && x0 < size - 1 && y0 < size - 1;
      for (let c = 0; c < 3; c++) {
        let value = 255;
        if (inside) {
          const at = (index * 3 + c) * plane + y0 * size + x0;
          value =
            (1 - fy) * ((1 - fx) * data[at]! + fx * data[at + 1]!) +
            fy * ((1 - fx) * data[at + size]! + fx * data[at + size + 1]!);
        }
        const lit = Math.min(1, Math.max(0, (value / 255) * gain[c]! + light));
        out[offset + c * plane + y * size + x] = (lit - clipMean[c]!) / clipStd[c]!;
      }
    }
}
