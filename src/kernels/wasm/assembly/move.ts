/** Kernels that move elements: permute, slice, pad, concat, gather, scatter-add. */
import { transpose4 } from './gemm';
import { Chunk, List5, addressAt, sizeAt } from './pool';

/** Copies n floats. */
// @ts-ignore: decorator
@inline function copy(from: usize, to: usize, n: i32): void {
  if (n >= 64) {
    memory.copy(to, from, <usize>n << 2);
    return;
  }
  let i = 0;
  for (; i + 4 <= n; i += 4) v128.store(to + (<usize>i << 2), v128.load(from + (<usize>i << 2)));
  for (; i < n; i++) store<f32>(to + (<usize>i << 2), load<f32>(from + (<usize>i << 2)));
}

/**
 * Rows of n elements, read with a step, to rows that are contiguous: target[row][i] = source[row'][i · stride]. Rows are
 * counted over up to five axes, with strides of their own on both sides.
 * Where the stride of the source is above 1 and the last axis steps by 1 in the source, 4 × 4 blocks are transposed in registers.
 */
export function moveRows(
  chunk: Chunk, source: usize, target: usize, n: i32, stride: i32, rows: i32, grain: i32, axes: i32, sizes: List5,
  sourceStrides: List5, targetStrides: List5,
): void {
  const step = <usize>stride << 2;
  const end = min(rows, (chunk + 1) * grain);
  const lastAxis = axes - 1;
  const blocked = step > 4 && axes > 0 && addressAt(sourceStrides, lastAxis) == 1;
  let r = chunk * grain;
  while (r < end) {
    let rest = r;
    let from = source;
    let to = target;
    for (let axis = lastAxis; axis >= 0; axis--) {
      const length = sizeAt(sizes, axis);
      const index = <usize>(rest % length);
      rest /= length;
      from += (index * addressAt(sourceStrides, axis)) << 2;
      to += (index * addressAt(targetStrides, axis)) << 2;
    }
    if (step == 4) {
      copy(from, to, n);
      r++;
      continue;
    }
    let i = 0;
    if (blocked && r + 4 <= end && (r % sizeAt(sizes, lastAxis)) + 4 <= sizeAt(sizes, lastAxis)) {
      const row = addressAt(targetStrides, lastAxis) << 2;
      for (; i + 4 <= n; i += 4) {
        const at = from + <usize>i * step;
        transpose4(v128.load(at), v128.load(at + step), v128.load(at + 2 * step), v128.load(at + 3 * step), to + (<usize>i << 2), row);
      }
      for (; i < n; i++)
        for (let l: usize = 0; l < 4; l++)
          store<f32>(to + l * row + (<usize>i << 2), load<f32>(from + (l << 2) + <usize>i * step));
      r += 4;
      continue;
    }
    for (; i < n; i++) store<f32>(to + (<usize>i << 2), load<f32>(from + <usize>i * step));
    r++;
  }
}

/** y[outer][i] = x[outer][indices[i]]. */
export function gather(
  chunk: Chunk, x: usize, indices: usize, y: usize, count: i32, rows: i32, inner: i32, all: i32, grain: i32,
): void {
  const end = min(all, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const index = <usize>load<i32>(indices + (<usize>(r % count) << 2));
    const from = (<usize>(r / count) * <usize>rows + index) * <usize>inner;
    copy(x + (from << 2), y + ((<usize>r * <usize>inner) << 2), inner);
  }
}

/**
 * y[outer][indices[i]] += x[outer][i], y begins as zeros. A chunk is a range of columns of one outer block, so no two
 * threads meet.
 */
export function scatterAdd(
  chunk: Chunk, x: usize, indices: usize, y: usize, count: i32, rows: i32, inner: i32, columns: i32,
  chunksAlongInner: i32,
): void {
  const outer = <usize>(chunk / chunksAlongInner);
  const from = (chunk % chunksAlongInner) * columns;
  const n = min(columns, inner - from);
  x += ((outer * <usize>count * <usize>inner + <usize>from) << 2);
  y += ((outer * <usize>rows * <usize>inner + <usize>from) << 2);
  for (let i = 0; i < count; i++) {
    const index = <usize>load<i32>(indices + (<usize>i << 2));
    const source = x + ((<usize>i * <usize>inner) << 2);
    const target = y + ((index * <usize>inner) << 2);
    let k = 0;
    for (; k + 4 <= n; k += 4) {
      const at = <usize>k << 2;
      v128.store(target + at, f32x4.add(v128.load(target + at), v128.load(source + at)));
    }
    for (; k < n; k++) {
      const at = <usize>k << 2;
      store<f32>(target + at, load<f32>(target + at) + load<f32>(source + at));
    }
  }
}
