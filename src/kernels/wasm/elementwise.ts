/** Elementwise operations: the arguments of assembly/elementwise.ts. */
import { bytesPerElement, type DType } from '../../tensor/dtype.js';
import type { KernelOperand, Storage } from '../device.js';
import { at, type Context, grain, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

export function fill({ engine, allocate }: Context, elements: number, value: number, dtype: DType): Storage {
  const y = allocate(dtype, elements);
  const [low, upper] = bitsOf(value, dtype);
  const words = (elements * bytesPerElement[dtype]) / 4;
  engine.call(kernel.fill, chunksOf(words, grain), { out: at(y), low, upper, grain, words });
  return y;
}

export function zeros(context: Context, size: number, dtype: DType): Storage {
  return fill(context, size, 0, dtype);
}

/** The bits of a number as two signed integers, the lower half first; a number of four bytes twice. */
function bitsOf(value: number, dtype: DType): [low: number, upper: number] {
  if (dtype === 'int32') return [value, value];
  if (dtype === 'float64') doubles[0] = value;
  else floats.fill(value);
  return [bits[0]!, bits[1]!];
}
const doubles = new Float64Array(1);
const floats = new Float32Array(doubles.buffer);
const bits = new Int32Array(doubles.buffer);

/** Written anew for every call: this is the way of every small operation. */
const next = {
  dtype: 'float32' as DType,
  operation: 0,
  out: 0,
  operands: [0, 0, 0],
  sizes: [1, 1, 1],
  strides: [0, 0, 0, 0, 0, 0, 0, 0, 0],
  grain: 0,
};

/** Writes `operation` of the operands to `y`, over up to three axes. */
export function applyOperation(
  { engine }: Context,
  operation: number,
  y: Storage,
  shape: readonly number[],
  operands: readonly KernelOperand[],
): void {
  const rank = shape.length;
  next.operation = operation;
  next.dtype = y.dtype;
  next.out = at(y);
  for (let axis = 0; axis < 3; axis++) next.sizes[axis] = shape[rank - 3 + axis] ?? 1;
  for (let k = 0; k < 3; k++) {
    const x = operands[k] ?? operands[0]!;
    const strides = k < operands.length && typeof x !== 'number' ? x.strides : none;
    next.operands[k] = typeof x === 'number' ? engine.constant(k, x, y.dtype) : at(x.storage);
    for (let axis = 0; axis < 3; axis++) next.strides[3 * k + axis] = strides[rank - 3 + axis] ?? 0;
  }
  const columns = next.sizes[2]!;
  const rows = next.sizes[0]! * next.sizes[1]!;
  next.grain = rows === 1 ? grain : rowGrain(columns);
  engine.call(kernel.elementwise, chunksOf(rows === 1 ? columns : rows, next.grain), next);
}
const none: readonly number[] = [];
