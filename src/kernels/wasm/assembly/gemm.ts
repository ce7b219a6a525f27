/**
 * Matrix product. One register tile computes 4 rows × two vectors of columns of C (8 in float32, 4 in float64): eight accumulators, per step of k two vectors of B
 * and four broadcast values of A. Both factors are first copied into panels in the order in which the tile reads them,
 * so that transposes cost nothing and all loads are sequential.
 *
 * Every element of C is summed over k in blocks of KC, in order, whatever the partition of C: the same bits always.
 */
import { bytesOf, madd, perVector, storeSome } from './lanes';
import { Chunk, scratchPart } from './pool';

/** Rows and columns of the register tile, columns in float32. */
export const MR: i32 = 4;
export const NR: i32 = 8;
/** Columns of the register tile. */
// @ts-ignore: decorator
@inline export function tileColumns<T>(): i32 { return 2 * perVector<T>(); }
/** Their bytes. */
export const tileRow: usize = 32;
/** k-block: a B panel of 256 × 8 floats is 8 KB, a quarter of the first-level cache. */
export const KC: i32 = 256;

// @ts-ignore: decorator
@inline function load1<T>(at: usize, on: bool): T { return on ? load<T>(at) : 0; }

/** Four vectors as rows become four vectors as columns, stored `step` bytes apart. */
// @ts-ignore: decorator
@inline export function transpose4(r0: v128, r1: v128, r2: v128, r3: v128, target: usize, step: usize): void {
  const a = i8x16.shuffle(r0, r1, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const b = i8x16.shuffle(r2, r3, 0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
  const c = i8x16.shuffle(r0, r1, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  const d = i8x16.shuffle(r2, r3, 8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
  v128.store(target, i8x16.shuffle(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
  v128.store(target + step, i8x16.shuffle(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
  v128.store(target + 2 * step, i8x16.shuffle(c, d, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23));
  v128.store(target + 3 * step, i8x16.shuffle(c, d, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31));
}

/**
 * Packs `count` lanes (rows of A or columns of B) × kc into panels of `width` lanes, k by k, zero-filled at the end.
 * `lane` and `step` are the distances in bytes between lanes and between k's, `panel` that between panels.
 */
export function pack<T>(
  source: usize, panels: usize, count: i32, width: i32, kc: i32, lane: usize, step: usize, panel: usize,
): void {
  const row = bytesOf<T>(width);
  let i = 0;
  // Lanes beside each other in memory: a line of it at a time, which is four vectors and belongs to several panels.
  if (lane == sizeof<T>())
    for (const line = 4 * perVector<T>(); i + line <= count; i += line, source += 64, panels += 64 / row * panel)
      for (let k = 0, from = source, target = panels; k < kc; k++, from += step, target += row) {
        v128.store(target, v128.load(from));
        v128.store(target + (row == 16 ? panel : 16), v128.load(from, 16));
        v128.store(target + (row == 16 ? 2 * panel : panel), v128.load(from, 32));
        v128.store(target + (row == 16 ? 3 * panel : panel + 16), v128.load(from, 48));
      }
  for (; i < count; i += width, source += <usize>width * lane, panels += panel) {
    let target = panels;
    const lanes = min(width, count - i);
    if (lanes < width) {
      for (let k = 0; k < kc; k++, target += row)
        for (let l = 0; l < width; l++)
          store<T>(target + bytesOf<T>(l), load1<T>(source + <usize>l * lane + <usize>k * step, l < lanes));
    } else if (lane == sizeof<T>()) {
      for (let k = 0; k < kc; k++, target += row) {
        const from = source + <usize>k * step;
        v128.store(target, v128.load(from));
        if (row == tileRow) v128.store(target, v128.load(from, 16), 16);
      }
    } else {
      let k = 0;
      if (sizeof<T>() == 8 && step == 8)
        for (; k + 2 <= kc; k += 2, target += 2 * row) {
          const from = source + (<usize>k << 3);
          for (let l: usize = 0; l < <usize>width; l += 2) {
            const r0 = v128.load(from + l * lane);
            const r1 = v128.load(from + (l + 1) * lane);
            v128.store(target + (l << 3), v128.shuffle<f64>(r0, r1, 0, 2));
            v128.store(target + row + (l << 3), v128.shuffle<f64>(r0, r1, 1, 3));
          }
        }
      if (sizeof<T>() == 4 && step == 4)
        for (; k + 4 <= kc; k += 4, target += row << 2) {
          const from = source + bytesOf<T>(k);
          for (let l = 0; l < width; l += 4) {
            const at = from + <usize>l * lane;
            transpose4(
              v128.load(at), v128.load(at + lane), v128.load(at + 2 * lane), v128.load(at + 3 * lane),
              target + bytesOf<T>(l), row,
            );
          }
        }
      for (; k < kc; k++, target += row)
        for (let l = 0; l < width; l++)
          store<T>(target + bytesOf<T>(l), load<T>(source + <usize>l * lane + <usize>k * step));
    }
  }
}

// @ts-ignore: decorator
@inline function row<T>(c: usize, left: v128, right: v128, columns: i32, add: bool): void {
  if (columns >= tileColumns<T>()) {
    if (add) {
      left = v128.add<T>(v128.load(c), left);
      right = v128.add<T>(v128.load(c, 16), right);
    }
    v128.store(c, left);
    v128.store(c, right, 16);
    return;
  }
  // Reading past the edge is harmless; writing is not.
  if (add) {
    left = v128.add<T>(v128.load(c), left);
    right = v128.add<T>(v128.load(c, 16), right);
  }
  if (columns >= perVector<T>()) {
    v128.store(c, left);
    if (columns > perVector<T>()) storeSome<T>(c + 16, right, columns - perVector<T>());
  } else storeSome<T>(c, left, columns);
}

/** C[4 × two vectors] (+)= panel A · panel B; `rows` and `columns` cut it at the edges, `stride` is C's in bytes. */
function tile<T>(a: usize, b: usize, kc: i32, c: usize, stride: usize, rows: i32, columns: i32, add: bool): void {
  let c00 = v128.splat<T>(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  // Until B's end, so that nothing is counted. One step of k a round: of more, V8 loads all before it multiplies, and spills.
  const end = b + <usize>kc * tileRow;
  do {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load_splat<T>(a);
    c00 = madd<T>(a0, b0, c00);
    c01 = madd<T>(a0, b1, c01);
    const a1 = v128.load_splat<T>(a, sizeof<T>());
    c10 = madd<T>(a1, b0, c10);
    c11 = madd<T>(a1, b1, c11);
    const a2 = v128.load_splat<T>(a, 2 * sizeof<T>());
    c20 = madd<T>(a2, b0, c20);
    c21 = madd<T>(a2, b1, c21);
    const a3 = v128.load_splat<T>(a, 3 * sizeof<T>());
    c30 = madd<T>(a3, b0, c30);
    c31 = madd<T>(a3, b1, c31);
    a += 4 * sizeof<T>();
    b += tileRow;
  } while (b < end);
  row<T>(c, c00, c01, columns, add);
  if (rows > 1) row<T>(c + stride, c10, c11, columns, add);
  if (rows > 2) row<T>(c + 2 * stride, c20, c21, columns, add);
  if (rows > 3) row<T>(c + 3 * stride, c30, c31, columns, add);
}

/** C [m, n] (+)= packed A · packed B, both packed for this k-block. `stride` is the row distance of C in bytes. */
export function tiles<T>(packedA: usize, packedB: usize, kc: i32, c: usize, stride: usize, m: i32, n: i32, add: bool): void {
  for (let j = 0; j < n; j += tileColumns<T>()) {
    const panelB = packedB + ((<usize>j * <usize>kc) << alignof<T>());
    for (let i = 0; i < m; i += MR)
      tile<T>(
        packedA + ((<usize>i * <usize>kc) << alignof<T>()), panelB, kc,
        c + <usize>i * stride + bytesOf<T>(j), stride, min(MR, m - i), min(tileColumns<T>(), n - j), add,
      );
  }
}

/** Bytes of `count` times `stride` elements. */
// @ts-ignore: decorator
@inline function elements<T>(count: i32, stride: i32): usize { return (<usize>count * <usize>stride) << alignof<T>(); }
/** Bytes of `k` steps of a factor that is packed whole: its k-blocks follow each other, each with the panels of all lanes. */
// @ts-ignore: decorator
@inline function wholeBytes<T>(lanes: i32, k: i32): usize { return elements<T>((lanes + 7) & ~7, k); }
/** Bytes of scratch for one k-block of so many lanes. */
// @ts-ignore: decorator
@inline export function packedBytes<T>(lanes: i32): usize { return wholeBytes<T>(lanes, KC); }

/** Packs a k-block of a factor into panels of `width` lanes. Strides in elements. @returns where they are */
// @ts-ignore: decorator
@inline function packBlock<T>(source: usize, panels: usize, count: i32, width: i32, kc: i32, lane: i32, step: i32): usize {
  pack<T>(source, panels, count, width, kc, bytesOf<T>(lane), bytesOf<T>(step), bytesOf<T>(kc) * width);
  return panels;
}

/** C [m, n] = (or +=) A [m, k] · B [k, n] on this thread; strides in elements, `stride` that of C's rows. */
export function multiply<T>(
  a: usize, aRow: i32, aColumn: i32, b: usize, bRow: i32, bColumn: i32,
  c: usize, stride: i32, m: i32, n: i32, k: i32, add: bool, scratch: usize,
): void {
  if (k == 0 && !add) for (let i = 0; i < m; i++) memory.fill(c + elements<T>(i, stride), 0, bytesOf<T>(n));
  for (let k0 = 0; k0 < k; k0 += KC) {
    const kc = min(KC, k - k0);
    const panelsA = packBlock<T>(a + elements<T>(k0, aColumn), scratch, m, MR, kc, aRow, aColumn);
    const panelsB = packBlock<T>(b + elements<T>(k0, bRow), scratch + packedBytes<T>(m), n, tileColumns<T>(), kc, bColumn, bRow);
    tiles<T>(panelsA, panelsB, kc, c, bytesOf<T>(stride), m, n, add || k0 > 0);
  }
}

/**
 * Packs a factor whole, for products of which several blocks use it; its lanes are rows of A or columns of B. A chunk is a
 * k-block of some lanes of one matrix; strides in elements.
 */
export function packWhole<T>(
  chunk: Chunk, source: usize, whole: usize, isB: bool, lanes: i32, k: i32, lane: i32, step: i32, batch: usize,
  lanesPerChunk: i32, chunksPerBlock: i32, chunksPerMatrix: i32,
): void {
  const matrix = <usize>(chunk / chunksPerMatrix);
  const within = chunk % chunksPerMatrix;
  const k0 = (within / chunksPerBlock) * KC;
  const from = (within % chunksPerBlock) * lanesPerChunk;
  const kc = min(KC, k - k0);
  packBlock<T>(
    source + ((matrix * batch) << alignof<T>()) + elements<T>(from, lane) + elements<T>(k0, step),
    whole + matrix * wholeBytes<T>(lanes, k) + wholeBytes<T>(lanes, k0) + elements<T>(from, kc),
    min(lanesPerChunk, lanes - from), isB ? tileColumns<T>() : MR, kc, lane, step,
  );
}

/**
 * A chunk is a block of C, `rows` × `columns`; `blocks` are those of one matrix. Strides of A and B are in elements;
 * `wholeA` and `wholeB` are where packWhole has put a factor, or 0.
 */
export function matmul<T>(
  chunk: Chunk, a: usize, aRow: i32, aColumn: i32, aBatch: usize, b: usize, bRow: i32, bColumn: i32, bBatch: usize,
  wholeA: usize, wholeB: usize, c: usize, m: i32, n: i32, k: i32, rows: i32, columns: i32, blocksAlongN: i32, blocks: i32,
  scratch: usize, scratchBytes: usize,
): void {
  const batch = <usize>(chunk / blocks);
  const block = chunk % blocks;
  const i = (block / blocksAlongN) * rows;
  const j = (block % blocksAlongN) * columns;
  const height = min(rows, m - i);
  const width = min(columns, n - j);
  a += ((batch * aBatch) << alignof<T>()) + elements<T>(i, aRow);
  b += ((batch * bBatch) << alignof<T>()) + elements<T>(j, bColumn);
  c += ((batch * <usize>m * <usize>n + <usize>j) << alignof<T>()) + elements<T>(i, n);
  const scratchA = scratchPart(scratch, scratchBytes);
  if (wholeA == 0 && wholeB == 0) {
    multiply<T>(a, aRow, aColumn, b, bRow, bColumn, c, n, height, width, k, false, scratchA);
    return;
  }
  const scratchB = scratchA + packedBytes<T>(height);
  const matrixA = aBatch == 0 ? <usize>0 : batch * wholeBytes<T>(m, k);
  const matrixB = bBatch == 0 ? <usize>0 : batch * wholeBytes<T>(n, k);
  for (let k0 = 0; k0 < k; k0 += KC) {
    const kc = min(KC, k - k0);
    const panelsA = wholeA != 0
      ? wholeA + matrixA + wholeBytes<T>(m, k0) + elements<T>(i, kc)
      : packBlock<T>(a + elements<T>(k0, aColumn), scratchA, height, MR, kc, aRow, aColumn);
    const panelsB = wholeB != 0
      ? wholeB + matrixB + wholeBytes<T>(n, k0) + elements<T>(j, kc)
      : packBlock<T>(b + elements<T>(k0, bRow), scratchB, width, tileColumns<T>(), kc, bColumn, bRow);
    tiles<T>(panelsA, panelsB, kc, c, bytesOf<T>(n), height, width, k0 > 0);
  }
}
