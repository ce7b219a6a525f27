/** Ranks against sorting by hand; the rule of ties; what a random order reaches against trying it. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { Random } from 'hopgrad';
import { bestOf, chanceOfRecall, distinct, rankOf } from '#src/evaluate/ranks.js';
import { property } from '../helpers.js';

const few = fc.array(fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constant(Number.NaN)), {
  minLength: 1,
  maxLength: 12,
});

describe('ranks', () => {
  property(
    'are the place of the best right candidate in a sorted list in which wrong ones go first among equals',
    few.chain((scores) => fc.tuple(fc.constant(scores), fc.subarray([...scores.keys()], { minLength: 1 }))),
    ([scores, right]) => {
      const value = (i: number) => (Number.isNaN(scores[i]!) ? (right.includes(i) ? -2 : Infinity) : scores[i]!);
      const sorted = [...scores.keys()].sort(
        (a, b) => value(b) - value(a) || Number(right.includes(a)) - Number(right.includes(b)),
      );
      assert.equal(
        rankOf(scores, right),
        sorted.findIndex((i) => right.includes(i)),
      );
    },
    300,
  );

  it('are worth nothing for scores that coincide', () => {
    assert.equal(rankOf([1, 1, 1, 1], [2]), 3);
    assert.equal(rankOf([1, 1, 1, 1], [0, 2]), 2);
  });

  it('best candidates: best first, of equals the earlier, NaN last', () => {
    assert.deepEqual(bestOf([1, Number.NaN, 3, 3, 2], 9), [2, 3, 4, 0, 1]);
    assert.deepEqual(bestOf([1, 2], 1), [1]);
  });

  property(
    'the best few are the first of all, sorted',
    fc.tuple(few, fc.integer({ min: 0, max: 14 })),
    ([scores, count]) => {
      const value = (i: number) => (Number.isNaN(scores[i]!) ? Number.NEGATIVE_INFINITY : scores[i]!);
      const sorted = [...scores.keys()].sort((a, b) => value(b) - value(a) || a - b);
      assert.deepEqual(bestOf(scores, count), sorted.slice(0, count));
    },
    300,
  );

  property(
    'chance is what shuffling reaches',
    fc.record({
      n: fc.integer({ min: 1, max: 9 }),
      k: fc.integer({ min: 1, max: 12 }),
      seed: fc.nat(),
      share: fc.nat(),
    }),
    ({ n, k, seed, share }) => {
      const right = 1 + (share % n);
      const random = new Random(seed);
      let hits = 0;
      const trials = 2000;
      for (let trial = 0; trial < trials; trial++)
        if (
          random
            .shuffle(Array.from({ length: n }, (_, i) => i))
            .slice(0, k)
            .some((i) => i < right)
        )
          hits++;
      const p = chanceOfRecall(right, n, k);
      assert.ok(
        Math.abs(hits / trials - p) <= 6 * Math.sqrt((p * (1 - p)) / trials) + 1e-9,
        `${hits / trials} and ${p}`,
      );
    },
    20,
  );

  it('kinds are numbered as they come', () => {
    assert.deepEqual(distinct(['b', 'a', 'b', 'c', 'a']), { firsts: [0, 1, 3], of: [0, 1, 0, 2, 1] });
  });
});
