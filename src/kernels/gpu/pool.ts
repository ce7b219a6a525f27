/**
 * WebGPU buffers used again: making one costs the driver more than a small kernel, and WebGPU fills each new one with
 * zeros. A buffer may be handed out as soon as it is given back, since the queue runs commands in order: what was
 * started with it before has read it before what is started now writes it.
 */
import type { HopgradError } from '../../tensor/errors.js';
import type { GPUBufferLike, GPUDeviceLike } from './module.js';

/** A buffer, or a part of one, and how many hold it. */
export interface Block {
  /** Tells blocks apart that could be bound at the same place. */
  readonly id: number | string;
  readonly buffer: GPUBufferLike;
  /** Where it begins in the buffer, and its size there, at least what was asked for. */
  readonly offset: number;
  readonly bytes: number;
  /** The block that it is a part of, which it holds. */
  readonly whole: Block | null;
  holders: number;
  /** Repeated launches that put their result here the last time. */
  claims: number;
  /** Whether it is in a list of idle ones; a claim may have taken it all the same. */
  listed: boolean;
  /** Why it has no contents; of a part, the whole knows. */
  error: HopgradError | null;
}

/** Why a block has no contents. */
export const errorOf = ({ whole, error }: Block): HopgradError | null => (whole ? whole.error : error);

/** What will ask for a buffer again and again. */
export interface Claim {
  /** The one that it had the last time. */
  result?: Block;
}

const idle = { holders: 0, claims: 0, listed: false, error: null };

const usage = { storage: 0x80, copySource: 0x04, copyTarget: 0x08 };

/** Bytes that may lie idle beside a quarter of the most that was ever in use. */
const spare = 64 * 2 ** 20;

/** Rounded up, by an eighth at most beyond 2 KiB, so that a size finds buffers of its neighbours. */
export function roundedSize(bytes: number, most: number): number {
  const step = Math.max(256, 2 ** (Math.floor(Math.log2(Math.max(1, bytes))) - 3));
  return Math.min(most - (most % 4), Math.ceil(Math.max(bytes, 1) / step) * step);
}

export class BlockPool {
  /** Idle buffers by size, the sizes used last at the end: those that nobody has a claim to, and the others. */
  readonly #free = new Map<number, Block[]>();
  readonly #claimed = new Map<number, Block[]>();
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

  /**
   * A buffer of at least `bytes` (at most `most`), held once. Its contents are anything.
   * @param claim what will be repeated: it gets the buffer that it had, where nobody else has that now, so that what was prepared for
   *   the buffer (bindings) still holds. Others take such a buffer last.
   */
  take(bytes: number, claim?: Claim): Block {
    const size = roundedSize(bytes, this.most);
    const before = claim?.result;
    if (before?.bytes === size && before.holders === 0 && before.listed) return this.#use(before);
    // Whoever has lost a buffer takes none from others, or all would go round for ever.
    const lists = !claim ? [this.#free, this.#claimed] : before ? [this.#free] : [this.#claimed, this.#free];
    const found = popIdle(lists[0]!, size) ?? (lists[1] && popIdle(lists[1], size));
    const block = found ? this.#use(found) : this.#make(size);
    if (claim) {
      if (before) before.claims--;
      block.claims++;
      claim.result = block;
    }
    return block;
  }

  #make(size: number): Block {
    this.#count(size);
    this.#trim(this.#free);
    this.#trim(this.#claimed);
    const buffer = this.device.createBuffer({ size, usage: usage.storage | usage.copySource | usage.copyTarget });
    return { id: this.#next++, buffer, offset: 0, bytes: size, whole: null, ...idle, holders: 1 };
  }

  #use(block: Block): Block {
    this.#idleBytes -= block.bytes;
    this.#count(block.bytes);
    block.holders = 1;
    return block;
  }

  #count(bytes: number): void {
    this.#usedBytes += bytes;
    this.#peakBytes = Math.max(this.#peakBytes, this.#usedBytes);
  }

  /** Parts of a block, which they hold. @param places where each begins, and its bytes */
  parts(whole: Block, places: readonly { offset: number; bytes: number }[]): Block[] {
    whole.holders += places.length;
    return places.map(({ offset, bytes }) => {
      const id = `${whole.id}+${offset}`;
      return { ...idle, id, buffer: whole.buffer, offset, bytes, whole, holders: 1 };
    });
  }

  /** Holds a block no longer; the last holder puts it back. */
  release(block: Block): void {
    if (--block.holders > 0) return;
    if (block.whole) {
      this.release(block.whole);
      return;
    }
    this.#usedBytes -= block.bytes;
    this.#idleBytes += block.bytes;
    if (block.listed) return;
    block.listed = true;
    const lists = block.claims > 0 ? this.#claimed : this.#free;
    const list = lists.get(block.bytes);
    if (list) list.push(block);
    else lists.set(block.bytes, [block]);
  }

  /** Before a buffer is made: gives idle ones back, the sizes not used for the longest time first. */
  #trim(lists: Map<number, Block[]>): void {
    for (const size of lists.keys())
      while (lists.has(size)) {
        if (this.bytes <= spare + 1.25 * this.#peakBytes) return;
        const block = popIdle(lists, size);
        if (!block) break;
        this.destroy(block.buffer);
        this.#idleBytes -= size;
      }
  }
}

/** Takes the idle block of a size that was given back last, passing over those that claims have taken. */
function popIdle(lists: Map<number, Block[]>, size: number): Block | undefined {
  const list = lists.get(size);
  if (!list) return undefined;
  lists.delete(size);
  for (let block = list.pop(); block; block = list.pop()) {
    block.listed = false;
    if (block.holders > 0) continue;
    if (list.length > 0) lists.set(size, list);
    return block;
  }
  return undefined;
}
