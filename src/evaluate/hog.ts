/** Histograms of oriented gradients: what pictures were searched by before encoders were trained, and a stricter bar than raw pixels. */
import { tensor } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import { ShapeError } from '../tensor/errors.js';

const bins = 9;
const wantedCell = 8; // pixels a side
const clip = 0.2;

/**
 * Histograms of oriented gradients as unit vectors, whose products are similarities.
 *
 * 1. Gradient g = (I(x+1, y) − I(x−1, y), I(x, y+1) − I(x, y−1)), the border repeated; of the channels the one with the largest |g|.
 * 2. Each pixel votes |g| for its orientation θ mod 180° in 9 bins of 20°, shared linearly between the two bins whose centres (10°, 30°, …)
 *    are next to θ, and between the four cells of 8 × 8 pixels whose centres are next to the pixel. What falls outside is dropped.
 * 3. Blocks of 2 × 2 cells overlap by one cell: v ← v / √(‖v‖² + ε²), clipped at 0.2, and again (L2-Hys), ε = 10⁻³ of an intensity in [0, 1].
 * 4. All blocks of a picture in one vector, at unit length; a picture without gradients has zeros.
 *
 * | symbol | code   | shape                            |                                       |
 * |--------|--------|----------------------------------|---------------------------------------|
 * | I      | pixels | [count, side, side, channels]    | 0 … 255                               |
 * | v      | return | [count, blocks² · 2 · 2 · 9]     | side 32: 4² cells, 3² blocks, 324 numbers |
 *
 * Sides that are no multiple of 8 have as many cells as fit, a little larger; pictures of a single cell are one block of it. The
 * publication weighs votes by a Gaussian window over each block, which is left out here.
 * @throws ShapeError for pictures that are not square
 * @source Dalal & Triggs 2005, "Histograms of oriented gradients for human detection", section 6
 */
export function hogFeatures(pixels: ArrayLike<number>, count: number, side: number): Tensor {
  const length = pixels.length / count;
  const channels = length / side ** 2;
  if (!(count > 0 && side > 0 && Number.isInteger(channels) && channels > 0))
    throw new ShapeError('hogFeatures', {
      received: `${pixels.length} numbers for ${count} pictures of side ${side}`,
      expected: 'pixels of [count, side, side, channels]',
    });
  const cells = Math.max(1, Math.floor(side / wantedCell));
  const perBlock = Math.min(2, cells);
  const width = (cells - perBlock + 1) ** 2 * perBlock ** 2 * bins;
  const features = new Float32Array(count * width);
  const places = Array.from({ length: side }, (_, i) =>
    shared(((i + 0.5) / side) * cells).filter(([cell]) => cell >= 0 && cell < cells),
  );
  for (let i = 0; i < count; i++) {
    const votes = new Float64Array(cells ** 2 * bins);
    for (const { x, y, size, orientation } of gradients(pixels, i * length, side, channels)) {
      const binShares = shared(orientation);
      for (const [row, rowShare] of places[y]!)
        for (const [column, columnShare] of places[x]!)
          for (const [bin, binShare] of binShares)
            votes[(row * cells + column) * bins + ((bin + bins) % bins)]! += size * rowShare * columnShare * binShare;
    }
    features.set(blockVectors(votes, cells, perBlock), i * width);
  }
  return tensor(features, { shape: [count, width] });
}

/** The two centres next to a position in units of their distance, the first centre at ½: index and share of each. */
function shared(position: number): [number, number][] {
  const lower = Math.floor(position - 0.5);
  const upperShare = position - 0.5 - lower;
  return [
    [lower, 1 - upperShare],
    [lower + 1, upperShare],
  ];
}

/** |g| and θ in bins, [0, 9), of the pixels that have a gradient; `first` is where the picture, [side, side, channels], begins. */
function* gradients(pixels: ArrayLike<number>, first: number, side: number, channels: number) {
  for (let y = 0; y < side; y++) {
    const [above, below] = [Math.max(0, y - 1) * side, Math.min(side - 1, y + 1) * side];
    for (let x = 0; x < side; x++) {
      const [left, right] = [Math.max(0, x - 1), Math.min(side - 1, x + 1)];
      let [dx, dy] = [0, 0];
      for (let c = first; c < first + channels; c++) {
        const gx = pixels[c + (y * side + right) * channels]! - pixels[c + (y * side + left) * channels]!;
        const gy = pixels[c + (below + x) * channels]! - pixels[c + (above + x) * channels]!;
        if (gx ** 2 + gy ** 2 > dx ** 2 + dy ** 2) [dx, dy] = [gx, gy];
      }
      // 180° is 0°: the direction across an edge has no sign.
      const orientation = ((Math.atan2(dy, dx) / Math.PI + 1) % 1) * bins;
      if (dx !== 0 || dy !== 0) yield { x, y, size: Math.sqrt(dx ** 2 + dy ** 2) / 255, orientation };
    }
  }
}

function normalise(v: Float64Array, epsilon: number): Float64Array {
  const norm = Math.sqrt(v.reduce((sum, x) => sum + x * x, 0) + epsilon ** 2);
  return norm === 0 ? v : v.map((x) => x / norm);
}

/** L2-Hys of every block, one after the other, at unit length together. */
function blockVectors(votes: Float64Array, cells: number, perBlock: number): Float64Array {
  const blocks = cells - perBlock + 1;
  const length = perBlock ** 2 * bins;
  const all = new Float64Array(blocks ** 2 * length);
  for (let row = 0; row < blocks; row++)
    for (let column = 0; column < blocks; column++) {
      const block = new Float64Array(length);
      for (let r = 0; r < perBlock; r++) {
        const first = ((row + r) * cells + column) * bins;
        block.set(votes.subarray(first, first + perBlock * bins), r * perBlock * bins);
      }
      const clipped = normalise(block, 1e-3).map((x) => Math.min(x, clip));
      all.set(normalise(clipped, 1e-3), (row * blocks + column) * length);
    }
  return normalise(all, 0);
}
