/** Memory of the wasm device: one linear memory, cut into blocks of a few size classes that are used again and again. */
import { MemoryLimitError } from '../../tensor/errors.js';
import type { MemoryInfo } from '../device.js';

const pageBytes = 65536;
const maxBytes = pageBytes * 65536;
/** Live bytes above which a collection is forced, at least. */
const leastThreshold = 256 * 2 ** 20;

export interface Block {
  address: number;
  /** Bytes reserved: the size class. */
  bytes: number;
  live: boolean;
}

/** The smallest of 64 · {1, 1.25, 1.5, 1.75} · 2ⁿ that holds `bytes`: at most a quarter is lost, and blocks fit again. */
function sizeClass(bytes: number): number {
  const least = Math.max(64, bytes);
  const power = 2 ** Math.floor(Math.log2(least));
  for (const part of [1, 1.25, 1.5, 1.75]) if (power * part >= least) return Math.ceil((power * part) / 64) * 64;
  return power * 2;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  #next: number;
  readonly #free = new Map<number, number[]>();
  #liveBytes = 0;
  #peakBytes = 0;
  #count = 0;
  #threshold = leastThreshold;
  /** A collection was forced, and its finalizers have not had their turn. */
  collectionPending = false;

  constructor(memory: WebAssembly.Memory, base: number) {
    this.memory = memory;
    this.#next = Math.ceil(base / 64) * 64;
  }

  /** @throws MemoryLimitError when 4 GiB do not suffice; everything stays usable */
  allocate(bytes: number): Block {
    const size = sizeClass(bytes);
    if (this.#liveBytes + size > this.#threshold) this.#collect();
    const address = this.#free.get(size)?.pop() ?? this.#extend(size, bytes);
    this.#liveBytes += size;
    this.#count++;
    if (this.#liveBytes > this.#peakBytes) this.#peakBytes = this.#liveBytes;
    return { address, bytes: size, live: true };
  }

  release(block: Block): void {
    if (!block.live) return;
    block.live = false;
    this.#liveBytes -= block.bytes;
    this.#count--;
    const list = this.#free.get(block.bytes);
    if (list) list.push(block.address);
    else this.#free.set(block.bytes, [block.address]);
  }

  #extend(size: number, requested: number): number {
    const address = this.#next;
    const end = address + size;
    const available = this.memory.buffer.byteLength;
    if (end > maxBytes) return this.#larger(size) ?? this.#fail(requested);
    if (end > available) {
      // In steps, since every growth detaches all views.
      const wanted = Math.min(maxBytes, Math.max(end, available + Math.min(available, 2 ** 28)));
      try {
        this.memory.grow(Math.ceil((wanted - available) / pageBytes));
      } catch {
        return this.#larger(size) ?? this.#fail(requested);
      }
    }
    this.#next = end;
    return address;
  }

  /** A free block of another class that is large enough; what it has too much is lost until it is free again. */
  #larger(size: number): number | undefined {
    const fitting = [...this.#free]
      .filter(([bytes, list]) => bytes >= size && list.length > 0)
      .sort(([a], [b]) => a - b);
    return fitting[0]?.[1].pop();
  }

  #fail(requested: number): never {
    const { liveBytes, storages } = this.info();
    this.#collect();
    throw new MemoryLimitError('wasm', {
      received: `a request for ${requested} bytes with ${liveBytes} bytes live in ${storages} tensors`,
      expected: 'to stay within 4 GiB',
      hint: 'Use a smaller micro-batch, checkpoint() parts of the model, or scoped() to free temporaries at once; awaiting a read lets collected tensors go.',
    });
  }

  /** Asks the JavaScript engine to find dead tensors; their blocks come back at the next turn of the event loop. */
  #collect(): void {
    forceCollection?.();
    this.collectionPending = true;
    this.#threshold = Math.max(leastThreshold, 2 * this.#liveBytes);
  }

  /** Called when finalizers have run. */
  settled(): void {
    this.collectionPending = false;
    this.#threshold = Math.max(leastThreshold, 2 * this.#liveBytes);
  }

  info(): MemoryInfo {
    return {
      liveBytes: this.#liveBytes,
      peakBytes: this.#peakBytes,
      storages: this.#count,
      reservedBytes: this.memory.buffer.byteLength,
    };
  }
}

let forceCollection: (() => void) | null = null;

/** Sets how a collection is forced; in Node through V8's own switch. */
export function setCollector(collect: () => void): void {
  forceCollection = collect;
}
