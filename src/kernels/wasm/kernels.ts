import type { KernelIdentity } from '../source/identity.js';
import { operations } from './generated/calls.js';

/** Choosing between two operands by a float32 or int32 condition. */
export const selectFloat = operations.select!;
export const selectInt = operations.selectInt!;

/** The scalar kernels that are operations: all but the two of `select`. */
export const operationNames = Object.keys(operations).filter((name) => !name.startsWith('select'));

/** −1 when there is none: a user's kernel is never one of these, whatever its name. */
export function operationNumber({ builtIn, name }: KernelIdentity): number {
  return (builtIn ? operations[name] : undefined) ?? -1;
}
