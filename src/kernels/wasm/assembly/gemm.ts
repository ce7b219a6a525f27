/**
 * Matrix product and convolution. One register tile computes 4 rows × 8 columns of C: eight v128 accumulators, per step
 * of k two vectors of B and four broadcast values of A. Both factors are first copied into panels in the order in which
 * the tile reads them, k by k, so that transposes cost nothing and all loads are sequential.
 */

/** Rows and columns of the register tile. */
const MR: i32 = 4;
const NR: i32 = 8;
/** k-block: a B panel of 256 × 8 floats is 8 KB, a quarter of the first-level cache. */
const KC: i32 = 256;

/** Packs rows [0, m) × k-range of A into panels of MR rows, zero-filled at the end. */
function packA(a: usize, target: usize, m: i32, k0: i32, kc: i32, rowStride: i32, columnStride: i32): void {
  for (let i = 0; i < m; i += MR) {
    const rows = min(MR, m - i);
    for (let k = 0; k < kc; k++) {
      const source = a + ((<usize>i * <usize>rowStride + <usize>(k0 + k) * <usize>columnStride) << 2);
      for (let r = 0; r < MR; r++) {
        store<f32>(target, r < rows ? load<f32>(source + ((<usize>r * <usize>rowStride) << 2)) : 0);
        target += 4;
      }
    }
  }
}

/** Packs the k-range × columns [0, n) of B into panels of NR columns, zero-filled at the end. */
function packB(b: usize, target: usize, n: i32, k0: i32, kc: i32, rowStride: i32, columnStride: i32): void {
  for (let j = 0; j < n; j += NR) {
    const columns = min(NR, n - j);
    for (let k = 0; k < kc; k++) {
      const source = b + ((<usize>(k0 + k) * <usize>rowStride + <usize>j * <usize>columnStride) << 2);
      if (columns == NR && columnStride == 1) {
        v128.store(target, v128.load(source));
        v128.store(target, v128.load(source, 16), 16);
      } else {
        for (let c = 0; c < NR; c++)
          store<f32>(target + (<usize>c << 2), c < columns ? load<f32>(source + ((<usize>c * <usize>columnStride) << 2)) : 0);
      }
      target += NR << 2;
    }
  }
}

/** One tile: C[4 × 8] (+)= panel A · panel B. `rows` and `columns` cut it at the edges. */
function tile(a: usize, b: usize, kc: i32, c: usize, stride: i32, rows: i32, columns: i32, add: bool, spill: usize): void {
  let c00 = f32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  for (let k = 0; k < kc; k++) {
    const b0 = v128.load(b);
    const b1 = v128.load(b, 16);
    const a0 = v128.load32_splat(a);
    const a1 = v128.load32_splat(a, 4);
    const a2 = v128.load32_splat(a, 8);
    const a3 = v128.load32_splat(a, 12);
    c00 = f32x4.add(c00, f32x4.mul(a0, b0));
    c01 = f32x4.add(c01, f32x4.mul(a0, b1));
    c10 = f32x4.add(c10, f32x4.mul(a1, b0));
    c11 = f32x4.add(c11, f32x4.mul(a1, b1));
    c20 = f32x4.add(c20, f32x4.mul(a2, b0));
    c21 = f32x4.add(c21, f32x4.mul(a2, b1));
    c30 = f32x4.add(c30, f32x4.mul(a3, b0));
    c31 = f32x4.add(c31, f32x4.mul(a3, b1));
    a += 16;
    b += 32;
  }
  if (rows == MR && columns == NR) {
    const bytes = <usize>stride << 2;
    row(c, c00, c01, add);
    row(c + bytes, c10, c11, add);
    row(c + 2 * bytes, c20, c21, add);
    row(c + 3 * bytes, c30, c31, add);
    return;
  }
  // An edge: through a full tile in scratch memory.
  row(spill, c00, c01, false);
  row(spill + 32, c10, c11, false);
  row(spill + 64, c20, c21, false);
  row(spill + 96, c30, c31, false);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const target = c + ((<usize>i * <usize>stride + <usize>j) << 2);
      const value = load<f32>(spill + ((<usize>(i * NR + j)) << 2));
      store<f32>(target, add ? load<f32>(target) + value : value);
    }
}

// @ts-ignore: decorator
@inline function row(c: usize, left: v128, right: v128, add: bool): void {
  if (add) {
    left = f32x4.add(v128.load(c), left);
    right = f32x4.add(v128.load(c, 16), right);
  }
  v128.store(c, left);
  v128.store(c, right, 16);
}

/**
 * C [m, n] (+)= A [m, k] · B [k, n], factors given by strides. `scratch` holds both packed blocks and one tile:
 * 4 · KC · (m + 3 + n + 7) + 128 bytes.
 */
export function gemm(
  a: usize, aRow: i32, aColumn: i32,
  b: usize, bRow: i32, bColumn: i32,
  c: usize, m: i32, n: i32, k: i32, add: bool, scratch: usize,
): void {
  if (k == 0 && !add) memory.fill(c, 0, (<usize>m * <usize>n) << 2);
  const packedA = scratch + 128;
  const packedB = packedA + (<usize>(((m + MR - 1) / MR) * MR) * KC << 2);
  for (let k0 = 0; k0 < k; k0 += KC) {
    const kc = min(KC, k - k0);
    packA(a, packedA, m, k0, kc, aRow, aColumn);
    packB(b, packedB, n, k0, kc, bRow, bColumn);
    for (let j = 0; j < n; j += NR) {
      const panelB = packedB + ((<usize>j * <usize>kc) << 2);
      for (let i = 0; i < m; i += MR)
        tile(
          packedA + ((<usize>i * <usize>kc) << 2), panelB, kc,
          c + ((<usize>i * <usize>n + <usize>j) << 2), n, min(MR, m - i), min(NR, n - j), add || k0 > 0, scratch,
        );
    }
  }
}

/** Writes the patches of one image [channels, height, width] as columns: [channels · kh · kw, outHeight · outWidth]. */
export function patches(
  x: usize, column: usize, channels: i32, height: i32, width: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, padY: i32, padX: i32, outHeight: i32, outWidth: i32,
): void {
  for (let c = 0; c < channels; c++)
    for (let u = 0; u < kh; u++)
      for (let v = 0; v < kw; v++)
        for (let i = 0; i < outHeight; i++) {
          const y = i * strideY + u - padY;
          if (y < 0 || y >= height) {
            memory.fill(column, 0, <usize>outWidth << 2);
            column += <usize>outWidth << 2;
            continue;
          }
          const line = x + ((<usize>((c * height + y) * width)) << 2);
          for (let j = 0; j < outWidth; j++) {
            const at = j * strideX + v - padX;
            store<f32>(column, at >= 0 && at < width ? load<f32>(line + (<usize>at << 2)) : 0);
            column += 4;
          }
        }
}

/** The transpose of `patches`: adds every patch element back to its place in the image. */
export function unpatch(
  column: usize, x: usize, channels: i32, height: i32, width: i32, kh: i32, kw: i32,
  strideY: i32, strideX: i32, padY: i32, padX: i32, outHeight: i32, outWidth: i32,
): void {
  for (let c = 0; c < channels; c++)
    for (let u = 0; u < kh; u++)
      for (let v = 0; v < kw; v++)
        for (let i = 0; i < outHeight; i++) {
          const y = i * strideY + u - padY;
          if (y < 0 || y >= height) {
            column += <usize>outWidth << 2;
            continue;
          }
          const line = x + ((<usize>((c * height + y) * width)) << 2);
          for (let j = 0; j < outWidth; j++) {
            const at = j * strideX + v - padX;
            if (at >= 0 && at < width) {
              const target = line + (<usize>at << 2);
              store<f32>(target, load<f32>(target) + load<f32>(column));
            }
            column += 4;
          }
        }
}
