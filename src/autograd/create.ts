/** Making tensors from data, constants and random numbers. */

import { context, refuseInCapture } from '../kernels/context.js';
import type { Device } from '../kernels/device.js';
import { defaultDevice, deviceByName } from '../kernels/devices.js';
import {
  allocate,
  below,
  checkDType,
  checkInt32,
  type DType,
  dtypeOf,
  type TypedArray,
  toTypedArray,
} from '../tensor/dtype.js';
import { DomainError, DTypeError, describeValue, ShapeError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { checkShape, formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { leafNode } from './graph.js';
import './ops/index.js'; // whoever makes a tensor has all its methods
import { type NestedArray, noGradientOfIntegers, Tensor } from './tensor.js';

/** What a new tensor is made of, and whether gradients are collected for it. */
export interface TensorOptions {
  /** Default float32; that of the data for typed arrays. */
  dtype?: DType;
  /** Default: the default device; for float64 the reference device, the judge. */
  device?: string;
  /** Record operations on this tensor and collect its gradient in `.grad`. Default false. */
  requiresGrad?: boolean;
}

/** The device for new tensors of a dtype. @throws DTypeError when a named device lacks the dtype */
function deviceFor(op: string, dtype: DType, name: string | undefined): Device {
  if (name === undefined) return dtype === 'float64' ? deviceByName('reference') : defaultDevice();
  const device = deviceByName(name);
  if (device.dtypes.includes(dtype)) return device;
  throw new DTypeError(op, {
    received: `${dtype} on ${name}`,
    expected: device.dtypes.join(' or '),
    hint: "float64 lives on wasm and reference: { device: 'wasm' }.",
  });
}

function build(op: string, data: TypedArray, shape: Shape, { device, requiresGrad = false }: TensorOptions): Tensor {
  const storage = deviceFor(op, dtypeOf(data), device).upload(data);
  return tracked(op, new Tensor(storage, [...shape]), requiresGrad);
}

function tracked(op: string, t: Tensor, requiresGrad: boolean): Tensor {
  if (requiresGrad && t.dtype === 'int32') throw noGradientOfIntegers(op);
  if (requiresGrad) t.node = leafNode(t);
  return t;
}

/**
 * A tensor from a number, nested arrays, or a typed array with a shape.
 *
 * @param data  nested arrays give the shape themselves; a flat array takes `shape`, if given
 * @throws ShapeError when rows differ in length or the shape does not hold the data; DTypeError for what is no number
 * @example tensor([[1, 2], [3, 4]])  tensor(new Float32Array(6), { shape: [2, 3] })
 */
export function tensor(
  data: NestedArray | TypedArray,
  options: TensorOptions & { shape?: readonly number[] } = {},
): Tensor {
  const typed = ArrayBuffer.isView(data);
  if (data instanceof DataView)
    throw new DTypeError('tensor', {
      received: describeValue(data),
      expected: 'a typed array, which says its numbers',
    });
  if (typed && typeof (data as TypedArray)[0] === 'bigint')
    throw new DTypeError('tensor', {
      received: '64-bit integers',
      expected: 'numbers',
      hint: 'Convert with Float64Array.from(data, Number).',
    });
  const shape = options.shape
    ? checkShape('tensor', options.shape)
    : typed
      ? [(data as TypedArray).length]
      : shapeOfNested(data);
  const flat = typed ? (data as TypedArray) : flatten(data as NestedArray);
  const known = flat instanceof Float32Array || flat instanceof Float64Array || flat instanceof Int32Array;
  const dtype = checkDType('tensor', options.dtype ?? (known ? dtypeOf(flat) : 'float32'));
  if (flat.length !== sizeOf(shape))
    throw new ShapeError('tensor', {
      received: `${flat.length} elements for shape ${formatShape(shape)}`,
      expected: `${sizeOf(shape)} elements`,
    });
  if (dtype === 'int32') checkInt32('tensor', flat);
  const array = known && dtypeOf(flat) === dtype ? flat : toTypedArray(flat, dtype);
  return build('tensor', array, shape, options);
}

function shapeOfNested(data: NestedArray): number[] {
  const shape: number[] = [];
  for (let level: NestedArray | undefined = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

/** Row-major elements; every row of a level must be as long as its first. */
function flatten(data: NestedArray): number[] {
  const shape = shapeOfNested(data);
  const flat: number[] = [];
  const walk = (level: NestedArray | undefined, axis: number, path: string) => {
    if (axis === shape.length) {
      if (typeof level === 'number') flat.push(level);
      else if (Array.isArray(level)) throw ragged(path, `a list of ${level.length}`, 'a number');
      else
        throw new DTypeError('tensor', {
          received: `${typeof level === 'object' ? describeValue(level) : typeof level} at data${path}`,
          expected: 'numbers',
        });
      return;
    }
    if (!Array.isArray(level) || level.length !== shape[axis])
      throw ragged(
        path,
        Array.isArray(level) ? `a list of ${level.length}` : String(level),
        `a list of ${shape[axis]}`,
      );
    for (let i = 0; i < level.length; i++) walk(level[i], axis + 1, `${path}[${i}]`);
  };
  const ragged = (path: string, received: string, expected: string) =>
    new ShapeError('tensor', {
      received: `${received} at data${path}`,
      expected: `${expected}, as before it`,
      hint: 'All rows of a tensor are equally long.',
    });
  walk(data, 0, '');
  return flat;
}

/** A tensor of one value. */
export function full(shape: readonly number[], value: number, options: TensorOptions = {}): Tensor {
  checkShape('full', shape);
  const dtype = checkDType('full', options.dtype ?? 'float32');
  if (dtype === 'int32') checkInt32('full', value);
  const device = deviceFor('full', dtype, options.device);
  return tracked(
    'full',
    new Tensor(device.fill(sizeOf(shape), value, dtype), [...shape]),
    options.requiresGrad ?? false,
  );
}

/** A tensor of zeros. */
export function zeros(shape: readonly number[], options?: TensorOptions): Tensor {
  return full(shape, 0, options);
}

/** A tensor of ones. */
export function ones(shape: readonly number[], options?: TensorOptions): Tensor {
  return full(shape, 1, options);
}

/** The numbers start, start + step, … below `stop`; `arange(n)` counts 0 … n − 1. @throws DomainError for a step of 0 */
export function arange(start: number, stop?: number, step = 1, options: TensorOptions = {}): Tensor {
  const [from, to] = stop === undefined ? [0, start] : [start, stop];
  const count = Math.max(0, Math.ceil((to - from) / step));
  if (step === 0 || !Number.isSafeInteger(count))
    throw new DomainError('arange', {
      received: `from ${from} to ${to} in steps of ${step}`,
      expected: 'finite numbers and a step other than 0',
    });
  const dtype = checkDType('arange', options.dtype ?? 'float32');
  // Whole numbers from first to last: the first two and the last say it.
  if (dtype === 'int32' && count > 0)
    checkInt32('arange', [from, from + Math.min(1, count - 1) * step, from + (count - 1) * step]);
  const data = allocate(dtype, count);
  for (let i = 0; i < count; i++) data[i] = from + i * step;
  return build('arange', data, [count], options);
}

/** The identity matrix, or ones on the main diagonal of [rows, columns]. */
export function eye(rows: number, columns = rows, options: TensorOptions = {}): Tensor {
  checkShape('eye', [rows, columns]);
  const data = allocate(checkDType('eye', options.dtype ?? 'float32'), rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) data[i * columns + i] = 1;
  return build('eye', data, [rows, columns], options);
}

/**
 * Restarts the stream that randn(), uniform() and new layers draw from when they are given no seed or generator. The
 * stream begins with seed 0.
 */
export function manualSeed(seed: number): void {
  context.random = new Random(seed);
}

/** How a random tensor is drawn: without seed and generator from the stream that {@link manualSeed} begins. */
export interface RandomOptions extends TensorOptions {
  /** A stream of its own from this seed. */
  seed?: number;
  /** A generator to draw from (and advance). */
  random?: Random;
}

/** A tensor of numbers drawn by `next`, one after the other; int32 only when they are `whole`. */
export function draw(
  op: string,
  shape: readonly number[],
  options: RandomOptions,
  next: (random: Random) => number,
  whole = false,
): Tensor {
  checkShape(op, shape);
  if (options.seed === undefined) refuseInCapture('draws random numbers');
  if (options.dtype === 'int32' && !whole)
    throw new DTypeError(op, {
      received: 'int32',
      expected: 'float32 or float64, since the numbers drawn are not whole',
      hint: "Round yourself: cast('int32') cuts off the fraction.",
    });
  const random = options.random ?? (options.seed === undefined ? context.random : new Random(options.seed));
  const data = allocate(checkDType(op, options.dtype ?? 'float32'), sizeOf(shape));
  for (let i = 0; i < data.length; i++) data[i] = next(random);
  return build(op, data, shape, options);
}

/** Normal numbers with the given mean (default 0) and standard deviation `std` (default 1). */
export function randn(shape: readonly number[], options: RandomOptions & { mean?: number; std?: number } = {}): Tensor {
  const { mean = 0, std = 1 } = options;
  return draw('randn', shape, options, (random) => mean + std * random.normal());
}

/** Numbers spread evenly over [low, high), default [0, 1). */
export function uniform(
  shape: readonly number[],
  options: RandomOptions & { low?: number; high?: number } = {},
): Tensor {
  const { low = 0, high = 1 } = options;
  const { dtype = 'float32' } = options;
  // Rounding may reach the upper end, which is not in the interval.
  const last = dtype === 'int32' || !(high > low) ? high : below(high, dtype);
  return draw('uniform', shape, options, (random) => Math.min(low + (high - low) * random.uniform(), last));
}
