/** Every optimiser against PyTorch (test/fixtures/optimisers.py), or its paper's equations; groups, counts, state, refusals. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { init, ones, type Tensor, tensor } from 'hopgrad';
import {
  Adafactor,
  Adam,
  AdamW,
  clipGradNorm,
  clipGradValue,
  EquationOptimizer,
  LAMB,
  Linear,
  Lion,
  type Numbers,
  type Optimizer,
  type OptimizerOptions,
  Parameter,
  type ParameterGroup,
  SGD,
  type Update,
} from 'hopgrad/nn';
import { fixture, relativeError, values } from '../../helpers.js';
import { needWebGpu } from '../../kernels/gpu/adapter.js';

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

/** The equations of the papers in plain numbers, for what PyTorch does not have. Each is given a flat parameter, and keeps its own state. */
type Rule = (theta: number[], g: number[], columns: number, lr: number, decay: number) => number[];
const norm = (x: number[]) => Math.hypot(...x);
const rms = (x: number[]) => norm(x) / Math.sqrt(x.length);
const mean = (x: number[]) => x.reduce((a, b) => a + b, 0) / x.length;
const papers: Record<string, { make(parameters: Parameters): Optimizer; rule(): Rule }> = {
  Lion: {
    make: (p) => new Lion(p, { lr: 0.1, betas: [0.8, 0.95], weightDecay: 0.3 }),
    rule: () => {
      let m: number[] = [];
      return (theta, g, _, lr, decay) => {
        const c = g.map((gi, i) => 0.8 * (m[i] ?? 0) + (1 - 0.8) * gi);
        m = g.map((gi, i) => 0.95 * (m[i] ?? 0) + (1 - 0.95) * gi);
        return theta.map((x, i) => x - lr * (Math.sign(c[i]!) + decay * x));
      };
    },
  },
  LAMB: {
    make: (p) => new LAMB(p, { lr: 0.1, betas: [0.8, 0.95], eps: 1e-4, weightDecay: 0.3 }),
    rule: () => {
      const [m, v] = [Array(6).fill(0), Array(6).fill(0)];
      let t = 0;
      return (theta, g, _, lr, decay) => {
        t++;
        const u = theta.map((x, i) => {
          m[i] += (1 - 0.8) * (g[i]! - m[i]);
          v[i] += (1 - 0.95) * (g[i]! ** 2 - v[i]);
          return m[i] / (1 - 0.8 ** t) / (Math.sqrt(v[i] / (1 - 0.95 ** t)) + 1e-4) + decay * x;
        });
        return theta.map((x, i) => x - (lr * norm(theta) * u[i]!) / norm(u));
      };
    },
  },
  Adafactor: {
    make: (p) => new Adafactor(p, { lr: 0.1, clip: 0.9, weightDecay: 0.3 }),
    rule: () => {
      let [r, c]: [number[], number[]] = [[], []];
      let t = 0;
      return (theta, g, columns, lr, decay) => {
        const beta = 1 - (++t) ** -0.8;
        const follow = (old: number[], now: number[]) => now.map((x, i) => beta * (old[i] ?? 0) + (1 - beta) * x);
        const squares = g.map((x) => x * x + 1e-30);
        const row = (i: number) => squares.slice(i * columns, (i + 1) * columns);
        let v: number[];
        if (columns === 0) v = r = follow(r, squares);
        else {
          const rows = Array.from({ length: g.length / columns }, (_, i) => row(i));
          r = follow(r, rows.map(mean));
          c = follow(
            c,
            rows[0]!.map((_, j) => mean(rows.map((x) => x[j]!))),
          );
          v = g.map((_, k) => (r[Math.floor(k / columns)]! * c[k % columns]!) / mean(r));
        }
        const u = g.map((x, i) => x / Math.sqrt(v[i]!));
        const size = lr * Math.max(1e-3, rms(theta));
        return theta.map((x, i) => x * (1 - lr * decay) - (size * u[i]!) / Math.max(1, rms(u) / 0.9));
      };
    },
  },
};
for (const [name, { make }] of Object.entries(papers)) cases[name] = make;

/** What the paper's equations make of the fixture's problem, in the form of the fixture. */
function byPaper(name: string): { w: { data: number[] }; b: { data: number[] } }[] {
  const { rule } = papers[name]!;
  const [ofW, ofB] = [rule(), rule()];
  let [w, b]: [number[], number[]] = [golden.w.data, golden.b.data];
  const own = { w: 0.3, b: 0.5 };
  return Array.from({ length: 10 }, (_, step) => {
    const gw = Array(6).fill(0);
    const gb = [0, 0];
    for (let row = 0; row < 6; row++)
      for (let j = 0; j < 2; j++) {
        const x = golden.data.data.slice(3 * row, 3 * row + 3);
        const y = b[j]! + x.reduce((sum: number, xi: number, i: number) => sum + xi * w[2 * i + j]!, 0);
        const slope = (2 * (y - golden.target.data[2 * row + j])) / 12;
        gb[j]! += slope;
        for (let i = 0; i < 3; i++) gw[2 * i + j] += slope * x[i];
      }
    w = ofW(w, gw, 2, 0.1, own.w);
    if (![0, 1, 4].includes(step)) b = ofB(b, gb, 0, 0.01, own.b);
    return { w: { data: w }, b: { data: b } };
  });
}

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
    after(() => init({ device: 'wasm' }));

    for (const [device, tolerance] of [
      ['reference', 1e-12],
      ['wasm', 1e-5],
      ['webgpu', 1e-5],
    ] as const)
      it(`follows ${name in golden.runs ? 'PyTorch' : 'its paper'} for ten steps of two groups, one parameter not always with a gradient, on ${device}`, async function () {
        if (device === 'webgpu') await needWebGpu.call(this);
        const { w, b, step } = problem(make, device);
        const path: ReturnType<typeof byPaper> = golden.runs[name] ?? byPaper(name);
        for (const [i, expected] of path.entries()) {
          await step(i);
          assert.ok(relativeError(await w.data(), expected.w.data) < tolerance, `w at step ${i}`);
          assert.ok(relativeError(await b.data(), expected.b.data) < tolerance, `b at step ${i}`);
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

/** The example of EquationOptimizer's docstring, with a count of its own. */
class SignSGD extends EquationOptimizer<Numbers, 'seen'> {
  constructor(parameters: Iterable<Tensor>, options?: OptimizerOptions) {
    super(parameters, options, {
      name: 'SignSGD',
      lr: 1e-3,
      numbers: { weightDecay: 0 },
      ranges: { weightDecay: [(x) => (x as number) >= 0, 'a number ≥ 0'] },
      slots: ['seen'],
      shape: () => [],
    });
  }
  protected override next({ theta, g, lr, seen, t }: Update<Numbers, 'seen'>) {
    return { theta: theta.sub(g.sign().mul(lr)), seen: seen.add(t) };
  }
}

describe('an optimiser of one’s own', () => {
  it('is its equation: clipping, counts, refusals and state come with it', async () => {
    const x = tensor([1, -2, 3], { requiresGrad: true });
    const optimizer = new SignSGD([x], { lr: 0.5, maxGradNorm: 1 });
    for (let i = 0; i < 2; i++) {
      x.grad = tensor([3, -4, 0]);
      await optimizer.step();
    }
    assert.deepEqual(values(x), [0, -1, 3]);
    assert.deepEqual([optimizer.state().steps, values(optimizer.state().seen[0]!)], [[2], [3]]);
    x.grad = tensor([Number.NaN, 0, 0]);
    await assert.rejects(async () => optimizer.step(), { name: 'DomainError', op: 'SignSGD.step' });
    assert.throws(() => new SignSGD([x], { weightDecay: -1 } as OptimizerOptions), {
      name: 'DomainError',
      received: 'weightDecay -1',
    });
  });
});

describe('clipping by hand', () => {
  const gradients = (scale = 1) => {
    const { w, b } = problem(cases.SGD!);
    const [data, target] = [golden.data, golden.target].map(({ data, shape }) =>
      tensor(data, { shape, dtype: 'float64' }),
    );
    data!.matmul(w).add(b).sub(target!).square().sum().mul(scale).backward();
    return { w, b, list: [w, b, w, ones([1])] };
  };

  it('waits for nothing on a device that answers later', async function () {
    await needWebGpu.call(this);
    const weight = ones([2], { device: 'webgpu', requiresGrad: true });
    weight.grad = tensor([3, -4], { device: 'webgpu' });
    assert.equal(await clipGradNorm([weight], 2).item(), 5);
    assert.ok(relativeError(await weight.grad.data(), [1.2, -1.6]) < 1e-6);
    clipGradValue([weight], 1.5);
    assert.ok(relativeError(await weight.grad.data(), [1.2, -1.5]) < 1e-6);
    await init({ device: 'wasm' });
  });

  it('follows PyTorch, by norm and by value', async () => {
    for (const kind of ['norm', 'value'] as const) {
      const { w, b, list } = gradients();
      const expected = golden.clipped[kind];
      if (kind === 'value') clipGradValue(list, 1.5);
      // PyTorch divides by the norm + 1e-6.
      else assert.ok(relativeError([await clipGradNorm(list, 0.7).item()], [expected.total]) < 1e-12);
      assert.ok(relativeError(values(w.grad!), expected.w.data) < 1e-7);
      assert.ok(relativeError(values(b.grad!), expected.b.data) < 1e-7);
    }
  });

  it('leaves short gradients alone, and refuses what it cannot scale', async () => {
    const { w, b, list } = gradients();
    const before = [values(w.grad!), values(b.grad!)];
    const total = await clipGradNorm(list, 1e6).item();
    assert.ok(relativeError([total], [Math.hypot(...before.flat())]) < 1e-12);
    assert.deepEqual([values(w.grad!), values(b.grad!)], before);
    assert.equal(await clipGradNorm([ones([1])], 1).item(), 0);
    assert.throws(() => clipGradNorm(list, 0), { name: 'DomainError' });
    assert.throws(() => clipGradValue(list, Number.NaN), { name: 'DomainError' });
    const { list: endless } = gradients(Number.POSITIVE_INFINITY);
    assert.throws(() => clipGradNorm(endless, 1), { name: 'DomainError', op: 'clipGradNorm' });
  });
});
