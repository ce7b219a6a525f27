/** One instance of the kernels with its memory and its threads. */
import type { DType } from '../../tensor/dtype.js';
import { ARGUMENTS, CONSTANTS, THREADS } from './generated/calls.js';
import { type Block, Heap, maxPages } from './heap.js';

/** What the surroundings (Node, a browser) must provide. */
export interface Host {
  /** The compiled kernels. */
  module: WebAssembly.Module;
  /** Whether `module` works on shared memory, and so with threads. */
  shared: boolean;
  /** Whether the calling thread may sleep while the others finish; a browser's main thread may not. */
  mayBlock: boolean;
  /**
   * Starts a thread that instantiates `module` over `memory` and calls its `work(id)`. It must not keep the process
   * alive. `failed` is for threads that do not start.
   */
  startThread(module: WebAssembly.Module, memory: WebAssembly.Memory, id: number, failed: () => void): void;
  /** Makes the JavaScript engine collect, if it can, and says whether it is done. */
  collect(): boolean;
}

/** Writes the arguments of a kernel and returns its number: generated/calls.ts has one for each. */
type Kernel<Arguments> = (list: Float64Array, x: Arguments) => number;

interface Exports {
  parallel(kernel: number, chunks: number, helpers: number, mayBlock: number): void;
  limitThreads(count: number): void;
  heapBase(): number;
}

export class Engine {
  readonly heap: Heap;
  readonly #host: Host;
  readonly #exports: Exports;
  #arguments!: Float64Array;
  #floats!: Float32Array;
  #doubles!: Float64Array;
  #threads: number;
  /** Threads started besides the calling one. */
  #helpers = 0;
  /** False once a thread has failed to start: none will. */
  #mayStart = true;

  /** @param maxBytes of memory, for tests; 4 GiB is the most there is */
  constructor(host: Host, threads: number, maxBytes?: number) {
    const memory = new WebAssembly.Memory({ initial: 16, maximum: maxPages, shared: host.shared });
    this.#host = host;
    this.#exports = new WebAssembly.Instance(host.module, { env: { memory } }).exports as unknown as Exports;
    this.heap = new Heap(memory, this.#exports.heapBase(), host.collect, maxBytes);
    this.#threads = 1;
    this.threads = threads;
    this.#renewViews();
  }

  /** Memory that is not shared gives up its buffer when it grows, and views of that are empty from then on. */
  #renewViews(): void {
    const { buffer } = this.heap.memory;
    this.#arguments = new Float64Array(buffer, ARGUMENTS, 64);
    this.#floats = new Float32Array(buffer, CONSTANTS, 16);
    this.#doubles = new Float64Array(buffer, CONSTANTS, 8);
  }

  get threads(): number {
    return this.#threads;
  }

  /** Takes effect with the next kernel; threads start when the first kernel has work for them. */
  set threads(count: number) {
    this.#threads = this.#host.shared && this.#mayStart ? Math.min(Math.max(1, count), THREADS) : 1;
    this.#exports.limitThreads(this.#threads);
  }

  /**
   * Runs `chunks` chunks of a kernel with these arguments, on all threads, and returns when all are done. Callers write
   * the arguments as one literal: an object spread into another costs more than a small kernel (5 µs and more).
   */
  call<Arguments>(kernel: Kernel<Arguments>, chunks: number, args: Arguments): void {
    if (this.#arguments.length === 0) this.#renewViews();
    const number = kernel(this.#arguments, args);
    if (chunks > 1 && this.#helpers + 1 < this.#threads) this.#startThreads();
    this.#exports.parallel(number, chunks, Math.min(this.#helpers, this.#threads - 1), Number(this.#host.mayBlock));
  }

  #startThreads(): void {
    while (this.#helpers + 1 < this.#threads)
      this.#host.startThread(this.#host.module, this.heap.memory, ++this.#helpers, () => {
        this.#mayStart = false;
        this.threads = 1;
      });
  }

  /** Memory for the duration of one kernel: `bytes` for every thread. */
  withScratch<T>(bytes: number, body: (address: number, bytes: number) => T): T {
    const part = Math.ceil(bytes / 64) * 64;
    const block = this.heap.allocate(part * Math.max(this.#threads, this.#helpers + 1));
    try {
      return body(block.address, part);
    } finally {
      this.heap.release(block);
    }
  }

  /** Memory for several kernels, given back by the caller. */
  block(bytes: number): Block {
    return this.heap.allocate(bytes);
  }

  /** The address where a plain number lies as an operand; `slot` 0 to 3. */
  constant(slot: number, value: number, dtype: DType): number {
    if (this.#floats.length === 0) this.#renewViews();
    if (dtype === 'float64') this.#doubles[slot * 2] = value;
    else this.#floats[slot * 4] = value;
    return CONSTANTS + slot * 16;
  }
}

/** Chunks of at least `grain` for `size` things. */
export function chunksOf(size: number, grain: number): number {
  return Math.ceil(size / grain);
}
