/** Modern Hopfield networks: energy, fixed points, limits in β, and the mean-Jacobian expansion. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { DomainError, grad, randn, ShapeError, type Tensor, tensor } from 'hopgrad';
import { hopfieldEnergy, hopfieldRetrieve } from 'hopgrad/nn';
import { checkGradients } from 'hopgrad/testing';
import { property, relativeError, values } from '../helpers.js';

const where = { dtype: 'float64', device: 'reference' } as const;
const memories = fc
  .tuple(
    fc.integer({ min: 1, max: 8 }),
    fc.integer({ min: 1, max: 5 }),
    fc.integer({ min: 1, max: 4 }),
    fc.nat(1e6),
    fc.double({ min: 0.05, max: 30, noNaN: true }),
  )
  .map(([patterns, dim, queries, seed, beta]) => ({
    stored: randn([patterns, dim], { seed, ...where }),
    state: randn([queries, dim], { seed: seed + 1, ...where }),
    patterns,
    dim,
    beta,
  }));

describe('Hopfield retrieval', () => {
  property('never raises the energy, which stays ≥ 0', memories, ({ stored, state, beta }) => {
    let query = state;
    let energy = values(hopfieldEnergy(query, stored, { beta }));
    for (let i = 0; i < 4; i++) {
      assert.ok(energy.every((e) => e >= -1e-12));
      query = hopfieldRetrieve(query, stored, { beta });
      const next = values(hopfieldEnergy(query, stored, { beta }));
      assert.ok(
        next.every((e, k) => e <= energy[k]! + 1e-10 * Math.max(1, energy[k]!)),
        `${energy} → ${next}`,
      );
      energy = next;
    }
  });

  property('moves by the gradient of the energy: ∇E = ξ − ξ′', memories, ({ stored, state, beta }) => {
    const gradient = grad((x: Tensor) => hopfieldEnergy(x, stored, { beta }).sum())(state);
    assert.ok(relativeError(values(gradient), values(state.sub(hopfieldRetrieve(state, stored, { beta }))), 1) < 1e-10);
  });

  property(
    'has the Jacobian β X (diag p − ppᵀ) Xᵀ, symmetric and positive semidefinite',
    memories,
    ({ stored, state, beta, dim, patterns }) => {
      const query = state.slice([[0, 1]]);
      const p = query.matmul(stored, { transposeB: true }).mul(beta).softmax();
      const covariance = stored
        .mul(p.reshape([patterns, 1]))
        .matmul(stored, { transposeA: true })
        .sub(p.matmul(stored).transpose().matmul(p.matmul(stored)));
      const expected = values(covariance.mul(beta));
      const rows = Array.from({ length: dim }, (_, k) =>
        values(
          grad((x: Tensor) =>
            hopfieldRetrieve(x, stored, { beta })
              .slice([
                [0, 1],
                [k, k + 1],
              ])
              .sum(),
          )(query),
        ),
      );
      assert.ok(relativeError(rows.flat(), expected, 1) < 1e-10);
      const v = values(randn([dim], { seed: 3, ...where }));
      const form = rows.reduce((sum, row, i) => sum + v[i]! * row.reduce((s, j, k) => s + j * v[k]!, 0), 0);
      assert.ok(form >= -1e-10);
    },
  );

  property(
    'is the mean plus β U Jᵐ Uᵀ x, with the Jacobian of softmax averaged on the way from 0',
    memories,
    ({ stored, state, beta, patterns, dim }) => {
      fc.pre(beta < 3);
      const x = values(state.slice([[0, 1]]));
      const u = values(stored);
      const a = Array.from(
        { length: patterns },
        (_, i) => beta * x.reduce((sum, v, k) => sum + v * u[i * dim + k]!, 0),
      );
      const softmax = (scale: number) => {
        const max = Math.max(...a.map((v) => scale * v));
        const e = a.map((v) => Math.exp(scale * v - max));
        const total = e.reduce((s, v) => s + v, 0);
        return e.map((v) => v / total);
      };
      // ∫₀¹ (diag p_λ − p_λ p_λᵀ) a dλ by Simpson's rule.
      const intervals = 400;
      const shift = a.map(() => 0);
      for (let step = 0; step <= intervals; step++) {
        const weight = (step === 0 || step === intervals ? 1 : step % 2 === 1 ? 4 : 2) / (3 * intervals);
        const p = softmax(step / intervals);
        const mean = p.reduce((sum, v, i) => sum + v * a[i]!, 0);
        p.forEach((v, i) => {
          shift[i]! += weight * v * (a[i]! - mean);
        });
      }
      const expected = Array.from({ length: dim }, (_, k) =>
        shift.reduce((sum, w, i) => sum + (w + 1 / patterns) * u[i * dim + k]!, 0),
      );
      assert.ok(relativeError(values(hopfieldRetrieve(state.slice([[0, 1]]), stored, { beta })), expected, 1) < 1e-6);
    },
  );

  property('β → 0 gives the mean, with slope Cov(X) ξ', memories, ({ stored, state, patterns }) => {
    const mean = stored.mean({ axis: 0, keepDims: true });
    const centred = stored.sub(mean);
    const covariance = centred.matmul(centred, { transposeA: true }).div(patterns);
    const beta = 1e-6;
    const moved = hopfieldRetrieve(state, stored, { beta }).sub(mean);
    assert.ok(relativeError(values(moved), values(moved.mul(0)), 1) < 1e-4);
    assert.ok(relativeError(values(moved.div(beta)), values(state.matmul(covariance)), 1) < 1e-4);
  });

  property('β → ∞ gives the pattern with the largest dot product', memories, ({ stored, state }) => {
    const nearest = stored.gather(state.matmul(stored, { transposeB: true }).argmax({ axis: 1 }));
    assert.ok(relativeError(values(hopfieldRetrieve(state, stored, { beta: 1e9 })), values(nearest), 1) < 1e-9);
  });

  it('several updates are that many single ones; normalising makes the last of unit length', () => {
    const [stored, state] = [randn([5, 3], { seed: 1, ...where }), randn([2, 3], { seed: 2, ...where })];
    let one = state;
    for (let i = 0; i < 3; i++) one = hopfieldRetrieve(one, stored, { beta: 2 });
    assert.deepEqual(values(hopfieldRetrieve(state, stored, { beta: 2, updates: 3 })), values(one));
    const unit = hopfieldRetrieve(state, stored, { beta: 2, updates: 3, normalize: true });
    assert.ok(relativeError(values(unit), values(one.l2Normalize())) < 1e-14);
  });

  it('converges to one pattern, a cluster or the mean, by β', () => {
    const noise = randn([6, 4], { seed: 5, std: 0.05, ...where });
    const centres = tensor(
      [
        [1, 0, 0, 0],
        [1, 0, 0, 0],
        [1, 0, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 0],
        [0, 1, 0, 0],
      ],
      where,
    );
    const stored = centres.add(noise);
    const query = stored.slice([[0, 1]]);
    const settle = (beta: number) => hopfieldRetrieve(query, stored, { beta, updates: 60 });
    const cluster = stored.slice([[0, 3]]).mean({ axis: 0, keepDims: true });
    const distance = (a: Tensor, b: Tensor) => values(a.sub(b).square().sum().sqrt())[0]!;
    assert.ok(distance(settle(0.1), stored.mean({ axis: 0, keepDims: true })) < 0.05);
    assert.ok(distance(settle(8), cluster) < 0.05);
    const single = settle(3000);
    assert.ok([0, 1, 2].some((i) => distance(single, stored.slice([[i, i + 1]])) < 1e-6));
  });

  it('random unit vectors retrieve themselves once β is large: weight 1/(1 + (N − 1) e^(β²/2d − β))', () => {
    const stored = randn([256, 32], { seed: 9, ...where }).l2Normalize();
    for (const beta of [1, 4, 8, 15, 30]) {
      const p = stored.matmul(stored, { transposeB: true }).mul(beta).softmax();
      const mean = values(p.max({ axis: 1 }).mean())[0]!;
      const expected = 1 / (1 + 255 * Math.exp(beta ** 2 / 64 - beta)); // cosines are nearly N(0, 1/d)
      assert.ok(Math.abs(mean / expected - 1) < 0.05, `β ${beta}: ${mean}, ${expected}`);
    }
  });

  it('differentiates by state, memory and β, to second order', async () => {
    const inputs = [randn([2, 3], { seed: 1, ...where }), randn([4, 3], { seed: 2, ...where }), tensor([1.5], where)];
    for (const f of [
      (x: Tensor, s: Tensor, beta: Tensor) => hopfieldRetrieve(x, s, { beta, updates: 2, normalize: true }),
      (x: Tensor, s: Tensor, beta: Tensor) => hopfieldEnergy(x, s, { beta }),
    ])
      assert.deepEqual((await checkGradients(f, inputs, { order: 2 })).failures, []);
  });

  it('refuses what cannot be retrieved from', () => {
    const x = randn([2, 3], where);
    assert.throws(() => hopfieldRetrieve(x, randn([4, 2], where), { beta: 1 }), {
      name: 'ShapeError',
      received: /\[2, 3\].*\[4, 2\]/,
    });
    assert.throws(() => hopfieldRetrieve(x, x.slice([[0, 0]]), { beta: 1 }), DomainError);
    assert.throws(() => hopfieldRetrieve(x.reshape([6]), x, { beta: 1 }), ShapeError);
    for (const beta of [0, -1, Number.NaN])
      assert.throws(() => hopfieldEnergy(x, x, { beta }), { name: 'DomainError', hint: /8/ });
    for (const updates of [0, 1.5]) assert.throws(() => hopfieldRetrieve(x, x, { beta: 1, updates }), DomainError);
  });
});
