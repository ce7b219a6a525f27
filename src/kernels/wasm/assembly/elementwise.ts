/**
 * Elementwise loops with broadcasting: out[i] = f(a[i], b[i], c[i]) over up to three axes. An operand's innermost step
 * is one element or none; one that stays is copied into a 16-byte slot first, so one loop serves all cases.
 */
import { applyRow } from './generated';
import { bytesOf, perVector, storeSome } from './lanes';
import { Long } from './operations';
import { Chunk, List3, List9, addressAt, rowAt, sizeAt, slotOf, splatSlot } from './pool';

/**
 * Of `vectors` whole vectors, at least one. Loops are tested at their end: only out of such ones does V8 move constants (three
 * instructions each), and a polynomial is little else.
 */
export function each<F, T>(
  out: usize, a: usize, b: usize, c: usize, vectors: i32, da: usize, db: usize, dc: usize,
): void {
  const f = changetype<F>(0);
  if (sizeof<T>() == 4 && f instanceof Long) {
    let pairs = vectors >> 1;
    if (pairs > 0) {
      do {
        const first = f.apply<T>(v128.load(a), v128.load(b), v128.load(c));
        const second = f.apply<T>(v128.load(a + da), v128.load(b + db), v128.load(c + dc));
        v128.store(out, first);
        v128.store(out, second, 16);
        a += 2 * da;
        b += 2 * db;
        c += 2 * dc;
        out += 32;
      } while (--pairs);
    }
    vectors &= 1;
    if (vectors == 0) return;
  }
  do {
    v128.store(out, f.apply<T>(v128.load(a), v128.load(b), v128.load(c)));
    a += da;
    b += db;
    c += dc;
    out += 16;
  } while (--vectors);
}

/** Of n elements; those that do not fill a vector by way of a slot. */
// @ts-ignore: decorator
@inline function eachOf<T>(
  operation: i32, out: usize, a: usize, b: usize, c: usize, n: i32, da: usize, db: usize, dc: usize,
): void {
  const vectors = n / perVector<T>();
  if (vectors > 0) applyRow<T>(operation, out, a, b, c, vectors, da, db, dc);
  const left = n % perVector<T>();
  if (left == 0) return;
  const whole = <usize>vectors;
  const last = slotOf(3);
  applyRow<T>(operation, last, a + whole * da, b + whole * db, c + whole * dc, 1, da, db, dc);
  storeSome<T>(out + (whole << 4), v128.load(last), left);
}

/** The operand's place in one row: itself where it steps, copies of its one value where it does not. */
// @ts-ignore: decorator
@inline function operand<T>(slot: i32, at: usize, step: usize): usize {
  return step != 0 ? at : splatSlot<T>(slot, at);
}

/**
 * `operands` are addresses, `sizes` those of three axes, `strides` three an operand, in elements; `grain` counts elements
 * where there is one row only, else rows.
 */
export function elementwise<T>(
  chunk: Chunk, operation: i32, out: usize, operands: List3, sizes: List3, strides: List9, grain: i32,
): void {
  const middle = sizeAt(sizes, 1);
  const rows = sizeAt(sizes, 0) * middle;
  const columns = sizeAt(sizes, 2);
  const a = addressAt(operands, 0);
  const b = addressAt(operands, 1);
  const c = addressAt(operands, 2);
  const ax = addressAt(strides, 2);
  const bx = addressAt(strides, 5);
  const cx = addressAt(strides, 8);
  if (rows == 1) {
    const from = chunk * grain;
    const at = bytesOf<T>(from);
    eachOf<T>(
      operation, out + at,
      operand<T>(0, a + at * ax, ax),
      operand<T>(1, b + at * bx, bx),
      operand<T>(2, c + at * cx, cx),
      min(grain, columns - from), ax << 4, bx << 4, cx << 4,
    );
    return;
  }
  const end = min(rows, (chunk + 1) * grain);
  for (let r = chunk * grain; r < end; r++) {
    const z = <usize>(r / middle);
    const y = <usize>(r % middle);
    eachOf<T>(
      operation, out + bytesOf<T>(r) * <usize>columns,
      operand<T>(0, a + rowAt<T>(strides, 0, z, y), ax),
      operand<T>(1, b + rowAt<T>(strides, 3, z, y), bx),
      operand<T>(2, c + rowAt<T>(strides, 6, z, y), cx),
      columns, ax << 4, bx << 4, cx << 4,
    );
  }
}
