/** Pictures drawn at random: discs, squares and crosses, of any size and place, with noise. */
import { tensor, uniform } from 'hopgrad';

export const kinds = ['disc', 'square', 'cross'];
export const size = 12;

const inside = {
  disc: (x, y) => x * x + y * y < 1,
  square: (x, y) => Math.max(Math.abs(x), Math.abs(y)) < 0.85,
  cross: (x, y) => Math.min(Math.abs(x), Math.abs(y)) < 0.3 && Math.max(Math.abs(x), Math.abs(y)) < 1,
};

/** @returns images [count, 1, size, size] in [0, 1] and labels [count], int32 */
export function drawShapes(count, { noise = 0.1 } = {}) {
  const numbers = uniform([count, 4], { device: 'reference' }).dataSync();
  const pixels = uniform([count, size, size], { low: 0, high: noise, device: 'reference' }).dataSync();
  const labels = Int32Array.from({ length: count }, (_, i) => Math.floor(numbers[4 * i] * kinds.length));
  for (let i = 0; i < count; i++) {
    const radius = 2.5 + 2 * numbers[4 * i + 1];
    const [cx, cy] = [2, 3].map((n) => radius + numbers[4 * i + n] * (size - 1 - 2 * radius));
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++)
        if (inside[kinds[labels[i]]]((x - cx) / radius, (y - cy) / radius))
          pixels[(i * size + y) * size + x] += 1 - noise;
  }
  return { images: tensor(pixels, { shape: [count, 1, size, size] }), labels: tensor(labels) };
}
