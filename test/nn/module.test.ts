/** Modules: names, state, modes. */
import assert from 'node:assert/strict';
import { ones, randn, zeros } from 'hopgrad';
import { BatchNorm2d, Buffer, Linear, Module, Parameter, Transformer } from 'hopgrad/nn';
import { values } from '../helpers.js';

class Net extends Module {
  readonly gain = new Parameter(ones([1]), { decay: true });
  readonly blocks = [new Linear(2, 2), new Linear(2, 2)];
  readonly norm = new BatchNorm2d(3);
  readonly steps = new Buffer(zeros([]));
  readonly missing: Linear | null = null;
  readonly size = 3;
}

describe('Module', () => {
  it('finds parameters, buffers and modules by the names of properties, in order', () => {
    const net = new Net();
    assert.deepEqual(
      net.namedParameters().map(([name]) => name),
      ['gain', 'blocks.0.weight', 'blocks.0.bias', 'blocks.1.weight', 'blocks.1.bias', 'norm.weight', 'norm.bias'],
    );
    assert.deepEqual(
      Object.keys(net.stateDict()).filter((name) => !net.namedParameters().some(([own]) => own === name)),
      ['norm.running_mean', 'norm.running_var', 'steps'],
    );
    assert.deepEqual(
      [...net.namedModules()].map(([name]) => name),
      ['', 'blocks.0', 'blocks.1', 'norm'],
    );
    assert.equal(net.parameterCount(), 1 + 6 + 6 + 6);
    const names = new Transformer({ width: 4, layers: 2, heads: 1 }).namedParameters().map(([name]) => name);
    assert.ok(names.includes('resblocks.1.attn.in_proj_weight') && names.includes('resblocks.0.mlp.c_fc.bias'));
  });

  it('lets weight decay touch matrices, unless told otherwise', () => {
    const decays = new Net().namedParameters().map(([name, p]) => [name, p.decay]);
    assert.deepEqual(
      decays.filter(([, decay]) => decay).map(([name]) => name),
      ['gain', 'blocks.0.weight', 'blocks.1.weight'],
    );
  });

  it('train and eval reach everything inside', () => {
    const net = new Net();
    assert.equal(net.eval(), net);
    assert.ok([...net.namedModules()].every(([, module]) => !module.training));
    net.train();
    assert.ok([...net.namedModules()].every(([, module]) => module.training));
  });

  it('loads what another has saved, in place, across dtypes and devices', () => {
    const source = new Linear(3, 2, { dtype: 'float64', device: 'reference' });
    const target = new Linear(3, 2, { device: 'wasm' });
    assert.notEqual(values(target.weight)[0], 9);
    const kept = target.weight;
    source.loadStateDict({ weight: randn([2, 3], { seed: 8 }), bias: ones([2]) });
    assert.deepEqual(target.loadStateDict(source.stateDict()), { missing: [], unexpected: [] });
    assert.equal(target.weight, kept);
    assert.deepEqual(values(target.weight), values(source.weight.cast('float32')));
    assert.equal(target.weight.device, 'wasm');
    assert.ok(Object.values(target.stateDict()).every((t) => !t.requiresGrad));
  });

  it('lists everything that is missing, unexpected or of another shape, and changes nothing', () => {
    const layer = new Linear(3, 2);
    const before = values(layer.weight);
    const wrong = { weight: ones([3, 2]), extra: ones([1]), 'norm.num_batches_tracked': ones([]) };
    assert.throws(
      () => layer.loadStateDict(wrong),
      (error: Error & { received: string; hint: string }) => {
        assert.equal(error.name, 'CheckpointError');
        assert.equal(error.received, 'missing: bias; unexpected: extra; wrong shape: weight: [3, 2] instead of [2, 3]');
        return error.hint.includes('strict');
      },
    );
    assert.throws(() => layer.loadStateDict({ bias: ones([2]), weight: ones([3, 2]) }, { strict: false }), {
      name: 'CheckpointError',
    });
    assert.deepEqual(values(layer.weight), before);
    assert.deepEqual(layer.loadStateDict({ bias: ones([2]), other: ones([1]) }, { strict: false }), {
      missing: ['weight'],
      unexpected: ['other'],
    });
    assert.deepEqual(values(layer.bias!), [1, 1]);
    layer
      .forward(ones([1, 3]))
      .sum()
      .backward();
    assert.ok(layer.weight.grad);
    layer.zeroGrad();
    assert.equal(layer.weight.grad, null);
  });
});
