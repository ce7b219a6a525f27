/** How kernels are started on a gpu.js device: with what, in which form, in how many stages. */
import { DTypeError, KernelError, UsageError } from '../../tensor/errors.js';
import type { KernelOperand } from '../device.js';
import type { Grid, View } from '../source-device.js';
import type { Claim } from './pool.js';
import { exactLimit } from './programs.js';
import type { Site } from './stream.js';

/** An argument of a kernel: a buffer seen in up to three dimensions (innermost first), or a number. */
export type Argument<B> = { buffer: B; grid: Grid } | number;

/** `size` elements of a buffer, from one of them on. */
export interface Part<B> {
  buffer: B;
  from: number;
  size: number;
}

/** What of a launch will come again: all of it but the buffers (site), or only that its result is put somewhere (claim). */
export interface Again {
  site?: Site;
  claim?: Claim;
}

/**
 * A reduction longer than this goes in two stages: more threads, and a sum whose error grows with its square root. Where
 * there are many results, or a program plays the card, threads are enough at four times the length.
 */
const stage = 128;
const manyResults = 4096;

/** How long the parts of the first stage are, and how many; one where one stage does. */
export function inStages(length: number, results: number, software = false): { chunk: number; count: number } {
  const most = software || results >= manyResults ? 4 * stage : stage;
  const chunk = length <= most ? length : Math.max(stage, Math.ceil(Math.sqrt(length)));
  return { chunk, count: length === 0 ? 0 : Math.ceil(length / chunk) };
}

/** An operand seen in one dimension. */
export function viewOf(operand: KernelOperand): View {
  return typeof operand === 'number' ? operand : { storage: operand.storage, grid: [operand.storage.size] };
}

/** What a captured function must not do. */
export function frozen(what: string): UsageError {
  return new UsageError('capture', {
    received: `a function that ${what}`,
    expected: 'tensors in, tensors out: the kernels are repeated, the code is not',
    hint: 'Read, and call optimizer.step(), outside of it.',
  });
}

/** Whole numbers are kept as float32, which tells them all apart below 2²⁴; 2²⁴ itself may be 2²⁴ + 1, rounded. @throws DTypeError */
export function checkExact(op: string, data: ArrayLike<number>, device: string): void {
  for (let i = 0; i < data.length; i++)
    if (!(Math.abs(data[i]!) < exactLimit))
      throw new DTypeError(op, {
        received: `the int32 value ${data[i]}${data.length > 1 ? ` at position ${i}` : ''} on ${device}`,
        expected: 'whole numbers below 2²⁴ in magnitude, which this device holds exactly',
        hint: 'Larger whole numbers live on the wasm and reference devices.',
      });
}

/** Kernel texts may put a coordinate into a float32 variable, except where the whole result is one axis. @throws KernelError */
export function checkCoordinate(op: string, size: number, axes: number, device: string): void {
  if (axes > 1 && size > exactLimit)
    throw new KernelError(op, {
      received: `an axis of ${size} on ${device}`,
      expected: `at most 2²⁴ along one axis of a result with several`,
      hint: 'Split that axis with reshape().',
    });
}
