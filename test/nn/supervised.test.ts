/** Losses against known targets: PyTorch's values and gradients (test/fixtures/supervised.py), laws, refusals. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import {
  DomainError,
  DTypeError,
  grad,
  init,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
  withDevice,
} from 'hopgrad';
import {
  binaryCrossEntropyWithLogits,
  crossEntropy,
  huberLoss,
  l1Loss,
  mseLoss,
  type ReductionOptions,
  tripletMarginLoss,
} from 'hopgrad/nn';
import { assertGradients } from 'hopgrad/testing';
import { fixture, property, relativeError, values } from '../helpers.js';

interface Packed {
  shape: number[];
  data: number[];
}
interface Case {
  inputs: Packed[];
  none: Packed;
  mean: number;
  sum: number;
  grad: Packed;
}
type Loss = (inputs: Tensor[], options: ReductionOptions) => Tensor;

const golden: Record<string, Case> = JSON.parse(readFileSync(fixture('supervised.json'), 'utf8'));
const exact = { dtype: 'float64', device: 'reference' } as const;

/** The fixture's weights of classes, on the device of x and in its dtype. */
const weightLike = ({ dtype, device }: Tensor) =>
  tensor((golden.crossEntropyWeighted as Case & { weight: Packed }).weight.data, { dtype, device });

const losses: Record<string, Loss> = {
  crossEntropy: ([z, t], options) => crossEntropy(z!, t!.cast('int32'), options),
  crossEntropySmoothed: ([z, t], options) => crossEntropy(z!, t!.cast('int32'), { labelSmoothing: 0.2, ...options }),
  crossEntropyProbabilities: ([z, t], options) => crossEntropy(z!, t!, { labelSmoothing: 0.1, ...options }),
  crossEntropyWeighted: ([z, t], options) =>
    crossEntropy(z!, t!.cast('int32'), { labelSmoothing: 0.2, weight: weightLike(z!), ...options }),
  crossEntropyIgnored: ([z, t], options) => crossEntropy(z!, t!.cast('int32'), { ignoreIndex: -1, ...options }),
  crossEntropyBoth: ([z, t], options) =>
    crossEntropy(z!, t!.cast('int32'), { ignoreIndex: -1, weight: weightLike(z!), labelSmoothing: 0.1, ...options }),
  crossEntropyWeightedProbabilities: ([z, t], options) => crossEntropy(z!, t!, { weight: weightLike(z!), ...options }),
  mse: ([x, t], options) => mseLoss(x!, t!, options),
  l1: ([x, t], options) => l1Loss(x!, t!, options),
  huber: ([x, t], options) => huberLoss(x!, t!, { delta: 1.5, ...options }),
  bce: ([z, t], options) => binaryCrossEntropyWithLogits(z!, t!, options),
  bceWeighted: ([z, t], options) => binaryCrossEntropyWithLogits(z!, t!, { positiveWeight: 2.5, ...options }),
  triplet: ([a, p, n], options) => tripletMarginLoss(a!, p!, n!, { margin: 0.7, ...options }),
};

describe('losses against targets', () => {
  for (const [name, expected] of Object.entries(golden))
    for (const [where, tolerance] of [
      [exact, 1e-12],
      [{ dtype: 'float32', device: 'wasm' }, 2e-6],
    ] as const)
      it(`${name} is PyTorch’s in ${where.dtype}, with its gradient`, () => {
        const loss = losses[name]!;
        const inputs = expected.inputs.map(({ shape, data }) => tensor(data, { shape, ...where }));
        for (const reduction of ['mean', 'sum'] as const)
          assert.ok(relativeError(values(loss(inputs, { reduction })), [expected[reduction]]) < tolerance, reduction);
        const single = loss(inputs, { reduction: 'none' });
        assert.deepEqual(single.shape, expected.none.shape);
        assert.ok(relativeError(values(single), expected.none.data) < tolerance, 'single losses');
        const weights = tensor(
          expected.none.data.map((_, i) => Math.cos(i + 1)),
          { shape: single.shape, ...where },
        );
        const slope = grad((x: Tensor) =>
          loss([x, ...inputs.slice(1)], { reduction: 'none' })
            .mul(weights)
            .sum(),
        )(inputs[0]!);
        assert.ok(relativeError(values(slope), expected.grad.data) < 5 * tolerance, 'gradient');
      });

  property(
    'have right derivatives to the second order',
    fc.record({ seed: fc.nat(1e6), n: fc.integer({ min: 1, max: 4 }), classes: fc.integer({ min: 1, max: 4 }) }),
    async ({ seed, n, classes }) => {
      const [z, t] = [randn([n, classes], { ...exact, seed }), randn([n, classes], { ...exact, seed: seed + 1 })];
      const labels = tensor(
        Int32Array.from({ length: n }, (_, i) => (seed + i) % classes),
        { device: 'reference' },
      );
      const shares = t.softmax({ axis: 1 });
      const options = { order: 2 } as const;
      await assertGradients((x: Tensor) => crossEntropy(x, labels, { labelSmoothing: 0.1 }), [z], options);
      await assertGradients((x: Tensor, y: Tensor) => crossEntropy(x, y), [z, shares], options);
      await assertGradients((x: Tensor, y: Tensor) => mseLoss(x, y), [z, t], options);
      await assertGradients(
        (x: Tensor) => binaryCrossEntropyWithLogits(x, shares, { positiveWeight: 3 }),
        [z],
        options,
      );
    },
    10,
  );

  it('are the same on other devices', async () => {
    await init({ device: 'gpujs-cpu' });
    const [reference, other] = (['reference', 'gpujs-cpu'] as const).map((device) =>
      withDevice(device, () => {
        const inputs = golden.crossEntropySmoothed!.inputs.map(({ shape, data }) => tensor(data, { shape }));
        return losses.crossEntropySmoothed!(inputs, {});
      }),
    );
    await init({ device: 'wasm' });
    assert.ok(relativeError(await other!.data(), await reference!.data()) < 1e-6);
  });

  it('refuse what does not fit, and say what to do', () => {
    const [x, row] = [randn([3, 2], exact), randn([3], exact)];
    const labels = tensor([0, 1, 1], { dtype: 'int32', device: 'reference' });
    assert.throws(
      () =>
        mseLoss(
          row,
          x.slice([
            [0, 3],
            [0, 1],
          ]),
        ),
      ShapeError,
    );
    assert.throws(() => l1Loss(x, 3 as never), UsageError);
    assert.throws(() => mseLoss(x, x, { reduction: 'average' as never }), UsageError);
    assert.throws(() => crossEntropy(x, row), DTypeError);
    assert.throws(() => crossEntropy(x, tensor([0, 1], { dtype: 'int32', device: 'reference' })), ShapeError);
    assert.throws(() => crossEntropy(x, labels.add(1)), /class 2/);
    assert.throws(() => crossEntropy(x, labels, { labelSmoothing: 1.5 }), DomainError);
    assert.throws(() => crossEntropy(x, labels, { weight: row }), ShapeError);
    assert.throws(() => crossEntropy(x, labels.add(1), { ignoreIndex: 0 }), /class 2/);
    assert.throws(() => huberLoss(x, x, { delta: 0 }), DomainError);
    assert.throws(() => tripletMarginLoss(x, x, x, { margin: -1 }), DomainError);
  });
});
