/** What a module holds: found wherever it is, moved between devices, summed up. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { init, manualSeed, ones, randn, tensor, uniform, zeros } from 'hopgrad';
import { BatchNorm1d, Buffer, Dropout, Linear, Module, Parameter, ReLU, Sequential, SGD } from 'hopgrad/nn';
import { relativeError, values } from '../helpers.js';
import { needWebGpu } from '../kernels/gpu/adapter.js';

describe('what a module holds', () => {
  it('is found in maps, plain objects and lists in lists, circles passed over', () => {
    const net = new Containers();
    assert.deepEqual(Object.keys(net.stateDict()), [
      'byName.a.weight',
      'byName.a.bias',
      'byName.b.0.weight',
      'byName.b.0.bias',
      'towers.left.gain',
      'towers.right.0.0',
      'again.weight',
      'again.bias',
      'parts.0.weight',
    ]);
    assert.equal(net.parameterCount(), 6 + 3 + 2 + 1);
    net.loadStateDict(net.stateDict());
    net.eval();
    assert.ok([...net.byName.values()].every((module) => !module.training));
  });

  it('moves to a device, gradients and what optimisers remember too', async () => {
    await init({ device: 'gpujs-cpu' });
    await init({ device: 'wasm' });
    const run = async (device: string) => {
      manualSeed(5);
      const net = new Sequential(new Linear(2, 3), new BatchNorm1d(3));
      const optimizer = new SGD(net.parameters(), { lr: 0.1, momentum: 0.9 });
      const backward = (on: string) =>
        net
          .forward(
            tensor(
              [
                [1, 2],
                [3, 5],
                [0, 1],
              ],
              { device: on },
            ),
          )
          .square()
          .mul(0.5)
          .relu()
          .sum()
          .backward();
      backward('wasm');
      await optimizer.step();
      const [first] = net.parameters();
      assert.equal(net.to(device), net);
      assert.equal(net.parameters()[0], first);
      await optimizer.step(); // with the gradients of before
      optimizer.zeroGrad();
      backward(device);
      await optimizer.step();
      assert.ok(Object.values(net.stateDict()).every((t) => t.device === device));
      return Object.values(net.stateDict()).flatMap(values);
    };
    assert.ok(relativeError(await run('gpujs-cpu'), await run('wasm')) < 1e-5);
    assert.throws(() => new Linear(1, 1).to('nowhere'), { name: 'DeviceError' });
  });

  it('moves to a graphics device, and is refused the way back, which would have to wait', async function () {
    await needWebGpu.call(this);
    try {
      const net = new Linear(2, 1, { device: 'wasm' }).to('webgpu');
      const optimizer = new SGD(net.parameters(), { lr: 0.1 });
      net
        .forward(ones([1, 2], { device: 'webgpu' }))
        .sum()
        .backward();
      const before = Array.from(await net.bias!.data());
      await optimizer.step();
      assert.ok(Math.abs((await net.bias!.item()) - before[0]! + 0.1) < 1e-6);
      assert.throws(() => net.to('wasm'), { name: 'DeviceError' });
      assert.match(inspect(net), /3 parameters/);
    } finally {
      await init({ device: 'wasm' });
    }
  });

  it('is summed up in a table, which is what Node prints', () => {
    const shared = new Linear(4, 4);
    const net = new Sequential(shared, new ReLU(), new BatchNorm1d(4), new Sequential(shared, new Dropout()));
    net.requiresGrad_(false, '0.bias');
    const running = values(net.stateDict()['2.running_mean']!);
    manualSeed(6);
    const text = net.summary(randn([3, 4]));
    const next = values(uniform([1]));
    manualSeed(6);
    randn([3, 4]);
    assert.deepEqual(values(uniform([1])), next);
    assert.deepEqual(values(net.stateDict()['2.running_mean']!), running);
    assert.deepEqual(
      text.split('\n').map((line) => line.trimEnd()),
      [
        'layer             output  parameters  memory',
        '────────────────────────────────────────────',
        'Sequential        [3, 4]',
        '  0: Linear       [3, 4]          20    80 B',
        '  1: ReLU         [3, 4]',
        '  2: BatchNorm1d  [3, 4]           8    64 B',
        '  3: Sequential   [3, 4]',
        '    0: Linear     [3, 4]  0 (shared)     0 B',
        '    1: Dropout    [3, 4]',
        '28 parameters, 4 of them frozen, 144 B with buffers, 288 B of outputs',
      ],
    );
    assert.equal(inspect(net), net.summary());
    assert.ok(!net.summary().includes('output'));
    assert.equal(net.summary(() => net.forward(zeros([2, 4]))).split('\n')[2], 'Sequential        [2, 4]');
    assert.throws(() => net.summary(ones([2, 3])), { name: 'ShapeError' });
    assert.ok(!Object.hasOwn(net, 'forward'), 'forward() is its own again');
    assert.throws(() => new Containers().summary(ones([1])), { name: 'UsageError', op: 'summary' });
  });
});

class Containers extends Module {
  readonly byName = new Map<string, Module>([
    ['a', new Linear(2, 2)],
    ['b', new Sequential(new Linear(2, 1))],
  ]);
  readonly towers: Record<string, unknown> = {
    left: { gain: new Parameter(ones([2])) },
    right: [[new Buffer(ones([1]))]],
    size: 3,
  };
  readonly again = this.byName.get('a');
  readonly parts: Part[] = [];
  constructor() {
    super();
    this.towers.self = this.towers; // circular, and so is the next
    this.parts.push(new Part(this));
  }
}
class Part extends Module {
  readonly weight = new Parameter(ones([1]));
  constructor(readonly whole: Module) {
    super();
  }
}
