/**
 * Memory of the wasm device: one linear memory. Small blocks come in size classes; large ones are cut from free ranges,
 * which join again when neighbours are free.
 */
import { MemoryLimitError } from '../../tensor/errors.js';
import { MemoryAccount } from '../account.js';
import { Collector } from '../collect.js';
import type { MemoryInfo } from '../device.js';

const pageBytes = 65536;
export const maxPages = 65536;
/** Blocks up to here are rounded up to 64 · 2ⁿ and never joined; larger ones are multiples of it. */
const smallBytes = 8192;
/** Vector loads may reach past the end of a block. */
const slack = 64;

export interface Block {
  address: number;
  /** Bytes reserved. */
  bytes: number;
  live: boolean;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  /** Where untouched memory begins. */
  #top: number;
  readonly #small = new Map<number, number[]>();
  /** Free ranges: length by address, and address by end. */
  readonly #free = new Map<number, number>();
  readonly #ends = new Map<number, number>();
  readonly #limit: number;
  readonly #account = new MemoryAccount();
  readonly collector: Collector<Block>;

  /** @param collectNow makes the JavaScript engine look for dead tensors, as collectGarbage does; @param limit the memory's last usable byte */
  constructor(memory: WebAssembly.Memory, base: number, collectNow: () => boolean, limit = maxPages * pageBytes) {
    this.memory = memory;
    this.#top = Math.ceil(base / smallBytes) * smallBytes;
    this.#limit = limit;
    this.collector = new Collector(this.#account, (block) => this.release(block), { limit, collectNow });
  }

  /** @throws MemoryLimitError when the address space does not suffice; everything stays usable */
  allocate(bytes: number): Block {
    const size = bytes <= smallBytes ? 2 ** Math.max(6, Math.ceil(Math.log2(bytes || 1))) : roundUp(bytes, smallBytes);
    this.collector.expect(size);
    const address = size <= smallBytes ? this.#smallBlock(size, bytes) : this.#largeBlock(size, bytes);
    this.#account.add(size);
    return { address, bytes: size, live: true };
  }

  release(block: Block): void {
    if (!block.live) return;
    block.live = false;
    this.#account.remove(block.bytes);
    if (block.bytes <= smallBytes) this.#small.get(block.bytes)!.push(block.address);
    else this.#join(block.address, block.bytes);
  }

  /** Small blocks of one class are cut from a large one, which stays theirs. */
  #smallBlock(size: number, requested: number): number {
    let list = this.#small.get(size);
    if (!list) {
      list = [];
      this.#small.set(size, list);
    }
    if (list.length === 0) {
      const slab = 2 * smallBytes;
      const from = this.#largeBlock(slab, requested);
      for (let at = slab - size; at >= 0; at -= size) list.push(from + at);
    }
    return list.pop()!;
  }

  /** The smallest free range that fits, its rest staying free; else untouched memory. */
  #largeBlock(size: number, requested: number): number {
    let best = -1;
    let bestLength = Infinity;
    for (const [address, length] of this.#free)
      if (length >= size && length < bestLength) {
        best = address;
        bestLength = length;
        if (length === size) break;
      }
    if (best < 0) return this.#extend(size, requested);
    this.#take(best, bestLength);
    if (bestLength > size) this.#put(best + size, bestLength - size);
    return best;
  }

  #put(address: number, length: number): void {
    this.#free.set(address, length);
    this.#ends.set(address + length, address);
  }

  #take(address: number, length: number): void {
    this.#free.delete(address);
    this.#ends.delete(address + length);
  }

  #join(address: number, length: number): void {
    const before = this.#ends.get(address);
    const after = this.#free.get(address + length);
    let from = address;
    let total = length;
    if (before !== undefined) {
      this.#take(before, address - before);
      from = before;
      total += address - before;
    }
    if (after !== undefined) {
      this.#take(address + length, after);
      total += after;
    }
    if (from + total === this.#top) this.#top = from;
    else this.#put(from, total);
  }

  #extend(size: number, requested: number): number {
    const address = this.#top;
    const end = address + size;
    const available = this.memory.buffer.byteLength;
    if (end + slack > this.#limit) this.#fail(requested);
    if (end + slack > available) {
      // In steps, since growing is slow.
      const wanted = Math.min(this.#limit, Math.max(end + slack, available + Math.min(available, 2 ** 28)));
      try {
        this.memory.grow(Math.ceil((wanted - available) / pageBytes));
      } catch {
        this.#fail(requested);
      }
    }
    this.#top = end;
    return address;
  }

  #fail(requested: number): never {
    const { liveBytes, storages } = this.#account;
    this.collector.collect();
    throw new MemoryLimitError('wasm', {
      received: `a request for ${requested} bytes with ${liveBytes} bytes live in ${storages} tensors`,
      expected: `to stay within ${Math.round(this.#limit / 2 ** 20)} MiB`,
      hint: 'Use a smaller micro-batch, checkpoint() parts of the model, or scoped() to free temporaries at once; awaiting a read lets collected tensors go.',
    });
  }

  info(): MemoryInfo {
    return this.#account.info(this.memory.buffer.byteLength);
  }
}

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
