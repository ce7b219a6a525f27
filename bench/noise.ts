/** Batches of random pixels and words: the arithmetic is that of any others. */
import { Random, randn } from 'hopgrad';
import type { Group } from 'hopgrad/distributed';
import type { Batches } from '#src/train/trainer.js';

/** One batch an epoch of so many pairs; on ranks each has its part. */
export function noise(
  pairs: number,
  side: number,
  { rank, size }: Pick<Group, 'rank' | 'size'> = { rank: 0, size: 1 },
): Batches {
  const random = new Random(1 + rank);
  const word = () => String.fromCharCode(...Array.from({ length: 5 }, () => 97 + random.int(26)));
  const count = pairs / size;
  return {
    source: { name: 'noise', size: pairs },
    batchesPerEpoch: 1,
    async *batches({ epoch }) {
      const shape = [count, 3, side, side];
      const images = (await randn(shape, { seed: epoch * size + rank, device: 'reference' }).data()) as Float32Array;
      const captions = Array.from({ length: count }, () => Array.from({ length: 12 }, word).join(' '));
      const next = { epoch, row: pairs, bad: 0 };
      const places = Array.from({ length: count }, (_, i) => i * size + rank);
      const told = { names: captions, labels: new Int32Array(count), indices: [] };
      yield { count, of: pairs, places, images, captions, ...told, next };
    },
  };
}
