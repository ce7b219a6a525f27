/** Kernels that move elements: permute, slice, pad, concat, gather, scatter-add. */
import { transpose4 } from './gemm';
import { address, size } from './pool';

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
 * Rows of n elements, read with a step, to rows that are contiguous: target[row][i] = source[row'][i · step]. Rows are
 * counted over up to five axes, with strides of their own on both sides.
 * Arguments: source, target; n, step, rows, rows a chunk, axes; then sizes, source strides, target strides (five each).
 * Where step > 1 and the last axis steps by 1 in the source, 4 × 4 blocks are transposed in registers.
 */
export function moveRows(chunk: i32): void {
  const n = size(2);
  const step = <usize>size(3) << 2;
  const axes = size(6);
  const end = min(size(4), (chunk + 1) * size(5));
  const lastAxis = axes - 1;
  const blocked = step > 4 && axes > 0 && address(12 + lastAxis) == 1;
  let r = chunk * size(5);
  while (r < end) {
    let rest = r;
    let from = address(0);
    let to = address(1);
    for (let axis = lastAxis; axis >= 0; axis--) {
      const length = size(7 + axis);
      const index = <usize>(rest % length);
      rest /= length;
      from += (index * address(12 + axis)) << 2;
      to += (index * address(17 + axis)) << 2;
    }
    if (step == 4) {
      copy(from, to, n);
      r++;
      continue;
    }
    let i = 0;
    if (blocked && r + 4 <= end && (r % size(7 + lastAxis)) + 4 <= size(7 + lastAxis)) {
      const row = address(17 + lastAxis) << 2;
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

/** y[outer][i] = x[outer][indices[i]]. Arguments: x, indices, y; count, rows, inner, all rows, rows a chunk. */
export function gather(chunk: i32): void {
  const count = size(3);
  const inner = size(5);
  const end = min(size(6), (chunk + 1) * size(7));
  for (let r = chunk * size(7); r < end; r++) {
    const index = <usize>load<i32>(address(1) + (<usize>(r % count) << 2));
    const from = (<usize>(r / count) * <usize>size(4) + index) * <usize>inner;
    copy(address(0) + (from << 2), address(2) + ((<usize>r * <usize>inner) << 2), inner);
  }
}

/**
 * y[outer][indices[i]] += x[outer][i], y begins as zeros. A chunk is a range of columns of one outer block, so no two
 * threads meet. Arguments: x, indices, y; count, rows, inner, columns a chunk, chunks along inner.
 */
export function scatterAdd(chunk: i32): void {
  const count = size(3);
  const inner = size(5);
  const outer = <usize>(chunk / size(7));
  const from = (chunk % size(7)) * size(6);
  const n = min(size(6), inner - from);
  const x = address(0) + ((outer * <usize>count * <usize>inner + <usize>from) << 2);
  const y = address(2) + ((outer * <usize>size(4) * <usize>inner + <usize>from) << 2);
  for (let i = 0; i < count; i++) {
    const index = <usize>load<i32>(address(1) + (<usize>i << 2));
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
