/** Every optimiser against PyTorch (test/fixtures/optimisers.py), or its paper's equations; groups, counts, state, refusals. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { ones, type Tensor, tensor } from 'hopgrad';
import { Adam, AdamW, Linear, type Optimizer, Parameter, type ParameterGroup, SGD } from 'hopgrad/nn';
import { fixture, relativeError, values } from '../../helpers.js';

const golden = JSON.parse(readFileSync(fixture('optimisers.json'), 'utf8'));
type Packed = { shape: number[]; data: number[] };

type Parameters = Iterable<Tensor> | Iterable<ParameterGroup>;
/** As cases of the fixture: the rate of the second group is a tenth, and its decay 0.5. */
const cases: Record<string, (parameters: Parameters) => Optimizer> = {
  SGD: (p) => new SGD(p, { lr: 0.1 }),
  SGDMomentum: (p) => new SGD(p, { lr: 0.1, momentum: 0.9, weightDecay: 0.2 }),
  SGDNesterov: (p) => new SGD(p, { lr: 0.1, momentum: 0.8, nesterov: true, weightDecay: 0.1 }),
  Adam: (p) => new Adam(p, { lr: 0.1, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.3 }),
  AdamW: (p) => new AdamW(p, { lr: 0.1, betas: [0.8, 0.95], eps: 1e-6, weightDecay: 0.3 }),
};

/** The fixture's problem: a linear map to be fitted, in two groups. */
function problem(make: (parameters: Parameters) => Optimizer, device = 'reference') {
  const dtype = device === 'reference' ? 'float64' : 'float32';
  const unpack = ({ shape, data }: Packed) => tensor(data, { shape, dtype, device });
  const [w, b] = [new Parameter(unpack(golden.w)), new Parameter(unpack(golden.b), { decay: true })];
  const [data, target] = [unpack(golden.data), unpack(golden.target)];
  const groups = [{ parameters: [w] }, { parameters: [b], lrScale: 0.1, weightDecay: 0.5 }] as ParameterGroup[];
  const optimizer = make(groups);
  const step = async (i: number) => {
    optimizer.zeroGrad();
    data.matmul(w).add(b).sub(target).square().mean().backward();
    if ([0, 1, 4].includes(i)) b.grad = null;
    await optimizer.step();
  };
  return { w, b, optimizer, step };
}

for (const [name, make] of Object.entries(cases))
  describe(`${name}, an optimiser`, () => {
    for (const [device, tolerance] of [
      ['reference', 1e-12],
      ['wasm', 1e-5],
    ] as const)
      it(`follows PyTorch for ten steps of two groups, one parameter not always with a gradient, on ${device}`, async () => {
        const { w, b, step } = problem(make, device);
        for (const [i, expected] of golden.runs[name].entries()) {
          await step(i);
          assert.ok(relativeError(values(w), expected.w.data) < tolerance, `w at step ${i}`);
          assert.ok(relativeError(values(b), expected.b.data) < tolerance, `b at step ${i}`);
        }
      });

    it('continues from its state to the bit', async () => {
      const whole = problem(make);
      for (let i = 0; i < 8; i++) await whole.step(i);
      const first = problem(make);
      for (let i = 0; i < 5; i++) await first.step(i);
      const second = problem(make);
      for (const key of ['w', 'b'] as const)
        second[key].storage.device.copyInto(second[key].storage, first[key].storage);
      second.optimizer.loadState(first.optimizer.state());
      assert.deepEqual(second.optimizer.state().steps, [5, 2]);
      for (let i = 5; i < 8; i++) await second.step(i);
      assert.deepEqual([values(second.w), values(second.b)], [values(whole.w), values(whole.b)]);
      for (const wrong of [
        { step: 1 },
        { ...first.optimizer.state(), steps: [1] },
        { ...first.optimizer.state(), step: -1 },
      ])
        assert.throws(() => second.optimizer.loadState(wrong as never), { name: 'CheckpointError' });
    });

    it('refuses gradients that are not finite and changes nothing', async () => {
      const { w, b, optimizer, step } = problem(make);
      await step(2);
      const read = () =>
        [w, b, ...Object.values(optimizer.state())].flat().map((x) => (x instanceof Parameter ? values(x) : String(x)));
      const before = read();
      b.grad = tensor([1, Number.NaN], { dtype: 'float64', device: 'reference' });
      await assert.rejects(async () => optimizer.step(), { name: 'DomainError', received: /^NaN in the gradient of/ });
      assert.deepEqual(read(), before);
      await step(3);
      assert.notDeepEqual(read(), before);
    });
  });

describe('groups of parameters', () => {
  const [a, b] = [ones([2], { requiresGrad: true }), ones([2], { requiresGrad: true })];

  it('have numbers of their own, or the optimiser’s, and follow its rate by their factor', async () => {
    const optimizer = new AdamW([{ parameters: [a], lrScale: 0.5, betas: [0.5, 0.6] }, { parameters: [b] }], {
      eps: 1e-3,
    });
    assert.deepEqual(
      optimizer.groups.map(({ lrScale, betas, eps, weightDecay }) => ({ lrScale, betas, eps, weightDecay })),
      [
        { lrScale: 0.5, betas: [0.5, 0.6], eps: 1e-3, weightDecay: 0.01 },
        { lrScale: 1, betas: [0.9, 0.999], eps: 1e-3, weightDecay: 0.01 },
      ],
    );
    assert.deepEqual(optimizer.parameters, [a, b]);
    const plain = new SGD([{ parameters: [a], lrScale: 0 }, { parameters: [b] }], { lr: 0 });
    a.grad = b.grad = ones([2]);
    plain.lr = 0.5;
    await plain.step();
    plain.groups[0]!.lrScale = 0.5;
    await plain.step();
    assert.deepEqual([values(a), values(b)], [Array(2).fill(0.75), Array(2).fill(0)]);
  });

  it('refuse what does not fit, by name', () => {
    const make = (given: unknown, options?: object) => () => new AdamW(given as Tensor[], options);
    assert.throws(make([{ parameters: [a] }, { parameters: [a, b] }]), { received: 'a parameter in two groups' });
    assert.throws(make([a, { parameters: [b] }]), { received: 'groups and tensors in one list' });
    assert.throws(make([{ parameters: [] }]), { name: 'UsageError' });
    assert.throws(make([{ parameters: [a], lr: 1 }]), { name: 'UsageError', received: 'an option lr' });
    assert.throws(make([{ parameters: [a], betas: [1, 2] }]), { name: 'DomainError', received: /^betas/ });
    assert.throws(make([{ parameters: [a], lrScale: -1 }]), { name: 'DomainError', received: /^lrScale/ });
    assert.throws(make([a], { weight_decay: 1 }), { name: 'UsageError', received: 'an option weight_decay' });
  });

  it('may hold frozen parameters, which are left alone until they are thawed', async () => {
    const layer = new Linear(2, 2).requiresGrad_(false, 'weight');
    const before = values(layer.weight);
    const optimizer = new SGD(layer.parameters(), { lr: 1 });
    const step = async () => {
      layer
        .forward(ones([1, 2]))
        .sum()
        .backward();
      await optimizer.step();
    };
    await step();
    assert.deepEqual(values(layer.weight), before);
    layer.requiresGrad_(true);
    await step();
    assert.notDeepEqual(values(layer.weight), before);
    assert.deepEqual(optimizer.state().steps, [1, 2]);
  });

  it('a rate that is no number changes nothing', async () => {
    const optimizer = new SGD([a]);
    optimizer.lr = Number.NaN;
    a.grad = ones([2]);
    await assert.rejects(async () => optimizer.step(), { name: 'DomainError', op: 'SGD.step' });
  });
});
