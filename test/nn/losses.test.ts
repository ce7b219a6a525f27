/** Contrastive losses: closed forms, identities and limits, all in float64. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DomainError, grad, Random, randn, ShapeError, type Tensor, tensor } from 'hopgrad';
import {
  clipLoss,
  cloobLoss,
  dclLoss,
  distillationLoss,
  infoLoobLoss,
  infoNceLoss,
  retrievePairs,
  sigLipLoss,
} from 'hopgrad/nn';
import { checkGradients } from 'hopgrad/testing';
import { fixture, property, relativeError, values } from '../helpers.js';

const where = { dtype: 'float64', device: 'reference' } as const;
const unit = (n: number, dim: number, seed: number) => randn([n, dim], { seed, ...where }).l2Normalize();

/** Rows of s, and of softmax over all (p) or over j ≠ i (q), in plain numbers. */
function plain(x: Tensor, y: Tensor, invTau: number) {
  const n = x.shape[0]!;
  const s = values(x.matmul(y, { transposeB: true }));
  const softmax = (skip: boolean) =>
    s.map((_, at) => {
      const [i, j] = [Math.floor(at / n), at % n];
      const row = s.slice(i * n, i * n + n).map((value, k) => (skip && k === i ? -Infinity : invTau * value));
      const max = Math.max(...row);
      return Math.exp(row[j]! - max) / row.reduce((sum, k) => sum + Math.exp(k - max), 0);
    });
  return { n, s, p: softmax(false), q: softmax(true) };
}

const pairs = fc
  .tuple(
    fc.integer({ min: 2, max: 9 }),
    fc.integer({ min: 1, max: 6 }),
    fc.nat(1e6),
    fc.double({ min: 0.1, max: 60, noNaN: true }),
  )
  .map(([n, dim, seed, invTau]) => ({ n, dim, x: unit(n, dim, seed), y: unit(n, dim, seed + 1), invTau }));

describe('InfoNCE and InfoLOOB', () => {
  property('have the closed-form gradients τ⁻¹/N (p − δ) and τ⁻¹/N (q − δ)', pairs, ({ n, x, y, invTau }) => {
    const { p, q } = plain(x, y, invTau);
    for (const [loss, weights] of [
      [infoNceLoss, p],
      [infoLoobLoss, q],
    ] as const) {
      const [gx, gy] = grad((a: Tensor, b: Tensor) => loss(a, b, { invTau }))(x, y);
      const ds = tensor(
        weights.map((w, at) => ((w - Number(at % (n + 1) === 0)) * invTau) / n),
        { shape: [n, n], ...where },
      );
      assert.ok(relativeError(values(gx), values(ds.matmul(y)), 1) < 1e-9);
      assert.ok(relativeError(values(gy), values(ds.matmul(x, { transposeA: true })), 1) < 1e-9);
    }
  });

  property(
    'are related by ℓ_LOOB = ℓ_NCE + ln(1 − p) and ∇ℓ_NCE = (1 − p) ∇ℓ_LOOB, anchor by anchor',
    pairs,
    ({ n, dim, x, y, invTau }) => {
      fc.pre(invTau < 12);
      const { p } = plain(x, y, invTau);
      const left = values(infoLoobLoss(x, y, { invTau }))[0]!;
      const right = values(infoNceLoss(x, y, { invTau }))[0]!;
      // 1 − p of an anchor as the sum of the others: the difference would keep nothing of it where p is nearly 1.
      const rest = Array.from({ length: n }, (_, i) =>
        Array.from({ length: n }, (_, j) => (i === j ? 0 : p[i * n + j]!)).reduce((a, b) => a + b),
      );
      const correction = rest.reduce((sum, r) => sum + Math.log(r), 0) / n;
      assert.ok(Math.abs(left - right - correction) < 1e-9 * Math.max(1, Math.abs(left)));
      // An anchor's row appears in its own term only.
      const anchors = (loss: typeof infoNceLoss) => values(grad((a: Tensor) => loss(a, y, { invTau }))(x));
      const [loob, nce] = [anchors(infoLoobLoss), anchors(infoNceLoss)];
      const expected = loob.map((g, at) => rest[Math.floor(at / dim)]! * g);
      assert.ok(relativeError(nce, expected, 1) < 1e-9);
    },
  );

  property(
    'keep their bounds: InfoNCE ≥ 0 and its bound on information ≤ ln N, InfoLOOB ≥ ln(N − 1) − 2τ⁻¹',
    pairs,
    ({ n, x, y, invTau }) => {
      assert.ok(values(infoNceLoss(x, y, { invTau }))[0]! >= 0);
      assert.ok(values(infoLoobLoss(x, y, { invTau }))[0]! >= Math.log(n - 1) - 2 * invTau - 1e-9);
    },
  );

  property(
    'have ∂L/∂τ⁻¹ = mean_i (Σ_j weight_ij s_ij − s_ii) when the temperature is learnt',
    pairs,
    ({ n, x, y, invTau }) => {
      const { s, p, q } = plain(x, y, invTau);
      for (const [loss, weights] of [
        [infoNceLoss, p],
        [infoLoobLoss, q],
      ] as const)
        for (const shape of [[], [1], [1, 1]]) {
          const learnt = tensor([invTau], { shape, ...where });
          assert.deepEqual([...loss(x, y, { invTau: learnt }).shape], []);
          const g = grad((t: Tensor) => loss(x, y, { invTau: t }))(learnt);
          const expected = s.reduce((sum, v, at) => sum + (weights[at]! - Number(at % (n + 1) === 0)) * v, 0) / n;
          assert.deepEqual([...g.shape], shape);
          assert.ok(Math.abs(values(g)[0]! - expected) < 1e-9);
        }
    },
  );

  property(
    'do not care about the order of the pairs, nor about a common rotation of logits',
    fc.tuple(pairs, fc.nat()),
    ([{ n, x, y, invTau }, seed]) => {
      const order = tensor(new Random(seed).shuffle(Array.from({ length: n }, (_, i) => i)), {
        dtype: 'int32',
        device: 'reference',
      });
      for (const loss of [infoNceLoss, infoLoobLoss, clipLoss, sigLipLoss] as const)
        assert.ok(
          relativeError(values(loss(x.gather(order), y.gather(order), { invTau })), values(loss(x, y, { invTau })), 1) <
            1e-12,
        );
    },
  );

  for (const invTau of [2000, 1e5])
    it(`stay finite and right at τ⁻¹ = ${invTau}, where a mask of −1000 is wrong`, () => {
      const [x, y] = [
        tensor(
          [
            [1, 0],
            [-1, 0],
          ],
          where,
        ),
        tensor(
          [
            [1, 0],
            [-1, 0],
          ],
          where,
        ),
      ];
      for (const [a, b, loob, nce] of [
        [x, y, -2 * invTau, 0], // pairs found: the only negative is as far as can be
        [x, y.mul(-1), 2 * invTau, 2 * invTau], // pairs opposite
      ] as const) {
        assert.deepEqual(values(infoLoobLoss(a, b, { invTau })), [loob]);
        assert.deepEqual(values(infoNceLoss(a, b, { invTau })), [nce]);
        const [gx] = grad((s: Tensor, t: Tensor) => infoLoobLoss(s, t, { invTau }))(a, b);
        assert.deepEqual(
          values(gx),
          values(
            b
              .gather(tensor([1, 0], { dtype: 'int32', device: 'reference' }))
              .sub(b)
              .mul(invTau / 2),
          ),
        );
      }
      const [u, v] = [unit(16, 4, 1), unit(16, 4, 2)];
      for (const dtype of ['float64', 'float32'] as const)
        for (const loss of [
          infoNceLoss,
          infoLoobLoss,
          clipLoss,
          (a: Tensor, b: Tensor) => cloobLoss(a, b, { invTau, beta: invTau }),
        ] as (typeof infoNceLoss)[]) {
          const grads = grad((s: Tensor, t: Tensor) => loss(s, t, { invTau }))(u.cast(dtype), v.cast(dtype));
          assert.ok(grads.every((g) => values(g).every(Number.isFinite)));
          const exact = values(loss(u, v, { invTau }))[0]!;
          assert.ok(relativeError(values(loss(u.cast(dtype), v.cast(dtype), { invTau })), [exact], invTau) < 1e-6);
        }
    });

  // Mean over the anchors of a batch of 128 in 64 dimensions; the norms are those of one anchor's gradient.
  for (const [invTau, cosine, loob, nce] of [
    [30, 0.6, 28.7, 0.019],
    [30, 0.9, 27.5, 1e-5],
    [14.3, 0.6, 13.6, 0.7],
    [14.3, 0.9, 11.9, 0.019],
  ] as const)
    it(`saturation at τ⁻¹ ${invTau} and positive cosine ${cosine}: InfoNCE’s gradient has all but gone`, () => {
      const n = 128;
      const x = unit(n, 64, 3);
      const noise = unit(n, 64, 4);
      const across = noise.sub(x.mul(noise.mul(x).sum({ axis: 1, keepDims: true }))).l2Normalize();
      const y = x.mul(cosine).add(across.mul(Math.sqrt(1 - cosine ** 2)));
      const norm = (loss: typeof infoNceLoss) => {
        const g = grad((a: Tensor) => loss(a, y, { invTau }))(x).mul(n);
        return values(g.square().sum({ axis: 1 }).sqrt().mean())[0]!;
      };
      assert.ok(Math.abs(norm(infoLoobLoss) / loob - 1) < 0.1, `InfoLOOB ${norm(infoLoobLoss)}`);
      const saturated = norm(infoNceLoss);
      assert.ok(saturated < 2 * nce && (nce < 1e-4 || saturated > nce / 3), `InfoNCE ${saturated}`);
      const { p } = plain(x, y, invTau);
      const mean = Array.from({ length: n }, (_, i) => p[i * (n + 1)]!).reduce((a, b) => a + b, 0) / n;
      // A random cosine in d dimensions is nearly N(0, 1/d), so a negative's weight is e^(τ⁻²/2d) on average.
      const found = 1 / (1 + (n - 1) * Math.exp(invTau ** 2 / 128 - invTau * cosine));
      assert.ok(Math.abs(mean - found) < 0.02, `p₁ ${mean}`);
    });
});

describe('losses equal PyTorch’s', () => {
  const golden = JSON.parse(readFileSync(fixture('layers.json'), 'utf8')).losses;
  const [x, y] = [golden.x, golden.y].map(({ shape, data }) => tensor(data, { shape, ...where })) as [Tensor, Tensor];
  const { invTau, bias } = golden;
  const losses: Record<string, (a: Tensor, b: Tensor) => Tensor> = {
    infoNce: (a, b) => infoNceLoss(a, b, { invTau }),
    clip: (a, b) => clipLoss(a, b, { invTau }),
    dcl: (a, b) => dclLoss(a, b, { invTau }),
    infoLoob: (a, b) => dclLoss(a, b, { invTau, withinView: false }),
    sigLip: (a, b) => sigLipLoss(a, b, { invTau, bias }),
  };
  for (const [name, loss] of Object.entries(losses))
    it(name, () => {
      const expected = golden.values[name];
      assert.ok(relativeError(values(loss(x, y)), [expected.value]) < 1e-12);
      const [gx, gy] = grad(loss)(x, y);
      assert.ok(relativeError(values(gx), expected.x.data) < 1e-10);
      assert.ok(relativeError(values(gy), expected.y.data) < 1e-10);
    });
});

describe('CLOOB’s objective', () => {
  const options = { invTau: 30, beta: 8 };

  it('is InfoLOOB of both memories, in the three scales of the table', () => {
    const [images, texts] = [unit(7, 5, 1), unit(7, 5, 2)];
    const r = retrievePairs(images, texts, options);
    for (const t of Object.values(r))
      assert.ok(relativeError(values(t.square().sum({ axis: 1 })), Array(7).fill(1)) < 1e-12);
    const sides = [
      infoLoobLoss(r.imageFromImage, r.imageFromText, options),
      infoLoobLoss(r.textFromText, r.textFromImage, options),
    ];
    const paper = values(sides[0]!)[0]! + values(sides[1]!)[0]!;
    assert.ok(relativeError(values(cloobLoss(images, texts, { ...options, scaleByTau: false })), [paper]) < 1e-12);
    assert.ok(relativeError(values(cloobLoss(images, texts, options)), [paper / 30]) < 1e-12, 'official: τ times');
    const learnt = tensor([30], where);
    assert.deepEqual([...cloobLoss(images, texts, { ...options, invTau: learnt }).shape], []);
    assert.ok(relativeError(values(cloobLoss(images, texts, { ...options, invTau: learnt })), [paper / 30]) < 1e-12);
  });

  it('without a memory that mixes (β large) is InfoLOOB of the raw pairs on the image side', () => {
    const [images, texts] = [unit(6, 16, 3), unit(6, 16, 4)];
    const { imageFromImage, textFromText } = retrievePairs(images, texts, { beta: 1e4 });
    assert.ok(relativeError(values(imageFromImage), values(images)) < 1e-12);
    assert.ok(relativeError(values(textFromText), values(texts)) < 1e-12);
  });

  it('treats images and texts alike', () => {
    const [images, texts] = [unit(6, 4, 5), unit(6, 4, 6)];
    assert.ok(
      relativeError(values(cloobLoss(images, texts, options)), values(cloobLoss(texts, images, options))) < 1e-12,
    );
  });

  it('differentiates to second order, by everything learnt', async () => {
    const report = await checkGradients(
      (a, b, t, beta) => cloobLoss(a.l2Normalize(), b.l2Normalize(), { invTau: t, beta }),
      [
        randn([3, 3], { seed: 1, ...where }),
        randn([3, 3], { seed: 2, ...where }),
        tensor([4], where),
        tensor([2], where),
      ],
      { order: 2 },
    );
    assert.deepEqual(report.failures, []);
  });

  it('refuses batches of one, temperatures that are not positive, and shapes that differ', () => {
    const [x, one] = [unit(4, 3, 1), unit(1, 3, 1)];
    for (const loss of [
      infoLoobLoss,
      dclLoss,
      (a: Tensor, b: Tensor, o: { invTau: number }) => cloobLoss(a, b, { ...o, beta: 8 }),
    ]) {
      assert.throws(() => loss(one, one, { invTau: 30 }), { name: 'DomainError', expected: /at least 2/ });
      for (const invTau of [0, -1, Number.NaN, Infinity])
        assert.throws(() => loss(x, x, { invTau }), { name: 'DomainError', received: /invTau/ });
      assert.throws(() => loss(x, one, { invTau: 1 }), ShapeError);
    }
    assert.throws(() => cloobLoss(x, x, { invTau: 30, beta: 0 }), DomainError);
    assert.throws(() => infoNceLoss(x, x, { invTau: tensor([1, 2], where) }), DomainError);
    assert.throws(() => sigLipLoss(x, one, { invTau: 1 }), ShapeError);
    assert.throws(() => infoLoobLoss(x, x, {} as never), DomainError);
  });
});

describe('distillationLoss', () => {
  const [x, y] = [unit(5, 4, 1), unit(5, 4, 2)];
  const teacher = { images: unit(5, 3, 3), texts: unit(5, 3, 4) };
  const options = { invTau: 10, teacher, teacherInvTau: 20 };

  it('is the cross-entropy of both directions, by plain arithmetic', () => {
    const rows = (a: Tensor, b: Tensor, scale: number) => {
      const [u, v] = [values(a), values(b)];
      const d = a.shape[1]!;
      const dot = (i: number, j: number) => Array.from({ length: d }, (_, k) => u[i * d + k]! * v[j * d + k]!);
      return Array.from({ length: 5 }, (_, i) =>
        Array.from({ length: 5 }, (_, j) => scale * dot(i, j).reduce((s, t) => s + t, 0)),
      );
    };
    const softmax = (row: number[]) => {
      const e = row.map(Math.exp);
      const sum = e.reduce((a, b) => a + b, 0);
      return e.map((value) => value / sum);
    };
    let expected = 0;
    for (const [a, b, c, d] of [
      [x, y, teacher.images, teacher.texts],
      [y, x, teacher.texts, teacher.images],
    ] as const) {
      const [student, theirs] = [rows(a, b, 10).map(softmax), rows(c, d, 20).map(softmax)];
      for (let i = 0; i < 5; i++)
        for (let j = 0; j < 5; j++) expected -= (theirs[i]![j]! * Math.log(student[i]![j]!)) / 10;
    }
    assert.ok(relativeError(values(distillationLoss(x, y, options)), [expected]) < 1e-12);
  });

  it('is least, with no gradient, where the student thinks as the teacher does', async () => {
    const same = { invTau: 20, teacher, teacherInvTau: 20 };
    const slope = grad((t: Tensor) => distillationLoss(t, teacher.texts, same))(teacher.images);
    assert.ok(values(slope.abs().max())[0]! < 1e-12);
    const least = values(distillationLoss(teacher.images, teacher.texts, same))[0]!;
    assert.ok(values(distillationLoss(x, y, options))[0]! > least);
    const report = await checkGradients(
      (a, b, t) => distillationLoss(a.l2Normalize(), b.l2Normalize(), { ...options, invTau: t }),
      [randn([5, 4], { seed: 1, ...where }), randn([5, 4], { seed: 2, ...where }), tensor([4], where)],
      { order: 2 },
    );
    assert.deepEqual(report.failures, []);
  });

  it('refuses other pairs than the student’s', () => {
    const short = { images: unit(4, 3, 3), texts: unit(4, 3, 4) };
    assert.throws(() => distillationLoss(x, y, { ...options, teacher: short }), ShapeError);
    assert.throws(() => distillationLoss(x, y, { ...options, teacherInvTau: 0 }), DomainError);
  });
});
