/** CLOOB's similarities from Gram matrices are those of the definition: values, derivatives, and how exact in float32. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { init, randn, type Tensor, tensor, valueAndGrad, withDevice } from 'hopgrad';
import { cloobLoss, type RetrievalForm, retrievedSimilarities } from 'hopgrad/nn';
import { checkGradients } from 'hopgrad/testing';
import { deviceByName } from '#src/kernels/devices.js';
import { retrievalOperations } from '#src/nn/retrieved-pairs.js';
import { DomainError, ShapeError } from '#src/tensor/errors.js';
import { property, relativeError, values } from '../helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

const where = { dtype: 'float64', device: 'reference' } as const;

/** Embeddings as they come: of any direction, nearly one direction for all, or cancelling in their mean. */
const kinds = {
  random: (n: number, d: number, seed: number) => randn([n, d], { seed, ...where }).l2Normalize(),
  alike: (n: number, d: number, seed: number) =>
    randn([1, d], { seed: 77, ...where })
      .l2Normalize()
      .add(randn([n, d], { seed, ...where }).mul(0.1 / Math.sqrt(d)))
      .l2Normalize(),
  cancelling: (n: number, d: number, seed: number) => {
    const half = randn([Math.ceil(n / 2), d], { seed, ...where }).l2Normalize();
    return half.concat(half.mul(-1)).slice([[0, n]]);
  },
} as const;

/** ‖a − b‖ / ‖b‖. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const norm = (f: (i: number) => number) => Math.hypot(...Array.from(a, (_, i) => f(i)));
  return norm((i) => a[i]! - b[i]!) / norm((i) => b[i]!);
}

const batch = fc.record({
  kind: fc.constantFrom(...(Object.keys(kinds) as (keyof typeof kinds)[])),
  n: fc.integer({ min: 2, max: 9 }),
  d: fc.integer({ min: 2, max: 12 }),
  seed: fc.nat(1000),
  beta: fc.constantFrom(0.5, 3, 8, 30),
  invTau: fc.constantFrom(1, 14.3, 30),
});

describe('CLOOB from Gram matrices', () => {
  before(() => init({ device: 'reference' }));
  after(() => init({ device: 'wasm' }));

  property(
    'has the values and the gradients of the definition, in float64',
    batch,
    ({ kind, n, d, seed, beta, invTau }) => {
      const pair = [kinds[kind](n, d, seed), kinds[kind](n, d, seed + 5000)];
      const scalars = [tensor([invTau], where), tensor([beta], where)];
      const run = (form: RetrievalForm) =>
        valueAndGrad((x: Tensor, y: Tensor, t: Tensor, b: Tensor) => cloobLoss(x, y, { invTau: t, beta: b, form }), {
          argnums: [0, 1, 2, 3],
        })(...([...pair, ...scalars] as [Tensor, Tensor, Tensor, Tensor]));
      const [expected, actual] = [run('patterns'), run('gram')];
      assert.ok(Math.abs(values(expected.value)[0]! - values(actual.value)[0]!) < 1e-12);
      for (const [i, g] of expected.grad.entries()) {
        const difference = values(actual.grad[i]!.sub(g).abs().max())[0]!;
        const size = Math.max(1, values(g.abs().max())[0]!);
        assert.ok(difference < 1e-12 * size, `argument ${i}: ${difference}`);
      }
      for (const side of ['image', 'text'] as const) {
        const [a, b] = (['patterns', 'gram'] as const).map(
          (form) => retrievedSimilarities(pair[0]!, pair[1]!, { beta, form })[side],
        );
        assert.ok(values(a!.sub(b!).abs().max())[0]! < 1e-12, side);
      }
    },
  );

  it('differentiates to second order, as the definition does', async () => {
    const inputs = [randn([4, 6], { seed: 1, ...where }), randn([4, 6], { seed: 2, ...where })];
    const loss = (form: RetrievalForm) => (a: Tensor, b: Tensor, t: Tensor, beta: Tensor) =>
      cloobLoss(a.l2Normalize(), b.l2Normalize(), { invTau: t, beta, form });
    const all = [...inputs, tensor([4], where), tensor([2], where)] as [Tensor, Tensor, Tensor, Tensor];
    const report = await checkGradients(loss('gram'), all, { order: 2 });
    assert.deepEqual(report.failures, []);
    // The gradient's own gradient along a direction: equal to the definition's to rounding.
    const [u, v] = [randn([4, 6], { seed: 3, ...where }), randn([4, 6], { seed: 4, ...where })];
    const second = (form: RetrievalForm) =>
      valueAndGrad(
        (...xs: [Tensor, Tensor, Tensor, Tensor]) => {
          const { grad } = valueAndGrad(loss(form), { argnums: [0, 1] })(...xs);
          return grad[0]!.mul(u).sum().add(grad[1]!.mul(v).sum());
        },
        { argnums: [0, 1, 2, 3] },
      )(...all);
    const [expected, actual] = [second('patterns'), second('gram')];
    for (const [i, g] of expected.grad.entries())
      assert.ok(relativeError(values(actual.grad[i]!), values(g), 1) < 1e-12, `argument ${i}`);
  });

  for (const device of ['wasm', 'gpujs-cpu', 'webgpu'])
    it(`is as exact as the definition in float32 on ${device}, also where all embeddings nearly coincide`, async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device: device as 'wasm' });
      for (const kind of ['random', 'alike'] as const) {
        const pair = [kinds[kind](24, 48, 1), kinds[kind](24, 48, 2)].map((x) => x.cast('float32'));
        const slope = (form: RetrievalForm, xs: Tensor[]) => {
          const loss = (x: Tensor, y: Tensor) => cloobLoss(x, y, { invTau: 30, beta: 30, form });
          return valueAndGrad(loss, { argnums: [0, 1] })(xs[0]!, xs[1]!).grad;
        };
        const exact = slope(
          'patterns',
          pair.map((x) => x.cast('float64')),
        );
        const errors: Record<string, number> = {};
        for (const form of ['patterns', 'gram'] as const) {
          const there = pair.map((x) => x.to(device));
          const found = withDevice(device, () => slope(form, there));
          const read = await Promise.all(found.map((g) => g.data()));
          errors[form] = Math.max(...read.map((g, i) => distance(g, values(exact[i]!))));
        }
        // Without the deviations from the mean it would be 3e-3 for those alike.
        const bound = { random: 1e-5, alike: 1e-3 }[kind];
        assert.ok(errors.patterns! < bound && errors.gram! < bound, `${kind}: ${JSON.stringify(errors)}`);
      }
    });

  it('is finite for patterns that cancel altogether', async () => {
    await init({ device: 'wasm' });
    const half: Tensor = randn([3, 8], { seed: 1, device: 'wasm' }).l2Normalize();
    const [x, y] = [half.concat(half.mul(-1)), kinds.random(6, 8, 3).cast('float32').to('wasm')];
    for (const beta of [1e-6, 1e-3]) {
      const { value, grad } = valueAndGrad((a: Tensor, b: Tensor) =>
        cloobLoss(a, b, { invTau: 30, beta, form: 'gram' }),
      )(x, y);
      assert.ok([value, ...grad].flatMap((t) => [...values(t)]).every(Number.isFinite), `β ${beta}`);
    }
    await init({ device: 'reference' });
  });

  it('takes the operations that are counted', () => {
    const [n, d] = [12, 20];
    const device = deviceByName('reference');
    const { matmul } = device;
    for (const form of ['patterns', 'gram'] as const) {
      let count = 0;
      device.matmul = (a, b, spec) => {
        if (Math.min(spec.m, spec.n, spec.k) > 1) count += spec.m * spec.n * spec.k; // vectors are another order
        return matmul.call(device, a, b, spec);
      };
      const loss = (x: Tensor, y: Tensor) => cloobLoss(x, y, { invTau: 30, beta: 8, form });
      try {
        valueAndGrad(loss)(kinds.random(n, d, 1), kinds.random(n, d, 2));
      } finally {
        device.matmul = matmul;
      }
      assert.equal(count, retrievalOperations[form](n, d), form);
    }
  });

  it('is chosen by the number of operations, and on request', () => {
    const chosen = (n: number, d: number) => {
      const [x, y] = [kinds.random(n, d, 1), kinds.random(n, d, 2)];
      const options = { invTau: 30, beta: 8 };
      const of = (form?: RetrievalForm) => {
        const { grad } = valueAndGrad((t: Tensor) => cloobLoss(t, y, { ...options, ...(form && { form }) }))(x);
        return values(grad).join();
      };
      assert.notEqual(of('gram'), of('patterns'), 'rounding tells them apart');
      return of() === of('gram') ? 'gram' : 'patterns';
    };
    assert.equal(chosen(16, 64), 'gram');
    assert.equal(chosen(40, 20), 'patterns');
  });

  it('refuses forms that it does not know, and shapes that differ', () => {
    const [x, y] = [kinds.random(4, 3, 1), kinds.random(5, 3, 2)];
    assert.throws(() => retrievedSimilarities(x, x, { beta: 8, form: 'fast' as never }), DomainError);
    assert.throws(() => retrievedSimilarities(x, y, { beta: 8 }), ShapeError);
    assert.throws(() => retrievedSimilarities(x, x, { beta: -1, form: 'gram' }), DomainError);
  });
});
