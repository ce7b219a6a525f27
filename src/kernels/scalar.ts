/**
 * The elementwise kernels shared by several ops, in gpu.js's kernel language. Kernels that belong to one op only
 * stand beside it in autograd/ops.
 */
import { builtIn } from './source/own.js';

export function add(a: number, b: number): number {
  return a + b;
}
export function sub(a: number, b: number): number {
  return a - b;
}
export function mul(a: number, b: number): number {
  return a * b;
}
/** Of whole numbers, exact modulo 2³². */
export function imul(a: number, b: number): number {
  return Math.imul(a, b);
}
export function div(a: number, b: number): number {
  return a / b;
}
export function exp(x: number): number {
  return Math.exp(x);
}
export function log(x: number): number {
  return Math.log(x);
}
export function log1p(x: number): number {
  return Math.log1p(x);
}
export function square(x: number): number {
  return x * x;
}
export function sqrt(x: number): number {
  return Math.sqrt(x);
}
export function rsqrt(x: number): number {
  return 1 / Math.sqrt(x);
}
export function equal(a: number, b: number): number {
  return a === b ? 1 : 0;
}
/** NaN when either is NaN. */
export function maximum(a: number, b: number): number {
  return a !== a || a > b ? a : b;
}
/** NaN when either is NaN. */
export function minimum(a: number, b: number): number {
  return a !== a || a < b ? a : b;
}
/** condition ? a : b */
export function select(condition: number, a: number, b: number): number {
  return condition !== 0 ? a : b;
}
/** A number everywhere. */
export function same(x: number): number {
  return x;
}

builtIn({ add, sub, mul, imul, div, exp, log, log1p, square, sqrt, rsqrt, equal, maximum, minimum, select, same });
