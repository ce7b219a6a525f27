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
