/** checkpoint: the same numbers as without it, to any order, whatever the function uses from outside; and less memory. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  checkpoint,
  type DType,
  device,
  grad,
  init,
  manualSeed,
  memory,
  noGrad,
  ones,
  Random,
  randn,
  scoped,
  type Tensor,
  tensor,
  uniform,
  valueAndGrad,
  withDevice,
} from 'hopgrad';
import { AdamW, BatchNorm2d, Linear } from 'hopgrad/nn';
import { double, property, relativeError, values } from '../helpers.js';

type Wrap = (body: (...inputs: Tensor[]) => Tensor, ...inputs: Tensor[]) => Tensor;
const plain: Wrap = (body, ...inputs) => body(...inputs);

const unary = [
  (x: Tensor) => x.sin(),
  (x: Tensor) => x.tanh(),
  (x: Tensor) => x.square().mul(0.3),
  (x: Tensor) => x.layerNorm(),
  (x: Tensor) => x.softmax({ axis: -1 }),
  (x: Tensor) => x.mul(uniform(x.shape, { dtype: x.dtype, device: x.device })),
  (x: Tensor) => x.detach().add(x),
  (x: Tensor) => noGrad(() => x.cos()).mul(x),
];
const binary = [
  (x: Tensor, y: Tensor) => x.add(y),
  (x: Tensor, y: Tensor) => x.mul(y),
  (x: Tensor, y: Tensor) => x.sub(y.mul(0.5)),
  (x: Tensor, y: Tensor) => x.matmul(y.transpose()).matmul(x).mul(0.1),
];

/**
 * A function of some leaves: some outside results, a body that uses its inputs, leaves and outside results, more that
 * uses all of them. Parts of the body may be wrapped again. The same seed gives the same function.
 */
function program(seed: number, wrap: Wrap): (leaves: readonly Tensor[]) => Tensor {
  return (leaves) => {
    const random = new Random(seed);
    const extend = (pool: Tensor[], steps: number, nested: boolean): Tensor => {
      for (let i = 0; i < steps; i++) {
        const [x, y] = [random.pick(pool), random.pick(pool)];
        const choice = random.int(5);
        if (choice === 0 && nested) {
          const from = random.state;
          const seen = [...pool];
          pool.push(
            wrap((input) => {
              random.seek(from.position); // a body draws the same steps each time it runs
              return extend([input!, ...seen], 2, false);
            }, x),
          );
        } else if (choice < 3) pool.push(random.pick(unary)(x));
        else pool.push(random.pick(binary)(x, y));
      }
      return pool.at(-1)!.add(pool.at(-2)!);
    };
    const outside = [...leaves];
    extend(outside, 2, false);
    const inputs = [random.pick(outside), random.pick(outside).detach()];
    const from = random.state;
    const result = wrap(
      (...xs) => {
        random.seek(from.position);
        return extend([...outside, ...xs], 4, true);
      },
      ...inputs,
    );
    return extend([...outside, result], 2, false)
      .add(result)
      .square()
      .mean();
  };
}

describe('checkpoint', () => {
  before(async () => {
    await init({ device: 'gpujs-cpu' });
    await init({ device: 'reference' });
  });
  after(() => init({ device: 'wasm' }));

  const runs = { reference: 60, wasm: 30, 'gpujs-cpu': 5 };
  for (const [name, dtype, tolerance] of [
    ['reference', 'float64', 1e-11],
    ['wasm', 'float32', 2e-4],
    ['gpujs-cpu', 'float32', 2e-4],
  ] as const)
    property(
      `changes no gradient of first or second order: random functions with closures on ${name}`,
      fc.record({ seed: fc.nat(1e6), untracked: fc.nat(3) }),
      ({ seed, untracked }) =>
        withDevice(name, () => {
          const made = (requiresGrad: boolean, i: number) =>
            randn([2, 3], { seed: 10 * seed + i, dtype: dtype as DType, device: name, requiresGrad });
          const run = (wrap: Wrap) => {
            const leaves = [0, 1, 2].map((i) => made(i !== untracked, i));
            const f = program(seed, wrap);
            const found: number[][] = [];
            const collect = () => {
              for (const leaf of leaves) {
                found.push(leaf.grad ? values(leaf.grad) : []);
                leaf.grad = null;
              }
            };
            manualSeed(seed);
            const loss = f(leaves);
            found.push(values(loss));
            manualSeed(seed + 1); // what is computed again does not depend on what was seeded since
            if (!loss.requiresGrad) return found;
            for (const options of [{ retainGraph: true }, { retainGraph: true }, { createGraph: true }]) {
              loss.backward(null, options);
              if (!options.createGraph) collect();
            }
            const slopes = leaves.flatMap(({ grad }) => (grad?.requiresGrad ? grad.mul(grad).sum() : []));
            collect();
            if (slopes.length > 0) slopes.reduce((a, b) => a.add(b)).backward();
            collect();
            // As functions of one leaf, the others being closed over.
            manualSeed(seed);
            const one = (x: Tensor) => f([x, ...leaves.slice(1)]);
            found.push(values(grad(one)(leaves[0]!.detach())));
            manualSeed(seed);
            const slope = (x: Tensor) => valueAndGrad(one)(x).grad.mul(x).sum();
            found.push(values(grad(slope)(leaves[0]!.detach())));
            return found;
          };
          const [expected, actual] = [run(plain), run(checkpoint)];
          assert.equal(actual.length, expected.length);
          actual.forEach((found, i) => {
            const error = relativeError(found, expected[i]!, 1);
            assert.ok(error < tolerance, `result ${i}: ${found} instead of ${expected[i]}, ${error}`);
          });
        }),
      runs[name],
    );

  it('gives what the function closes over its gradient, within grad and without', () => {
    const [w, x] = [double([2, 3]), double([5, 7], false)];
    const f = (w: Tensor) => checkpoint((t: Tensor) => t.mul(w), x).sum();
    assert.deepEqual(values(grad(f)(w)), [5, 7]);
    f(w).backward();
    assert.deepEqual([values(w.grad!), x.grad], [[5, 7], null]);
    // An outside result that is used elsewhere as well, and two that depend on each other.
    w.grad = null;
    const twice = w.mul(2);
    checkpoint((t: Tensor) => t.mul(twice).mul(w), x)
      .add(twice)
      .sum()
      .backward(null, { retainGraph: true });
    assert.deepEqual(values(w.grad!), [5 * 4 * 2 + 2, 7 * 4 * 3 + 2]);
    // No input at all, and a function that returns something from outside.
    w.grad = null;
    checkpoint(() => w.square())
      .sum()
      .backward();
    checkpoint(() => twice)
      .sum()
      .backward();
    assert.deepEqual(values(w.grad!), [4 + 2, 6 + 2]);
    assert.equal(checkpoint((t: Tensor) => t.mul(2), x).requiresGrad, false);
    assert.throws(
      () =>
        checkpoint((t: Tensor) => t.greater(1), w)
          .sum()
          .backward(),
      {
        name: 'NotDifferentiableError',
        received: /greater/,
      },
    );
  });

  it('gives a layer that the function makes on its first use its gradient', () => {
    let layer: Linear | undefined;
    const lazy = (t: Tensor) => {
      layer ??= new Linear(2, 1, { dtype: 'float64', device: 'reference' });
      return layer.forward(t);
    };
    checkpoint(lazy, double([1, 2], false))
      .sum()
      .backward();
    assert.deepEqual([values(layer!.weight.grad!), values(layer!.bias!.grad!)], [[1, 2], [1]]);
  });

  it('takes functions that differentiate inside', () => {
    const w = double([2]);
    const penalty = (x: Tensor) =>
      grad((t: Tensor) => t.mul(w).square().sum(), { createGraph: true })(x)
        .square()
        .sum(); // 4 w⁴ x²
    const leaf = double([3], false);
    const find = (wrap: Wrap) => {
      w.grad = null;
      wrap(penalty as (...xs: Tensor[]) => Tensor, leaf).backward();
      return values(w.grad!);
    };
    assert.deepEqual(find(plain), [16 * 8 * 9]);
    assert.deepEqual(find(checkpoint), [16 * 8 * 9]);
  });

  it('computes again on the device that was the default, and as it was seeded', () => {
    const x = tensor([1, 2], { device: 'wasm', requiresGrad: true });
    let drawn: number[][] = [];
    const y = withDevice('wasm', () =>
      checkpoint((t: Tensor) => {
        const noise = uniform([2]);
        drawn = [...drawn, values(noise)];
        return t.mul(noise);
      }, x),
    );
    uniform([3]);
    y.sum().backward();
    assert.equal(drawn.length, 2);
    assert.deepEqual(drawn[1], drawn[0]);
    assert.deepEqual(values(x.grad!), drawn[0]);
  });

  it('gives parameters that the function uses from outside their gradients', () => {
    const layer = new Linear(3, 2, { dtype: 'float64', device: 'reference' });
    const x = randn([4, 3], { dtype: 'float64', seed: 1 });
    const gradients = (wrap: boolean) => {
      layer.zeroGrad();
      (wrap ? checkpoint((t: Tensor) => layer.forward(t), x) : layer.forward(x)).square().sum().backward();
      return layer.parameters().map((p) => values(p.grad!));
    };
    assert.deepEqual(gradients(true), gradients(false));
  });

  it('counts a batch once in the running statistics', () => {
    const x = randn([4, 2, 3, 3], { seed: 3, dtype: 'float64', requiresGrad: true });
    const statistics = (wrap: boolean) => {
      const norm = new BatchNorm2d(2, { dtype: 'float64', device: 'reference' });
      (wrap ? checkpoint((t: Tensor) => norm.forward(t), x) : norm.forward(x)).square().sum().backward();
      return Object.values(norm.stateDict()).map(values);
    };
    assert.deepEqual(statistics(true), statistics(false));
  });

  for (const name of ['reference', 'wasm'])
    it(`keeps less alive on ${name}, at once and without scoped()`, () =>
      withDevice(name, () => {
        const chain = (t: Tensor) => {
          let u = t;
          for (let i = 0; i < 10; i++) u = u.sin();
          return u;
        };
        const steps = (wrap: Wrap) => {
          const x = ones([1000], { requiresGrad: true });
          const before = memory(device()).liveBytes;
          let y: Tensor = x;
          for (let i = 0; i < 10; i++) y = wrap(chain as (...xs: Tensor[]) => Tensor, y);
          const saved = memory(device()).liveBytes - before;
          y.sum().backward();
          return { saved, grad: values(x.grad!) };
        };
        const [kept, recomputed] = [steps(plain), steps(checkpoint)];
        assert.ok(recomputed.saved < kept.saved / 5, `${recomputed.saved} against ${kept.saved}`);
        assert.deepEqual(recomputed.grad, kept.grad);
        const scopes = steps((body, ...inputs) => scoped(() => checkpoint(body, ...inputs)));
        assert.deepEqual(scopes.grad, kept.grad);
      }));

  it('leaves alone what the function keeps for later', () => {
    const cache: { mask?: Tensor; weight?: Tensor } = {};
    const f = (t: Tensor) => {
      cache.mask ??= tensor([0, 1], { dtype: 'float64' });
      cache.weight ??= double([3, 4]);
      return t.mul(cache.mask).mul(cache.weight);
    };
    const x = double([1, 2]);
    for (let i = 0; i < 2; i++) checkpoint(f, x).sum().backward();
    assert.deepEqual(
      [values(x.grad!), values(cache.weight!.grad!)],
      [
        [0, 8],
        [0, 4],
      ],
    );
  });

  it('notices that something it used was updated in place', async () => {
    const [weight, x] = [double([1, 2]), double([3, 4])];
    const optimizer = new AdamW([weight], { lr: 0.1 });
    for (const f of [
      () => checkpoint((w: Tensor) => w.square(), weight),
      () => checkpoint((t: Tensor) => t.mul(weight), x),
    ]) {
      const y = f().sum();
      weight.sum().backward();
      await optimizer.step();
      assert.throws(() => y.backward(), { name: 'GraphError', received: /updated in place/ });
    }
  });

  it('refuses a function that changes its mind, and what is no function of tensors', () => {
    const [x, other] = [double([1, 2]), double([3, 4])];
    let calls = 0;
    const changing = [
      (t: Tensor) => (calls++ === 0 ? t.mul(2) : t.mul(2).reshape([2, 1])),
      (t: Tensor) => (calls++ === 0 ? t.mul(2) : t.mul(other)),
    ];
    for (const fickle of changing) {
      calls = 0;
      assert.throws(() => checkpoint(fickle, x).sum().backward(), { name: 'GraphError', op: 'checkpoint' });
    }
    calls = 0;
    checkpoint((t: Tensor) => (calls++ === 0 ? t.mul(other) : t.mul(2)), x)
      .sum()
      .backward();
    assert.equal(other.grad, null, 'the second time counts');
    assert.throws(() => checkpoint(() => 3 as never), { name: 'UsageError', op: 'checkpoint' });
    for (const body of [async () => x, async () => Promise.reject(new Error('inside'))])
      assert.throws(() => checkpoint(body as never, x), { name: 'UsageError', received: /promise/ });
  });
});
