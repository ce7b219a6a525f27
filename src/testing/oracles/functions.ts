/** The functions of src/functions, one element at a time by its index. */
import type { Random } from '../../tensor/random.js';
import { type Shape, sizeOf } from '../../tensor/shape.js';
import { type Oracle, ravel, unravel, type Values } from './oracle.js';

const drawShape = (random: Random, rank: number, least = 0) =>
  Array.from({ length: rank }, () => least + random.int(4));

/** What a move takes each element from: an index of the input for one of the output, or null for 0. */
const move =
  <P>(from: (at: number[], params: P, shape: Shape) => number[] | null) =>
  ([x]: Values[], params: P, outputShape: Shape): number[] =>
    Array.from({ length: sizeOf(outputShape) }, (_, i) => {
      const at = from(unravel(i, outputShape), params, x!.shape);
      return at === null ? 0 : x!.data[ravel(at, x!.shape)]!;
    });

/** `at` with one coordinate changed. */
const along = (at: number[], axis: number, to: (i: number) => number) => at.map((i, k) => (k === axis ? to(i) : i));

interface OnAxis {
  axis: number;
}
const drawOnAxis = <P>(random: Random, more: (random: Random) => P) => {
  const shape = drawShape(random, 1 + random.int(3));
  return { shapes: [shape], params: { axis: random.int(shape.length), ...more(random) } };
};

export const stride: Oracle<OnAxis & { step: number }> = {
  draw: (random) => drawOnAxis(random, () => ({ step: 1 + random.int(4) })),
  oracle: move((at, { axis, step }) => along(at, axis, (i) => i * step)),
};

export const flip: Oracle<{ axes: number[] }> = {
  draw(random) {
    const shape = drawShape(random, 1 + random.int(3));
    const axes = random.shuffle(shape.keys()).slice(0, 1 + random.int(shape.length));
    return { shapes: [shape], params: { axes } };
  },
  oracle: move((at, { axes }, shape) => at.map((i, axis) => (axes.includes(axis) ? shape[axis]! - 1 - i : i))),
};

export const roll: Oracle<OnAxis & { shift: number }> = {
  draw: (random) => drawOnAxis(random, () => ({ shift: random.int(11) - 5 })),
  oracle: move((at, { axis, shift }, shape) => along(at, axis, (i) => (i - shift + 10 * shape[axis]!) % shape[axis]!)),
};

export const repeat: Oracle<OnAxis & { count: number }> = {
  draw: (random) => drawOnAxis(random, () => ({ count: random.int(4) })),
  oracle: move((at, { axis, count }) => along(at, axis, (i) => Math.floor(i / count))),
};

export const tile: Oracle<{ counts: number[] }> = {
  draw(random) {
    const shape = drawShape(random, random.int(4));
    return { shapes: [shape], params: { counts: shape.map(() => random.int(3)) } };
  },
  oracle: move((at, _, shape) => at.map((i, axis) => i % shape[axis]!)),
};

interface Offset {
  offset: number;
}
const drawMatrices = (random: Random) => ({
  shapes: [[...drawShape(random, random.int(2)), random.int(4), random.int(4)]],
  params: { offset: random.int(5) - 2 },
});

export const diagonal: Oracle<Offset> = {
  draw: drawMatrices,
  oracle: move((at, { offset }) => {
    const i = at.at(-1)!;
    return [...at.slice(0, -1), i + Math.max(0, -offset), i + Math.max(0, offset)];
  }),
};

export const diag: Oracle<Offset> = {
  draw: (random) => ({ shapes: [[random.int(4)]], params: { offset: random.int(5) - 2 } }),
  oracle: move(([row, column], { offset }) => (column! - row! === offset ? [Math.min(row!, column!)] : null)),
};

export const trace: Oracle<Offset> = {
  draw: drawMatrices,
  oracle([x], { offset }, outputShape) {
    const y = new Array<number>(sizeOf(outputShape)).fill(0);
    for (let i = 0; i < x!.data.length; i++) {
      const at = unravel(i, x!.shape);
      if (at.at(-1)! - at.at(-2)! === offset) y[ravel(at.slice(0, -2), outputShape)]! += x!.data[i]!;
    }
    return y;
  },
};

const triangle = (keeps: (above: number) => boolean): Oracle<Offset> => ({
  draw: drawMatrices,
  oracle: move((at, { offset }) => (keeps(at.at(-1)! - at.at(-2)! - offset) ? at : null)),
});
export const tril = triangle((above) => above <= 0);
export const triu = triangle((above) => above >= 0);

/** All rows along an axis, each changed by `f`, which may change their length. */
const perLine = ({ data, shape }: Values, axis: number, f: (line: number[]) => number[]): number[] => {
  const [outer, length, inner] = [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))];
  return Array.from({ length: outer }, (_, o) => {
    const lines = Array.from({ length: inner }, (_, i) =>
      f(Array.from({ length }, (_, l) => data[(o * length + l) * inner + i]!)),
    );
    return (lines[0] ?? []).flatMap((_, l) => lines.map((line) => line[l]!));
  }).flat();
};

type Sort = OnAxis & { descending: boolean };
const drawSort = (random: Random) => drawOnAxis(random, (random) => ({ descending: random.int(2) === 1 }));
const inOrder = (line: number[], descending: boolean) => {
  const sorted = [...line].sort((a, b) => a - b);
  return descending ? sorted.reverse() : sorted;
};

export const argsort: Oracle<Sort> = {
  draw: drawSort,
  oracle: ([x], { axis, descending }) =>
    perLine(x!, axis, (line) => inOrder(line, descending).map((v) => line.indexOf(v))),
};

export const sort: Oracle<Sort> = {
  draw: drawSort,
  oracle: ([x], { axis, descending }) => perLine(x!, axis, (line) => inOrder(line, descending)),
};

export const topK: Oracle<Sort & { k: number }> = {
  draw(random) {
    const { shapes, params } = drawSort(random);
    return { shapes, params: { ...params, k: random.int(shapes[0]![params.axis]! + 1) } };
  },
  oracle: ([x], { axis, descending, k }) => perLine(x!, axis, (line) => inOrder(line, descending).slice(0, k)),
};

type Scan = OnAxis & { reverse: boolean };
const scan = (join: (a: number, b: number) => number): Oracle<Scan> => ({
  draw: (random) => drawOnAxis(random, (random) => ({ reverse: random.int(2) === 1 })),
  oracle: ([x], { axis, reverse }) =>
    perLine(x!, axis, (line) => line.map((_, i) => (reverse ? line.slice(i) : line.slice(0, i + 1)).reduce(join))),
});
export const cumsum = scan((a, b) => a + b);
export const cumprod = scan((a, b) => a * b);

export const takeAlongAxis: Oracle<OnAxis> = {
  draw(random) {
    const shape = drawShape(random, 1 + random.int(3), 1);
    const axis = random.int(shape.length);
    const picked = along(shape, axis, () => random.int(5));
    const data = Array.from({ length: sizeOf(picked) }, () => random.int(shape[axis]!));
    return { shapes: [shape, picked], params: { axis }, fixed: { 1: { data, dtype: 'int32' } } };
  },
  oracle: ([x, indices], { axis }, outputShape) =>
    Array.from(
      indices!.data,
      (index, i) =>
        x!.data[
          ravel(
            along(unravel(i, outputShape), axis, () => index),
            x!.shape,
          )
        ]!,
    ),
};

export const oneHot: Oracle<{ classes: number }> = {
  draw(random) {
    const shape = drawShape(random, random.int(3));
    const classes = 1 + random.int(4);
    const data = Array.from({ length: sizeOf(shape) }, () => random.int(classes));
    return { shapes: [shape], params: { classes }, fixed: { 0: { data, dtype: 'int32' } } };
  },
  oracle: ([indices], { classes }) =>
    Array.from(indices!.data, (index) => Array.from({ length: classes }, (_, c) => Number(c === index))).flat(),
};

export const outer: Oracle<void> = {
  draw: (random) => ({ shapes: [[random.int(4)], [random.int(4)]], params: undefined }),
  oracle: ([a, b]) => Array.from(a!.data, (x) => Array.from(b!.data, (y) => x * y)).flat(),
};

export const einsum: Oracle<{ equation: string }> = {
  draw(random) {
    const letters = ['i', 'j', 'k', 'b'];
    const size = Object.fromEntries(letters.map((letter) => [letter, 1 + random.int(3)]));
    const inputs = Array.from({ length: 1 + random.int(3) }, () =>
      Array.from({ length: random.int(4) }, () => random.pick(letters)),
    );
    const known = [...new Set(inputs.flat())];
    const output = random.shuffle(known).slice(0, random.int(known.length + 1));
    const equation = `${inputs.map((term) => term.join('')).join(',')}->${output.join('')}`;
    return { shapes: inputs.map((term) => term.map((letter) => size[letter]!)), params: { equation } };
  },
  oracle(tensors, { equation }, outputShape) {
    const [left, output] = equation.split('->') as [string, string];
    const inputs = left.split(',');
    const size = new Map(
      inputs.flatMap((term, k) => [...term].map((letter, axis) => [letter, tensors[k]!.shape[axis]!])),
    );
    const letters = [...size.keys()];
    const all = [...size.values()];
    const y = new Array<number>(sizeOf(outputShape)).fill(0);
    for (let at = 0; at < sizeOf(all); at++) {
      const value = Object.fromEntries(unravel(at, all).map((i, k) => [letters[k]!, i]));
      const index = (term: string) => [...term].map((letter) => value[letter]!);
      y[ravel(index(output), outputShape)]! += inputs.reduce(
        (product, term, k) => product * tensors[k]!.data[ravel(index(term), tensors[k]!.shape)]!,
        1,
      );
    }
    return y;
  },
};
