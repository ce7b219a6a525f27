/** Matrix product: the arguments of assembly/gemm.ts. */
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import type { MatmulSpec, Storage } from '../device.js';
import { at, type Context } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

/** Bytes of so many packed rows or columns: of a k-block, or of all k. */
export const packed = (lanes: number, dtype: DType, k: number = kernel.KC) =>
  roundUp(lanes, kernel.NR) * k * bytesPerElement[dtype];
const roundUp = (size: number, unit: number) => Math.ceil(size / unit) * unit;

/** Multiplications in a chunk, at least, tens of microseconds: less is not worth taking. */
const leastWork = 2 ** 19;

/** Rows and columns of C per chunk: large, so that a panel serves many, but several chunks for every thread. */
function blockOf({ m, n, k, batch }: MatmulSpec, threads: number): [number, number] {
  let [rows, columns] = [Math.min(m, 256), Math.min(n, 512)];
  const wanted = threads === 1 ? 1 : 3 * threads;
  const chunks = () => batch * Math.ceil(m / rows) * Math.ceil(n / columns);
  while (chunks() < wanted && rows * columns * k > leastWork && (rows > 32 || columns > 32)) {
    if (columns > rows) columns = roundUp(columns / 2, kernel.NR);
    else rows = roundUp(rows / 2, kernel.MR);
  }
  return [rows, columns];
}

/** Factors that take more than this are packed anew by each block that uses them. */
const mostWhole = 64 * 2 ** 20;
/** Lanes that are packed in one piece. */
const packedTogether = 128;

interface Factor {
  storage: Storage;
  isB: boolean;
  /** Matrices of it: one where it is the same for the whole batch. */
  matrices: number;
  /** Elements from one matrix to the next. */
  batch: number;
  /** Rows of A or columns of B; `lane` and `step` are elements from one to the next and along k. */
  lanes: number;
  lane: number;
  step: number;
  k: number;
  /** Blocks of C that use the same part of it. */
  uses: number;
}

/** Packs a factor for all blocks at once, where several use it. `body` gets its address, or 0. */
function withWhole<T>({ engine }: Context, factor: Factor, body: (address: number) => T): T {
  const { storage, isB, matrices, batch, lanes, lane, step, k, uses } = factor;
  const { dtype } = storage;
  const bytes = matrices * packed(lanes, dtype, k);
  if (uses === 1 || k === 0 || bytes > mostWhole) return body(0);
  const block = engine.block(bytes);
  try {
    const chunksPerBlock = chunksOf(lanes, packedTogether);
    const chunksPerMatrix = chunksPerBlock * chunksOf(k, kernel.KC);
    engine.call(kernel.packWhole, matrices * chunksPerMatrix, {
      dtype,
      source: at(storage),
      whole: block.address,
      isB,
      lanes,
      k,
      lane,
      step,
      batch,
      lanesPerChunk: packedTogether,
      chunksPerBlock,
      chunksPerMatrix,
    });
    return body(block.address);
  } finally {
    engine.heap.release(block);
  }
}

export function matmul(context: Context, a: Storage, b: Storage, s: MatmulSpec): Storage {
  const { engine, allocate } = context;
  const { batch, m, n, k } = s;
  const { dtype } = a;
  const y = allocate(dtype, batch * m * n);
  if (y.size === 0) return y;
  const [aRow, aColumn] = s.transposeA ? [1, m] : [k, 1];
  const [bRow, bColumn] = s.transposeB ? [1, k] : [n, 1];
  const [aBatch, bBatch] = [s.broadcastA ? 0 : m * k, s.broadcastB ? 0 : k * n];
  const [rows, columns] = blockOf(s, engine.threads);
  const [blocksAlongM, blocksAlongN] = [chunksOf(m, rows), chunksOf(n, columns)];
  const [matricesA, matricesB] = [s.broadcastA ? 1 : batch, s.broadcastB ? 1 : batch];
  const factorA: Factor = {
    storage: a,
    isB: false,
    matrices: matricesA,
    batch: aBatch,
    lanes: m,
    lane: aRow,
    step: aColumn,
    k,
    uses: blocksAlongN * (batch / matricesA),
  };
  const factorB: Factor = {
    storage: b,
    isB: true,
    matrices: matricesB,
    batch: bBatch,
    lanes: n,
    lane: bColumn,
    step: bRow,
    k,
    uses: blocksAlongM * (batch / matricesB),
  };
  withWhole(context, factorA, (wholeA) =>
    withWhole(context, factorB, (wholeB) =>
      engine.withScratch(packed(rows, dtype) + packed(columns, dtype), (scratch, scratchBytes) =>
        engine.call(kernel.matmul, batch * blocksAlongM * blocksAlongN, {
          dtype,
          a: at(a),
          aRow,
          aColumn,
          aBatch,
          b: at(b),
          bRow,
          bColumn,
          bBatch,
          wholeA,
          wholeB,
          c: at(y),
          m,
          n,
          k,
          rows,
          columns,
          blocksAlongN,
          blocks: blocksAlongM * blocksAlongN,
          scratch,
          scratchBytes,
        }),
      ),
    ),
  );
  return y;
}
