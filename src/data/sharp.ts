/** The package sharp (libvips), an optional dependency. */
import { DataError } from '../tensor/errors.js';

export type SharpFactory = typeof import('sharp');
let loading: Promise<SharpFactory> | undefined;

/**
 * The package sharp, an optional dependency.
 * @throws DataError when it is not installed
 */
export function loadSharp(): Promise<SharpFactory> {
  loading ??= import('sharp').then(
    ({ default: sharp }) => sharp,
    (error: Error) => {
      throw new DataError('decode', {
        received: `the package sharp cannot be loaded (${error.message.split('\n')[0]})`,
        expected: 'it, to read JPEG, PNG and WebP pictures',
        hint: 'Install it: npm install sharp.',
      });
    },
  );
  return loading;
}
