/**
 * Elementwise loops, compiled from the text of scalar kernels: the kernel becomes part of the loop, so the engine sees
 * one closed piece of arithmetic over typed arrays. The same idea as gpu.js's, for the memory of the wasm device.
 */
import type { TypedArray } from '../../tensor/dtype.js';
import type { KernelOperand, ReduceKind, ScalarKernel } from '../device.js';
import { type KernelIdentity, kernelOf } from '../source/identity.js';

type Loop = (
  out: TypedArray,
  sources: (TypedArray | number)[],
  shape: readonly number[],
  strides: readonly (readonly number[] | null)[],
) => void;

const compiled = new WeakMap<KernelIdentity, Map<string, Loop>>();
const names = ['a', 'b', 'c'];

/** y = f(operands) over at most three axes; `sources` are the operands' elements, or their numbers. */
export function runLoop(
  f: ScalarKernel,
  out: TypedArray,
  shape: readonly number[],
  operands: readonly KernelOperand[],
  sources: (TypedArray | number)[],
): void {
  const identity = kernelOf(f, operands.length);
  let variants = compiled.get(identity);
  if (!variants) {
    variants = new Map();
    compiled.set(identity, variants);
  }
  const inner = shape.length - 1;
  const strides = operands.map((x) => (typeof x === 'number' ? null : x.strides));
  const kinds = strides.map((s) => (s === null ? 'n' : s[inner] === 1 ? 'v' : s[inner] === 0 ? 's' : 'g'));
  const key = `${kinds.join('')}${shape.length}`;
  let loop = variants.get(key);
  if (!loop) {
    loop = compile(identity.text, kinds, shape.length);
    variants.set(key, loop);
  }
  loop(out, sources, shape, strides);
}

/** Per operand kind: n number, v inner stride 1, s inner stride 0, g any inner stride. */
function compile(text: string, kinds: readonly string[], rank: number): Loop {
  const used = names.slice(0, kinds.length);
  const arrays = used.filter((_, k) => kinds[k] !== 'n');
  const position = (name: string) => used.indexOf(name);
  const lines: string[] = [`const f = ${text};`];
  for (const name of used) lines.push(`const ${name} = sources[${position(name)}];`);
  for (const name of arrays)
    for (let axis = 0; axis < rank; axis++) lines.push(`const ${name}${axis} = strides[${position(name)}][${axis}];`);
  lines.push('let i = 0;');
  const inner = rank - 1;
  const indices = ['p', 'q'].slice(0, inner);
  indices.forEach((index, axis) => {
    lines.push(`for (let ${index} = 0; ${index} < shape[${axis}]; ${index}++)`);
  });
  lines.push('{');
  for (const name of arrays) {
    const offset = indices.map((index, axis) => `${index} * ${name}${axis}`).join(' + ') || '0';
    lines.push(`const ${name}o = ${offset};`);
    if (kinds[position(name)] === 's') lines.push(`const ${name}s = ${name}[${name}o];`);
  }
  const reads = used.map((name, k) => {
    if (kinds[k] === 'n') return name;
    if (kinds[k] === 's') return `${name}s`;
    return kinds[k] === 'v' ? `${name}[${name}o + x]` : `${name}[${name}o + x * ${name}${inner}]`;
  });
  lines.push(
    `const n = shape[${inner}];`,
    `for (let x = 0; x < n; x++) out[i + x] = f(${reads.join(', ')});`,
    'i += n;',
    '}',
  );
  return new Function('out', 'sources', 'shape', 'strides', lines.join('\n')) as Loop;
}

/** [outer, length, inner] → [outer, inner] of whole numbers. */
export function reduceLoop(
  kind: ReduceKind,
  x: TypedArray,
  y: TypedArray,
  outer: number,
  length: number,
  inner: number,
): void {
  const start = kind === 'sum' ? 0 : kind === 'max' ? -Infinity : Infinity;
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      let result = start;
      for (let l = 0; l < length; l++) {
        const value = x[(o * length + l) * inner + i]!;
        result = kind === 'sum' ? (result + value) | 0 : Math[kind](result, value);
      }
      y[o * inner + i] = result;
    }
}

/** Index of the first extreme of whole numbers. */
export function argReduceLoop(
  kind: 'max' | 'min',
  x: TypedArray,
  y: TypedArray,
  outer: number,
  length: number,
  inner: number,
): void {
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const value = (l: number) => x[(o * length + l) * inner + i]!;
      let best = 0;
      for (let l = 1; l < length; l++) if (kind === 'max' ? value(l) > value(best) : value(l) < value(best)) best = l;
      y[o * inner + i] = best;
    }
}

const double = new Float64Array(1);
const float = new Float32Array(double.buffer);
const bits = new Int32Array(double.buffer);

/**
 * Writes bits that are ordered, as an unsigned number, as the values are: NaN above all others, 0 and −0 equal. One word
 * each, of a double two, the lower first.
 */
function writeKey(value: number, words: readonly Int32Array[], of: TypedArray, i: number): void {
  let top = value;
  let low = 0;
  if (!(of instanceof Int32Array)) {
    const wide = of instanceof Float64Array;
    (wide ? double : float)[0] = value === 0 ? 0 : value;
    const nan = Number.isNaN(value);
    top = nan ? 0x7fffffff : bits[wide ? 1 : 0]!;
    if (wide) low = nan ? -1 : bits[0]!;
    if (top < 0) [top, low] = [top ^ 0x7fffffff, ~low]; // of two negative floats the larger has the smaller bits
  }
  words.at(-1)![i] = top ^ -0x80000000;
  if (words.length > 1) words[0]![i] = low;
}

/**
 * The order of the elements along the middle axis: NaN is the largest, equal ones keep their order. Sorted by the last of
 * four digits (of a double eight), then by the one before it, and so on: each pass keeps what the passes before have put in order.
 */
export function argSortLoop(
  x: TypedArray,
  y: TypedArray,
  outer: number,
  length: number,
  inner: number,
  descending: boolean,
): void {
  const words = Array.from({ length: x.BYTES_PER_ELEMENT / 4 }, () => new Int32Array(length));
  const starts = new Int32Array(257);
  let [order, next] = [new Int32Array(length), new Int32Array(length)];
  for (let o = 0; o < outer; o++)
    for (let i = 0; i < inner; i++) {
      const first = o * length * inner + i;
      for (let l = 0; l < length; l++) {
        writeKey(x[first + l * inner]!, words, x, l);
        order[l] = l;
      }
      for (const keys of words) {
        if (descending) for (let l = 0; l < length; l++) keys[l] = ~keys[l]!;
        for (let shift = 0; shift < 32; shift += 8) {
          starts.fill(0);
          for (let l = 0; l < length; l++) starts[((keys[l]! >>> shift) & 255) + 1]!++;
          for (let digit = 0; digit < 256; digit++) starts[digit + 1]! += starts[digit]!;
          for (let l = 0; l < length; l++) {
            const from = order[l]!;
            next[starts[(keys[from]! >>> shift) & 255]!++] = from;
          }
          [order, next] = [next, order];
        }
      }
      for (let l = 0; l < length; l++) y[first + l * inner] = order[l]!;
    }
}

/** y[outer][indices[i]] += x[outer][i] for whole numbers. */
export function scatterAddLoop(
  x: TypedArray,
  indices: TypedArray,
  y: TypedArray,
  outer: number,
  rows: number,
  inner: number,
): void {
  for (let o = 0, from = 0; o < outer; o++)
    for (const index of indices)
      for (let k = 0, to = (o * rows + index) * inner; k < inner; k++) y[to++]! += x[from++]!;
}
