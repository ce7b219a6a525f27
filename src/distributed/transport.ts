/** How bytes get from rank to rank: what MPI, worker threads and a process alone have in common. */
import { HopgradError } from '../tensor/errors.js';

/** Every call is collective: all ranks make it, in the same order, and it ends when all have. */
export interface Transport {
  /** 'alone', 'workers', or the MPI library and its version. */
  readonly name: string;
  /** 0 … size − 1. */
  readonly rank: number;
  readonly size: number;
  /** receive = [what rank 0 sends; what rank 1 sends; …], all of one length. */
  allGather(send: Uint8Array, receive: Uint8Array): void;
  /** `send` has a part for every rank; part s of `receive` is what rank s had for this one. */
  allToAll(send: Uint8Array, receive: Uint8Array): void;
  /** The sum over ranks, in place, added up in any order. */
  sum(data: Float32Array | Float64Array): void;
  /** What `root` has, in place. */
  broadcast(data: Uint8Array, root: number): void;
  /**
   * Returns when all ranks have called it.
   * @param patient without a time-out: until what one of them does alone is done
   */
  barrier(patient?: boolean): void;
  /** Leaves the others in good order: nothing is sent afterwards, and how this process ends is its own affair. */
  leave(): void;
}

/** Ranks that cannot go on together: one is late or gone, they disagree, or the transport itself failed. */
export class DistributedError extends HopgradError {
  override readonly name = 'DistributedError';
  /** With which a rank has ended, where that is what went wrong. */
  exitCode?: number;
}

/** One process: what it sends is what it receives. */
export const alone: Transport = {
  name: 'alone',
  rank: 0,
  size: 1,
  allGather: (send, receive) => receive.set(send),
  allToAll: (send, receive) => receive.set(send),
  sum: () => {},
  broadcast: () => {},
  barrier: () => {},
  leave: () => {},
};
