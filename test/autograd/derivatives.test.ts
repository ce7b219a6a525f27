/** Functional derivatives: against known Jacobians, each other, and finite differences; inputs in lists and records. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  DTypeError,
  grad,
  hessian,
  hvp,
  jacobian,
  jvp,
  randn,
  ShapeError,
  type Tensor,
  tensor,
  UsageError,
  valueAndGrad,
  vjp,
  vmap,
} from 'hopgrad';
import { cloobLoss } from 'hopgrad/nn';
import { property, relativeError, values } from '../helpers.js';

const exact = { dtype: 'float64', device: 'reference' } as const;
const draw = (shape: number[], seed: number) => randn(shape, { ...exact, seed });
/** Where a softmax is saturated, derivatives are what rounding leaves of numbers near 1: they are compared beside 1e-3. */
const close = (a: Tensor, b: Tensor, tolerance = 1e-10) => {
  assert.deepEqual(a.shape, b.shape);
  assert.ok(relativeError(values(a), values(b), 1e-3) < tolerance, `${values(a)} instead of ${values(b)}`);
};

/** A function with curvature, coupling and a result of another shape. */
const f = (x: Tensor) => x.sin().matmul(x.transpose()).exp().softmax({ axis: 1 }).sum({ axis: 0 });
const sizes = fc.record({ n: fc.integer({ min: 1, max: 4 }), m: fc.integer({ min: 1, max: 3 }), seed: fc.nat(1e6) });

describe('functional derivatives', () => {
  property(
    'jvp, vjp and the Jacobian are one matrix, and jvp is the derivative along a line',
    sizes,
    ({ n, m, seed }) => {
      const [x, v, u] = [draw([n, m], seed), draw([n, m], seed + 1), draw([n], seed + 2)];
      const matrix = jacobian(f)(x).reshape([n, n * m]);
      const { value, tangent } = jvp(f, [x], [v]);
      close(value, f(x));
      close(tangent.reshape([n, 1]), matrix.matmul(v.reshape([n * m, 1])));
      const { pull } = vjp(f, x);
      close(pull(u).reshape([1, n * m]), u.reshape([1, n]).matmul(matrix));
      close(pull(u), pull(u)); // as often as wanted
      const [step, floor] = [1e-6, 1];
      const slope = f(x.add(v.mul(step)))
        .sub(f(x.sub(v.mul(step))))
        .div(2 * step);
      assert.ok(relativeError(values(tangent), values(slope), floor) < 1e-7);
    },
    20,
  );

  property(
    'the Hessian is symmetric, hvp is its product, and jvp of the gradient is both',
    sizes,
    ({ n, m, seed }) => {
      const g = (x: Tensor) => f(x).square().sum().add(x.pow(3).sum());
      const [x, v] = [draw([n, m], seed), draw([n, m], seed + 1)];
      const matrix = hessian(g)(x).reshape([n * m, n * m]);
      close(matrix, matrix.transpose(), 1e-9);
      const product = matrix.matmul(v.reshape([n * m, 1])).reshape([n, m]);
      close(hvp(g, [x], [v]), product, 1e-9);
      close(jvp(grad(g) as (x: Tensor) => Tensor, [x], [v]).tangent, product, 1e-9);
    },
    10,
  );

  it('are those of a matrix for a linear function', () => {
    const [a, x] = [draw([3, 4], 1), draw([4, 1], 2)];
    const linear = (t: Tensor) => a.matmul(t);
    close(jacobian(linear)(x).reshape([3, 4]), a);
    assert.deepEqual(jacobian(linear)(x).shape, [3, 1, 4, 1]);
    assert.deepEqual(values(hessian((t: Tensor) => linear(t).sum())(x)), Array(16).fill(0));
    close(jvp(linear, [x], [x]).tangent, linear(x));
  });

  it('hold for the whole CLOOB loss: hvp is the difference of gradients', () => {
    const [x, y, v] = [draw([6, 4], 1), draw([6, 4], 2), draw([6, 4], 3)];
    const loss = (t: Tensor) => cloobLoss(t.l2Normalize(), y.l2Normalize(), { invTau: 5, beta: 3 });
    const at = (step: number) => grad(loss)(x.add(v.mul(step)));
    const difference = at(1e-5).sub(at(-1e-5)).div(2e-5);
    assert.ok(relativeError(values(hvp(loss, [x], [v])), values(difference)) < 1e-7);
  });

  it('differentiate through: a gradient of a jvp, and of a vjp in its vector', () => {
    const [x, v] = [draw([3], 4), draw([3], 5)];
    const cube = (t: Tensor) => t.pow(3);
    close(grad((t: Tensor) => jvp(cube, [t], [v]).tangent.sum())(x), x.mul(v).mul(6));
    close(grad((t: Tensor) => jvp(cube, [x], [t]).tangent.sum())(v), x.square().mul(3));
    close(grad((t: Tensor) => vjp(cube, x).pull(t).sum())(v), x.square().mul(3));
    close(grad((t: Tensor) => vjp(cube, t).pull(v).sum())(x), x.mul(v).mul(6));
  });

  it('take several inputs, and give zeros for those that are not used', () => {
    const [x, y] = [draw([2], 6), draw([2], 7)];
    const product = (a: Tensor, b: Tensor) => a.mul(b);
    close(jvp(product, [x, y], [y, x]).tangent, y.square().add(x.square()));
    const [first, second] = vjp(product, x, y).pull(x);
    close(first, x.mul(y));
    close(second, x.square());
    const constant = (_: Tensor) => tensor([1, 2], exact);
    assert.deepEqual(values(jvp(constant, [x], [x]).tangent), [0, 0]);
    assert.deepEqual(values(vjp(constant, x).pull(y)), [0, 0]);
    assert.deepEqual(values(jacobian(constant)(x)), [0, 0, 0, 0]);
  });

  property(
    'vmap is the batched function where there is one, derivatives too',
    sizes,
    ({ n, m, seed }) => {
      const [x, y] = [draw([n, m], seed), draw([n, m], seed + 1)];
      const one = (a: Tensor, b: Tensor) => a.mul(b).sin().sum();
      const all = (a: Tensor, b: Tensor) => a.mul(b).sin().sum({ axis: 1 });
      close(vmap(one)(x, y), all(x, y));
      const slope = (g: typeof one) => grad((a: Tensor) => g(a, y).square().sum())(x);
      close(slope(vmap(one)), slope(all));
      const perEntry = vmap((a: Tensor, b: Tensor) => grad((t: Tensor) => one(t, b))(a));
      close(perEntry(x, y), x.mul(y).cos().mul(y));
    },
    20,
  );

  it('refuse what does not fit', () => {
    const x = draw([2], 1);
    assert.throws(() => jvp((t: Tensor) => t, [x], [draw([3], 1)]), ShapeError);
    assert.throws(() => jvp((t: Tensor) => t, [x], [] as never), UsageError);
    assert.throws(() => vjp((t: Tensor) => t, x).pull(draw([1], 1)), ShapeError);
    assert.throws(() => jacobian((t: Tensor) => t)(tensor([1], { dtype: 'int32', device: 'reference' })), DTypeError);
    assert.throws(() => vjp((() => 3) as never, x), UsageError);
    assert.throws(() => vmap((a: Tensor) => a)(tensor(1, exact)), ShapeError);
    assert.throws(() => vmap((a: Tensor, b: Tensor) => a.add(b))(x, draw([3], 1)), ShapeError);
  });
});

describe('grad of records, lists and chosen inputs', () => {
  const [w, b, x] = [draw([3, 2], 1), draw([2], 2), draw([4, 3], 3)];
  const loss = (p: { w: Tensor; b: Tensor }, data: Tensor) => data.matmul(p.w).add(p.b).square().sum();

  it('gives gradients in the form of the inputs', () => {
    const found = grad(loss, { argnums: 0 })({ w, b }, x);
    const [byW, byB] = grad((v: Tensor, c: Tensor) => loss({ w: v, b: c }, x))(w, b);
    close(found.w, byW);
    close(found.b, byB);
    const [p, d] = grad(loss, { argnums: [0, 1] })({ w, b }, x);
    close(p.w, byW);
    close(d, grad((t: Tensor) => loss({ w, b }, t))(x));
    const nested = grad((t: { layers: Tensor[] }) => t.layers[0]!.mul(t.layers[1]!).sum())({ layers: [b, b.mul(2)] });
    close(nested.layers[0]!, b.mul(2));
    close(nested.layers[1]!, b);
  });

  it('hands on what else the function returns', () => {
    const withAux = (t: Tensor) => [t.square().sum(), { doubled: t.mul(2), note: 'seen' }] as const;
    const result = valueAndGrad(withAux, { hasAux: true })(b);
    close(result.grad, b.mul(2));
    assert.equal(result.aux.note, 'seen');
    close(result.aux.doubled, b.mul(2));
    const [slope, aux] = grad(withAux, { hasAux: true })(b);
    close(slope, b.mul(2));
    assert.equal(aux.note, 'seen');
  });

  it('lets inputs that are not differentiated be anything', () => {
    const scaled = (t: Tensor, factor: number, how: { power: number }) => t.pow(how.power).mul(factor).sum();
    close(grad(scaled, { argnums: 0 })(b, 3, { power: 2 }), b.mul(6));
  });

  it('refuses what is no tensor, and argnums that name no input', () => {
    assert.throws(() => grad(loss as never)({ w, b: 3 } as never, x as never), /number as input 0\.b/);
    assert.throws(() => grad(loss, { argnums: 2 as never })({ w, b }, x), /argnums 2 for 2 inputs/);
    assert.throws(() => grad(loss, { argnums: [0, 0] as never })({ w, b }, x), UsageError);
    assert.throws(() => grad((t: Tensor) => t.sum(), { hasAux: true } as never)(new Map() as never), /Map as input 0/);
    for (const result of [b.sum(), { value: b.sum() }, []])
      assert.throws(
        () => grad((_: Tensor) => result as never, { hasAux: true })(b),
        /that returns .*\[one element, aux\]/,
      );
  });
});
