/** Tensors as text. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { arange, ones, tensor, zeros } from 'hopgrad';
import { formatTensor } from '#src/tensor/print.js';
import { property } from '../helpers.js';

describe('printing', () => {
  it('aligns columns and nests rows', () => {
    assert.equal(formatTensor([1, 20, 3, 4.5], [2, 2]), '[[  1,  20],\n [  3, 4.5]]');
    assert.equal(formatTensor([1, 2, 3, 4], [2, 2, 1]), '[[[1],\n  [2]],\n\n [[3],\n  [4]]]');
    assert.equal(formatTensor([7], []), '7');
  });

  it('shortens long axes to their ends', () => {
    const text = formatTensor(
      Array.from({ length: 1000 }, (_, i) => i),
      [1000],
    );
    assert.equal(text, '[  0,   1,   2, …, 997, 998, 999]');
    assert.ok(arange(10_000).reshape([100, 100]).toString().length < 600);
  });

  property(
    'one number is printed so that it reads back to four digits',
    fc.oneof(
      fc.double({ noNaN: true }),
      fc.integer({ min: -9_999_999, max: 9_999_999 }).map((n) => n / 10),
    ),
    (value) => {
      const text = formatTensor([value], []);
      if (Number.isFinite(value))
        assert.ok(Math.abs(Number(text) - value) <= Math.abs(value) * 6e-4, `${value} as ${text}`);
      else assert.equal(text, String(value));
      assert.ok(text.length <= 24);
    },
    500,
  );

  it('shows shape, dtype, device and history', () => {
    assert.equal(
      tensor([1, 2], { device: 'reference', requiresGrad: true }).toString(),
      'Tensor [2] float32 on reference, requiresGrad\n[1, 2]',
    );
    assert.match(inspect({ x: ones([2], { dtype: 'int32' }) }), /Tensor \[2\] int32 on \w+\s+\[1, 1\]/);
    assert.match(String(zeros([0, 3])), /empty, shape \[0, 3\]/);
    const gone = ones([2]);
    gone.dispose();
    assert.match(`${gone}`, /freed/);
  });

  it('is not a number: arithmetic by operators is refused with the method to use', () => {
    const x = tensor(2) as unknown as number;
    assert.throws(() => x + 1, { name: 'UsageError', hint: /add/ });
    assert.throws(() => x * 2, { name: 'UsageError' });
    assert.throws(() => x > 1, { name: 'UsageError' });
  });
});
