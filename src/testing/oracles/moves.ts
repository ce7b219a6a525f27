/** Ops that only move elements, one element at a time by its index. */
import type { Random } from '../../tensor/random.js';
import { type Shape, sizeOf } from '../../tensor/shape.js';
import { type Oracle, ravel, unravel } from './oracle.js';

const randomShape = (random: Random, rank: number, least = 0) =>
  Array.from({ length: rank }, () => least + random.int(4));

export const reshape: Oracle<{ shape: Shape }> = {
  draw(random) {
    const shape = randomShape(random, random.int(4));
    return { shapes: [shape], params: { shape: random.shuffle(shape) } };
  },
  oracle: ([x]) => Array.from(x!.data),
};

export const permute: Oracle<{ axes: readonly number[] }> = {
  draw(random) {
    const shape = randomShape(random, 1 + random.int(4));
    return { shapes: [shape], params: { axes: random.shuffle(shape.keys()) } };
  },
  oracle: ([x], { axes }, outputShape) =>
    Array.from({ length: sizeOf(outputShape) }, (_, i) => {
      const from: number[] = [];
      unravel(i, outputShape).forEach((at, axis) => {
        from[axes[axis]!] = at;
      });
      return x!.data[ravel(from, x!.shape)]!;
    }),
};

export const expand: Oracle<{ shape: Shape }> = {
  draw(random) {
    const shape = randomShape(random, random.int(6));
    const own = shape.map((size) => (random.int(2) === 1 ? 1 : size)).slice(random.int(2));
    return { shapes: [own], params: { shape } };
  },
  oracle: ([x], _, outputShape) =>
    Array.from({ length: sizeOf(outputShape) }, (_, i) => {
      const own = unravel(i, outputShape).slice(outputShape.length - x!.shape.length);
      return x!.data[
        ravel(
          own.map((at, axis) => (x!.shape[axis] === 1 ? 0 : at)),
          x!.shape,
        )
      ]!;
    }),
};

export const slice: Oracle<{ starts: number[]; sizes: number[] }> = {
  draw(random) {
    const shape = Array.from({ length: 1 + random.int(3) }, () => random.int(5));
    const starts = shape.map((size) => random.int(size + 1));
    return { shapes: [shape], params: { starts, sizes: shape.map((size, i) => random.int(size - starts[i]! + 1)) } };
  },
  oracle: ([x], { starts, sizes }) =>
    Array.from({ length: sizeOf(sizes) }, (_, i) => {
      const index = unravel(i, sizes).map((at, axis) => at + starts[axis]!);
      return x!.data[ravel(index, x!.shape)]!;
    }),
};

export const pad: Oracle<{ before: number[]; shape: number[]; value: number }> = {
  draw(random) {
    const shape = randomShape(random, 1 + random.int(3));
    const before = shape.map(() => random.int(3));
    const padded = shape.map((size, i) => size + before[i]! + random.int(3));
    return { shapes: [shape], params: { before, shape: padded, value: random.int(3) } };
  },
  oracle: ([x], { before, shape, value }) =>
    Array.from({ length: sizeOf(shape) }, (_, i) => {
      const index = unravel(i, shape).map((at, axis) => at - before[axis]!);
      const inside = index.every((at, axis) => at >= 0 && at < x!.shape[axis]!);
      return inside ? x!.data[ravel(index, x!.shape)]! : value;
    }),
};

export const concat: Oracle<{ axis: number }> = {
  draw(random) {
    const shape = randomShape(random, 1 + random.int(3));
    const axis = random.int(shape.length);
    const shapes = Array.from({ length: 1 + random.int(3) }, () =>
      shape.map((size, i) => (i === axis ? random.int(4) : size)),
    );
    return { shapes, params: { axis } };
  },
  oracle(inputs, { axis }) {
    const outer = sizeOf(inputs[0]!.shape.slice(0, axis));
    return Array.from({ length: outer }, (_, row) =>
      inputs.flatMap(({ data, shape }) => {
        const length = sizeOf(shape.slice(axis));
        return Array.from({ length }, (_, i) => data[row * length + i]!);
      }),
    ).flat();
  },
};

/** Sizes before, at and after an axis. */
const around = (shape: Shape, axis: number) =>
  [sizeOf(shape.slice(0, axis)), shape[axis]!, sizeOf(shape.slice(axis + 1))] as const;

export const gather: Oracle<{ axis: number; indexShape: Shape }> = {
  draw(random) {
    const shape = randomShape(random, 1 + random.int(3), 1);
    const axis = random.int(shape.length);
    const indexShape = Array.from({ length: random.int(3) }, () => random.int(4));
    const data = Array.from({ length: sizeOf(indexShape) }, () => random.int(shape[axis]!));
    return { shapes: [shape, indexShape], params: { axis, indexShape }, fixed: { 1: { data, dtype: 'int32' } } };
  },
  oracle([x, indices], { axis }) {
    const [outer, rows, inner] = around(x!.shape, axis);
    return Array.from({ length: outer }, (_, o) =>
      Array.from(indices!.data, (index) =>
        Array.from({ length: inner }, (_, i) => x!.data[(o * rows + index) * inner + i]!),
      ),
    ).flat(2);
  },
};

export const scatterAdd: Oracle<{ axis: number; rows: number }> = {
  draw(random) {
    const shape = randomShape(random, 1 + random.int(3));
    const axis = random.int(shape.length);
    const rows = 1 + random.int(4);
    const data = Array.from({ length: shape[axis]! }, () => random.int(rows));
    return { shapes: [shape, [shape[axis]!]], params: { axis, rows }, fixed: { 1: { data, dtype: 'int32' } } };
  },
  oracle([x, indices], { axis, rows }, outputShape) {
    const [outer, count, inner] = around(x!.shape, axis);
    const result = new Array<number>(sizeOf(outputShape)).fill(0);
    for (let o = 0; o < outer; o++)
      for (let j = 0; j < count; j++)
        for (let i = 0; i < inner; i++)
          result[(o * rows + indices!.data[j]!) * inner + i]! += x!.data[(o * count + j) * inner + i]!;
    return result;
  },
};
