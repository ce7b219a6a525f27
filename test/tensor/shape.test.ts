/** Shapes, axes and broadcasting against naive definitions. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AxisError, BroadcastError, ShapeError } from 'hopgrad';
import { broadcastableShapes, shapes } from 'hopgrad/testing';
import {
  broadcastPlan,
  broadcastShapes,
  checkShape,
  normalizeAxes,
  normalizeAxis,
  reducedShape,
  type Shape,
  sizeOf,
  stridesOf,
} from '#src/tensor/shape.js';
import { property } from '../helpers.js';

/** NumPy's rule word for word; null where it refuses. */
function naiveBroadcast(all: readonly Shape[]): number[] | null {
  const rank = Math.max(...all.map((shape) => shape.length));
  const result: number[] = [];
  for (let axis = 1; axis <= rank; axis++) {
    const sizes = all.map((shape) => shape[shape.length - axis] ?? 1).filter((size) => size !== 1);
    if (new Set(sizes).size > 1) return null;
    result.unshift(sizes[0] ?? 1);
  }
  return result;
}

/** Every index of a shape, row-major. */
function indices(shape: Shape): number[][] {
  return shape.reduce<number[][]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, i) => [...index, i])),
    [[]],
  );
}

const anyShape = shapes({ maxRank: 4, maxSize: 4 });

describe('shapes', () => {
  property('sizeOf counts the indices, and strides number them in order', anyShape, (shape) => {
    const all = indices(shape);
    assert.equal(sizeOf(shape), all.length);
    const strides = stridesOf(shape);
    all.forEach((index, flat) => {
      assert.equal(
        index.reduce((sum, i, axis) => sum + i * strides[axis]!, 0),
        flat,
      );
    });
  });

  property(
    'broadcasting any shapes gives what the definition gives, or a BroadcastError',
    fc.array(anyShape, { minLength: 1, maxLength: 3 }),
    (all) => {
      const expected = naiveBroadcast(all);
      if (expected) assert.deepEqual([...broadcastShapes('test', ...all)], expected);
      else assert.throws(() => broadcastShapes('test', ...all), BroadcastError);
    },
    300,
  );

  property('broadcasting is commutative, associative and idempotent', broadcastableShapes(3), ([a, b, c]) => {
    const join = (...list: Shape[]) => [...broadcastShapes('test', ...list)];
    assert.deepEqual(join(a!, b!), join(b!, a!));
    assert.deepEqual(join(join(a!, b!), c!), join(a!, join(b!, c!)));
    assert.deepEqual(join(a!, b!, c!), join(join(a!, b!), c!));
    assert.deepEqual(join(a!, a!), a);
    assert.deepEqual(join(a!, []), a);
  });

  property('a plan walks each operand as broadcasting says', broadcastableShapes(3), (operands) => {
    const output = broadcastShapes('test', ...operands);
    const plan = broadcastPlan(output, operands);
    assert.equal(sizeOf(plan.shape), sizeOf(output));
    const walked = operands.map((_, k) =>
      indices(plan.shape).map((index) => index.reduce((sum, i, axis) => sum + i * plan.strides[k]![axis]!, 0)),
    );
    operands.forEach((shape, k) => {
      const strides = stridesOf(shape);
      const expected = indices(output).map((index) =>
        index
          .slice(output.length - shape.length)
          .reduce((sum, i, axis) => sum + (shape[axis] === 1 ? 0 : i * strides[axis]!), 0),
      );
      assert.deepEqual(walked[k], expected);
    });
  });

  property('operands of one shape are walked along a single axis', shapes({ minSize: 1 }), (shape) => {
    assert.equal(broadcastPlan(shape, [shape, shape, []]).shape.length, 1);
  });

  property(
    'axes in range are normalised, others refused',
    fc.tuple(anyShape, fc.integer({ min: -7, max: 7 })),
    ([shape, axis]) => {
      const rank = shape.length;
      if (axis < -rank || axis >= rank) assert.throws(() => normalizeAxis('test', axis, shape), AxisError);
      else assert.equal(normalizeAxis('test', axis, shape), (axis + rank) % rank);
    },
  );

  it('sorts lists of axes, takes all by default and refuses repetitions', () => {
    assert.deepEqual(normalizeAxes('test', [-1, 0], [2, 3, 4]), [0, 2]);
    assert.deepEqual(normalizeAxes('test', undefined, [2, 3]), [0, 1]);
    assert.deepEqual(normalizeAxes('test', [], [2, 3]), []);
    assert.throws(() => normalizeAxes('test', [1, -1], [2, 3]), { name: 'AxisError', expected: 'each axis once' });
    for (const axis of [0.5, Number.NaN, Infinity]) assert.throws(() => normalizeAxis('test', axis, [2]), AxisError);
    assert.deepEqual(reducedShape([2, 3, 4], [0, 2], true), [1, 3, 1]);
    assert.deepEqual(reducedShape([2, 3, 4], [0, 2], false), [3]);
  });

  it('says what came, what was expected and what to do', () => {
    assert.throws(() => normalizeAxis('sum', 2, [4, 5]), {
      name: 'AxisError',
      op: 'sum',
      received: 'axis 2 for shape [4, 5]',
      expected: 'an integer in [-2, 1]',
      hint: 'Negative axes count from the last.',
      message: 'sum: axis 2 for shape [4, 5]; expected an integer in [-2, 1]. Negative axes count from the last.',
    });
    assert.throws(
      () => broadcastShapes('add', [2, 3], [4, 3]),
      (error: BroadcastError) => {
        assert.ok(error instanceof ShapeError && error instanceof BroadcastError);
        assert.equal(error.op, 'add');
        for (const part of ['[2, 3]', '[4, 3]', 'sizes 2 and 4', 'axis -2'])
          assert.ok(error.received.includes(part), part);
        assert.ok(error.hint && error.expected);
        return true;
      },
    );
  });

  property(
    'what is no list of sizes is a ShapeError',
    fc.oneof(
      fc.string(),
      fc.integer(),
      fc.constant(null),
      fc.constant([-1]),
      fc.constant([1.5]),
      fc.constant(['2']),
      fc.constant([Number.NaN]),
      fc.constant([2 ** 60]),
    ),
    (shape) => {
      assert.throws(() => checkShape('zeros', shape), ShapeError);
    },
    20,
  );
});
