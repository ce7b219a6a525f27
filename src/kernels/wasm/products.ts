/** Matrix product, convolution, pooling and attention: the arguments of assembly/gemm.ts, conv.ts and attention.ts. */
import type { AttentionSpec, Conv2dSpec, MatmulSpec, Pool2dSpec, Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import { kernel } from './kernels.js';
import { moveBlock } from './moves.js';
import { reduceColumns } from './reductions.js';

/** The k-block of assembly/gemm.ts. */
const KC = 256;
/** Rows of the left factor that a convolution packs at a time. */
const MB = 256;

/**
 * Up to this depth (channels × area of the kernel), and this size, the gradient of a convolution's weight goes over
 * parts of the batch.
 */
const shallow = 256;
const small = 32768;
const weightGradParts = 8;

/** Bytes of a packed block of so many rows or columns. */
const packed = (lanes: number) => Math.ceil(lanes / 8) * 8 * KC * 4;

/** Rows and columns of C per chunk: large, so that packing is cheap, but several chunks for every thread. */
function blockOf(m: number, n: number, batch: number, threads: number): [number, number] {
  let [rows, columns] = [Math.min(m, 256), Math.min(n, 512)];
  const chunks = () => batch * Math.ceil(m / rows) * Math.ceil(n / columns);
  while (chunks() < 3 * threads && (rows > 64 || columns > 64)) {
    if (columns > rows) columns = halved(columns, 8);
    else rows = halved(rows, 4);
  }
  return [rows, columns];
}
const halved = (size: number, unit: number) => Math.ceil(size / 2 / unit) * unit;

export function matmul({ engine, allocate }: Context, a: Storage, b: Storage, s: MatmulSpec): Storage {
  const { batch, m, n, k } = s;
  const y = allocate('float32', batch * m * n);
  if (y.size === 0) return y;
  const [aRow, aColumn] = s.transposeA ? [1, m] : [k, 1];
  const [bRow, bColumn] = s.transposeB ? [1, k] : [n, 1];
  // A tiny product is not worth waking a thread for.
  const [rows, columns] = m * n * k < 32768 ? [m, n] : blockOf(m, n, batch, engine.threads);
  const blocksAlongN = chunksOf(n, columns);
  const blocks = chunksOf(m, rows) * blocksAlongN;
  engine.withScratch(packed(rows) + packed(columns), (scratch, bytes) =>
    engine.call(
      kernel.matmul,
      batch * blocks,
      at(a),
      aRow,
      aColumn,
      s.broadcastA ? 0 : m * k,
      at(b),
      bRow,
      bColumn,
      s.broadcastB ? 0 : k * n,
      at(y),
      m,
      n,
      k,
      rows,
      columns,
      blocksAlongN,
      blocks,
      scratch,
      bytes,
    ),
  );
  return y;
}

/** An image with zero padding around it; the image itself where there is none. */
function padded(context: Context, x: Storage, s: Conv2dSpec): { storage: Storage; height: number; width: number } {
  if (s.paddingY === 0 && s.paddingX === 0) return { storage: x, height: s.height, width: s.width };
  const [height, width] = [s.height + 2 * s.paddingY, s.width + 2 * s.paddingX];
  const planes = s.batch * s.inChannels;
  const storage = zeros(context, planes * height * width);
  moveBlock(
    context,
    [planes, s.height, s.width],
    { storage: x, offset: 0, strides: [s.height * s.width, s.width, 1] },
    { storage, offset: s.paddingY * width + s.paddingX, strides: [height * width, width, 1] },
  );
  return { storage, height, width };
}

export function zeros({ engine, allocate }: Context, size: number): Storage {
  const y = allocate('float32', size);
  const grain = 65536;
  engine.call(kernel.fill, chunksOf(size, grain), at(y), 0, grain, size);
  return y;
}

/** Bytes from an image's element to the same element under offset k = (channel, u, v), for every k. */
function withOffsets<T>(
  { engine }: Context,
  s: Conv2dSpec,
  height: number,
  width: number,
  body: (offsets: number) => T,
): T {
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  const block = engine.block(4 * depth);
  const table = new Int32Array(engine.heap.memory.buffer, block.address, depth);
  let k = 0;
  for (let c = 0; c < s.inChannels; c++)
    for (let u = 0; u < s.kernelHeight; u++)
      for (let v = 0; v < s.kernelWidth; v++) table[k++] = 4 * ((c * height + u) * width + v);
  try {
    return body(block.address);
  } finally {
    engine.heap.release(block);
  }
}

/** Floats of a padded image, outChannels, depth, positions, outWidth, row step, column step: arguments all three kernels share. */
function geometry(s: Conv2dSpec, { height, width }: { height: number; width: number }): number[] {
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  const positions = s.outHeight * s.outWidth;
  const image = s.inChannels * height * width;
  return [image, s.outChannels, depth, positions, s.outWidth, s.strideY * width, s.strideX];
}

export function conv2d(context: Context, x: Storage, weight: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const positions = s.outHeight * s.outWidth;
  const size = s.batch * s.outChannels * positions;
  if (size === 0 || s.inChannels === 0) return zeros(context, size);
  const y = allocate('float32', size);
  const image = padded(context, x, s);
  // About this many columns of the patch matrix a chunk: part of a large image, or several small ones.
  let columns = 256;
  while (columns > 64 && chunksOf(s.batch * positions, columns) < 3 * engine.threads) columns /= 2;
  const perChunk = Math.min(positions, columns);
  const images = Math.max(1, Math.floor(columns / positions));
  const chunksPerImage = chunksOf(positions, perChunk);
  const chunks = images > 1 ? chunksOf(s.batch, images) : s.batch * chunksPerImage;
  const together = images > 1 && positions % 8 !== 0 ? 4 * s.outChannels * images * positions : 0;
  const bytes = packed(MB) + images * packed(perChunk) + together + 64;
  withOffsets(context, s, image.height, image.width, (offsets) =>
    engine.withScratch(bytes, (scratch, part) =>
      engine.call(
        kernel.convolve,
        chunks,
        at(image.storage),
        at(weight),
        at(y),
        offsets,
        s.batch,
        ...geometry(s, image),
        images,
        perChunk,
        chunksPerImage,
        scratch,
        part,
      ),
    ),
  );
  if (image.storage !== x) image.storage.free();
  return y;
}

export function conv2dInputGrad(context: Context, gradOutput: Storage, weight: Storage, s: Conv2dSpec): Storage {
  const { engine, allocate } = context;
  const [paddingY, paddingX] = [s.kernelHeight - 1 - s.paddingY, s.kernelWidth - 1 - s.paddingX];
  if (s.strideY === 1 && s.strideX === 1 && paddingY >= 0 && paddingX >= 0) {
    // The transpose of a convolution with stride 1 is a convolution with the kernel turned around.
    const turned = allocate('float32', weight.size);
    const area = s.kernelHeight * s.kernelWidth;
    engine.call(kernel.flipWeight, s.inChannels, at(weight), at(turned), s.outChannels, s.inChannels, area);
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
  const [height, width] = [s.height + 2 * s.paddingY, s.width + 2 * s.paddingX];
  const planes = s.batch * s.inChannels;
  const image = zeros(context, planes * height * width);
  const positions = s.outHeight * s.outWidth;
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  const block = Math.min(positions, 512);
  if (gradOutput.size > 0)
    withOffsets(context, s, height, width, (offsets) =>
      engine.withScratch(4 * (depth * block + 16) + packed(depth) + packed(block), (scratch, part) =>
        engine.call(
          kernel.convolveInputGrad,
          s.batch,
          at(gradOutput),
          at(weight),
          at(image),
          offsets,
          ...geometry(s, { height, width }),
          block,
          scratch,
          part,
        ),
      ),
    );
  if (s.paddingY + s.paddingX === 0) return image;
  const x = allocate('float32', planes * s.height * s.width);
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
  const positions = s.outHeight * s.outWidth;
  const depth = s.inChannels * s.kernelHeight * s.kernelWidth;
  if (s.batch * positions === 0 || depth * s.outChannels === 0) return zeros(context, s.outChannels * depth);
  const image = padded(context, x, s);
  // Few rows leave few chunks, each of which packs all of ȳ: then the images are dealt out instead, in parts that only
  // the sizes decide, so that the bits do not depend on the threads.
  const parts = depth <= shallow && depth * s.outChannels <= small ? Math.min(s.batch, weightGradParts) : 1;
  const perPart = Math.ceil(s.batch / parts);
  let rows = parts > 1 ? depth : 128;
  while (parts === 1 && rows > 32 && chunksOf(depth, rows) < 3 * engine.threads) rows /= 2;
  // [part, depth, outChannels]
  const partial = allocate('float32', parts * s.outChannels * depth);
  withOffsets(context, s, image.height, image.width, (offsets) =>
    engine.withScratch(packed(rows) + packed(s.outChannels), (scratch, part) =>
      engine.call(
        kernel.convolveWeightGrad,
        parts * chunksOf(depth, rows),
        at(image.storage),
        at(gradOutput),
        at(partial),
        offsets,
        s.batch,
        ...geometry(s, image),
        rows,
        scratch,
        part,
        chunksOf(depth, rows),
        perPart,
      ),
    ),
  );
  const transposed = parts === 1 ? partial : reduceColumns(context, 'sum', partial, 1, parts, depth * s.outChannels);
  if (transposed !== partial) partial.free();
  if (image.storage !== x) image.storage.free();
  const y = allocate('float32', s.outChannels * depth);
  moveBlock(
    context,
    [s.outChannels, depth],
    { storage: transposed, offset: 0, strides: [1, s.outChannels] },
    { storage: y, offset: 0, strides: [depth, 1] },
  );
  transposed.free();
  return y;
}

const windows = (s: Pool2dSpec) => [
  s.height,
  s.width,
  s.kernelY,
  s.kernelX,
  s.strideY,
  s.strideX,
  s.outHeight,
  s.outWidth,
  s.planes,
  rowGrain(s.height * s.width),
];

export function avgPool2d({ engine, allocate }: Context, x: Storage, s: Pool2dSpec): Storage {
  const y = allocate('float32', s.planes * s.outHeight * s.outWidth);
  engine.call(kernel.avgPool, chunksOf(s.planes, rowGrain(s.height * s.width)), at(x), at(y), ...windows(s));
  return y;
}

export function avgPool2dGrad({ engine, allocate }: Context, gradOutput: Storage, s: Pool2dSpec): Storage {
  const x = allocate('float32', s.planes * s.height * s.width);
  engine.call(
    kernel.avgPoolGrad,
    chunksOf(s.planes, rowGrain(s.height * s.width)),
    at(gradOutput),
    at(x),
    ...windows(s),
  );
  return x;
}

export function attention({ engine, allocate }: Context, q: Storage, k: Storage, v: Storage, s: AttentionSpec) {
  const output = allocate('float32', q.size);
  const probabilities = allocate('float32', s.batch * s.heads * s.queries * s.keys);
  const largest = packed(Math.max(s.queries, s.keys, s.headDim));
  engine.withScratch(2 * largest, (scratch, part) =>
    engine.call(
      kernel.attention,
      s.batch * s.heads,
      at(q),
      at(k),
      at(v),
      at(output),
      at(probabilities),
      s.heads,
      s.queries,
      s.keys,
      s.headDim,
      s.scale,
      Number(s.causal),
      scratch,
      part,
    ),
  );
  return { output, probabilities };
}

export function attentionGrad(
  { engine, allocate }: Context,
  gradOutput: Storage,
  q: Storage,
  k: Storage,
  v: Storage,
  probabilities: Storage,
  s: AttentionSpec,
) {
  const grads = {
    q: allocate('float32', q.size),
    k: allocate('float32', k.size),
    v: allocate('float32', v.size),
  };
  const largest = packed(Math.max(s.queries, s.keys, s.headDim));
  engine.withScratch(4 * (s.queries * s.keys + 16) + 2 * largest, (scratch, part) =>
    engine.call(
      kernel.attentionGrad,
      s.batch * s.heads,
      at(gradOutput),
      at(q),
      at(k),
      at(v),
      at(probabilities),
      at(grads.q),
      at(grads.k),
      at(grads.v),
      s.heads,
      s.queries,
      s.keys,
      s.headDim,
      s.scale,
      scratch,
      part,
    ),
  );
  return grads;
}
