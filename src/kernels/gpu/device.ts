/**
 * What the gpu.js devices share: int32 as whole float32 numbers, accounting, sums in stages, views without copies.
 * A subclass knows one mode of gpu.js: how to start a kernel there, and what a buffer is.
 *
 * Buffers are written once, by the kernel (or upload) that makes them. So copies share a buffer, and an update "in
 * place" puts another buffer behind the storage; whatever was started before still sees the old one.
 */
import { type DType, dtypeOf, type TypedArray } from '../../tensor/dtype.js';
import { DTypeError } from '../../tensor/errors.js';
import { sizeOf } from '../../tensor/shape.js';
import { MemoryAccount } from '../account.js';
import { Collector } from '../collect.js';
import { type KernelOperand, type MemoryInfo, type ReduceKind, type ScalarKernel, Storage } from '../device.js';
import { same } from '../scalar.js';
import { identityOf } from '../source/identity.js';
import type { SourceKernel } from '../source/kernel.js';
import { reducePartMax, reducePartMin, reducePartSum } from '../source/reduce.js';
import { type Grid, SourceDevice, type View } from '../source-device.js';
import { flat } from '../walk.js';
import type { Ending } from './ending.js';
import type { Form } from './fuse.js';
import { fusedKernels } from './fused.js';
import {
  type Again,
  type Argument,
  checkCoordinate,
  checkExact,
  frozen,
  inStages,
  type Part,
  viewOf,
} from './launch.js';
import type { Claim } from './pool.js';
import {
  elementwiseProgram,
  type GridLimits,
  layoutGrid,
  type Program,
  simpleFormula,
  sourceProgram,
} from './programs.js';
import { truncate } from './scalar.js';
import { type Run, sortedScatterAdd } from './scatter.js';
import { sumProgram } from './sum-program.js';
import { type Piece, type Player, Tape } from './tape.js';

/** One storage in the books of a device. */
interface Entry<B> {
  buffer: B;
  bytes: number;
  live: boolean;
}

/** Storages above which a collection is forced, at least: a buffer of one element costs the driver as much as one of hundreds. */
const leastCount = 8192;

const parts = { sum: reducePartSum, max: reducePartMax, min: reducePartMin };

export abstract class GpuDevice<B> extends SourceDevice {
  readonly dtypes = ['float32', 'int32'] as const;
  readonly #account = new MemoryAccount();
  readonly #collector = new Collector<Entry<B>>(this.#account, (entry) => this.#retire(entry), { leastCount });
  /** Whether a program plays the card: it has few threads to fill. */
  readonly software?: boolean;
  #tape: Tape<B> | null = null;
  readonly #entries = new WeakMap<Storage, Entry<B>>();

  /** Whether a thread may return four elements, which are neighbours in the result: fewer threads for the same work. */
  protected readonly returnsFour: boolean = false;
  /** Whether steps of a recording may become one: not where what is not stored has more digits. */
  protected readonly putsTogether: boolean = true;
  /** How large a dispatch may be. */
  protected abstract readonly limits: GridLimits;
  /** Compiles what will be started later. */
  protected prepare?(program: Program, rank: number): void;
  /** Starts a kernel; the result has one element per point of `output`. */
  protected abstract launch(
    program: Program,
    output: readonly number[],
    args: readonly Argument<B>[],
    again?: Again,
  ): B;
  /** A buffer with these elements. The array is not used afterwards by anyone else. */
  protected abstract put(data: Float32Array): B;
  /** The first `size` elements of a buffer. */
  protected abstract fetch(buffer: B, size: number): Promise<Float32Array>;
  protected abstract fetchSync(buffer: B, size: number): Float32Array;
  /** Another handle on the same elements. */
  protected abstract share(buffer: B): B;
  /** Parts of buffers, one after the other, by copies; absent where that takes a kernel. @param claim who will ask again */
  protected join?(parts: readonly Part<B>[], claim?: Claim): B;
  /** Gives a handle back, after what was started with it. */
  protected abstract discard(buffer: B): void;

  constructor() {
    super();
    Object.assign(
      this.fused,
      fusedKernels({
        each: (f, shape, ...operands) => this.runElementwise(f, shape, operands, 'float32'),
        sum: (f, shape, ...operands) => this.sum(f, shape, ...operands),
        reduce: (...reduction) => this.reduce(...reduction),
        concat: (...parts) => this.concat(...parts),
        update: (f, target, ...operands) => this.#update(f, target, operands),
      }),
    );
  }

  protected wrap(buffer: B, dtype: DType, size: number): Storage {
    const storage = new Storage(this, dtype, size, buffer);
    const entry = { buffer, bytes: 4 * size, live: true };
    this.#entries.set(storage, entry);
    this.#collector.watch(storage, entry);
    this.#account.add(entry.bytes);
    this.#collector.expect();
    return storage;
  }

  #retire(entry: Entry<B>): void {
    if (!entry.live) return;
    entry.live = false;
    this.#account.remove(entry.bytes);
    this.discard(entry.buffer);
  }

  settle(): Promise<void> {
    return this.#collector.settle();
  }

  protected bufferOf(x: Storage): B {
    return x.handle as B;
  }

  release(x: Storage): void {
    this.#retire(this.#entries.get(x)!);
  }

  memory(): MemoryInfo {
    return this.#account.info();
  }

  upload(data: TypedArray): Storage {
    const dtype = dtypeOf(data);
    if (dtype === 'float64')
      throw new DTypeError(this.name, {
        received: 'float64',
        expected: 'float32 or int32',
        hint: 'Double precision lives on wasm and reference.',
      });
    if (dtype === 'int32') checkExact('tensor', data, this.name);
    return this.#constant(this.put(Float32Array.from(data)), dtype, data.length);
  }

  #constant(buffer: B, dtype: DType, size: number): Storage {
    const storage = this.wrap(buffer, dtype, size);
    this.#tape?.constant(storage, this.share(buffer));
    return storage;
  }

  async read(x: Storage): Promise<TypedArray> {
    const { dtype, size } = x;
    const elements = await this.fetch(this.bufferOf(x), size);
    await this.settle();
    return this.#typed(elements, dtype);
  }

  readSync(x: Storage, into?: TypedArray): TypedArray {
    if (this.#tape) throw frozen('reads a tensor');
    const copy = this.#typed(this.fetchSync(this.bufferOf(x), x.size), x.dtype);
    if (!into) return copy;
    into.set(copy);
    return into;
  }

  #typed(elements: Float32Array, dtype: DType): TypedArray {
    if (dtype === 'float32') return elements;
    checkExact('data', elements, this.name);
    return Int32Array.from(elements);
  }

  #checkNumbers(operands: readonly (object | number)[]): void {
    for (const x of operands) if (typeof x === 'number') checkExact('number', [x], this.name);
  }

  copyInto(target: Storage, source: Storage): void {
    this.replace(target, this.share(this.bufferOf(source)));
    this.#tape?.updated(target, source);
  }

  /** Puts another buffer behind a storage. */
  protected replace(target: Storage, buffer: B): void {
    const entry = this.#entries.get(target)!;
    this.discard(entry.buffer);
    entry.buffer = buffer;
    target.handle = buffer;
  }

  fill(size: number, value: number, dtype: DType): Storage {
    if (size === 0) return this.#constant(this.put(new Float32Array(0)), dtype, 0);
    return this.runElementwise(same, [size], [value], dtype);
  }

  cast(x: Storage, dtype: DType): Storage {
    if (dtype === x.dtype || x.dtype === 'int32') return this.#shared(x, dtype);
    const whole = this.map(truncate, x);
    const result = this.#shared(whole, dtype);
    whole.free();
    return result;
  }

  protected override copy(x: Storage): Storage {
    return this.#shared(x, x.dtype);
  }

  #shared(x: Storage, dtype: DType): Storage {
    const result = this.wrap(this.share(this.bufferOf(x)), dtype, x.size);
    this.#tape?.shared(x, result);
    return result;
  }

  /** Parts of storages of one dtype, one after the other. */
  protected joined(pieces: readonly Piece[]): Storage {
    const parts = pieces.map(({ storage, from, size }) => ({ buffer: this.bufferOf(storage), from, size }));
    const size = pieces.reduce((sum, piece) => sum + piece.size, 0);
    const result = this.wrap(this.join!(parts), pieces[0]!.storage.dtype, size);
    this.#tape?.joined(pieces, result);
    return result;
  }

  /**
   * Runs `body` and writes down the kernels it starts. What it does beside them (numbers, data from the host, choices)
   * is not looked at again.
   * @returns its value, and what repeats its kernels on other inputs of the same sizes
   * @throws UsageError when `body` reads a tensor, updates parameters or records itself
   */
  record<T>(
    inputs: readonly Storage[],
    body: () => T,
    results: (value: T) => readonly Storage[],
  ): { value: T; replay: (inputs: readonly Storage[]) => Storage[]; launches: number } {
    if (this.#tape) throw frozen('is captured inside another');
    const tape = new Tape<B>(inputs);
    this.#tape = tape;
    let value: T;
    try {
      value = body();
    } finally {
      this.#tape = null;
    }
    const given = results(value);
    tape.gives(given);
    const lower = (form: Form) => this.#elementwise(form);
    if (this.putsTogether) tape.fuse({ lower, prepare: (program, rank) => this.prepare?.(program, rank) });
    tape.finish();
    const kinds = given.map(({ dtype, size }) => ({ dtype, size }));
    const player: Player<B> = {
      launch: (program, output, args, site) => this.launch(program, output, args, { site }),
      share: (buffer) => this.share(buffer),
      discard: (buffer) => this.discard(buffer),
      bufferOf: (storage) => this.bufferOf(storage),
      join: (parts, claim) => this.join!(parts, claim),
      replace: (target, buffer) => this.replace(target, buffer),
    };
    const replay = (others: readonly Storage[]) =>
      tape
        .play(
          player,
          others.map((x) => this.bufferOf(x)),
        )
        .map((buffer, i) => this.wrap(buffer, kinds[i]!.dtype, kinds[i]!.size));
    forgotten.register(replay, () => tape.release((buffer) => this.discard(buffer)));
    return { value, replay, launches: tape.launches };
  }

  /** @param components elements that a thread returns; 4 only where they are neighbours in a buffer (products.ts) */
  protected run(
    kernel: SourceKernel,
    grid: Grid,
    inputs: View[],
    constants: Record<string, number>,
    dtype: DType,
    components: 1 | 4 = 1,
  ): Storage {
    const size = components * sizeOf(grid);
    if (size === 0) return this.fill(0, 0, dtype);
    if (dtype === 'int32') this.#checkNumbers(inputs);
    const axes = grid.filter((length) => length > 1).length;
    for (const coordinate of grid) checkCoordinate(identityOf(kernel).name, coordinate, axes, this.name);
    const layout = layoutGrid(grid, this.limits);
    const { program, values } = sourceProgram(
      kernel,
      inputs.map((input) => typeof input === 'number'),
      constants,
      layout,
      components,
    );
    const sizes = [components * grid[0], grid[1] ?? 1, grid[2] ?? 1] as const;
    const ending = dtype === 'float32' ? { sizes, axes: [...layout.axes] as const } : undefined;
    return this.#start(program, layout.output, [...inputs, ...values], dtype, size, { ending });
  }

  #start(
    program: Program,
    output: readonly number[],
    operands: readonly View[],
    dtype: DType,
    size: number,
    { form, ending, ...again }: Again & { form?: Form | undefined; ending?: Ending | undefined } = {},
  ): Storage {
    const args = operands.map((operand) =>
      typeof operand === 'number' ? operand : { buffer: this.bufferOf(operand.storage), grid: operand.grid },
    );
    const result = this.wrap(this.launch(program, output, args, again), dtype, size);
    this.#tape?.launched(program, output, operands, result, { form, ending });
    return result;
  }

  protected runElementwise(
    f: ScalarKernel,
    shape: readonly number[],
    operands: readonly KernelOperand[],
    dtype: DType,
    again?: Again,
  ): Storage {
    const size = sizeOf(shape);
    if (size === 0) return this.fill(0, 0, dtype);
    if (dtype === 'int32') this.#checkNumbers(operands);
    const strides = operands.map((x) => (typeof x === 'number' ? null : x.strides));
    const form = { formula: simpleFormula(f, operands.length), shape, strides };
    const { program, output, values } = this.#elementwise(form);
    return this.#start(program, output, [...operands.map(viewOf), ...values], dtype, size, { ...again, form });
  }

  /** The program of a form, its grid, and the integers to append to its operands. */
  #elementwise({ formula, shape, strides }: Form): { program: Program; output: number[]; values: number[] } {
    const [length, ...others] = [...shape].reverse() as [number, ...number[]];
    const components = this.returnsFour && length % 4 === 0 ? 4 : 1;
    const layout = layoutGrid([length / components, ...others] as unknown as Grid, this.limits);
    const steps = strides.map((own) => own && [...own].reverse());
    return { ...elementwiseProgram(formula, steps, layout, components), output: layout.output };
  }

  #update(f: ScalarKernel, target: Storage, operands: readonly (Storage | number)[]): void {
    if (this.#tape) throw frozen('updates parameters, whose rate and bias correction change with every step');
    const all = [target, ...operands].map((x) => (typeof x === 'number' ? x : flat(x)));
    const result = this.runElementwise(f, [target.size], all, target.dtype);
    this.copyInto(target, result);
    result.free();
  }

  /** y[o][i] = Σ_l f(operands at [o][l][i]) for a shape [outer, length, inner]. */
  protected sum(f: ScalarKernel, shape: readonly [number, number, number], ...operands: KernelOperand[]): Storage {
    const [outer, length, inner] = shape;
    if (outer * length * inner === 0) return this.fill(outer * inner, 0, 'float32');
    const { chunk, count } = inStages(length, outer * inner, this.software);
    const layout = layoutGrid([inner, count, outer], this.limits);
    const strides = operands.map((x) => (typeof x === 'number' ? null : x.strides));
    const { program, values } = sumProgram(f, strides, chunk, length, layout);
    const views = operands.map(viewOf);
    const ending = { sizes: [inner, count, outer] as const, axes: layout.axes };
    const all = [...views, ...values];
    const partial = this.#start(program, layout.output, all, 'float32', outer * count * inner, { ending });
    if (count === 1) return partial;
    const result = this.reduce('sum', partial, outer, count, inner);
    partial.free();
    return result;
  }

  override reduce(kind: ReduceKind, x: Storage, outer: number, length: number, inner: number): Storage {
    const { chunk, count } = inStages(length, outer * inner, this.software);
    if (count <= 1) return super.reduce(kind, x, outer, length, inner);
    const view = { storage: x, grid: [inner, length, outer] as const };
    const partial = this.run(parts[kind], [inner, count, outer], [view], { chunk, length }, x.dtype);
    const result = this.reduce(kind, partial, outer, count, inner);
    partial.free();
    return result;
  }

  override argReduce(kind: 'max' | 'min', x: Storage, outer: number, length: number, inner: number): Storage {
    checkCoordinate(kind === 'max' ? 'argmax' : 'argmin', length, 2, this.name); // the answer is one
    return super.argReduce(kind, x, outer, length, inner);
  }

  override argSort(x: Storage, outer: number, length: number, inner: number, descending: boolean): Storage {
    checkCoordinate('argsort', length, 2, this.name);
    return super.argSort(x, outer, length, inner, descending);
  }

  /** Sorted first where comparing each row with each index would cost much more. */
  override scatterAdd(x: Storage, indices: Storage, outer: number, rows: number, inner: number): Storage {
    const count = indices.size;
    const compared = outer * rows * inner * count;
    const sorted = 2 * count * count + outer * inner * (rows + count);
    if (count === 0 || compared < 1e6 || compared < 4 * sorted) return super.scatterAdd(x, indices, outer, rows, inner);
    const run: Run = (kernel, grid, views, constants, dtype) => this.run(kernel, grid, views, constants, dtype);
    return sortedScatterAdd(run, x, indices, { outer, rows, inner });
  }
}

/** Recordings that nobody can replay any more give their constants back. */
const forgotten = new FinalizationRegistry<() => void>((release) => release());
