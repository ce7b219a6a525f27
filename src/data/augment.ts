/** Random views of drawings. A crop of a drawing with a margin is nearly the drawing: these vary more. */
import type { Random } from '../tensor/random.js';

/**
 * A random view of a picture: scaled by 0.8 to 1.15, moved by up to 8 % of its side, turned by up to 10°, and lightened or
 * tinted a little. Bilinear. No mirroring: a left arrow is not a right arrow.
 * @param planes  RGB, [3, size, size], 0 … 255
 * @param outside colour beyond the edges
 * @returns the same shape
 */
export function turnedView(
  planes: Uint8Array,
  size: number,
  random: Random,
  outside: readonly [number, number, number],
): Uint8Array {
  const plane = size * size;
  const out = new Uint8Array(planes.length);
  const scale = 1 / (0.8 + 0.35 * random.uniform());
  const angle = ((random.uniform() * 2 - 1) * 10 * Math.PI) / 180;
  const shift = () => (random.uniform() * 2 - 1) * 0.08 * size;
  const [shiftX, shiftY] = [shift(), shift()];
  const gain = [0, 1, 2].map(() => 0.9 + 0.2 * random.uniform());
  const light = (random.uniform() * 2 - 1) * 0.08 * 255;
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
        let value = outside[c]!;
        if (inside) {
          const at = c * plane + y0 * size + x0;
          value =
            (1 - fy) * ((1 - fx) * planes[at]! + fx * planes[at + 1]!) +
            fy * ((1 - fx) * planes[at + size]! + fx * planes[at + size + 1]!);
        }
        out[c * plane + y * size + x] = Math.round(Math.min(255, Math.max(0, value * gain[c]! + light)));
      }
    }
  return out;
}
