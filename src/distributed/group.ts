/** Ranks that train together: what they ask of one another, as tensors. */

import { createHash } from 'node:crypto';
import { noGrad } from '../autograd/graph.js';
import { concat } from '../autograd/ops/join.js';
import { Tensor } from '../autograd/tensor.js';
import { bytesOf } from '../tensor/bytes.js';
import { bytesPerElement } from '../tensor/dtype.js';
import { describeValue, UsageError } from '../tensor/errors.js';
import { formatShape, sizeOf } from '../tensor/shape.js';
import { allGather, checkFirstAxis } from './gather.js';
import { alone, DistributedError, type Transport } from './transport.js';

type Floats = Float32Array | Float64Array;

/** Bytes that are summed over ranks at a time, as long as no tensor is larger. */
const mostAtOnce = 2 ** 22;

/** How the ranks of a {@link Group} work together. */
export interface GroupOptions {
  /**
   * Sums over ranks add up in the order of ranks: the same bits in every run with as many ranks. Otherwise in whatever
   * order the transport finds fastest. Default true.
   */
  deterministic?: boolean;
}

/**
 * The ranks of a run. Every method is collective: all ranks call it, in the same order, with tensors of one shape and
 * dtype, which is checked; a rank that differs ends all with an error that names it.
 *
 * Results are on the device of what went in. Calls block, as MPI's do, and read what they send at once, which graphics
 * devices cannot: wasm and reference can.
 */
export class Group {
  /** Number of this rank, 0 … size − 1. */
  readonly rank: number;
  /** Number of ranks. */
  readonly size: number;
  readonly deterministic: boolean;
  /** What carries the data; its name is 'alone', 'workers', or the MPI library's. */
  readonly transport: Transport;
  /**
   * Bytes that have come from other ranks so far, what is compared before every collective included. Of sums that the transport makes
   * itself (`deterministic: false`) the 2 (R − 1)/R of the data that a ring of R ranks needs; how many it takes is its own affair.
   */
  received = 0;
  readonly #rooms = { sent: new ArrayBuffer(0), received: new ArrayBuffer(0) };

  constructor(transport: Transport = alone, { deterministic = true }: GroupOptions = {}) {
    this.transport = transport;
    this.rank = transport.rank;
    this.size = transport.size;
    this.deterministic = deterministic;
  }

  /** Which rank this is, and of what. */
  toString(): string {
    return `Group: rank ${this.rank} of ${this.size}, ${this.transport.name}`;
  }

  /** The same, for JSON.stringify. */
  toJSON(): { rank: number; size: number; transport: string } {
    return { rank: this.rank, size: this.size, transport: this.transport.name };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /**
   * y = [x₀; x₁; …; x_{size−1}], the rows of all ranks in their order: [n, …] → [size · n, …]. Differentiable, for a loss
   * that is the sum of what the ranks compute: x̄_r = Σ_s (ȳ of rank s)_r; second derivatives as well.
   * @throws ShapeError for a scalar; DistributedError when ranks differ
   */
  allGather(x: Tensor): Tensor {
    checkFirstAxis('allGather', x);
    return this.size === 1 ? x : allGather(this, x);
  }

  /** Σ_r x_r of a tensor, or of each in a list at once (one message); not differentiable. */
  allReduce<T extends Tensor | readonly Tensor[]>(x: T): T {
    const list = (x instanceof Tensor ? [x] : x) as readonly Tensor[];
    if (this.size === 1) return (x instanceof Tensor ? x.detach() : list.map((t) => t.detach())) as unknown as T;
    const sums = noGrad(() => this.#sumLists(list));
    return (x instanceof Tensor ? sums[0] : sums) as unknown as T;
  }

  /** What `root` has, in a tensor as x is. */
  broadcast(x: Tensor, root = 0): Tensor {
    if (this.size === 1) return x.detach();
    if (!(Number.isInteger(root) && root >= 0 && root < this.size))
      throw new UsageError('broadcast', {
        received: `root ${describeValue(root)}`,
        expected: `a rank below ${this.size}`,
      });
    this.agree('broadcast', `${formatShape(x.shape)} ${x.dtype} from ${root}`);
    const data = x.dataSync().slice();
    this.transport.broadcast(bytesOf(data), root);
    if (this.rank !== root) this.received += data.byteLength;
    return new Tensor(x.storage.device.upload(data), x.shape);
  }

  /** Returns when all ranks are here. */
  barrier(): void {
    if (this.size > 1) this.transport.barrier();
  }

  /**
   * Replaces the gradient of every parameter by its sum over ranks: called once after backward, before the optimiser's
   * step. With losses that are shares of a mean over all rows (see cloobLossOf) that is the gradient of the whole batch.
   * @throws DistributedError when ranks have gradients for different parameters
   */
  sumGradients(parameters: Iterable<Tensor>): void {
    const list = [...parameters].filter(({ grad }) => grad !== null);
    const sums = this.allReduce(list.map(({ grad }) => grad!));
    list.forEach((parameter, i) => {
      parameter.grad = sums[i]!;
    });
  }

  /**
   * Compares a text of every rank: a shape, a hash of the weights.
   * @throws DistributedError naming the ranks that differ from rank 0
   */
  agree(op: string, text: string): void {
    if (this.size === 1) return;
    const digest = createHash('sha1').update(text).digest().subarray(0, 8);
    const digests = this.#gatherBytes(digest);
    if (digests.every((byte, i) => byte === digest[i % 8])) return;
    const texts = this.#gatherTexts(text);
    const others = texts.flatMap((other, r) => (other === texts[0] ? [] : [`rank ${r} ${other}`]));
    throw new DistributedError(op, {
      received: `rank 0 ${texts[0]}, ${others.join(', ')}`,
      expected: 'the same on all ranks',
    });
  }

  /** What every rank has, in their order; values of JSON. */
  gatherJson<T>(value: T): T[] {
    if (this.size === 1) return [value];
    return this.#gatherTexts(JSON.stringify(value)).map((text) => JSON.parse(text) as T);
  }

  /** What rank 0 says; the others do not ask `value`. A value of JSON. */
  fromFirst<T>(value: () => T): T {
    return this.gatherJson(this.rank === 0 ? value() : (null as T))[0]!;
  }

  /** Σ_r of a number, added up in the order of ranks in float64. */
  sumOf(value: number): number {
    return this.size === 1 ? value : this.#numbers(value).reduce((a, b) => a + b);
  }

  /** Whether it is so on any rank: what all must do together, such as to stop. */
  any(flag: boolean): boolean {
    return this.size === 1 ? flag : this.#numbers(Number(flag)).some((value) => value !== 0);
  }

  /** Runs `body` on rank 0, however long it takes, then on the others, which find what it has left on the disk. */
  async firstThenOthers<T>(body: () => Promise<T>): Promise<T> {
    if (this.size === 1) return body();
    if (this.rank > 0) this.transport.barrier(true);
    const result = await body();
    if (this.rank === 0) this.transport.barrier(true);
    return result;
  }

  /** The last call of a run that ends in good order with another code than 0. */
  leave(): void {
    this.transport.leave();
  }

  /** Parts with from as many rows on every rank, joined in the order of ranks: [n_r, …] → [Σ n_r, …]. Not differentiable. */
  joinRows(x: Tensor): Tensor {
    if (this.size === 1) return x.detach();
    checkFirstAxis('joinRows', x);
    const counts = this.gatherJson(x.shape[0]!);
    const most = Math.max(...counts);
    return noGrad(() => {
      const missing = most - x.shape[0]!;
      const all = this.gatherRows(
        missing === 0 ? x : x.pad([[0, missing], ...x.shape.slice(1).map(() => [0, 0] as const)]),
      );
      const parts = counts.map((count, r) => all.slice([[r * most, r * most + count]]));
      return concat(parts);
    });
  }

  /** @internal the rows of all ranks: {@link allGather} without its derivative */
  gatherRows(x: Tensor): Tensor {
    checkFirstAxis('allGather', x);
    this.agree('allGather', `${formatShape(x.shape)} ${x.dtype}`);
    const data = x.dataSync();
    const bytes = this.#gatherBytes(bytesOf(data));
    const all = new (data.constructor as Float32ArrayConstructor)(bytes.buffer as ArrayBuffer);
    return new Tensor(x.storage.device.upload(all), [this.size * x.shape[0]!, ...x.shape.slice(1)]);
  }

  /** @internal Σ over ranks of the rows that belong to this one: [size · n, …] → [n, …] */
  sumOwnRows(x: Tensor): Tensor {
    this.agree('reduceScatter', `${formatShape(x.shape)} ${x.dtype}`);
    const rows = x.shape[0]! / this.size;
    const sum = this.#sumOwn(x.dataSync() as Floats);
    return new Tensor(x.storage.device.upload(sum), [rows, ...x.shape.slice(1)]);
  }

  #numbers(value: number): Float64Array {
    return new Float64Array(this.#gatherBytes(bytesOf(Float64Array.of(value))).buffer);
  }

  #gatherTexts(text: string): string[] {
    const own = new TextEncoder().encode(text);
    // Lengths first: texts of one length are gathered whole.
    const lengths = this.#numbers(own.length);
    const longest = Math.max(...lengths);
    const padded = new Uint8Array(longest);
    padded.set(own);
    const all = this.#gatherBytes(padded);
    return Array.from(lengths, (length, r) =>
      new TextDecoder().decode(all.subarray(r * longest, r * longest + length)),
    );
  }

  #gatherBytes(send: Uint8Array): Uint8Array {
    this.received += (this.size - 1) * send.length;
    const receive = new Uint8Array(this.size * send.length);
    this.transport.allGather(send, receive);
    return receive;
  }

  /** Of data with a part for every rank, Σ_s of the parts for this one, in the order of ranks; valid until the next sum. */
  #sumOwn(data: Floats): Floats {
    const received = this.#room('received', data);
    this.transport.allToAll(bytesOf(data), bytesOf(received));
    const length = data.length / this.size;
    this.received += (this.size - 1) * length * data.BYTES_PER_ELEMENT;
    const sum = received.subarray(0, length);
    for (let r = 1; r < this.size; r++) {
      const part = received.subarray(r * length, (r + 1) * length);
      for (let i = 0; i < length; i++) sum[i] = sum[i]! + part[i]!;
    }
    return sum;
  }

  /**
   * Few large messages instead of many small ones, but none much larger than {@link mostAtOnce}: what is copied, sent and added up is
   * then in the cache, and memory for it, which a large array costs more than the sum itself, is taken once.
   */
  #sumLists(list: readonly Tensor[]): Tensor[] {
    this.agree('allReduce', list.map(({ shape, dtype }) => `${formatShape(shape)} ${dtype}`).join('; '));
    const sums = new Map<Tensor, Tensor>();
    for (const dtype of ['float32', 'float64'] as const)
      for (const some of inMessages(list.filter((t) => t.dtype === dtype))) {
        const total = some.reduce((n, { shape }) => n + sizeOf(shape), 0);
        const length = Math.ceil(total / this.size) * this.size;
        const flat = this.#room('sent', { length, dtype });
        let at = 0;
        for (const t of some) {
          if (t.storage.freed) t.dataSync(); // which says so
          t.storage.device.readSync(t.storage, flat.subarray(at, at + sizeOf(t.shape)));
          at += sizeOf(t.shape);
        }
        flat.fill(0, total);
        this.#sum(flat);
        at = 0;
        for (const t of some) {
          const part = flat.subarray(at, at + sizeOf(t.shape));
          sums.set(t, new Tensor(t.storage.device.upload(part), t.shape));
          at += sizeOf(t.shape);
        }
      }
    return list.map((t) => {
      const sum = sums.get(t);
      if (sum) return sum;
      throw new UsageError('allReduce', { received: `an ${t.dtype} tensor`, expected: 'float32 or float64' });
    });
  }

  /** Σ_r of a buffer that divides into ranks, in its place: each adds up its part in the order of ranks, then all parts are gathered. */
  #sum(data: Floats): void {
    if (!this.deterministic) {
      this.transport.sum(data);
      this.received += (2 * (this.size - 1) * data.byteLength) / this.size;
      return;
    }
    const sum = this.#sumOwn(data);
    this.received += (this.size - 1) * sum.byteLength;
    this.transport.allGather(bytesOf(sum), bytesOf(data));
  }

  /** An array as long as `like`, in memory that is kept from sum to sum; what it holds is of the last one. */
  #room(name: 'sent' | 'received', like: Floats | { length: number; dtype: 'float32' | 'float64' }): Floats {
    const type = ('dtype' in like ? like.dtype === 'float32' : like instanceof Float32Array)
      ? Float32Array
      : Float64Array;
    const bytes = like.length * type.BYTES_PER_ELEMENT;
    if (!(this.#rooms[name].byteLength >= bytes)) this.#rooms[name] = new ArrayBuffer(bytes);
    return new type(this.#rooms[name], 0, like.length);
  }
}

/** Neighbours that are summed in one message. */
function inMessages(list: readonly Tensor[]): Tensor[][] {
  const messages: Tensor[][] = [];
  let left = 0;
  for (const t of list) {
    const bytes = sizeOf(t.shape) * bytesPerElement[t.dtype];
    if (messages.length === 0 || bytes > left) {
      messages.push([]);
      left = mostAtOnce;
    }
    messages.at(-1)!.push(t);
    left -= bytes;
  }
  return messages;
}
