/** Convolution: the arguments of assembly/conv.ts. */
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import type { Conv2dSpec, Storage } from '../device.js';
import { at, type Context } from './context.js';
import { zeros } from './elementwise.js';
import { chunksOf } from './engine.js';
import { packed } from './gemm.js';
import * as kernel from './generated/calls.js';
import { moveBlock } from './move.js';
import { reduceColumns } from './reduce.js';

/**
 * Up to this depth (channels × area of the kernel), and this size, the gradient of a convolution's weight goes over
 * parts of the batch.
 */
const shallow = 256;
const small = 32768;
const weightGradParts = 8;

/** An image with zero padding around it; the image itself where there is none. */
function padded(context: Context, x: Storage, s: Conv2dSpec): { storage: Storage; height: number; width: number } {
  if (s.paddingY === 0 && s.paddingX === 0) return { storage: x, height: s.height, width: s.width };
  const [height, width] = [s.height + 2 * s.paddingY, s.width + 2 * s.paddingX];
  const planes = s.batch * s.inChannels;
  const storage = zeros(context, planes * height * width, x.dtype);
  moveBlock(
    context,
    [planes, s.height, s.width],
    { storage: x, offset: 0, strides: [s.height * s.width, s.width, 1] },
    { storage, offset: s.paddingY * width + s.paddingX, strides: [height * width, width, 1] },
  );
  return { storage, height, width };
}

/** Bytes from an image's element to the same element under offset k = (channel, u, v), for every k. */
function withOffsets<T>(
  { engine }: Context,
  s: Conv2dSpec,
  height: number,
  width: number,
  dtype: DType,
  body: (offsets: number) => T,
): T {
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  const block = engine.block(4 * depth);
  const table = new Int32Array(engine.heap.memory.buffer, block.address, depth);
  let k = 0;
  for (let c = 0; c < s.inChannels; c++)
    for (let u = 0; u < s.kernelHeight; u++)
      for (let v = 0; v < s.kernelWidth; v++) table[k++] = bytesPerElement[dtype] * ((c * height + u) * width + v);
  try {
    return body(block.address);
  } finally {
    engine.heap.release(block);
  }
}

export function conv2d(context: Context, x: Storage, weight: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const { dtype } = x;
  const positions = s.outHeight * s.outWidth;
  const size = s.batch * s.outChannels * positions;
  if (size === 0 || s.inChannels === 0) return zeros(context, size, dtype);
  const y = allocate(dtype, size);
  const image = padded(context, x, s);
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  // About this many columns of the patch matrix a chunk: part of a large image, or several small ones.
  let columns = 256;
  while (columns > 64 && chunksOf(s.batch * positions, columns) < 3 * engine.threads) columns /= 2;
  const positionsPerChunk = Math.min(positions, columns);
  const imagesPerChunk = Math.max(1, Math.floor(columns / positions));
  const chunksPerImage = chunksOf(positions, positionsPerChunk);
  const chunks = imagesPerChunk > 1 ? chunksOf(s.batch, imagesPerChunk) : s.batch * chunksPerImage;
  const together =
    imagesPerChunk > 1 && positions % kernel.NR !== 0
      ? bytesPerElement[dtype] * s.outChannels * imagesPerChunk * positions
      : 0;
  const bytes = packed(kernel.MB, dtype) + imagesPerChunk * packed(positionsPerChunk, dtype) + together + 64;
  withOffsets(context, s, image.height, image.width, dtype, (offsets) =>
    engine.withScratch(bytes, (scratch, scratchBytes) =>
      engine.call(kernel.convolve, chunks, {
        dtype,
        x: at(image.storage),
        weight: at(weight),
        y: at(y),
        offsets,
        batch: s.batch,
        imageSize: s.inChannels * image.height * image.width,
        channels: s.outChannels,
        depth,
        positions,
        outWidth: s.outWidth,
        rowStep: s.strideY * image.width,
        columnStep: s.strideX,
        imagesPerChunk,
        positionsPerChunk,
        chunksPerImage,
        scratch,
        scratchBytes,
      }),
    ),
  );
  if (image.storage !== x) image.storage.free();
  return y;
}

export function conv2dInputGrad(context: Context, gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const { dtype } = weight;
  const [paddingY, paddingX] = [s.kernelHeight - 1 - s.paddingY, s.kernelWidth - 1 - s.paddingX];
  if (s.strideY === 1 && s.strideX === 1 && paddingY >= 0 && paddingX >= 0) {
    // The transpose of a convolution with stride 1 is a convolution with the kernel turned around.
    const turned = allocate(dtype, weight.size);
    engine.call(kernel.flipWeight, s.inChannels, {
      dtype,
      weight: at(weight),
      flipped: at(turned),
      outChannels: s.outChannels,
      inChannels: s.inChannels,
      area: s.kernelHeight * s.kernelWidth,
    });
    const x = conv2d(context, gradOutput, turned, {
      ...s,
      inChannels: s.outChannels,
      height: s.outHeight,
      width: s.outWidth,
      outChannels: s.inChannels,
      paddingY,
      paddingX,
      outHeight: s.height,
      outWidth: s.width,
    });
    turned.free();
    return x;
  }
  return stridedInputGrad(context, gradOutput, weight, s);
}

/** Patches of gradient are computed block by block and added to a padded image, whose middle is the result. */
function stridedInputGrad(context: Context, gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const { dtype } = weight;
  const [height, width] = [s.height + 2 * s.paddingY, s.width + 2 * s.paddingX];
  const planes = s.batch * s.inChannels;
  const image = zeros(context, planes * height * width, dtype);
  const positions = s.outHeight * s.outWidth;
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  const block = Math.min(positions, 512);
  if (gradOutput.size > 0)
    withOffsets(context, s, height, width, dtype, (offsets) =>
      engine.withScratch(
        bytesPerElement[dtype] * (depth * block + 16) + packed(depth, dtype) + packed(block, dtype),
        (scratch, scratchBytes) =>
          engine.call(kernel.convolveInputGrad, s.batch, {
            dtype,
            gradOutput: at(gradOutput),
            weight: at(weight),
            x: at(image),
            offsets,
            imageSize: s.inChannels * height * width,
            channels: s.outChannels,
            depth,
            positions,
            outWidth: s.outWidth,
            rowStep: s.strideY * width,
            columnStep: s.strideX,
            block,
            scratch,
            scratchBytes,
          }),
      ),
    );
  if (s.paddingY + s.paddingX === 0) return image;
  const x = allocate(dtype, planes * s.height * s.width);
  moveBlock(
    context,
    [planes, s.height, s.width],
    { storage: image, offset: s.paddingY * width + s.paddingX, strides: [height * width, width, 1] },
    { storage: x, offset: 0, strides: [s.height * s.width, s.width, 1] },
  );
  image.free();
  return x;
}

export function conv2dWeightGrad(context: Context, x: Storage, gradOutput: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const { dtype } = x;
  const positions = s.outHeight * s.outWidth;
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  if (s.batch * positions === 0 || depth * s.outChannels === 0) return zeros(context, s.outChannels * depth, dtype);
  const image = padded(context, x, s);
  // Few rows leave few chunks, each of which packs all of ȳ: then the images are dealt out instead, in parts that only
  // the sizes decide, so that the bits do not depend on the threads.
  const parts = depth <= shallow && depth * s.outChannels <= small ? Math.min(s.batch, weightGradParts) : 1;
  const imagesPerPart = Math.ceil(s.batch / parts);
  let rows = parts > 1 ? depth : 128;
  while (parts === 1 && rows > 32 && chunksOf(depth, rows) < 3 * engine.threads) rows /= 2;
  const chunksPerPart = chunksOf(depth, rows);
  // [part, depth, outChannels]
  const partial = allocate(dtype, parts * s.outChannels * depth);
  withOffsets(context, s, image.height, image.width, dtype, (offsets) =>
    engine.withScratch(packed(rows, dtype) + packed(s.outChannels, dtype), (scratch, scratchBytes) =>
      engine.call(kernel.convolveWeightGrad, parts * chunksPerPart, {
        dtype,
        x: at(image.storage),
        gradOutput: at(gradOutput),
        weightGrad: at(partial),
        offsets,
        batch: s.batch,
        imageSize: s.inChannels * image.height * image.width,
        channels: s.outChannels,
        depth,
        positions,
        outWidth: s.outWidth,
        rowStep: s.strideY * image.width,
        columnStep: s.strideX,
        rowsPerChunk: rows,
        scratch,
        scratchBytes,
        chunksPerPart,
        imagesPerPart,
      }),
    ),
  );
  const transposed = parts === 1 ? partial : reduceColumns(context, 'sum', partial, 1, parts, depth * s.outChannels);
  if (transposed !== partial) partial.free();
  if (image.storage !== x) image.storage.free();
  const y = allocate(dtype, s.outChannels * depth);
  moveBlock(
    context,
    [s.outChannels, depth],
    { storage: transposed, offset: 0, strides: [1, s.outChannels] },
    { storage: y, offset: 0, strides: [depth, 1] },
  );
  transposed.free();
  return y;
}
