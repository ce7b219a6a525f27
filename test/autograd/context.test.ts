/** What holds while a function runs, and what is freed when it ends: the context, scopes, who owns a gradient. */
import assert from 'node:assert/strict';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import {
  capture,
  checkpoint,
  detectAnomaly,
  GraphError,
  grad,
  init,
  manualSeed,
  noGrad,
  ones,
  Random,
  randn,
  registeredOps,
  scoped,
  type Tensor,
  tensor,
  valueAndGrad,
  withDevice,
} from 'hopgrad';
import { Linear } from 'hopgrad/nn';
import { asFunction, drawTrial } from 'hopgrad/testing';
import { Tensor as TensorClass } from '#src/autograd/tensor.js';
import { context, within } from '#src/kernels/context.js';
import { ReferenceDevice } from '#src/kernels/reference/device.js';
import { double, property, values } from '../helpers.js';

const turn = () => new Promise((resolve) => setTimeout(resolve));

/** Everything that runs a function in a context of its own. */
const wrappers: Record<string, (body: () => unknown) => unknown> = {
  noGrad,
  scoped,
  detectAnomaly,
  withDevice: (body) => withDevice('reference', body),
  grad: (body) => grad(body as (x: Tensor) => Tensor)(double([1])),
  checkpoint: (body) => checkpoint(body as (x: Tensor) => Tensor, double([1])),
  capture: (body) => capture(body as (x: Tensor) => Tensor)(double([1])),
  within: (body) => within('within', { replaying: true, random: new Random(1), gradientOf: 'op' }, body),
};

describe('context', () => {
  for (const [name, wrapper] of Object.entries(wrappers))
    it(`${name} refuses a function that returns a promise, however it ends`, async () => {
      const unheard: unknown[] = [];
      const listen = (reason: unknown) => unheard.push(reason);
      const others = process.listeners('unhandledRejection');
      process.removeAllListeners('unhandledRejection').on('unhandledRejection', listen);
      try {
        const late = async () => {
          const inside = ones([2], { device: 'reference' });
          await turn();
          return inside.add(1); // freed by then
        };
        const foreign = () => runInNewContext('Promise.reject(1)');
        for (const body of [late, async () => Promise.reject(new Error('inside')), foreign])
          assert.throws(() => wrapper(body), { name: 'UsageError', op: name, received: /promise/ });
        await turn();
        await turn();
        assert.deepEqual(unheard, []);
      } finally {
        process.removeListener('unhandledRejection', listen);
        for (const other of others) process.on('unhandledRejection', other as () => void);
      }
    });

  const nesting = fc.array(fc.constantFrom(...Object.keys(wrappers)), { minLength: 1, maxLength: 6 });
  property(
    'is back as it was after any nesting, also after a throw',
    fc.tuple(nesting, fc.boolean()),
    ([names, fails]) => {
      const before = { ...context };
      const inside = () => {
        if (fails) throw new Error('inside');
        return double([1]);
      };
      const nested = names.reduceRight<() => unknown>(
        (body, name) => () => {
          const result = wrappers[name]!(body);
          return name === 'grad' || result instanceof TensorClass ? double([1]) : result;
        },
        inside,
      );
      if (fails) assert.throws(nested, /inside/);
      else nested();
      assert.deepEqual({ ...context }, before);
    },
  );

  it('keeps what is changed for good inside', async () => {
    const draw = () => values(randn([2], { device: 'reference' }));
    noGrad(() => scoped(() => manualSeed(5)));
    const first = draw();
    manualSeed(5);
    assert.deepEqual(draw(), first);
  });
});

describe('gradOutput', () => {
  it('is refused unless shape, dtype and device are those of the tensor', () => {
    const x = tensor([1, 2], { device: 'reference', requiresGrad: true });
    const y = x.mul(2);
    const cases = [
      [
        ones([2], { dtype: 'float64', device: 'reference' }),
        'DTypeError',
        /gradOutput of float64 for a float32 tensor/,
      ],
      [ones([2], { dtype: 'int32', device: 'reference' }), 'DTypeError', /int32/],
      [ones([2], { device: 'wasm' }), 'DeviceError', /reference and wasm/],
      [ones([3], { device: 'reference' }), 'ShapeError', /\[3\].*\[2\]/],
    ] as const;
    for (const [gradOutput, name, received] of cases)
      assert.throws(() => y.backward(gradOutput, { retainGraph: true }), { name, op: 'backward', received });
    assert.equal(x.grad, null);
  });

  it('becomes a gradient only by being copied', () => {
    for (const createGraph of [false, true]) {
      const x = double([1, 2]);
      const given = double([3, 4], false);
      for (const y of [() => x, () => x.reshape([2, 1]).reshape([2]), () => x.clone()]) {
        x.grad = null;
        y().backward(given, { createGraph });
        assert.notEqual(x.grad!.storage, given.storage);
        x.grad!.dispose();
        assert.deepEqual(values(given), [3, 4]);
      }
    }
  });

  it('from an outer scope leaves a gradient that lives on', () => {
    const [x, other] = [double([1, 2]), double([1, 2])];
    scoped(() => {
      const given = double([3, 4], false);
      scoped(() => {
        x.clone().backward(given);
        other.mul(2).backward(given);
        other.mul(2).backward(given);
      });
    });
    assert.deepEqual(
      [values(x.grad!), values(other.grad!)],
      [
        [3, 4],
        [12, 16],
      ],
    );
  });
});

describe('the owner of a gradient', () => {
  it('is one leaf alone', () => {
    for (const createGraph of [false, true]) {
      const [a, b] = [double([1, 2]), double([3, 4])];
      a.add(b).backward(ones([2], { dtype: 'float64' }), { createGraph });
      assert.notEqual(a.grad, b.grad);
      a.grad!.dispose();
      assert.deepEqual(values(b.grad!), [1, 1]);
    }
    const { grad: gradients } = valueAndGrad((x: Tensor, y: Tensor) => x.add(y).sum())(double([1]), double([2]));
    gradients[0].dispose();
    assert.deepEqual(values(gradients[1]), [1]);
    const { value, grad: one } = valueAndGrad((x: Tensor) => x.add(x))(double([1], false));
    one.dispose();
    assert.deepEqual(values(value), [2]);
  });

  const programs = fc.array(fc.record({ op: fc.nat(5), i: fc.nat(9), j: fc.nat(9) }), { minLength: 1, maxLength: 8 });
  property('is one leaf alone, in random graphs', fc.tuple(programs, fc.boolean()), ([steps, createGraph]) => {
    const leaves = [double([1, 2]), double([3, 4]), double([5, 6])];
    const pool: Tensor[] = [...leaves];
    for (const { op, i, j } of steps) {
      const [x, y] = [pool[i % pool.length]!, pool[j % pool.length]!];
      pool.push(
        [
          () => x.add(y),
          () => x.sub(y),
          () => x.mul(y),
          () => x.clone(),
          () => x.reshape([1, 2]).reshape([2]),
          () => x.concat(y).slice([[1, 3]]),
        ][op]!(),
      );
    }
    const given = ones([2], { dtype: 'float64', device: 'reference' });
    pool.at(-1)!.backward(given, { createGraph });
    const found = leaves.flatMap(({ grad }) => grad ?? []);
    const storages = [...found, ...pool, given].map(({ storage }) => storage);
    assert.equal(new Set(found.map(({ storage }) => storage)).size, found.length);
    for (const { storage } of found) assert.equal(storages.filter((other) => other === storage).length, 1);
  });

  it('decides how long it lives', () => {
    let inner!: Tensor;
    const kept = scoped(() => {
      const [leaf, other] = [double([1, 2]), double([3, 4])];
      scoped(() => leaf.mul(other).sum().backward());
      assert.deepEqual(values(other.grad!), [1, 2], 'it outlives the scope it was made in');
      inner = other.grad!;
      return { leaf };
    });
    assert.deepEqual(values(kept.leaf.grad!), [3, 4], 'that of a tensor in the result survives');
    assert.throws(() => inner.dataSync(), { name: 'GraphError', hint: /scoped/ });
  });
});

describe('scoped', () => {
  it('finds the tensors of its result wherever they are', async () => {
    const make = () => double([7], false);
    const result = scoped(() => {
      const cyclic: { self?: unknown; tensor: Tensor } = { tensor: make() };
      cyclic.self = cyclic;
      return {
        cyclic,
        map: new Map([['a', [make()]]]),
        set: new Set([make()]),
        layer: new Linear(2, 1),
        both: valueAndGrad((x: Tensor) => x.square().sum())(make()),
        many: new Array(300_000).fill(1),
        bytes: new Uint8Array(3),
      };
    });
    const { cyclic, map, set, layer, both } = result;
    const found = [cyclic.tensor, map.get('a')![0]!, [...set][0]!, both.value, both.grad];
    assert.deepEqual(found.map(values), [[7], [7], [7], [49], [14]]);
    assert.equal(values(layer.weight).length, 2);
  });

  const ops = [...registeredOps().values()].filter(({ builtIn, vjp }) => builtIn && typeof vjp !== 'string');
  before(() => init({ device: 'reference' }));
  after(() => init({ device: 'wasm' }));
  for (const device of ['reference', 'wasm'])
    it(`what an op has kept aside and a scope has freed is a typed error on ${device}, for every op`, () => {
      let refused = 0;
      for (const op of ops)
        for (let seed = 0; seed < 3; seed++) {
          if (['cast', 'to'].includes(op.name)) continue; // their parameters name a dtype and a device
          const { f, free } = asFunction(op, drawTrial(op, seed), 'float32', device);
          for (const x of free) x.requiresGrad = true;
          withDevice(device, () => {
            const y = scoped(() => f(...free));
            y.storage.device.settle();
            try {
              y.backward(ones(y.shape));
            } catch (error) {
              assert.ok(error instanceof GraphError, `${op.name}: ${error}`);
              refused++;
            }
          });
        }
      assert.ok(refused > 0, 'layerNorm and attention keep values aside');
    });
});

describe('anomaly mode', () => {
  it('takes infinities among the parameters as given', () => {
    const padded = detectAnomaly(() => {
      const x = double([1, 2]);
      x.pad([[1, 0]], -Infinity)
        .softmax()
        .square()
        .sum()
        .backward();
      return x.grad!;
    });
    assert.equal(padded.size, 2);
    assert.throws(
      () =>
        detectAnomaly(() =>
          double([1, 2])
            .pad([[1, 0]])
            .log(),
        ),
      { op: 'log' },
    );
  });

  it('says which devices it can search on', () => {
    class Asleep extends ReferenceDevice {
      override readonly name = 'asleep' as never;
      override readonly synchronous = false as never;
    }
    const x = new TensorClass(new Asleep().upload(Float32Array.of(1)), [1]);
    assert.throws(() => detectAnomaly(() => x.log()), {
      name: 'DeviceError',
      op: 'detectAnomaly',
      received: /asleep/,
      hint: /withDevice\('wasm'/,
    });
  });
});
