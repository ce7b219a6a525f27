/** The signatures that are promised: axes, operands and defaults as documented. */
import assert from 'node:assert/strict';
import { arange, ones, tensor, withDevice, zeros } from 'hopgrad';
import { relativeError, values } from '../helpers.js';

describe('signatures', () => {
  it('axis and keepDims of reductions', () => {
    const x = arange(24).reshape([2, 3, 4]);
    for (const op of ['sum', 'mean', 'max', 'min'] as const) {
      assert.deepEqual([...x[op]().shape], []);
      assert.deepEqual([...x[op]({ axis: -1 }).shape], [2, 3]);
      assert.deepEqual([...x[op]({ axis: [0, 2], keepDims: true }).shape], [1, 3, 1]);
    }
    assert.deepEqual([...x.argmax({ axis: 1, keepDims: true }).shape], [2, 1, 4]);
    assert.deepEqual([...x.logSumExp({ axis: 0, keepDims: true }).shape], [1, 3, 4]);
    assert.deepEqual([...x.softmax({ axis: 1 }).shape], [2, 3, 4]);
    assert.ok(relativeError(values(x.softmax({ axis: 1 }).sum({ axis: 1 })), values(ones([2, 4]))) < 1e-6);
  });

  it('slice, permute, transpose, concat, stack, expand, gather, where', async () => {
    const x = arange(6).reshape([2, 3]);
    assert.deepEqual(await x.slice([[0, 1]]).array(), [[0, 1, 2]]);
    assert.deepEqual(
      await x
        .slice([
          [0, null],
          [-2, -1],
        ])
        .array(),
      [[1], [4]],
    );
    assert.deepEqual(await x.permute([1, 0]).array(), [
      [0, 3],
      [1, 4],
      [2, 5],
    ]);
    assert.deepEqual([...zeros([2, 3, 4]).transpose().shape], [2, 4, 3]);
    assert.deepEqual([...x.concat(x, { axis: 1 }).shape], [2, 6]);
    assert.deepEqual([...x.concat([x, x]).shape], [6, 3]);
    assert.deepEqual([...x.stack([x, x], { axis: -1 }).shape], [2, 3, 3]);
    assert.deepEqual([...ones([3, 1]).expand([2, 3, 4]).shape], [2, 3, 4]);
    assert.deepEqual(await x.gather(tensor([[1, 0]], { dtype: 'int32' }), { axis: 1 }).array(), [[[1, 0]], [[4, 3]]]);
    assert.deepEqual(await x.greater(2).where(x, -1).array(), [
      [-1, -1, -1],
      [3, 4, 5],
    ]);
    assert.deepEqual(await x.greater(2).where(1, 0).array(), [
      [0, 0, 0],
      [1, 1, 1],
    ]);
  });

  it('matmul of vectors, matrices and batches', () => {
    const shape = (a: number[], b: number[], options = {}) => [...ones(a).matmul(ones(b), options).shape];
    assert.deepEqual(shape([3], [3]), []);
    assert.deepEqual(shape([3], [3, 2]), [2]);
    assert.deepEqual(shape([2, 3], [3]), [2]);
    assert.deepEqual(shape([5, 2, 3], [3, 4]), [5, 2, 4]);
    assert.deepEqual(shape([2, 3], [5, 3, 4]), [5, 2, 4]);
    assert.deepEqual(shape([5, 1, 2, 3], [6, 3, 4]), [5, 6, 2, 4]);
    assert.deepEqual(shape([3, 2], [4, 3], { transposeA: true, transposeB: true }), [2, 4]);
    assert.throws(() => ones([2, 3]).matmul(ones([4, 3])), { name: 'ShapeError', hint: /right\.transpose/ });
  });

  it('conv2d, avgPool2d, layerNorm, l2Normalize', () => {
    const x = ones([2, 3, 8, 8]);
    const y = x.conv2d(ones([4, 3, 3, 3]), { stride: 2, padding: 1, bias: ones([4]) });
    assert.deepEqual([...y.shape], [2, 4, 4, 4]);
    assert.equal(values(y)[5], 28);
    assert.deepEqual([...x.conv2d(ones([1, 3, 2, 1]), { stride: [2, 1] }).shape], [2, 1, 4, 8]);
    assert.deepEqual([...x.avgPool2d({ kernel: 2 }).shape], [2, 3, 4, 4]);
    assert.deepEqual([...x.avgPool2d({ kernel: [2, 4], stride: 1 }).shape], [2, 3, 7, 5]);
    assert.deepEqual(
      values(tensor([[1, 3]]).layerNorm({ weight: tensor([2, 2]), bias: tensor([5, 5]), eps: 0 })),
      [3, 7],
    );
    assert.ok(relativeError(values(tensor([[3], [4]]).l2Normalize({ axis: 0 })), [0.6, 0.8]) < 1e-6);
  });

  it('withDevice changes the default for as long as it runs', () => {
    const device = zeros([1]).device;
    const inside = withDevice('reference', () => zeros([1]));
    assert.deepEqual([inside.device, zeros([1]).device], ['reference', device]);
    assert.throws(() => withDevice('nowhere', () => 1), { name: 'DeviceError', received: /nowhere/ });
    assert.equal(zeros([1]).device, device);
  });
});
