/** Histograms of oriented gradients, against numpy (test/fixtures/hog.py) and on pictures whose gradients are plain. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ShapeError } from 'hopgrad';
import { hogFeatures } from '#src/evaluate/hog.js';
import { fixture, values } from '../helpers.js';

const golden: { side: number; pixels: number[]; hog: number[] }[] = JSON.parse(
  readFileSync(fixture('hog.json'), 'utf8'),
);
const grey = (side: number, at: (x: number, y: number) => number) =>
  Array.from({ length: side ** 2 }, (_, i) => at(i % side, Math.floor(i / side)));
const product = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);

describe('histograms of oriented gradients', () => {
  it('are those that numpy computes: noise, a disc and ramps, in colour and grey, whatever the number of cells', () => {
    for (const { side, pixels, hog } of golden) {
      const found = values(hogFeatures(pixels, 1, side));
      assert.equal(found.length, hog.length);
      const error = Math.max(...found.map((value, i) => Math.abs(value - hog[i]!)));
      assert.ok(error < 1e-5, `side ${side}, ${pixels.length} numbers: ${error}`);
    }
  });

  it('know nothing of brightness and contrast, nor which side is light, but where edges run', () => {
    const upright = grey(32, (x) => (x < 16 ? 40 : 200));
    const pictures = [upright, upright.map((v) => 20 + v / 2), upright.map((v) => 240 - v)];
    const level = grey(32, (_, y) => (y < 16 ? 40 : 200));
    const [first, ...others] = [...pictures, level].map((picture) => values(hogFeatures(picture, 1, 32)));
    const [darker, negative, turned] = others.map((other) => product(first!, other));
    assert.ok(Math.abs(darker! - 1) < 1e-4 && Math.abs(negative! - 1) < 1e-4, `${darker}, ${negative}`);
    assert.ok(turned! < 0.1, `${turned}`);
  });

  it('are a unit vector for each picture, zeros for an even one', () => {
    const features = hogFeatures(
      [...golden[0]!.pixels, ...golden[1]!.pixels, ...golden[0]!.pixels.map(() => 7)],
      3,
      32,
    );
    assert.deepEqual(features.shape, [3, 324]);
    const squares = values(features.mul(features).sum({ axis: 1 }));
    for (const [i, wanted] of [1, 1, 0].entries()) assert.ok(Math.abs(squares[i]! - wanted) < 1e-5, `${squares}`);
  });

  it('take pictures of a single cell, and refuse what is not square', () => {
    const noise = grey(8, (x, y) => (x * 37 + y * 91) % 256);
    assert.deepEqual(hogFeatures(noise, 1, 8).shape, [1, 9]);
    assert.throws(() => hogFeatures(noise, 1, 7), ShapeError);
    assert.throws(() => hogFeatures([], 0, 8), ShapeError);
  });
});
