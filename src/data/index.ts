/**
 * Data sets of captioned or labelled pictures, transforms, and the loader. Needs Node, where decoding needs sharp; in pages
 * there are the transforms only.
 * @module hopgrad/data
 */
export { cocoSource } from './coco.js';
export { type ColourMode, type DecodeOptions, decode, type ImageInput, type Picture } from './decode.js';
export { folderSource, imageFiles, imagesSource } from './folder.js';
export { type IdxArray, type IdxOptions, idxSource, readIdx } from './idx.js';
export { type JsonLinesOptions, jsonLinesSource } from './json-lines.js';
export { type Batch, Loader, type LoaderOptions, type Place } from './loader.js';
export { mixture, type Part } from './mixture.js';
export { type DataRequest, openSource } from './open.js';
export { type Prepared, type PrepareJob, Preparer } from './preparer.js';
export { type Box, type Raster, resizeBicubic } from './resample.js';
export { type BadRow, captionsOf, listSource, type Order, type Row, type Source } from './source.js';
export { type TableOptions, tableSource } from './table.js';
export {
  cropTransform,
  evalTransform,
  type Normalise,
  normaliser,
  randomCropBox,
  type TransformOptions,
  trainTransform,
} from './transforms.js';
export { type WebDatasetOptions, webDatasetSource } from './webdataset.js';
