/** Elementwise operations: the arguments of assembly/elementwise.ts. */
import type { DType } from '../../tensor/dtype.js';
import type { KernelOperand, Storage } from '../device.js';
import { at, type Context, grain, rowGrain } from './context.js';
import { chunksOf } from './engine.js';
import * as kernel from './generated/calls.js';

export function fill({ engine, allocate }: Context, elements: number, value: number, dtype: DType): Storage {
  const y = allocate(dtype, elements);
  const bits = dtype === 'int32' ? value : bitsOf(value);
  engine.call(kernel.fill, chunksOf(elements, grain), { out: at(y), bits, grain, elements });
  return y;
}

export function zeros(context: Context, size: number): Storage {
  return fill(context, size, 0, 'float32');
}

/** The bits of a float32, as a signed integer. */
function bitsOf(value: number): number {
  float[0] = value;
  return bits[0]!;
}
const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** Written anew for every call: this is the way of every small operation. */
const next = {
  operation: 0,
  out: 0,
  operands: [0, 0, 0],
  sizes: [1, 1, 1],
  strides: [0, 0, 0, 0, 0, 0, 0, 0, 0],
  grain: 0,
};

/** Writes `operation` of the operands to the address `out`, over up to three axes. */
export function applyOperation(
  { engine }: Context,
  operation: number,
  out: number,
  shape: readonly number[],
  operands: readonly KernelOperand[],
): void {
  const rank = shape.length;
  next.operation = operation;
  next.out = out;
  for (let axis = 0; axis < 3; axis++) next.sizes[axis] = shape[rank - 3 + axis] ?? 1;
  for (let k = 0; k < 3; k++) {
    const x = operands[k] ?? operands[0]!;
    const strides = k < operands.length && typeof x !== 'number' ? x.strides : none;
    next.operands[k] = typeof x === 'number' ? engine.constant(k, x) : at(x.storage);
    for (let axis = 0; axis < 3; axis++) next.strides[3 * k + axis] = strides[rank - 3 + axis] ?? 0;
  }
  const columns = next.sizes[2]!;
  const rows = next.sizes[0]! * next.sizes[1]!;
  next.grain = rows === 1 ? grain : rowGrain(columns);
  engine.call(kernel.elementwise, chunksOf(rows === 1 ? columns : rows, next.grain), next);
}
const none: readonly number[] = [];
