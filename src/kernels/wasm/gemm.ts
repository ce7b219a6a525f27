/** Matrix product: the arguments of assembly/gemm.ts. */
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import type { MatmulSpec, Storage } from '../device.js';
import { at, type Context } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

/** Bytes of a packed block of so many rows or columns. */
export const packed = (lanes: number, dtype: DType) => roundUp(lanes, kernel.NR) * kernel.KC * bytesPerElement[dtype];
const roundUp = (size: number, unit: number) => Math.ceil(size / unit) * unit;

/** Rows and columns of C per chunk: large, so that packing is cheap, but several chunks for every thread. */
function blockOf(m: number, n: number, batch: number, threads: number): [number, number] {
  let [rows, columns] = [Math.min(m, 256), Math.min(n, 512)];
  const chunks = () => batch * Math.ceil(m / rows) * Math.ceil(n / columns);
  while (chunks() < 3 * threads && (rows > 64 || columns > 64)) {
    if (columns > rows) columns = roundUp(columns / 2, kernel.NR);
    else rows = roundUp(rows / 2, kernel.MR);
  }
  return [rows, columns];
}

export function matmul({ engine, allocate }: Context, a: Storage, b: Storage, s: MatmulSpec): Storage {
  const { batch, m, n, k } = s;
  const { dtype } = a;
  const y = allocate(dtype, batch * m * n);
  if (y.size === 0) return y;
  const [aRow, aColumn] = s.transposeA ? [1, m] : [k, 1];
  const [bRow, bColumn] = s.transposeB ? [1, k] : [n, 1];
  // A tiny product is not worth waking a thread for.
  const [rows, columns] = m * n * k < 32768 ? [m, n] : blockOf(m, n, batch, engine.threads);
  const blocksAlongN = chunksOf(n, columns);
  const blocks = chunksOf(m, rows) * blocksAlongN;
  engine.withScratch(packed(rows, dtype) + packed(columns, dtype), (scratch, scratchBytes) =>
    engine.call(kernel.matmul, batch * blocks, {
      dtype,
      a: at(a),
      aRow,
      aColumn,
      aBatch: s.broadcastA ? 0 : m * k,
      b: at(b),
      bRow,
      bColumn,
      bBatch: s.broadcastB ? 0 : k * n,
      c: at(y),
      m,
      n,
      k,
      rows,
      columns,
      blocksAlongN,
      blocks,
      scratch,
      scratchBytes,
    }),
  );
  return y;
}
