/**
 * WebGPU buffers used again: making one costs the driver more than a small kernel, and WebGPU fills each new one with
 * zeros. A buffer may be handed out as soon as it is given back, since the queue runs commands in order: what was
 * started with it before has read it before what is started now writes it.
 */
import type { HopgradError } from '../../tensor/errors.js';
import type { GPUBufferLike, GPUDeviceLike } from './module.js';

/** A buffer and how many hold it. */
export interface Block {
  readonly id: number;
  readonly buffer: GPUBufferLike;
  /** Its size, at least what was asked for. */
  readonly bytes: number;
  holders: number;
  /** Why it has no contents. */
  error: HopgradError | null;
}

const usage = { storage: 0x80, copySource: 0x04, copyTarget: 0x08 };

/** Bytes that may lie idle beside a quarter of the most that was ever in use. */
const spare = 64 * 2 ** 20;

/** Rounded up, by an eighth at most beyond 2 KiB, so that a size finds buffers of its neighbours. */
export function roundedSize(bytes: number, most: number): number {
  const step = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 3));
  return Math.min(most - (most % 4), Math.ceil(Math.max(bytes, 1) / step) * step);
}

export class BlockPool {
  /** Idle buffers by size; the sizes used last come last. */
  readonly #idle = new Map<number, Block[]>();
  #idleBytes = 0;
  #usedBytes = 0;
  #peakBytes = 0;
  #next = 0;

  /**
   * @param most the largest buffer that the device allows
   * @param destroy gives a buffer back to the driver, when what was started with it has been submitted
   */
  constructor(
    readonly device: GPUDeviceLike,
    readonly most: number,
    readonly destroy: (buffer: GPUBufferLike) => void,
  ) {}

  /** Bytes of all buffers, idle ones included. */
  get bytes(): number {
    return this.#idleBytes + this.#usedBytes;
  }

  /** A buffer of at least `bytes` (at most `most`), held once. Its contents are anything. */
  take(bytes: number): Block {
    const size = roundedSize(bytes, this.most);
    this.#usedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
    const stack = this.#idle.get(size);
    const found = stack?.pop();
    if (found) {
      this.#idleBytes -= size;
      this.#idle.delete(size);
      if (stack!.length > 0) this.#idle.set(size, stack!);
      found.holders = 1;
      return found;
    }
    this.#trim();
    const buffer = this.device.createBuffer({ size, usage: usage.storage | usage.copySource | usage.copyTarget });
    return { id: this.#next++, buffer, bytes: size, holders: 1, error: null };
  }

  /** Holds a block no longer; the last holder puts it back. */
  release(block: Block): void {
    if (--block.holders > 0) return;
    this.#usedBytes -= block.bytes;
    this.#idleBytes += block.bytes;
    const stack = this.#idle.get(block.bytes);
    if (stack) stack.push(block);
    else this.#idle.set(block.bytes, [block]);
  }

  /** Before a buffer is made: gives idle ones back, the sizes not used for the longest time first. */
  #trim(): void {
    for (const [size, stack] of this.#idle) {
      while (this.bytes > spare + 1.25 * this.#peakBytes && stack.length > 0) {
        this.destroy(stack.pop()!.buffer);
        this.#idleBytes -= size;
      }
      if (stack.length > 0) return;
      this.#idle.delete(size);
    }
  }
}
