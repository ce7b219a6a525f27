/**
 * What pages get of hopgrad/data: the transforms, for pictures that the page has decoded itself (a canvas's ImageData is a
 * picture of mode RGBA). Files, tables, loaders and decoding are Node's.
 */
export type { ColourMode, Picture } from './decode.js';
export { type Box, type Raster, resizeBicubic } from './resample.js';
export {
  cropTransform,
  evalTransform,
  type Normalise,
  normaliser,
  randomCropBox,
  type TransformOptions,
  trainTransform,
} from './transforms.js';
