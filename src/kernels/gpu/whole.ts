/**
 * Functions of Math that graphics languages lack, or leave undefined for NaN, ∞ and numbers outside of a domain (measured:
 * exp(NaN) = ∞, log(NaN) = 89, log(−1) = 0, log(0) = −88, tanh(∞) = NaN), made whole: what kernels call instead.
 * `Math.f` in the function f is the device's own; all others are those of this file.
 */
import type { ScalarKernel } from '../device.js';
import { builtIn } from '../source/own.js';

function exp(x: number): number {
  let y = Math.exp(x);
  if (!(x === x)) y = x;
  return y;
}

function sin(x: number): number {
  let y = Math.sin(x);
  if (!(x === x)) y = x;
  return y;
}

function cos(x: number): number {
  let y = Math.cos(x);
  if (!(x === x)) y = x;
  return y;
}

function atan(x: number): number {
  let y = Math.atan(x);
  if (!(x === x)) y = x;
  return y;
}

function tan(x: number): number {
  return Math.sin(x) / Math.cos(x);
}

function asin(x: number): number {
  // The device's own is good to 7e-5 in WGSL; √ and arctan are better.
  let y = Math.atan(x / Math.sqrt((1 - x) * (1 + x)));
  if (x === 1) y = 1.5707963267948966;
  if (x === -1) y = -1.5707963267948966;
  if (!(x >= -1 && x <= 1)) y = (x - x) / (x - x);
  return y;
}

function acos(x: number): number {
  let y = 2 * Math.atan(Math.sqrt((1 - x) / (1 + x)));
  if (x === -1) y = 3.141592653589793;
  if (!(x >= -1 && x <= 1)) y = (x - x) / (x - x);
  return y;
}

/** The angle of (x, y), from the arctangent of the shorter side by the longer. */
function atan2(y: number, x: number): number {
  const a = Math.abs(y);
  const b = Math.abs(x);
  let angle = 0;
  if (a > 0 || b > 0) {
    if (a <= b) angle = Math.atan(a / b);
    else angle = 1.5707963267948966 - Math.atan(b / a);
  }
  if (a === b && a > 0) angle = 0.7853981633974483; // both may be infinite
  if (x < 0 || 1 / x < 0) angle = 3.141592653589793 - angle;
  if (y < 0 || 1 / y < 0) angle = -angle;
  if (!(x === x)) angle = x;
  if (!(y === y)) angle = y;
  return angle;
}

/** ln x; −∞ at 0, NaN below. */
function log(x: number): number {
  let y = Math.log(x);
  if (x < 0) y = (x - x) / (x - x);
  if (x === 0) y = -1 / Math.abs(x);
  if (!(x === x)) y = x;
  return y;
}

/**
 * ln(1 + x), which is all that gpu.js's log1p is. Near 0, where that has no digits left, 2 artanh s = 2 (s + s³/3 + s⁵/5 + …)
 * with s = x/(2 + x).
 */
function log1p(x: number): number {
  const s = x / (2 + x);
  const q = s * s;
  let y = 2 * s * (1 + q * (0.3333333333333333 + q * (0.2 + q * (0.14285714285714285 + q * 0.1111111111111111))));
  if (x > 0.25 || x < -0.25) y = Math.log(1 + x);
  if (x < -1) y = (x - x) / (x - x);
  if (x === -1) y = -1 / Math.abs(x + 1);
  if (!(x === x)) y = x;
  return y;
}

/** eˣ − 1, likewise; near 0 its series x (1 + x/2 (1 + x/3 (1 + …))). */
function expm1(x: number): number {
  let y = 1 + x * 0.125 * (1 + x * 0.1111111111111111);
  y = 1 + x * 0.2 * (1 + x * 0.16666666666666666 * (1 + x * 0.14285714285714285 * y));
  y = x * (1 + x * 0.5 * (1 + x * 0.3333333333333333 * (1 + x * 0.25 * y)));
  if (x > 0.5 || x < -0.5) y = Math.exp(x) - 1;
  if (!(x === x)) y = x;
  return y;
}

function log2(x: number): number {
  return Math.log(x) * 1.4426950408889634;
}

function log10(x: number): number {
  return Math.log(x) * 0.4342944819032518;
}

function tanh(x: number): number {
  let y = 0;
  if (x > 15) y = 1;
  else if (x < -15) y = -1;
  else y = Math.tanh(x);
  if (!(x === x)) y = x;
  return y;
}

/** (eˣ − e⁻ˣ)/2, with its digits near 0 */
function sinh(x: number): number {
  const u = Math.expm1(Math.abs(x));
  let y = 0.5 * (u + u / (u + 1));
  if (u - u !== 0) y = u;
  if (x < 0) y = -y;
  return y;
}

function cosh(x: number): number {
  const u = Math.exp(Math.abs(x));
  return 0.5 * (u + 1 / u);
}

/** ln(x + √(x² + 1)), with its digits near 0 */
function asinh(x: number): number {
  const a = Math.abs(x);
  let y = Math.log1p(a + (a * a) / (1 + Math.sqrt(a * a + 1)));
  if (a > 1e9) y = Math.log(a) + 0.6931471805599453;
  if (x < 0) y = -y;
  if (!(x === x)) y = x;
  return y;
}

function acosh(x: number): number {
  const t = x - 1;
  let y = Math.log(x) + 0.6931471805599453;
  if (x < 1e9) y = Math.log1p(t + Math.sqrt(Math.abs(t * (x + 1))));
  if (x < 1) y = (x - x) / (x - x);
  if (!(x === x)) y = x;
  return y;
}

function atanh(x: number): number {
  return 0.5 * Math.log1p((2 * x) / (1 - x));
}

/** xᵖ as JavaScript has it, from a pow that knows positive bases and finite numbers only. */
function pow(x: number, p: number): number {
  const size = Math.abs(x);
  let y = size ** p;
  if (size === 0) {
    y = 0;
    if (p < 0) y = 1 / size;
  }
  if (x < 0 || 1 / x < 0) {
    const odd = p - 2 * Math.floor(p * 0.5);
    if (odd === 1) y = -y;
    else if (odd > 0 && size - size === 0 && size > 0) y = (size - size) / (size - size);
  }
  if (size === 1 && !(p - p === 0)) y = p - p;
  if (!(x === x)) y = x;
  if (!(p === p)) y = p;
  if (p === 0) y = 1;
  return y;
}

function cbrt(x: number): number {
  let y = Math.abs(x) ** 0.3333333333333333;
  if (x < 0) y = -y;
  return y;
}

/** Scaled by the longer side, so that no square overflows. */
function hypot(a: number, b: number): number {
  const most = Math.max(Math.abs(a), Math.abs(b));
  let y = most;
  if (most > 0 && most - most === 0) y = most * Math.sqrt((a / most) * (a / most) + (b / most) * (b / most));
  return y;
}

function sign(x: number): number {
  let y = x;
  if (x > 0) y = 1;
  if (x < 0) y = -1;
  return y;
}

function trunc(x: number): number {
  let y = Math.floor(x);
  if (x < 0) y = Math.ceil(x);
  return y;
}

/** Halves go up, as in JavaScript. */
function round(x: number): number {
  let y = Math.floor(x);
  if (x - y >= 0.5) y = y + 1;
  return y;
}

/** NaN when either is NaN. */
function min(a: number, b: number): number {
  let y = b;
  if (a < b) y = a;
  if (!(a === a)) y = a;
  return y;
}

function max(a: number, b: number): number {
  let y = b;
  if (a > b) y = a;
  if (!(a === a)) y = a;
  return y;
}

/** Of whole float32 numbers: the device checks their size. */
function imul(a: number, b: number): number {
  return a * b;
}

/** What `a % b` is: it has the sign of a. The quotient may be rounded up to a whole number, which the remainder tells. */
function remainder(a: number, b: number): number {
  const x = Math.abs(a);
  const y = Math.abs(b);
  let rest = x - y * Math.floor(x / y);
  if (rest < 0) rest = rest + y;
  if (rest >= y) rest = rest - y;
  if (x < y) rest = x;
  if (a < 0) rest = -rest;
  return rest;
}

const functions: Record<string, ScalarKernel> = {
  ...{ exp, expm1, log, log1p, log2, log10, pow, cbrt, hypot },
  ...{ sin, cos, tan, asin, acos, atan, atan2, sinh, cosh, tanh, asinh, acosh, atanh },
  ...{ sign, trunc, round, min, max, imul, remainder },
};

/** The kernel that stands for Math[name] on the gpu.js devices; undefined where their own is whole. */
export function wholeFunction(name: string): ScalarKernel | undefined {
  return Object.hasOwn(functions, name) ? functions[name] : undefined;
}

builtIn(Object.fromEntries(Object.entries(functions).map(([name, f]) => [`whole_${name}`, f])));
