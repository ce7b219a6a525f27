/** From broadcast shapes to what devices walk: few axes, strides for storages, none for numbers. */
import { broadcastPlan, type Shape, sizeOf } from '../tensor/shape.js';
import type { CoreKernels, KernelOperand, ScalarKernel, Storage, Strided } from './device.js';

/** Walks `inputs` of `shapes` to give `output`; axes are merged where every storage allows it. */
export function walk(
  output: Shape,
  inputs: readonly (Storage | number)[],
  shapes: readonly Shape[],
): { shape: number[]; operands: KernelOperand[] } {
  // Loops, not lists of lists: this is the way of every small operation.
  const stored: Shape[] = [];
  for (let i = 0; i < inputs.length; i++) if (typeof inputs[i] !== 'number') stored.push(shapes[i]!);
  const { shape, strides } = broadcastPlan(output, stored);
  const operands = new Array<KernelOperand>(inputs.length);
  for (let i = 0, next = 0; i < inputs.length; i++) {
    const x = inputs[i]!;
    operands[i] = typeof x === 'number' ? x : { storage: x, strides: strides[next++]! };
  }
  return { shape, operands };
}

/** y = f(a, b) for `inputs` of `shapes` broadcast to `output`. */
export function zipped(
  device: CoreKernels,
  f: ScalarKernel,
  output: Shape,
  inputs: readonly (Storage | number)[],
  shapes: readonly Shape[],
): Storage {
  const { shape, operands } = walk(output, inputs, shapes);
  return device.zip(f, shape, operands[0]!, operands[1]!);
}

/** All elements in order. */
export function flat(storage: Storage): Strided {
  return { storage, strides: [1] };
}

/** y = f(a, b) for storages of one size, or a storage and a number. */
export function zipFlat(device: CoreKernels, f: ScalarKernel, a: Storage | number, b: Storage | number): Storage {
  const { size } = (typeof a === 'number' ? b : a) as Storage;
  return device.zip(f, [size], ...([a, b].map((x) => (typeof x === 'number' ? x : flat(x))) as [Strided, Strided]));
}

/**
 * What devices that walk three axes do with more: broadcast operands are written out first, and the rest is one axis
 * long. `run` is given its size and its operands.
 */
export function flatOperands(
  device: CoreKernels,
  shape: readonly number[],
  operands: readonly KernelOperand[],
  run: (shape: readonly number[], operands: readonly KernelOperand[]) => Storage,
): Storage {
  const size = sizeOf(shape);
  const temporary: Storage[] = [];
  const written = operands.map((x) => {
    if (typeof x === 'number') return x;
    if (x.storage.size === size) return flat(x.storage); // repeats nowhere
    const full = device.expand(shape, x);
    temporary.push(full);
    return flat(full);
  });
  const result = run([size], written);
  for (const storage of temporary) storage.free();
  return result;
}
