/** Captured steps give what the code gives: bit for bit, but where a driver may round a·b + c once instead of twice. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { capture, defineBinary, init, memory, Random, randn, type Tensor, tensor, UsageError, uniform } from 'hopgrad';
import { AdamW, BatchNorm2d, cloobLoss, Linear } from 'hopgrad/nn';
import { assign } from '#src/nn/module.js';
import { property, relativeError } from '../../helpers.js';
import { needWebGpu } from './adapter.js';

const options = { invTau: 5, beta: 3 };

/** Two towers with a batch norm, whose running statistics are state that a step updates. */
function towers() {
  const norm = new BatchNorm2d(2);
  const [left, right] = [new Linear(8, 4, { random: new Random(1) }), new Linear(5, 4, { random: new Random(2) })];
  const modules = [norm, left, right];
  const parameters = modules.flatMap((module) => [...module.parameters()]);
  const loss = (images: Tensor, texts: Tensor) =>
    cloobLoss(
      left.forward(norm.forward(images).reshape([images.shape[0]!, 8])).l2Normalize(),
      right.forward(texts).l2Normalize(),
      options,
    );
  const state = () => Promise.all(modules.flatMap((m) => Object.values(m.stateDict())).map((t) => t.data()));
  return { parameters, loss, state };
}

const batch = (seed: number, count = 6): [Tensor, Tensor] => [
  randn([count, 2, 2, 2], { seed }),
  randn([count, 5], { seed: seed + 100 }),
];

/** Steps of a program over some values. */
const steps = fc.record({
  op: fc.constantFrom(
    ...([
      'add',
      'mul',
      'less',
      'tanh',
      'sum',
      'turn',
      'own',
      'namesake',
      'state',
      'layer',
      'scores',
      'softmax',
      'part',
    ] as const),
  ),
  a: fc.nat(30),
  b: fc.nat(30),
});
/** Two kernels of a user's under one name. */
const [own, namesake] = [
  defineBinary({
    name: 'blend',
    kernel: (x, y) => x * 0.75 + y,
    equation: 'of a test',
    derivative: 'none',
    vjp: 'not asked for here',
  }),
  defineBinary({
    name: 'blend',
    kernel: (x, y) => x - y * 0.25,
    equation: 'of a test',
    derivative: 'none',
    vjp: 'not asked for here',
  }),
];

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'] as const)
  describe(`capture on ${device}`, function () {
    this.timeout(60_000);
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device });
    });
    after(() => init({ device: 'wasm' }));

    const same = (found: readonly ArrayLike<number>[], expected: readonly ArrayLike<number>[]) => {
      const lists = (all: typeof found) => all.map((list) => [...Array.from(list)]);
      if (device !== 'webgpu') assert.deepEqual(lists(found), lists(expected));
      else
        expected.forEach((list, i) => {
          const error = relativeError(found[i]!, list);
          assert.ok(error < 1e-5, `result ${i}: ${error}`);
        });
    };

    it('trains to the same bits as the code itself', async () => {
      const run = async (captured: boolean) => {
        const { parameters, loss, state } = towers();
        const optimizer = new AdamW(parameters, { lr: 0.05 });
        const plain = (images: Tensor, texts: Tensor) => {
          for (const parameter of parameters) parameter.grad = null;
          const value = loss(images, texts);
          value.backward();
          return value;
        };
        const step = captured
          ? capture(
              (images: Tensor, texts: Tensor) => {
                const value = loss(images, texts);
                value.backward();
                return value;
              },
              { parameters },
            )
          : plain;
        const losses: number[] = [];
        for (let i = 0; i < 6; i++) {
          const value = step(...batch(i, i === 3 ? 4 : 6)); // one batch of another size in between
          await optimizer.step();
          losses.push(await value.item());
        }
        return { losses, state: await state() };
      };
      const [eager, replayed] = [await run(false), await run(true)];
      same([replayed.losses, ...replayed.state], [eager.losses, ...eager.state]);
      assert.ok(new Set(eager.losses).size === 6);
    });

    it('gives lists, inputs themselves, and constants', async () => {
      const f = capture((x: Tensor) => [x, x.mul(2).add(tensor([1, 2, 3])), tensor([7])]);
      for (const data of [
        [1, 2, 3],
        [4, 5, 6],
      ]) {
        const [same, more, constant] = f(tensor(data));
        assert.deepEqual(await same!.array(), data);
        assert.deepEqual(
          await more!.array(),
          data.map((value, i) => 2 * value + i + 1),
        );
        assert.deepEqual(await constant!.array(), [7]);
      }
    });

    it('leaves nothing behind', async () => {
      const weight = randn([4, 4], { seed: 1, requiresGrad: true });
      const step = capture(
        (x: Tensor) => {
          const loss = x.matmul(weight).exp().sum();
          loss.backward();
          return loss;
        },
        { parameters: [weight] },
      );
      const x = randn([2, 4], { seed: 2 });
      const once = () => {
        step(x).dispose();
        weight.grad!.dispose();
      };
      once();
      once();
      const before = memory().storages;
      for (let i = 0; i < 20; i++) once();
      assert.equal(memory().storages, before);
    });

    property(
      'gives what the code gives for any elementwise program, however its steps are put together',
      fc.tuple(fc.array(steps, { minLength: 1, maxLength: 14 }), fc.nat(1000)),
      async ([program, seed]) => {
        const state = randn([3], { seed });
        const [wide, narrow] = [randn([3, 4], { seed: seed + 7 }), randn([4, 3], { seed: seed + 8 })];
        const bias = randn([4], { seed: seed + 9 });
        const f = (...inputs: Tensor[]) => {
          const values: Tensor[] = [...inputs];
          for (const { op, a, b } of program) {
            const x = values[a % values.length]!;
            const y = values[b % values.length]!;
            values.push(
              {
                add: () => x.add(y),
                mul: () => x.mul(y),
                less: () => x.less(y).mul(x).add(1.5),
                tanh: () => x.tanh().sub(0.25),
                sum: () => x.sum({ axis: -1, keepDims: true }).mul(y),
                turn: () => (x.shape.length > 1 ? x.transpose().add(0.5).transpose() : x),
                own: () => own(x, y),
                namesake: () => namesake(x, y),
                layer: () => {
                  if (x.shape.length < 2 || x.shape.at(-1) !== 3) return x.square();
                  return x
                    .matmul(wide)
                    .add(bias)
                    .tanh()
                    .matmul(narrow)
                    .mul(y.shape.at(-1) === 1 ? 0.5 : y);
                },
                scores: () => {
                  if (x.shape.length !== 3) return x.neg();
                  const each = x.sum({ axis: -1, keepDims: true });
                  return x.matmul(x, { transposeB: true }).sub(each).sum({ axis: -1, keepDims: true }).add(x);
                },
                softmax: () => x.softmax().sub(0.5),
                part: () =>
                  x
                    .slice([[0, 1]])
                    .mul(0.5)
                    .add(y),
                // Read, changed and read again: what was read before must not be read later instead.
                state: () => {
                  const before = x.mul(state.detach());
                  assign(state, state.detach().mul(0.5).add(0.125));
                  return before.add(state.detach());
                },
              }[op](),
            );
          }
          return values.slice(-4);
        };
        const inputs = [[2, 4, 3], [4, 3], [3], [1], [2, 1, 3]].map((shape, i) => randn(shape, { seed: seed + i }));
        const others = inputs.map((x) => x.mul(0.5).sub(0.1));
        const start = await state.data();
        const expected: (readonly number[])[] = [];
        for (const given of [inputs, others]) for (const y of f(...given)) expected.push([...(await y.data())]);
        assign(state, tensor(start));
        const captured = capture(f);
        const found: (readonly number[])[] = [];
        for (const given of [inputs, others]) for (const y of captured(...given)) found.push([...(await y.data())]);
        same(found, expected);
      },
      device === 'webgpu' ? 50 : 60,
    );

    it('refuses what is no tensor', () => {
      assert.throws(() => capture(() => tensor(1))(), UsageError);
      assert.throws(() => capture((() => 3) as never)(tensor(1) as never), UsageError);
    });

    it('refuses an optimiser step, reads and random numbers inside, where they would be frozen', async () => {
      const weight = randn([2], { seed: 1, requiresGrad: true });
      const optimizer = new AdamW([weight]);
      const f = capture((x: Tensor) => {
        x.mul(weight).sum().backward();
        void optimizer.step();
        return x;
      });
      assert.throws(
        () => f(tensor([1, 2])),
        (error) => error instanceof UsageError && /updates parameters/.test(error.message),
      );
      await weight.data();
      const frozen: [(x: Tensor) => unknown, RegExp][] = [
        [(x) => x.data(), /reads a tensor/],
        [(x) => x.item(), /reads a tensor/],
        [(x) => x.dataSync(), /reads a tensor/],
        [(x) => randn(x.shape), /draws random numbers/],
        [(x) => uniform(x.shape, { random: new Random(1) }), /draws random numbers/],
      ];
      for (const [body, received] of frozen) {
        let outcome: unknown;
        const captured = capture((x: Tensor) => {
          outcome = body(x);
          return x;
        });
        try {
          captured(tensor([1]));
          await outcome; // data() and item() answer with a promise
          assert.fail(`${body} was let through`);
        } catch (error) {
          assert.ok(error instanceof UsageError && received.test(error.message), `${body}: ${error}`);
        }
      }
      const noise = capture((x: Tensor) => x.add(randn(x.shape, { seed: 3 })))(tensor([0]));
      assert.deepEqual(await noise.array(), await randn([1], { seed: 3 }).array());
    });
  });
