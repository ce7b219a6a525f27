/** The graph and the passes over it: accumulation, nesting, release, errors. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  DeviceError,
  DTypeError,
  detectAnomaly,
  GraphError,
  grad,
  init,
  noGrad,
  ones,
  ShapeError,
  scoped,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
  withDevice,
} from 'hopgrad';
import { AdamW } from 'hopgrad/nn';
import { tensors } from 'hopgrad/testing';
import { double, property, relativeError, values } from '../helpers.js';

describe('backward', () => {
  before(() => init({ device: 'reference' }));
  after(() => init({ device: 'wasm' }));

  it('accumulates over calls, paths and uses', () => {
    const x = double([1, 2]);
    x.mul(x).sum().backward();
    assert.deepEqual(values(x.grad!), [2, 4]);
    x.mul(3).sum().backward();
    assert.deepEqual(values(x.grad!), [5, 7]);
    x.grad = null;
    const y = x.add(x).mul(x).sub(x); // 2x² − x
    y.sum().backward();
    assert.deepEqual(values(x.grad!), [3, 7]);
    assert.equal(x.grad!.requiresGrad, false);
  });

  property('is linear in gradOutput', fc.tuple(tensors({ minRank: 1 }), fc.integer({ min: -3, max: 3 })), ([x, k]) => {
    const run = (scale: number) => {
      const leaf = x.clone();
      leaf.requiresGrad = true;
      const y = leaf.sin().mul(leaf);
      y.backward(ones(y.shape, { dtype: 'float64' }).mul(scale));
      return values(leaf.grad!);
    };
    const single = run(1);
    run(k).forEach((g, i) => {
      assert.ok(Math.abs(g - k * single[i]!) < 1e-12);
    });
  });

  it('reaches leaves only, and only tracked ones', () => {
    const [a, b] = [double([1]), double([2], false)];
    const y = a.mul(b);
    y.backward();
    assert.deepEqual([values(a.grad!), b.grad, y.grad], [[2], null, null]);
    const leaf = double([5]);
    leaf.backward();
    assert.deepEqual(values(leaf.grad!), [1]);
  });

  it('goes through ten thousand ops, forward and back', () => {
    const x = double([0.5]);
    let y: Tensor = x;
    for (let i = 0; i < 10_000; i++) y = y.mul(1.0001);
    y.backward();
    assert.ok(relativeError(values(x.grad!), [1.0001 ** 10_000]) < 1e-10);
  });

  it('shares a diamond of a thousand joins without visiting paths one by one', () => {
    const x = double([1]);
    let y: Tensor = x;
    for (let i = 0; i < 1000; i++) y = y.mul(0.5).add(y.mul(0.5)); // 2^1000 paths
    y.backward();
    assert.ok(relativeError(values(x.grad!), [1]) < 1e-12);
  });

  it('frees the graph unless told to keep it', () => {
    const x = double([2]);
    const y = x.square();
    y.backward(null, { retainGraph: true });
    y.backward();
    assert.deepEqual(values(x.grad!), [8]);
    assert.throws(() => y.backward(), { name: 'GraphError', hint: /retainGraph/ });
    assert.throws(() => y.mul(2).backward(), GraphError);
  });

  it('records itself with createGraph', () => {
    const x = double([2]);
    x.pow(3).backward(null, { createGraph: true });
    assert.deepEqual(values(x.grad!), [12]);
    const first = x.grad!;
    x.grad = null;
    first.backward();
    assert.deepEqual(values(x.grad!), [12]); // 6x
  });

  it('says what is wrong', () => {
    const x = double([1, 2]);
    assert.throws(() => x.mul(2).backward(), { name: 'GraphError', hint: /mean/ });
    assert.throws(() => x.mul(2).backward(ones([3], { dtype: 'float64' })), ShapeError);
    assert.throws(() => double([1], false).backward(), { name: 'GraphError', hint: /requiresGrad/ });
    assert.throws(() => noGrad(() => x.sum()).backward(), GraphError);
    assert.throws(() => x.detach().sum().backward(), GraphError);
    assert.throws(() => x.greater(0).mul(2).sum().backward(), {
      name: 'NotDifferentiableError',
      received: /^greater: /,
    });
    assert.throws(() => double([1], false).greater(0).sum().backward(), { name: 'GraphError', hint: /requiresGrad/ });
    assert.throws(() => x.argmax().backward(), { name: 'NotDifferentiableError', received: /whole number/ });
    assert.throws(() => x.sign().backward(ones([2], { dtype: 'float64' })), { name: 'NotDifferentiableError' });
    assert.throws(
      () => {
        x.mul(2).requiresGrad = false;
      },
      { name: 'GraphError', hint: /detach/ },
    );
    assert.throws(() => x.backward('1' as never), UsageError);
  });

  it('notices a saved value that was updated in place', async () => {
    const weight = double([1, 2]);
    const optimizer = new AdamW([weight], { lr: 0.1 });
    const stale = weight.square().sum();
    weight.sum().backward();
    await optimizer.step();
    assert.throws(() => stale.backward(), { name: 'GraphError', received: /gradient of square.*updated in place/ });
    weight.add(1).sum().backward(); // nothing saved, nothing stale
  });

  it('notices a saved value that was freed, also before a fused derivative', () => {
    for (const op of ['tanh', 'square', 'exp', 'softmax'] as const) {
      const x = double([1, 2]);
      const y = x[op]();
      const loss = y.sum();
      y.dispose();
      x.dispose();
      assert.throws(() => loss.backward(), { name: 'GraphError', received: /freed/ }, op);
    }
  });

  it('keeps devices apart, and carries gradients from one to the other', () => {
    const [here, there] = [ones([2], { device: 'reference' }), ones([2], { device: 'wasm' })];
    assert.throws(
      () => here.add(there),
      (error: DeviceError) => {
        assert.ok(error instanceof DeviceError);
        return /reference and wasm/.test(error.received) && /to\('reference'\)/.test(error.hint!);
      },
    );
    const x = tensor([1, 2], { device: 'wasm', requiresGrad: true });
    x.to('reference').square().sum().backward();
    assert.deepEqual([x.grad!.device, values(x.grad!)], ['wasm', [2, 4]]);
  });
});

describe('grad and valueAndGrad', () => {
  it('differentiate to any order, also through outer variables', () => {
    const f = (x: Tensor) => x.pow(4).sum();
    const first = grad(f);
    const second = grad((x: Tensor) => first(x).sum());
    const third = grad((x: Tensor) => second(x).sum());
    const at = double([2], false);
    assert.deepEqual([values(first(at)), values(second(at)), values(third(at))], [[32], [48], [48]]);
    // d/da of d/dx (a x²) = 2x: the inner function uses a from outside.
    const mixed = grad((a: Tensor) => grad((x: Tensor) => a.mul(x).mul(x).sum())(double([3], false)).sum());
    assert.deepEqual(values(mixed(double([5], false))), [6]);
  });

  it('give several gradients, zeros for what is unused, and leave .grad alone', () => {
    const [a, b, c] = [double([1, 2]), double([3, 4], false), ones([2, 2])];
    const { value, grad: grads } = valueAndGrad((x: Tensor, y: Tensor, _: Tensor) => x.mul(y).sum())(a, b, c);
    assert.deepEqual(values(value), [11]);
    assert.deepEqual(grads.map(values), [
      [3, 4],
      [1, 2],
      [0, 0, 0, 0],
    ]);
    assert.deepEqual([...grads[2].shape], [2, 2]);
    assert.equal(a.grad, null);
    const [v, g] = valueAndGrad((x: Tensor) => x.square().sum())(b);
    assert.deepEqual([values(v as Tensor), values(g as Tensor)], [[25], [6, 8]]);
    assert.deepEqual(values(grad((_: Tensor) => double(1, false))(b)), [0, 0]);
  });

  it('give a Hessian–vector product that agrees with the Hessian', () => {
    const f = (x: Tensor) =>
      x
        .mul(x.slice([[1, null]]).concat(x.slice([[0, 1]])))
        .mul(x)
        .sum();
    const [x, v] = [double([0.3, -1.2, 2], false), [1, -2, 0.5]];
    const hvp = grad((y: Tensor) => grad(f)(y).mul(double(v, false)).sum())(x);
    const rows = [0, 1, 2].map((i) =>
      values(
        grad((y: Tensor) =>
          grad(f)(y)
            .slice([[i, i + 1]])
            .sum(),
        )(x),
      ),
    );
    const expected = rows.map((row) => row.reduce((sum, h, j) => sum + h * v[j]!, 0));
    assert.ok(relativeError(values(hvp), expected) < 1e-12);
    const transposed = rows.map((_, j) => rows.map((row) => row[j]!));
    assert.ok(relativeError(rows.flat(), transposed.flat()) < 1e-12, 'the Hessian is symmetric');
  });

  it('refuse what cannot be differentiated', () => {
    assert.throws(() => grad((x: Tensor) => x)(ones([2])), { name: 'ShapeError', hint: /sum/ });
    assert.throws(() => grad((_: Tensor) => 3 as never)(ones([2])), ShapeError);
    assert.throws(() => grad((x: Tensor) => x.sum())(3 as never), UsageError);
    assert.throws(() => grad((x: Tensor) => x.sum())(ones([2], { dtype: 'int32' })), DTypeError);
    assert.throws(() => grad((async (x: Tensor) => x.sum()) as never)(ones([2])), UsageError);
  });

  it('work inside noGrad, which stops everything else', () => {
    const x = double([3]);
    noGrad(() => {
      assert.equal(x.mul(2).requiresGrad, false);
      assert.deepEqual(values(grad((y: Tensor) => y.square().sum())(x)), [6]);
    });
    assert.equal(x.mul(2).requiresGrad, true);
    assert.throws(
      () =>
        noGrad(() => {
          throw new Error('inside');
        }),
      /inside/,
    );
    assert.equal(x.mul(2).requiresGrad, true, 'recording is back after a throw');
    for (const wrapper of [noGrad, scoped, detectAnomaly, (f: () => unknown) => withDevice('reference', f)])
      assert.throws(
        () => wrapper(async () => 1),
        (error: Error) => /promise/.test(error.message),
      );
  });
});

describe('anomaly mode', () => {
  it('names the op, and the ranges of its inputs', () => {
    assert.throws(() => detectAnomaly(() => double([1, -1]).sub(1).log()), {
      name: 'DomainError',
      op: 'log',
      received: 'a result with no finite value, 1 NaN, 1 infinite from inputs [2] range [-2, 0]'.replace(
        'no finite value',
        '[2] no finite value',
      ),
    });
    assert.throws(() => detectAnomaly(() => double([1000]).exp().log()), { op: 'exp' });
    assert.throws(() => detectAnomaly(() => double([0]).sqrt().backward()), { op: 'div in the gradient of sqrt' });
    assert.throws(() => detectAnomaly(() => double([-Infinity]).mul(0)), { op: 'mul' }, 'a NaN made of an infinity');
  });

  it('does not blame those who pass things on', () => {
    const masked = detectAnomaly(() => {
      const x = double([1, 2]);
      const y = double([0, 1], false).where(-Infinity, x).softmax();
      y.mul(y).sum().backward();
      return x.grad!;
    });
    assert.deepEqual(values(masked), [0, 0]);
    detectAnomaly(() => double([Number.NaN]).add(1).exp());
    double([-1]).log(); // nothing is checked outside
  });
});
