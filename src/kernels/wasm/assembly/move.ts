/** Kernels that move elements: permute, slice, pad, concat, gather, scatter-add; and fill. */
import { transpose4 } from './gemm';
import { bytesOf, perVector, put } from './lanes';
import { Chunk, List5, addressAt, sizeAt } from './pool';

/** Copies n numbers. */
// @ts-ignore: decorator
@inline function copy<T>(from: usize, to: usize, n: i32): void {
  if (n >= 64) {
    memory.copy(to, from, bytesOf<T>(n));
    return;
  }
  let i = 0;
  for (; i + perVector<T>() <= n; i += perVector<T>()) v128.store(to + bytesOf<T>(i), v128.load(from + bytesOf<T>(i)));
  for (; i < n; i++) store<T>(to + bytesOf<T>(i), load<T>(from + bytesOf<T>(i)));
}

/**
 * Rows of n elements, read with a step, to rows that are contiguous: target[row][i] = source[row'][i · stride]. Rows are
 * counted over up to five axes, with strides of their own on both sides.
 * Where the stride of the source is above 1 and the last axis steps by 1 in the source, 4 × 4 blocks of float32 are transposed in registers.
 */
export function moveRows<T>(
  chunk: Chunk, source: usize, target: usize, n: i32, stride: i32, rows: i32, grain: i32, axes: i32, sizes: List5,
  sourceStrides: List5, targetStrides: List5,
): void {
  const step = bytesOf<T>(stride);
  const end = min(rows, (chunk + 1) * grain);
  const lastAxis = axes - 1;
  const blocked = sizeof<T>() == 4 && step > 4 && axes > 0 && addressAt(sourceStrides, lastAxis) == 1;
  let r = chunk * grain;
  while (r < end) {
    let rest = r;
    let from = source;
    let to = target;
    for (let axis = lastAxis; axis >= 0; axis--) {
      const length = sizeAt(sizes, axis);
      const index = <usize>(rest % length);
      rest /= length;
      from += (index * addressAt(sourceStrides, axis)) << alignof<T>();
      to += (index * addressAt(targetStrides, axis)) << alignof<T>();
    }
    if (step == sizeof<T>()) {
      copy<T>(from, to, n);
      r++;
      continue;
    }
    let i = 0;
    if (blocked && r + 4 <= end && (r % sizeAt(sizes, lastAxis)) + 4 <= sizeAt(sizes, lastAxis)) {
      const row = addressAt(targetStrides, lastAxis) << alignof<T>();
      for (; i + 4 <= n; i += 4) {
        const at = from + <usize>i * step;
        transpose4(v128.load(at), v128.load(at + step), v128.load(at + 2 * step), v128.load(at + 3 * step), to + bytesOf<T>(i), row);
      }
      for (; i < n; i++)
        for (let l: usize = 0; l < 4; l++)
          store<T>(to + l * row + bytesOf<T>(i), load<T>(from + (l << alignof<T>()) + <usize>i * step));
      r += 4;
      continue;
    }
    for (; i < n; i++) store<T>(to + bytesOf<T>(i), load<T>(from + <usize>i * step));
    r++;
  }
}

/** y[outer][i] = x[outer][indices[i]]. */
export function gather<T>(
  chunk: Chunk, x: usize, indices: usize, y: usize, count: i32, rows: i32, inner: i32, all: i32, grain: i32,
): void {
  const end = min(all, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const index = <usize>load<i32>(indices + (<usize>(r % count) << 2));
    const from = (<usize>(r / count) * <usize>rows + index) * <usize>inner;
    copy<T>(x + (from << alignof<T>()), y + ((<usize>r * <usize>inner) << alignof<T>()), inner);
  }
}

/**
 * y[outer][indices[i]] += x[outer][i], y begins as zeros. A chunk is a range of columns of one outer block, so no two
 * threads meet.
 */
export function scatterAdd<T>(
  chunk: Chunk, x: usize, indices: usize, y: usize, count: i32, rows: i32, inner: i32, columns: i32,
  chunksAlongInner: i32,
): void {
  const outer = <usize>(chunk / chunksAlongInner);
  const from = (chunk % chunksAlongInner) * columns;
  const n = min(columns, inner - from);
  x += ((outer * <usize>count * <usize>inner + <usize>from) << alignof<T>());
  y += ((outer * <usize>rows * <usize>inner + <usize>from) << alignof<T>());
  for (let i = 0; i < count; i++) {
    const index = <usize>load<i32>(indices + (<usize>i << 2));
    const source = x + ((<usize>i * <usize>inner) << alignof<T>());
    const target = y + ((index * <usize>inner) << alignof<T>());
    let k = 0;
    for (; k + perVector<T>() <= n; k += perVector<T>()) {
      const at = bytesOf<T>(k);
      v128.store(target + at, v128.add<T>(v128.load(target + at), v128.load(source + at)));
    }
    for (; k < n; k++) {
      const at = bytesOf<T>(k);
      store<T>(target + at, load<T>(target + at) + load<T>(source + at));
    }
  }
}

/** Fills with a pattern of two int32: both are those of a number of four bytes, or the halves of one of eight. */
export function fill(chunk: Chunk, out: usize, low: i32, upper: i32, grain: i32, words: i32): void {
  const from = chunk * grain;
  const count = min(grain, words - from);
  let at = out + (<usize>from << 2);
  const value = i32x4.replace_lane(i32x4.replace_lane(i32x4.splat(low), 1, upper), 3, upper);
  const end = at + (<usize>(count & ~3) << 2);
  for (; at < end; at += 16) v128.store(at, value);
  if (count & 3) put<f32>(at, value, count & 3);
}
