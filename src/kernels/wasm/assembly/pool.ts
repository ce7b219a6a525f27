/**
 * The threads. All of them run this module over one shared memory; JavaScript writes a kernel's arguments into a fixed
 * place and calls `parallel`. A job is a number of chunks: whoever is free takes the next one, the calling thread too,
 * so nothing ever waits for a thread that has not started yet. What a chunk computes does not depend on who takes it,
 * so results are the same bits for any number of threads.
 */
import { execute } from './generated';

/** generation · 2³² + chunks not yet taken; what idle threads sleep on. */
const TICKET: usize = 64;
/** Chunks not yet finished; what the calling thread waits for. */
const PENDING: usize = 128;
const KERNEL: usize = 192;
/** Up to 64 arguments as float64: addresses and sizes are exact in it. */
export const ARGUMENTS: usize = 256;
/** 16-byte slots, four a thread, for operands that are one value. */
const SLOTS: usize = 1024;
/** More would not fit the slots. */
export const THREADS: i32 = 64;
/** Four 16-byte places where JavaScript puts operands that are plain numbers. */
export const CONSTANTS: usize = 5120;
/** How many threads may work; the others sleep on this number until it changes. */
const LIMIT: usize = 196;
/** Rounds of looking for work before sleeping, some tens of microseconds: the gap between two kernels of a step. */
const SPINS: i32 = 20000;

/** This thread's number; 0 calls, the others help. */
let thread: i32 = 0;

/** The first parameter of a kernel, which makes it one: its other parameters are arguments (scripts/wasm-calls.mjs). */
export type Chunk = i32;
/** A parameter of several numbers, see sizeAt and addressAt. */
export type List3 = usize;
export type List5 = usize;
export type List9 = usize;

// @ts-ignore: decorator
@inline export function size(i: i32): i32 { return <i32>load<f64>(ARGUMENTS + (<usize>i << 3)); }
// @ts-ignore: decorator
@inline export function address(i: i32): usize { return <usize>load<f64>(ARGUMENTS + (<usize>i << 3)); }
// @ts-ignore: decorator
@inline export function number(i: i32): f64 { return load<f64>(ARGUMENTS + (<usize>i << 3)); }
// @ts-ignore: decorator
@inline export function list(i: i32): usize { return ARGUMENTS + (<usize>i << 3); }
// @ts-ignore: decorator
@inline export function sizeAt(list: usize, i: i32): i32 { return <i32>load<f64>(list + (<usize>i << 3)); }
// @ts-ignore: decorator
@inline export function addressAt(list: usize, i: i32): usize { return <usize>load<f64>(list + (<usize>i << 3)); }
/** Bytes from an operand's first element to that of row (z, y); `i` is where its strides are. */
// @ts-ignore: decorator
@inline export function rowAt<T>(strides: List9, i: i32, z: usize, y: usize): usize {
  return (z * addressAt(strides, i) + y * addressAt(strides, i + 1)) << alignof<T>();
}
/** This thread's part of a scratch block whose parts are `bytes` long. */
// @ts-ignore: decorator
@inline export function scratchPart(base: usize, bytes: usize): usize { return base + <usize>thread * bytes; }
/** The address of one of this thread's four slots. */
// @ts-ignore: decorator
@inline export function slotOf(slot: i32): usize { return SLOTS + (<usize>(thread * 4 + slot) << 4); }
/** The address of a vector of copies of the number at `from`. */
export function splatSlot<T>(slot: i32, from: usize): usize {
  const at = slotOf(slot);
  v128.store(at, v128.load_splat<T>(from));
  return at;
}

export function heapBase(): usize { return __heap_base; }

/** Runs all chunks of a kernel. `helpers` is the number of other threads; `mayBlock` is 0 where waiting is forbidden. */
export function parallel(kernel: i32, chunks: i32, helpers: i32, mayBlock: i32): void {
  if (!ASC_FEATURE_THREADS || chunks <= 1 || helpers == 0) {
    for (let chunk = 0; chunk < chunks; chunk++) execute(kernel, chunk);
    return;
  }
  if (ASC_FEATURE_THREADS) share(kernel, chunks, helpers, mayBlock);
}

function share(kernel: i32, chunks: i32, helpers: i32, mayBlock: i32): void {
  store<i32>(KERNEL, kernel);
  atomic.store<i32>(PENDING, chunks);
  const generation = (atomic.load<u64>(TICKET) >> 32) + 1;
  atomic.store<u64>(TICKET, (generation << 32) | <u64>chunks);
  atomic.notify(TICKET, min(helpers, chunks - 1));
  takeChunks();
  for (let spins = 0; ; spins++) {
    const pending = atomic.load<i32>(PENDING);
    if (pending == 0) return;
    if (spins > SPINS && mayBlock) atomic.wait<i32>(PENDING, pending, -1);
  }
}

/** A chunk is taken by counting the ticket down; its arguments stay until all chunks are finished, so it reads them after. */
function takeChunks(): void {
  for (;;) {
    const ticket = atomic.load<u64>(TICKET);
    const left = <u32>ticket;
    if (left == 0) return;
    if (atomic.cmpxchg<u64>(TICKET, ticket, ticket - 1) != ticket) continue;
    execute(load<i32>(KERNEL), left - 1);
    if (atomic.sub<i32>(PENDING, 1) == 1) atomic.notify(PENDING, 1);
  }
}

/** Lets `count` threads work, the calling one included. */
export function limitThreads(count: i32): void {
  if (!ASC_FEATURE_THREADS) return;
  atomic.store<i32>(LIMIT, count);
  atomic.notify(LIMIT, -1);
  atomic.notify(TICKET, -1); // who may no longer work must not sleep here, where it would be woken in another's place
}

/** The life of a helping thread: work, look for more for a moment, sleep until the ticket changes. Never returns. */
export function work(id: i32): void {
  thread = id;
  if (ASC_FEATURE_THREADS) help();
}

function help(): void {
  for (;;) {
    const limit = atomic.load<i32>(LIMIT);
    if (thread >= limit) {
      atomic.wait<i32>(LIMIT, limit, -1);
      continue;
    }
    takeChunks();
    let ticket = atomic.load<u64>(TICKET);
    for (let spins = 0; spins < SPINS && <u32>ticket == 0; spins++) ticket = atomic.load<u64>(TICKET);
    if (<u32>ticket == 0) atomic.wait<u64>(TICKET, ticket, -1);
  }
}
