/**
 * Many small storages as one. Where parts of buffers can be copied without a kernel, parts are joined and cut by such copies, and an
 * optimiser's kernels start once for all parameters instead of once for each, which for most of them is what they cost.
 */
import { sizeOf } from '../../tensor/shape.js';
import type { AdamWSpec, AdamWStorages, ScalarKernel, Storage } from '../device.js';
import { RecentlyUsed } from '../recent.js';
import { square } from '../scalar.js';
import { keep } from '../scope.js';
import type { KernelThis, Vector } from '../source/kernel.js';
import { builtIn } from '../source/own.js';
import { flat } from '../walk.js';
import { GpuDevice } from './device.js';
import { adamWNumbers } from './fused.js';
import type { Part } from './launch.js';
import type { Claim } from './pool.js';
import { firstMoment, secondMoment, update } from './scalar.js';

/** Elements of a pack, at most: what is larger is worth kernels of its own. */
const most = 2 ** 20;

/** Neighbours that go into a pack together; what is empty goes into none. */
export function inPacks<T>(all: readonly T[], size: (one: T) => number): T[][] {
  const packs: T[][] = [];
  let room = 0;
  for (const one of all) {
    if (size(one) === 0) continue;
    if (size(one) > room) {
      packs.push([]);
      room = most;
    }
    packs.at(-1)!.push(one);
    room -= size(one);
  }
  return packs;
}

/** Where the parts of a pack begin, in elements, and its size. */
export interface PackLayout {
  starts: readonly number[];
  size: number;
}

/** Parts begin at multiples of 256 bytes, which every device can bind. */
const alignment = 64;

function layoutOf(sizes: readonly number[]): PackLayout {
  let size = 0;
  const starts = sizes.map((own) => {
    const start = size;
    size += Math.ceil(own / alignment) * alignment;
    return start;
  });
  return { starts, size };
}

/** Threads that share the sum of one part of a pack. */
const threads = 64;

/** y[s][p] = Σ_t x[starts[s] + p + t · threads]² as far as lengths[s] goes */
function segmentSquares(this: KernelThis, x: Vector, starts: Vector, lengths: Vector): number {
  const from = starts[this.thread.y]!;
  const turns = Math.floor((lengths[this.thread.y]! - this.thread.x - 0.5) / this.constants.threads! + 1);
  let sum = 0;
  for (let t = 0; t < turns; t++) {
    sum +=
      x[from + this.thread.x + t * this.constants.threads!]! * x[from + this.thread.x + t * this.constants.threads!]!;
  }
  return sum;
}
builtIn({ segmentSquares });

/** A gpu.js device that copies parts of buffers, and takes a part for a buffer. */
export abstract class PackingDevice<B> extends GpuDevice<B> {
  protected abstract override join(parts: readonly Part<B>[], claim?: Claim): B;
  /** Buffers in one: that which they are parts of, where they lie in it so; else a new one with their copies. */
  protected abstract pack(buffers: readonly B[], sizes: readonly number[], layout: PackLayout): B;
  /** The parts of a pack, each a buffer like others, without a copy. */
  protected abstract unpack(pack: B, sizes: readonly number[], layout: PackLayout): B[];

  /** Where the parts of a pack begin and how long they are, on the device; kept, since a training asks the same in every step. */
  readonly #segments = new RecentlyUsed<readonly Storage[]>(64);
  /** Where packs of parameters are put by turns: the one before is held until a step is confirmed. By their first parameter. */
  readonly #claims = new WeakMap<Storage, [Claim, Claim]>();

  constructor() {
    super();
    Object.assign(this.fused, {
      sumSquares: (xs: readonly Storage[]) => this.#sumSquares(xs),
      adamW: (all: readonly AdamWStorages[], spec: AdamWSpec) => {
        for (const pack of inPacks(all, ({ parameter }) => parameter.size)) this.#adamW(pack, spec);
      },
    });
  }

  /** Where nothing comes between the elements of one part and those of the next, by copies. */
  override concat(parts: readonly Storage[], outer: number, lengths: readonly number[]): Storage {
    const whole = parts.filter(({ size }) => size > 0).map((storage) => ({ storage, from: 0, size: storage.size }));
    return outer !== 1 || whole.length < 2 ? super.concat(parts, outer, lengths) : this.joined(whole);
  }

  /** Where the elements are neighbours, by a copy. */
  override slice(x: Storage, shape: readonly number[], starts: readonly number[], sizes: readonly number[]): Storage {
    const cut = shape.findIndex((length, axis) => sizes[axis] !== length);
    const size = sizeOf(sizes);
    const whole = (axis: number) => sizes[axis] === shape[axis];
    const together = shape.every((length, axis) => (axis < cut ? length === 1 : axis === cut || whole(axis)));
    if (cut < 0 || size === 0 || !together) return super.slice(x, shape, starts, sizes);
    return this.joined([{ storage: x, from: starts[cut]! * sizeOf(shape.slice(cut + 1)), size }]);
  }

  /** Σ x² of each. Empty ones have no part in a pack, and a sum of 0. */
  #sumSquares(xs: readonly Storage[]): Storage {
    const empty = xs.some(({ size }) => size === 0) ? [this.fill(1, 0, 'float32')] : [];
    const packs = inPacks(xs, ({ size }) => size);
    const sums = packs.map((pack) => this.#packSquares(pack));
    const places = new Map(packs.flatMap((pack, i) => pack.map((x, from) => [x, { storage: sums[i]!, from }])));
    const result = this.joined(xs.map((x) => ({ ...(places.get(x) ?? { storage: empty[0]!, from: 0 }), size: 1 })));
    for (const storage of [...empty, ...sums]) storage.free();
    return result;
  }

  #packSquares(pack: readonly Storage[]): Storage {
    const lengths = pack.map(({ size }) => size);
    if (pack.length === 1) return this.sum(square, [1, lengths[0]!, 1], { storage: pack[0]!, strides: [0, 1, 0] });
    const segments = this.#segments.get(lengths.join(), () => {
      const lists = [layoutOf(lengths).starts, lengths].map((list) => this.upload(Float32Array.from(list)));
      for (const storage of lists) keep(storage);
      return lists;
    });
    const packed = this.#pack(pack);
    const views = [packed, ...segments].map((storage) => ({ storage, grid: [storage.size] as const }));
    const partial = this.run(segmentSquares, [threads, pack.length], views, { threads }, 'float32');
    const result = this.reduce('sum', partial, pack.length, threads, 1);
    for (const storage of [packed, partial]) storage.free();
    return result;
  }

  #pack(xs: readonly Storage[]): Storage {
    const sizes = xs.map(({ size }) => size);
    const layout = layoutOf(sizes);
    const buffers = xs.map((x) => this.bufferOf(x));
    return this.wrap(this.pack(buffers, sizes, layout), 'float32', layout.size);
  }

  /** The update of a pack, as fused.ts has it for one parameter. */
  #adamW(pack: readonly AdamWStorages[], s: AdamWSpec): void {
    const columns = (['parameter', 'grad', 'm', 'v'] as const).map((name) => pack.map((one) => one[name]));
    const [parameters, , means, squares] = columns as [Storage[], Storage[], Storage[], Storage[]];
    const [theta, g, m, v] = columns.map((column) => this.#pack(column)) as [Storage, Storage, Storage, Storage];
    const put = (targets: readonly Storage[], f: ScalarKernel, ...operands: (Storage | number)[]): Storage => {
      const flats = operands.map((x) => (typeof x === 'number' ? x : flat(x)));
      const result = this.runElementwise(f, [theta.size], flats, 'float32', { claim: this.#claimOf(targets[0]!) });
      const sizes = targets.map(({ size }) => size);
      const parts = this.unpack(this.bufferOf(result), sizes, layoutOf(sizes));
      targets.forEach((target, i) => {
        this.replace(target, parts[i]!);
      });
      return result;
    };
    const { first, second, last } = adamWNumbers(s);
    const nextM = put(means, firstMoment, m, g, ...first);
    const nextV = put(squares, secondMoment, v, g, ...second);
    const next = put(parameters, update, theta, nextM, nextV, ...last);
    for (const storage of [theta, g, m, v, nextM, nextV, next]) storage.free();
  }

  #claimOf(target: Storage): Claim {
    const [claim, other] = this.#claims.get(target) ?? [{}, {}];
    this.#claims.set(target, [other, claim]);
    return claim;
  }
}
