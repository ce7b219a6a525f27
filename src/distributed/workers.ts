/** Ranks as worker threads of one process: over shared memory, for tests, for Windows, and where there is no MPI. */
import { Worker, workerData } from 'node:worker_threads';
import { bytesOf } from '../tensor/bytes.js';
import { DomainError, describeValue } from '../tensor/errors.js';
import { DistributedError, type Transport } from './transport.js';

/** Bytes of a rank that are on their way at a time. */
const slot = 1 << 20;

/** Where things are in the control words; behind them is how far each rank has come. */
const [arrived, generation, over, progress] = [0, 1, 2, 3];

/** Seconds in which ranks end by themselves when one has failed. */
const grace = 5;

interface Seat {
  hopgradRank: number;
  size: number;
  control: SharedArrayBuffer;
  slots: SharedArrayBuffer;
  timeout: number;
}

/** Whether this thread was started by {@link startRanks}. */
export const isRank = (): boolean => typeof (workerData as Seat | null)?.hopgradRank === 'number';

/** The transport of a thread that {@link startRanks} started. */
export function workerTransport(): Transport {
  const { hopgradRank: rank, size, control, slots, timeout } = workerData as Seat;
  const words = new Int32Array(control);
  const memory = new Uint8Array(slots);
  const mine = memory.subarray(rank * slot, (rank + 1) * slot);
  const of = (r: number, length: number) => memory.subarray(r * slot, r * slot + length);

  /** The last to come opens the gate for all. @throws DistributedError after `timeout` seconds, naming who is not here */
  function meet(op: string, patient = false): void {
    const round = Atomics.load(words, generation);
    Atomics.store(words, progress + rank, round + 1);
    if (Atomics.add(words, arrived, 1) === size - 1) {
      Atomics.store(words, arrived, 0);
      Atomics.add(words, generation, 1);
      Atomics.notify(words, generation);
      return;
    }
    while (Atomics.load(words, generation) === round) {
      if (Atomics.load(words, over) !== 0)
        throw new DistributedError(op, {
          received: `rank ${rank} was left by the others`,
          expected: 'ranks that all go on',
        });
      if (Atomics.wait(words, generation, round, patient ? Infinity : timeout * 1000) === 'timed-out') {
        const late = Array.from({ length: size }, (_, r) => r).filter(
          (r) => Atomics.load(words, progress + r) <= round,
        );
        throw new DistributedError(op, {
          received: `rank ${rank} waited ${timeout} s for rank ${late.join(', rank ')}`,
          expected: 'all ranks to make the same calls in the same order',
        });
      }
    }
  }

  /** Runs `step` on pieces of `length` bytes: what was written before it is there for all, and stays until all have read. */
  function inPieces(op: string, length: number, write: (from: number, to: number) => void, read: typeof write): void {
    for (let from = 0; from < length; from += slot) {
      const to = Math.min(from + slot, length);
      write(from, to);
      meet(op);
      read(from, to);
      meet(op);
    }
  }

  const transport: Transport = {
    name: 'workers',
    rank,
    size,
    allGather(send, receive) {
      inPieces(
        'allGather',
        send.length,
        (from, to) => mine.set(send.subarray(from, to)),
        (from, to) => {
          for (let r = 0; r < size; r++) receive.set(of(r, to - from), r * send.length + from);
        },
      );
    },
    allToAll(send, receive) {
      const part = send.length / size;
      for (let target = 0; target < size; target++)
        inPieces(
          'allToAll',
          part,
          (from, to) => mine.set(send.subarray(target * part + from, target * part + to)),
          (from, to) => {
            if (target === rank) for (let r = 0; r < size; r++) receive.set(of(r, to - from), r * part + from);
          },
        );
    },
    sum(data) {
      const bytes = bytesOf(data);
      const all = new Uint8Array(size * bytes.length);
      transport.allGather(bytes, all);
      const parts = new (data.constructor as Float32ArrayConstructor)(all.buffer);
      for (let i = 0; i < data.length; i++) {
        let sum = 0;
        for (let r = 0; r < size; r++) sum += parts[r * data.length + i]!;
        data[i] = sum;
      }
    },
    broadcast(data, root) {
      inPieces(
        'broadcast',
        data.length,
        (from, to) => {
          if (rank === root) mine.set(data.subarray(from, to));
        },
        (from, to) => data.set(of(root, to - from), from),
      );
    },
    barrier: (patient) => meet('barrier', patient),
    leave: () => meet('leave'),
  };
  return transport;
}

/** What threads that are ranks are started with. */
export interface StartOptions {
  /** What the threads find as `workerData.data`. */
  data?: unknown;
  /** Seconds that a rank waits for others. Default 600. */
  timeout?: number;
  /** Arguments of the threads' `process.argv`. */
  argv?: readonly string[];
  /** Signals of the process that the threads are told of, by messages `{ signal }`: they hear none themselves. */
  signals?: readonly `SIG${string}`[];
}

/**
 * Runs a module in so many threads, each of them a rank: `joinGroup()` in it gives their group.
 * @returns when all have ended
 * @throws DistributedError naming the first rank that failed; the others are ended
 */
export async function startRanks(
  module: URL | string,
  size: number,
  { data, timeout = 600, argv = [], signals = [] }: StartOptions = {},
): Promise<void> {
  if (!Number.isInteger(size) || size < 1)
    throw new DomainError('startRanks', { received: `${describeValue(size)} ranks`, expected: 'a whole number ≥ 1' });
  if (!(timeout > 0))
    throw new DomainError('startRanks', { received: `timeout ${describeValue(timeout)}`, expected: 'seconds > 0' });
  const shared = {
    ...{ size, timeout, data },
    control: new SharedArrayBuffer(4 * (progress + size)),
    slots: new SharedArrayBuffer(size * slot),
  };
  const workers = Array.from(
    { length: size },
    (_, hopgradRank) => new Worker(module, { workerData: { ...shared, hopgradRank }, argv: [...argv] }),
  );
  const ended = workers.map(
    (worker, rank) =>
      new Promise<void>((resolve, reject) => {
        const failed = (received: string, cause?: unknown, code?: number) => {
          const error = new DistributedError('startRanks', { received: `rank ${rank} ${received}`, cause });
          reject(code === undefined ? error : Object.assign(error, { exitCode: code }));
        };
        worker.on('error', (error) => failed(`failed: ${error.message}`, error));
        worker.on('exit', (code) => (code === 0 ? resolve() : failed(`ended with code ${code}`, undefined, code)));
      }),
  );
  const tell = (signal: NodeJS.Signals) => {
    for (const worker of workers) worker.postMessage({ signal });
  };
  for (const signal of signals as NodeJS.Signals[]) process.on(signal, tell);
  try {
    await Promise.all(ended);
  } finally {
    for (const signal of signals as NodeJS.Signals[]) process.off(signal, tell);
    // Node 20 crashes where a thread is terminated that still loads its modules: so all are told, and most end by themselves.
    const words = new Int32Array(shared.control);
    Atomics.store(words, over, 1);
    Atomics.notify(words, generation);
    const late = setTimeout(() => {
      for (const worker of workers) void worker.terminate();
    }, grace * 1000);
    await Promise.allSettled(ended);
    clearTimeout(late);
  }
}
