/** The nearest of many vectors: those that comparing all of them finds, whatever the vectors are. */
import assert from 'node:assert/strict';
import { Random } from 'hopgrad';
import { Nearest } from '#src/cli/nearest.js';
import { bestOf } from '#src/evaluate/ranks.js';

type Rows = { vectors: Float32Array; dim: number };
function normal(size: number, seed: number): Float64Array {
  const random = new Random(seed);
  return Float64Array.from({ length: size }, () => random.normal());
}

function rows(count: number, dim: number, seed: number): Rows {
  return { vectors: Float32Array.from(normal(count * dim, seed)), dim };
}

/** All of them compared, in double precision. */
function all({ vectors, dim }: Rows, query: ArrayLike<number>, count: number) {
  const products = Array.from({ length: vectors.length / dim }, (_, row) => {
    let sum = 0;
    for (let i = 0; i < dim; i++) sum += vectors[row * dim + i]! * query[i]!;
    return sum;
  });
  return bestOf(products, count).map((at) => ({ at, product: products[at]! }));
}

const changed = (x: Rows, change: (value: number, row: number, i: number) => number): Rows => ({
  dim: x.dim,
  vectors: x.vectors.map((value, at) => change(value, Math.floor(at / x.dim), at % x.dim)),
});
const random = rows(3000, 96, 1);
const common = normal(96, 2);
const signs = rows(400, 1024, 10);
const ones = changed(rows(800, 1024, 9), (_, row, i) =>
  signs.vectors[(row >> 1) * 1024 + i]! > 0 === (row % 2 === 0) ? 1 : -1,
);

const kinds: Record<string, Rows> = {
  'of no direction': random,
  'around one direction': changed(random, (x, _, i) => x / 50 + common[i]!),
  'that nearly coincide': changed(random, (x, _, i) => common[i]! + x * 1e-6),
  'of which many are equal': changed(random, (_, row, i) => random.vectors[(row % 7) * 96 + i]!),
  'with one large number each': changed(random, (x, row, i) => (i === row % 96 ? 40 : x)),
  'of very different lengths': changed(random, (x, row) => x * 10 ** ((row % 9) - 4)),
  'with zeros among them': changed(random, (x, row) => (row % 3 === 0 ? 0 : x)),
  'with infinities and NaN among them': changed(random, (x, row, i) =>
    row === 5 ? Number.NaN : row === 6 && i === 0 ? Number.POSITIVE_INFINITY : x,
  ),
  'of one number': rows(500, 1, 3),
  'of seven numbers, more than one part of them': rows(70_000, 7, 4),
  'of 770 numbers': rows(300, 770, 5),
  'of 1024 ones and minus ones, with their opposites': ones,
  'of numbers whose products are denormal': changed(ones, (x, row) => x * 1e-36 * (1 + row / 1e5)),
  alone: rows(1, 40, 6),
};

describe('the nearest of many vectors', () => {
  for (const [name, x] of Object.entries(kinds))
    it(`are those of comparing all: vectors ${name}`, () => {
      const nearest = new Nearest(x.vectors, x.dim);
      const own = x.vectors.subarray(0, x.dim);
      const steep = normal(x.dim, 7).map((value, i) => (i === 0 ? 1000 : value));
      const queries = [normal(x.dim, 7), steep, own, new Float32Array(x.dim), own.map((value) => -value)];
      for (const query of queries)
        for (const count of [1, 5, 48, 100, 200, 300, 2000])
          assert.deepEqual(nearest.find(query, count), all(x, query, count), `${count}`);
      assert.deepEqual(nearest.find(own, 0), []);
    });

  it('come from few comparisons where vectors point all ways, and where they share a direction', () => {
    for (const x of [random, kinds['around one direction']!]) {
      const nearest = new Nearest(x.vectors, x.dim);
      nearest.find(normal(96, 8), 10);
      assert.ok(nearest.compared >= 10 && nearest.compared < 60, `${nearest.compared} of 3000`);
    }
  });
});
