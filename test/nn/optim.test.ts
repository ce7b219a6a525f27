/** AdamW against PyTorch, its state and refusals; schedules as functions of the step. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { DomainError, ones, tensor, UsageError } from 'hopgrad';
import { AdamW, cosineHardRestarts, cosineWarmup, Parameter } from 'hopgrad/nn';
import { fixture, property, relativeError, values } from '../helpers.js';

const golden = JSON.parse(readFileSync(fixture('layers.json'), 'utf8'));
const { adamW } = golden;
const where = { dtype: 'float64', device: 'reference' } as const;
const unpack = ({ shape, data }: { shape: number[]; data: number[] }) => tensor(data, { shape, ...where });

function problem(options = {}) {
  const [w, b] = [new Parameter(unpack(adamW.w)), new Parameter(unpack(adamW.b))];
  const [data, target] = [unpack(adamW.data), unpack(adamW.target)];
  const optimizer = new AdamW([w, b], {
    lr: 0.1,
    betas: [0.9, 0.98],
    eps: 1e-6,
    weightDecay: 0.2,
    maxGradNorm: 0.5,
    ...options,
  });
  const step = () => {
    optimizer.zeroGrad();
    data.matmul(w).add(b).sub(target).square().mean().backward();
    const norm = optimizer.gradNorm();
    void optimizer.step();
    return norm;
  };
  return { w, b, optimizer, step };
}

describe('AdamW', () => {
  it('follows PyTorch for eight clipped steps: the matrix decays, the vector does not, the rate changes', () => {
    const { w, b, optimizer, step } = problem();
    const schedule = cosineWarmup({ lr: 0.1, total: 8 });
    adamW.steps.forEach((expected: { norm: number; w: { data: number[] }; b: { data: number[] } }, i: number) => {
      optimizer.lr = schedule(i);
      assert.ok(relativeError([optimizer.lr], [adamW.rates[i]]) < 1e-12);
      // PyTorch divides by norm + 1e-6 when it clips, so paths part by that much.
      assert.ok(relativeError([step()], [expected.norm]) < (i === 0 ? 1e-12 : 1e-5), `norm at step ${i}`);
      assert.ok(relativeError(values(w), expected.w.data) < 2e-6, `w at step ${i}`);
      assert.ok(relativeError(values(b), expected.b.data) < 2e-6, `b at step ${i}`);
    });
  });

  it('continues exactly from its state', () => {
    const whole = problem();
    for (let i = 0; i < 6; i++) whole.step();
    const first = problem();
    for (let i = 0; i < 3; i++) first.step();
    const second = problem();
    second.w.grad = second.b.grad = null;
    const { step, m, v } = first.optimizer.state();
    second.optimizer.loadState({ step, m: m.map((t) => t.clone()), v: v.map((t) => t.clone()) });
    for (const name of ['w', 'b'] as const)
      second[name].storage.device.copyInto(second[name].storage, first[name].storage);
    for (let i = 0; i < 3; i++) second.step();
    assert.deepEqual(values(second.w), values(whole.w));
    assert.throws(() => second.optimizer.loadState({ step: 1, m: [], v: [] }), { name: 'CheckpointError' });
  });

  it('takes a first step of the learning rate in the direction of the sign', () => {
    const x = tensor([3, -2], { ...where, requiresGrad: true });
    x.mul(tensor([5, -0.01], where))
      .sum()
      .backward();
    void new AdamW([x], { lr: 0.25, weightDecay: 0 }).step();
    assert.ok(relativeError(values(x), [2.75, -1.75]) < 1e-6);
  });

  it('leaves parameters without a gradient alone, and decays by η λ θ only', () => {
    const [a, b] = [tensor([2], { ...where, requiresGrad: true }), tensor([2], { ...where, requiresGrad: true })];
    a.mul(0).sum().backward();
    void new AdamW([a, b], { lr: 0.1, weightDecay: 0.5 }).step();
    assert.ok(relativeError(values(a), [2 - 0.1 * 0.5 * 2]) < 1e-12);
    assert.deepEqual(values(b), [2]);
  });

  it('refuses nonsense', () => {
    const x = ones([1], { requiresGrad: true });
    assert.throws(() => new AdamW([]), UsageError);
    assert.throws(() => new AdamW([ones([1])]), UsageError);
    assert.throws(() => new AdamW([3 as never]), UsageError);
    for (const options of [
      { lr: -1 },
      { lr: Number.NaN },
      { betas: [1, 0.9] as const },
      { eps: -1 },
      { weightDecay: -0.1 },
      { maxGradNorm: 0 },
    ])
      assert.throws(() => new AdamW([x], options), DomainError, JSON.stringify(options));
    x.mul(Number.NaN).sum().backward();
  });
});

describe('schedules', () => {
  const options = fc.record({
    lr: fc.double({ min: 1e-6, max: 1, noNaN: true }),
    warmup: fc.nat(20),
    rest: fc.integer({ min: 1, max: 50 }),
    cycles: fc.integer({ min: 1, max: 5 }),
  });

  property('rise in a line, fall in a cosine, end at 0, and are pure', options, ({ lr, warmup, rest, cycles }) => {
    const total = warmup + rest;
    const schedule = cosineWarmup({ lr, warmup, total });
    for (let step = 0; step <= total + 3; step++) {
      const expected =
        step < warmup
          ? (lr * (step + 1)) / warmup
          : (lr * (1 + Math.cos((Math.PI * Math.min(rest, step - warmup)) / rest))) / 2;
      assert.ok(Math.abs(schedule(step) - expected) <= 1e-12 * lr, `step ${step}`);
      assert.equal(schedule(step), schedule(step));
    }
    const restarts = cosineHardRestarts({ lr, warmup, total, cycles });
    assert.equal(restarts(warmup), lr);
    assert.equal(restarts(total), 0);
    for (let step = 0; step < total; step++) assert.ok(restarts(step) >= 0 && restarts(step) <= lr);
    if (cycles === 1)
      for (let step = warmup; step < total; step++) assert.ok(Math.abs(restarts(step) - schedule(step)) < 1e-12 * lr);
  });

  it('restarts are those of PyTorch’s CosineAnnealingWarmRestarts', () => {
    const schedule = cosineHardRestarts({ lr: 0.3, total: 15, cycles: 3 });
    assert.ok(
      relativeError(
        golden.restarts.map((_: number, step: number) => schedule(step)),
        golden.restarts,
      ) < 1e-9,
    );
  });

  it('refuse impossible spans', () => {
    for (const wrong of [
      { total: 0 },
      { total: 5, warmup: 6 },
      { total: 5, warmup: -1 },
      { total: 5, lr: -1 },
      { total: Number.NaN },
    ])
      for (const make of [cosineWarmup, cosineHardRestarts])
        assert.throws(() => make({ lr: 1, ...wrong }), DomainError, JSON.stringify(wrong));
    assert.throws(() => cosineHardRestarts({ lr: 1, total: 5, cycles: 0 }), DomainError);
  });
});
