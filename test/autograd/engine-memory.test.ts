/** Ops of one’s own, and what the passes over the graph free. */
import assert from 'node:assert/strict';
import {
  defineOp,
  device,
  grad,
  memory,
  ones,
  randn,
  registeredOps,
  scoped,
  type Tensor,
  UsageError,
  withDevice,
  zeros,
} from 'hopgrad';
import { AdamW } from 'hopgrad/nn';
import { differentiate } from '#src/autograd/graph.js';
import { collectGarbage } from '#src/kernels/collect.js';
import { turn } from '#src/kernels/turn.js';
import { double, values } from '../helpers.js';

describe('defineOp', () => {
  it('adds an op that behaves like a built-in one', () => {
    const cube = defineOp<{ scale: number }>({
      name: 'testScaledCube',
      equation: 'y = s x³',
      derivative: 'x̄ = 3 s x² ȳ',
      forward: ([x], { scale }) => x!.mul(x!).mul(x!).mul(scale),
      vjp: [({ gradOutput, inputs: [x], params: { scale } }) => gradOutput.mul(x!.mul(x!)).mul(3 * scale)],
    });
    assert.ok(registeredOps().has('testScaledCube'));
    const f = (x: Tensor) => cube([x], { scale: 2 }).sum();
    const x = double([2], false);
    assert.deepEqual(values(grad(f)(x)), [24]);
    assert.deepEqual(values(grad((y: Tensor) => grad(f)(y).sum())(x)), [24]);
    assert.throws(
      () => defineOp({ name: 'testNothing', equation: '', derivative: '', vjp: 'no' } as never),
      UsageError,
    );
    for (const given of [3, {}, null])
      assert.throws(() => defineOp(given as never), { name: 'UsageError', message: /without a name; expected .*text/ });
    // A tensor is iterable, but its rows are no operands.
    assert.throws(() => cube(x as never, { scale: 2 }), {
      name: 'UsageError',
      message: /testScaledCube: a tensor .*as operands; expected a list of tensors.*Write testScaledCube\(\[x\]\)/,
    });
  });

  it('replaces an op of the same name, but never a built-in one', () => {
    const scaled = (factor: number) =>
      defineOp<void>({
        name: 'testTwice',
        equation: 'y = c x',
        derivative: 'x̄ = c ȳ',
        forward: ([x]) => x!.mul(factor),
        vjp: [({ gradOutput }) => gradOutput.mul(factor)],
      });
    const [first, second] = [scaled(2), scaled(3)];
    const slope = (f: typeof first) => values(grad((x: Tensor) => f([x]).sum())(double([1], false)));
    assert.deepEqual([slope(first), slope(second)], [[2], [3]]);
    assert.deepEqual(values(registeredOps().get('testTwice')!.forward!([double([1], false)], undefined)), [3]);
    assert.throws(
      () => defineOp({ name: 'add', equation: '', derivative: '', forward: ([y]) => y!, vjp: 'no' }),
      UsageError,
    );
  });

  it('checks what a vjp returns', () => {
    const make = (name: string, vjp: never) =>
      defineOp({ name, equation: '', derivative: '', forward: ([x, y]) => x!.mul(y!), vjp });
    const forgetful = make('testForgetful', [
      ({ gradOutput, inputs: [, y] }: { gradOutput: Tensor; inputs: Tensor[] }) => gradOutput.mul(y!),
      ({ gradOutput, inputs: [x] }: { gradOutput: Tensor; inputs: Tensor[] }) => gradOutput.mul(x!),
    ] as never);
    assert.throws(
      () =>
        forgetful([double([1, 2]), double([3])])
          .sum()
          .backward(),
      {
        name: 'ShapeError',
        op: 'the vjp of testForgetful',
        received: 'gradient 1 of shape [2] for a tensor of shape [1]',
        hint: /summed/,
      },
    );
    const numbers = make('testNumbers', [() => 1, () => 1] as never);
    assert.throws(() => numbers([double([1]), double([3])]).backward(), {
      name: 'UsageError',
      op: 'the vjp of testNumbers',
    });
  });

  it('says why an op has no derivative', () => {
    const round = defineOp({
      name: 'testRound',
      equation: '',
      derivative: 'none',
      forward: ([x]) => x!.cast('int32').cast(x!.dtype),
      vjp: 'rounding is constant',
    });
    assert.throws(() => round([double([1.2])]).backward(), {
      name: 'NotDifferentiableError',
      received: 'testRound: rounding is constant',
    });
  });
});

describe('memory', () => {
  for (const name of ['reference', 'wasm'] as const)
    it(`backward frees its temporaries at once on ${name}`, () =>
      withDevice(name, () => {
        const x = ones([1000], { requiresGrad: true });
        let y: Tensor = x;
        for (let i = 0; i < 50; i++) y = y.sin().mul(1.01);
        const loss = y.sum();
        const before = memory(device()).storages;
        loss.backward(null, { retainGraph: true });
        assert.equal(memory(device()).storages - before, 1, 'the gradient, nothing else');
        loss.backward(null, { retainGraph: true });
        assert.equal(
          memory(device()).storages - before,
          2,
          'the sum of the gradients, and the first that someone may hold',
        );
        const wrt = differentiate(loss, null, { wrt: [x.node] });
        assert.equal(memory(device()).storages - before, 3);
        assert.deepEqual(values(wrt[0]!.mul(2)), values(x.grad!));
      }));

  it('fifteen hundred naive steps stay flat', async function () {
    this.timeout(60_000);
    const weight = randn([32, 32], { device: 'reference', requiresGrad: true });
    const optimizer = new AdamW([weight], { lr: 1e-3 });
    const x = randn([8, 32], { device: 'reference', seed: 2 });
    const counts: number[] = [];
    const reference = weight.storage.device;
    for (let step = 0; step < 1500; step++) {
      optimizer.zeroGrad();
      x.matmul(weight).tanh().square().mean().backward();
      await optimizer.step();
      if (step % 250 !== 249) continue;
      // The engine collects when it likes, later in a process that has grown; here it is told to.
      collectGarbage();
      for (let i = 0; i < 20; i++) await turn();
      counts.push(memory(reference).liveBytes);
    }
    // What other tests have left can only go. A step takes some 80 kB: what is kept of each would be 100 MB.
    assert.ok(counts.at(-1)! <= counts[0]! + 2 ** 20, `${counts} bytes`);
  });

  it('scoped frees all but its result, gradients and optimiser state', () => {
    const reference = ones([1], { device: 'reference' }).storage.device;
    withDevice('reference', () => {
      const weight = ones([10], { requiresGrad: true });
      const before = memory(reference).storages;
      let inner!: Tensor;
      const { loss } = scoped(() => {
        inner = weight.mul(2);
        const loss = inner.square().sum();
        loss.backward();
        return { loss: loss.detach(), list: [loss.mul(1).detach()] };
      });
      assert.equal(memory(reference).storages - before, 3, 'loss, its copy and the gradient');
      assert.deepEqual(values(loss), [40]);
      assert.deepEqual(values(weight.grad!), Array(10).fill(8));
      assert.throws(() => inner.dataSync(), { name: 'GraphError', hint: /scoped/ });
      assert.throws(
        () =>
          scoped(() => {
            zeros([3]);
            throw new Error('inside');
          }),
        /inside/,
      );
      assert.equal(memory(reference).storages - before, 3);
    });
  });
});
