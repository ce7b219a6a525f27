/** Reductions, by collecting each group of elements first. */

import type { Random } from '../../tensor/random.js';
import { reducedShape, type Shape, sizeOf } from '../../tensor/shape.js';
import { type Oracle, ravel, unravel, type Values } from './oracle.js';

interface ReduceParams {
  axes: number[];
  keepDims: boolean;
}

function drawReduce(random: Random, least: number) {
  const shape = Array.from({ length: random.int(4) }, () => least + random.int(4));
  const axes = shape.map((_, i) => i).filter(() => random.int(2) === 1);
  return { shapes: [shape], params: { axes, keepDims: random.int(2) === 1 } };
}

/** The elements of every reduced group, in order. */
function groups({ data, shape }: Values, axes: readonly number[]): number[][] {
  const kept: Shape = reducedShape(shape, axes, true);
  const result = Array.from({ length: sizeOf(kept) }, () => [] as number[]);
  for (let i = 0; i < data.length; i++) {
    const index = unravel(i, shape).map((at, axis) => (axes.includes(axis) ? 0 : at));
    result[ravel(index, kept)]!.push(data[i]!);
  }
  return result;
}

export const sum: Oracle<ReduceParams> = {
  draw: (random) => drawReduce(random, 0),
  oracle: ([x], { axes }) => groups(x!, axes).map((g) => g.reduce((a, b) => a + b, 0)),
};

const extreme = (kind: 'max' | 'min'): Oracle<ReduceParams> => ({
  draw: (random) => drawReduce(random, 1),
  oracle: ([x], { axes }) => groups(x!, axes).map((g) => Math[kind](...g)),
});
export const max = extreme('max');
export const min = extreme('min');

const argExtreme = (kind: 'max' | 'min'): Oracle<{ axis: number; keepDims: boolean }> => ({
  draw(random) {
    const shape = Array.from({ length: 1 + random.int(3) }, () => 1 + random.int(4));
    return { shapes: [shape], params: { axis: random.int(shape.length), keepDims: random.int(2) === 1 } };
  },
  oracle: ([x], { axis }) => groups(x!, [axis]).map((g) => g.indexOf(Math[kind](...g))),
});
export const argmax = argExtreme('max');
export const argmin = argExtreme('min');

const total = (g: number[], f: (x: number) => number) => g.reduce((sum, x) => sum + f(x), 0);

export const prod: Oracle<ReduceParams> = {
  draw: (random) => drawReduce(random, 0),
  oracle: ([x], { axes }) => groups(x!, axes).map((g) => g.reduce((a, b) => a * b, 1)),
};

export const norm: Oracle<ReduceParams & { ord: number }> = {
  draw(random) {
    const { shapes, params } = drawReduce(random, 1);
    return { shapes, params: { ...params, ord: random.pick([2, 2, 1, Infinity]) } };
  },
  oracle: ([x], { axes, ord }) =>
    groups(x!, axes).map((g) =>
      ord === Infinity ? Math.max(...g.map(Math.abs)) : total(g, (v) => Math.abs(v) ** ord) ** (1 / ord),
    ),
};

export const std: Oracle<ReduceParams & { correction: number }> = {
  draw(random) {
    const { shapes, params } = drawReduce(random, 2);
    return { shapes, params: { ...params, correction: params.axes.length > 0 ? random.int(2) : 0 } };
  },
  oracle: ([x], { axes, correction }) =>
    groups(x!, axes).map((g) => {
      const mean = total(g, (v) => v) / g.length;
      return Math.sqrt(total(g, (v) => (v - mean) ** 2) / (g.length - correction));
    }),
};

/** Some zeros among the elements, or none, or nothing but. */
const question = (answer: (g: number[]) => boolean): Oracle<ReduceParams> => ({
  draw(random) {
    const { shapes, params } = drawReduce(random, 0);
    const zeros = random.int(3);
    const data = Array.from({ length: sizeOf(shapes[0]!) }, () => (random.int(2) < zeros ? 0 : random.uniform()));
    return { shapes, params, fixed: { 0: { data, dtype: 'float64' } } };
  },
  oracle: ([x], { axes }) => groups(x!, axes).map((g) => Number(answer(g))),
});
export const any = question((g) => g.some((v) => v !== 0));
export const all = question((g) => g.every((v) => v !== 0));
