/** Average pooling: the arguments of assembly/pooling.ts. */
import type { Pool2dSpec, Storage } from '../device.js';
import { at, type Context, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

export function avgPool2d({ engine, allocate }: Context, x: Storage, s: Pool2dSpec): Storage {
  const y = allocate(x.dtype, s.planes * s.outHeight * s.outWidth);
  const grain = rowGrain(s.height * s.width);
  engine.call(kernel.avgPool, chunksOf(s.planes, grain), {
    dtype: x.dtype,
    x: at(x),
    y: at(y),
    height: s.height,
    width: s.width,
    kernelY: s.kernelY,
    kernelX: s.kernelX,
    strideY: s.strideY,
    strideX: s.strideX,
    outHeight: s.outHeight,
    outWidth: s.outWidth,
    planes: s.planes,
    grain,
  });
  return y;
}

export function avgPool2dGrad({ engine, allocate }: Context, gradOutput: Storage, s: Pool2dSpec): Storage {
  const x = allocate(gradOutput.dtype, s.planes * s.height * s.width);
  const grain = rowGrain(s.height * s.width);
  engine.call(kernel.avgPoolGrad, chunksOf(s.planes, grain), {
    dtype: x.dtype,
    gradOutput: at(gradOutput),
    x: at(x),
    height: s.height,
    width: s.width,
    kernelY: s.kernelY,
    kernelX: s.kernelX,
    strideY: s.strideY,
    strideX: s.strideX,
    outHeight: s.outHeight,
    outWidth: s.outWidth,
    planes: s.planes,
    grain,
  });
  return x;
}
