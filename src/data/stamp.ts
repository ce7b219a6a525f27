/** Whether a picture is still the same, without looking at it. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import type { ImageInput } from './decode.js';

/** Length and time of change of a file, or a digest of what is in memory; null for a file that is not there. */
export async function stampOf(image: ImageInput): Promise<string | null> {
  if ('path' in image)
    return stat(image.path, { bigint: true }).then(
      ({ size, mtimeNs }) => `${size} ${mtimeNs}`,
      () => null,
    );
  const hash = createHash('sha1');
  if ('bytes' in image) return hash.update(image.bytes).digest('base64');
  const { width, height, mode, data } = image.pixels;
  return hash.update(`${width} ${height} ${mode} `).update(data).digest('base64');
}
