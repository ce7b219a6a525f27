/**
 * Convolution as a matrix product whose one factor, the matrix of patches, is never in memory: its panels are packed
 * straight from images that carry their zero padding. Element (k, position) of the patch matrix lies at
 * base<T>(position) + offset(k), k counting (channel, u, v); offsets come in a table.
 */
import { KC, MR, NR, multiply, pack, packedBytes, tileColumns, tileRow, tiles, transpose4 } from './gemm';
import { bytesOf } from './lanes';
import { Chunk, scratchPart } from './pool';

/** Rows of A packed at a time. */
export const MB: i32 = 256;

/** Bytes from an image to the first element under a position of the output. */
// @ts-ignore: decorator
@inline function base<T>(position: i32, outWidth: i32, rowStep: i32, columnStep: i32): usize {
  return <usize>((position / outWidth) * rowStep + (position % outWidth) * columnStep) << alignof<T>();
}
/** The same for positions counted on from image to image. */
// @ts-ignore: decorator
@inline function baseOf<T>(q: i32, outWidth: i32, rowStep: i32, columnStep: i32, positions: i32, imageBytes: usize): usize {
  return <usize>(q / positions) * imageBytes + base<T>(q % positions, outWidth, rowStep, columnStep);
}

/**
 * Packs positions [from, from + count) × kc offsets into panels as wide as a tile. Positions are counted on from image to
 * image, `positions` and `imageBytes` apart.
 */
function packPatches<T>(
  image: usize, panels: usize, offsets: usize, kc: i32, from: i32, count: i32, outWidth: i32, rowStep: i32, columnStep: i32,
  positions: i32, imageBytes: usize,
): void {
  for (let j = 0; j < count; j += tileColumns<T>(), panels += <usize>kc * tileRow)
    for (let quad = 0; quad < tileColumns<T>() && j + quad < count; quad += 4) {
      const p = from + j + quad;
      const last = min(3, count - j - quad - 1);
      const b0 = image + baseOf<T>(p, outWidth, rowStep, columnStep, positions, imageBytes);
      let target = panels + bytesOf<T>(quad);
      // Four neighbours in memory: one load. (At the end of the positions the surplus lanes may hold anything.)
      if (b0 + bytesOf<T>(last) == image + baseOf<T>(p + last, outWidth, rowStep, columnStep, positions, imageBytes)) {
        for (let k = 0; k < kc; k++, target += tileRow) {
          const from = b0 + <usize>load<i32>(offsets + (<usize>k << 2));
          v128.store(target, v128.load(from));
          if (sizeof<T>() == 8) v128.store(target, v128.load(from, 16), 16);
        }
        continue;
      }
      const b1 = image + baseOf<T>(p + min(1, last), outWidth, rowStep, columnStep, positions, imageBytes);
      const b2 = image + baseOf<T>(p + min(2, last), outWidth, rowStep, columnStep, positions, imageBytes);
      const b3 = image + baseOf<T>(p + last, outWidth, rowStep, columnStep, positions, imageBytes);
      for (let k = 0; k < kc; k++, target += tileRow) {
        const offset = <usize>load<i32>(offsets + (<usize>k << 2));
        store<T>(target, load<T>(b0 + offset));
        store<T>(target, load<T>(b1 + offset), sizeof<T>());
        store<T>(target, load<T>(b2 + offset), 2 * sizeof<T>());
        store<T>(target, load<T>(b3 + offset), 3 * sizeof<T>());
      }
    }
}

/**
 * y[n] = W · patches(x[n]). A chunk is a range of positions of one image, or all positions of several small images, so
 * that a packed block of W serves many columns.
 * `x` are images with their padding, of `imageSize` floats; `depth` is inChannels · area of the kernel; `rowStep` and
 * `columnStep` are floats from one position to the next.
 */
export function convolve<T>(
  chunk: Chunk, x: usize, weight: usize, y: usize, offsets: usize, batch: i32, imageSize: usize, channels: i32,
  depth: i32, positions: i32, outWidth: i32, rowStep: i32, columnStep: i32, imagesPerChunk: i32,
  positionsPerChunk: i32, chunksPerImage: i32, scratch: usize, scratchBytes: usize,
): void {
  const from = (chunk % chunksPerImage) * positionsPerChunk;
  const count = min(positionsPerChunk, positions - from);
  const firstImage = (chunk / chunksPerImage) * imagesPerChunk;
  const images = min(imagesPerChunk, batch - firstImage);
  const packedA = scratchPart(scratch, scratchBytes);
  const packedB = packedA + packedBytes<T>(MB);
  const stride = bytesOf<T>(positions);
  if (images > 1 && positions % NR != 0) {
    convolveTogether<T>(
      x + <usize>firstImage * (imageSize << alignof<T>()), weight, y + ((<usize>firstImage * <usize>channels * <usize>positions) << alignof<T>()), offsets,
      images, imageSize << alignof<T>(), channels, depth, positions, outWidth, rowStep, columnStep, packedA, packedB,
    );
    return;
  }
  for (let k0 = 0; k0 < depth; k0 += KC) {
    const kc = min(KC, depth - k0);
    const panels = (<usize>((count + 7) & ~7) * <usize>kc) << alignof<T>(); // bytes of one image's packed patches
    for (let n = 0; n < images; n++)
      packPatches<T>(
        x + (<usize>(firstImage + n) * imageSize << alignof<T>()), packedB + <usize>n * panels,
        offsets + (<usize>k0 << 2), kc, from, count, outWidth, rowStep, columnStep, positions, 0,
      );
    for (let i = 0; i < channels; i += MB) {
      const rows = min(MB, channels - i);
      const w = weight + ((<usize>i * <usize>depth + <usize>k0) << alignof<T>());
      pack<T>(w, packedA, rows, MR, kc, bytesOf<T>(depth), sizeof<T>(), (<usize>kc * MR) << alignof<T>());
      for (let n = 0; n < images; n++) {
        const plane = <usize>(firstImage + n) * <usize>channels + <usize>i;
        const c = y + ((plane * <usize>positions + <usize>from) << alignof<T>());
        tiles<T>(packedA, packedB + <usize>n * panels, kc, c, stride, rows, count, k0 > 0);
      }
    }
  }
}

/**
 * Images whose positions would leave panels partly empty: their columns stand side by side in one product, whose result
 * is then dealt out. It lies behind the packed blocks.
 */
function convolveTogether<T>(
  x: usize, weight: usize, y: usize, offsets: usize, images: i32, imageBytes: usize, channels: i32, depth: i32,
  positions: i32, outWidth: i32, rowStep: i32, columnStep: i32, packedA: usize, packedB: usize,
): void {
  const count = images * positions;
  const stride = bytesOf<T>(count);
  const c = packedB + packedBytes<T>(count);
  for (let k0 = 0; k0 < depth; k0 += KC) {
    const kc = min(KC, depth - k0);
    packPatches<T>(
      x, packedB, offsets + (<usize>k0 << 2), kc, 0, count, outWidth, rowStep, columnStep, positions, imageBytes,
    );
    for (let i = 0; i < channels; i += MB) {
      const rows = min(MB, channels - i);
      const w = weight + ((<usize>i * <usize>depth + <usize>k0) << alignof<T>());
      pack<T>(w, packedA, rows, MR, kc, bytesOf<T>(depth), sizeof<T>(), (<usize>kc * MR) << alignof<T>());
      tiles<T>(packedA, packedB, kc, c + <usize>i * stride, stride, rows, count, k0 > 0);
    }
  }
  for (let n = 0; n < images; n++)
    for (let o = 0; o < channels; o++) {
      const from = c + <usize>o * stride + ((<usize>n * <usize>positions) << alignof<T>());
      const to = y + (((<usize>n * <usize>channels + <usize>o) * <usize>positions) << alignof<T>());
      for (let p = 0; p < positions; p++) store<T>(to + bytesOf<T>(p), load<T>(from + bytesOf<T>(p)));
    }
}

/** Packs depth rows [0, count) (by their offsets) × positions [from, from + kc) into panels of MR rows. */
function packDepth<T>(
  image: usize, panels: usize, offsets: usize, count: i32, from: i32, kc: i32, panel: usize,
  outWidth: i32, rowStep: i32, columnStep: i32,
): void {
  for (let i = 0; i < count; i += MR, panels += panel) {
    // Rows beyond the end repeat the last: their products are not stored.
    const o0 = <usize>load<i32>(offsets + (<usize>i << 2));
    const o1 = <usize>load<i32>(offsets + (<usize>min(i + 1, count - 1) << 2));
    const o2 = <usize>load<i32>(offsets + (<usize>min(i + 2, count - 1) << 2));
    const o3 = <usize>load<i32>(offsets + (<usize>min(i + 3, count - 1) << 2));
    let target = panels;
    let k = 0;
    let i0 = from / outWidth;
    let j0 = from % outWidth;
    while (k < kc) {
      const at = image + (<usize>(i0 * rowStep + j0 * columnStep) << alignof<T>());
      const run = min(kc - k, outWidth - j0);
      let r = 0;
      if (sizeof<T>() == 4 && columnStep == 1)
        for (; r + 4 <= run; r += 4, target += MR << 4) {
          const here = at + bytesOf<T>(r);
          transpose4(v128.load(here + o0), v128.load(here + o1), v128.load(here + o2), v128.load(here + o3), target, MR << 2);
        }
      for (; r < run; r++, target += MR << alignof<T>()) {
        const here = at + (<usize>(r * columnStep) << alignof<T>());
        store<T>(target, load<T>(here + o0));
        store<T>(target, load<T>(here + o1), sizeof<T>());
        store<T>(target, load<T>(here + o2), 2 * sizeof<T>());
        store<T>(target, load<T>(here + o3), 3 * sizeof<T>());
      }
      k += run;
      i0++;
      j0 = 0;
    }
  }
}

/**
 * W̄ᵀ [part, depth, outChannels] = Σ_n patches(x[n]) · ȳ[n]ᵀ over the images of each part; a chunk is a range of rows of
 * one part. Small images share a k-block.
 */
export function convolveWeightGrad<T>(
  chunk: Chunk, x: usize, gradOutput: usize, weightGrad: usize, offsets: usize, batch: i32, imageSize: usize,
  channels: i32, depth: i32, positions: i32, outWidth: i32, rowStep: i32, columnStep: i32, rowsPerChunk: i32,
  scratch: usize, scratchBytes: usize, chunksPerPart: i32, imagesPerPart: i32,
): void {
  const part = chunk / chunksPerPart;
  const row = (chunk % chunksPerPart) * rowsPerChunk;
  const rows = min(rowsPerChunk, depth - row);
  offsets += (<usize>row << 2);
  const packedA = scratchPart(scratch, scratchBytes);
  const packedB = packedA + packedBytes<T>(rowsPerChunk);
  const c = weightGrad + (((<usize>part * <usize>depth + <usize>row) * <usize>channels) << alignof<T>());
  const first = min(part * imagesPerPart, batch) * positions;
  const all = min((part + 1) * imagesPerPart, batch) * positions;
  if (first == all) memory.fill(c, 0, (<usize>rows * <usize>channels) << alignof<T>());
  for (let q = first; q < all; q += KC) {
    const kc = min(KC, all - q);
    let done = 0;
    while (done < kc) {
      const n = (q + done) / positions;
      const from = (q + done) % positions;
      const count = min(kc - done, positions - from);
      const image = x + ((<usize>n * imageSize) << alignof<T>());
      const grad = gradOutput + ((<usize>n * <usize>channels * <usize>positions + <usize>from) << alignof<T>());
      packDepth<T>(
        image, packedA + ((<usize>done * MR) << alignof<T>()), offsets, rows, from, count, (<usize>kc * MR) << alignof<T>(),
        outWidth, rowStep, columnStep,
      );
      pack<T>(
        grad, packedB + <usize>done * tileRow, channels, tileColumns<T>(), count, bytesOf<T>(positions), sizeof<T>(), <usize>kc * tileRow,
      );
      done += count;
    }
    tiles<T>(packedA, packedB, kc, c, bytesOf<T>(channels), rows, channels, q > first);
  }
}

/** W [outChannels, inChannels, area] → [inChannels, outChannels, area] turned by 180°; a chunk is an input channel. */
export function flipWeight<T>(
  channel: Chunk, weight: usize, flipped: usize, outChannels: i32, inChannels: i32, area: i32,
): void {
  for (let o = 0; o < outChannels; o++) {
    const from = weight + ((<usize>o * <usize>inChannels + <usize>channel) * <usize>area << alignof<T>());
    const to = flipped + ((<usize>channel * <usize>outChannels + <usize>o) * <usize>area << alignof<T>());
    for (let i = 0; i < area; i++)
      store<T>(to + (<usize>(area - 1 - i) << alignof<T>()), load<T>(from + bytesOf<T>(i)));
  }
}

/**
 * x̄[n] += patches transposed: for strides above 1. A chunk is an image; positions in blocks, so that no whole patch
 * matrix is ever in memory. `x` begins as zeros.
 */
export function convolveInputGrad<T>(
  n: Chunk, gradOutput: usize, weight: usize, x: usize, offsets: usize, imageSize: usize, channels: i32, depth: i32,
  positions: i32, outWidth: i32, rowStep: i32, columnStep: i32, block: i32, scratch: usize, scratchBytes: usize,
): void {
  const columns = scratchPart(scratch, scratchBytes);
  const work = columns + ((<usize>depth * <usize>block + 16) << alignof<T>());
  const image = x + ((<usize>n * imageSize) << alignof<T>());
  for (let from = 0; from < positions; from += block) {
    const count = min(block, positions - from);
    const grad = gradOutput + ((<usize>n * <usize>channels * <usize>positions + <usize>from) << alignof<T>());
    multiply<T>(weight, 1, depth, grad, positions, 1, columns, count, depth, count, channels, false, work);
    for (let k = 0; k < depth; k++) {
      const row = columns + ((<usize>k * <usize>count) << alignof<T>());
      const offset = <usize>load<i32>(offsets + (<usize>k << 2));
      for (let j = 0; j < count; j++) {
        const at = image + offset + base<T>(from + j, outWidth, rowStep, columnStep);
        store<T>(at, load<T>(at) + load<T>(row + bytesOf<T>(j)));
      }
    }
  }
}
