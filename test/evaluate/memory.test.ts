/** Answers of stored pairs at evaluation, held to what CLOOB's loss compares. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DomainError, Random, randn, ShapeError } from 'hopgrad';
import { retrievedEmbeddings } from 'hopgrad/models/cloob';
import { retrievedSimilarities } from 'hopgrad/nn';
import { property, relativeError } from '../helpers.js';

const where = { dtype: 'float64', device: 'reference' } as const;
const unit = (rows: number, dim: number, seed: number) =>
  randn([rows, dim], { ...where, random: new Random(seed) }).l2Normalize();

describe('retrievedEmbeddings', () => {
  property(
    'compares as the loss does where the stored pairs are the batch, in chunks of any size',
    fc.record({
      ...{ n: fc.integer({ min: 1, max: 9 }), dim: fc.integer({ min: 1, max: 7 }) },
      ...{
        chunk: fc.integer({ min: 1, max: 10 }),
        seed: fc.nat(),
        beta: fc.double({ min: 0.1, max: 40, noNaN: true }),
      },
    }),
    async ({ n, dim, chunk, seed, beta }) => {
      const [x, y] = [unit(n, dim, seed), unit(n, dim, seed + 1)];
      const memory = { images: x, texts: y, beta };
      const [u, v] = [retrievedEmbeddings(x, memory, { chunk }), retrievedEmbeddings(y, memory, { chunk })];
      assert.deepEqual(u.shape, [n, 2 * dim]);
      const { image, text } = retrievedSimilarities(x, y, { beta, form: 'gram' });
      const expected = image.add(text.permute([1, 0])).div(2);
      assert.ok(relativeError(await u.matmul(v, { transposeB: true }).data(), await expected.data(), 1e-3) < 1e-9);
      const lengths = await u.square().sum({ axis: 1 }).data();
      for (const length of lengths) assert.ok(Math.abs(length - 1) < 1e-9);
    },
  );

  it('answers other queries than it has pairs, by the pair that is most alike where β is large', async () => {
    const [x, y] = [unit(5, 6, 1), unit(5, 6, 2)];
    const queries = x.slice([[1, 4]]).mul(1);
    const answers = retrievedEmbeddings(queries, { images: x, texts: y, beta: 1e4 });
    const own = await answers
      .slice([
        [0, 3],
        [0, 6],
      ])
      .mul(Math.SQRT2)
      .data();
    assert.ok(relativeError(own, await queries.data()) < 1e-9);
  });

  it('refuses pairs that are none, none at all, and a β of 0', () => {
    const [x, y] = [unit(5, 6, 1), unit(4, 6, 2)];
    assert.throws(() => retrievedEmbeddings(x, { images: x, texts: y, beta: 8 }), ShapeError);
    assert.throws(() => retrievedEmbeddings(unit(5, 3, 1), { images: x, texts: x, beta: 8 }), ShapeError);
    assert.throws(() => retrievedEmbeddings(x, { images: x, texts: x, beta: 0 }), DomainError);
    const none = x.slice([[0, 0]]);
    assert.throws(() => retrievedEmbeddings(x, { images: none, texts: none, beta: 8 }), DomainError);
    assert.deepEqual(retrievedEmbeddings(none, { images: x, texts: x, beta: 8 }).shape, [0, 12]);
  });
});
