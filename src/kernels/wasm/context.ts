/** What every file of the wasm device works with. */
import type { DType } from '../../tensor/dtype.js';
import type { Storage } from '../device.js';
import type { Engine } from './engine.js';
import type { Block } from './heap.js';

export interface Context {
  readonly engine: Engine;
  /** Uninitialised storage. */
  allocate(dtype: DType, size: number): Storage;
}

/** Where a storage's elements lie in memory. */
export function at(x: Storage): number {
  return (x.handle as Block).address;
}

/** Elements that one chunk of a cheap kernel works on: some ten microseconds. A multiple of 4. */
export const grain = 16384;

/** Rows of `length` elements that make such a chunk. */
export function rowGrain(length: number): number {
  return Math.max(1, Math.floor(grain / Math.max(1, length)));
}
