/** Modules: names, state, modes. */
import assert from 'node:assert/strict';
import { init, manualSeed, ones, randn, scoped, tensor, zeros } from 'hopgrad';
import {
  AdamW,
  BatchNorm2d,
  Buffer,
  Conv2d,
  Embedding,
  Linear,
  Module,
  MultiheadAttention,
  Parameter,
  Transformer,
} from 'hopgrad/nn';
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
        return !error.hint.includes('strict'); // a wrong shape is an error then too
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
    assert.throws(
      () => layer.loadStateDict({ other: ones([1]) }, { strict: false }),
      (error: Error & { hint: string }) => /no name matches/.test(error.message) && !error.hint.includes('strict'),
    );
    assert.throws(() => layer.loadStateDict({ bias: ones([2]) }), /strict: false } loads the 1 that fit by name/);
    layer
      .forward(ones([1, 3]))
      .sum()
      .backward();
    assert.ok(layer.weight.grad);
    layer.zeroGrad();
    assert.equal(layer.weight.grad, null);
  });
});

describe('freezing', () => {
  const trained = (net: Module) => net.namedParameters().flatMap(([name, p]) => (p.requiresGrad ? name : []));

  it('takes all parameters, a module, a name, a pattern with *, or a regular expression', () => {
    const net = new Net();
    const all = trained(net);
    assert.equal(net.requiresGrad_(false), net);
    assert.deepEqual(trained(net), []);
    assert.deepEqual(trained(net.requiresGrad_(true, 'blocks.1')), ['blocks.1.weight', 'blocks.1.bias']);
    assert.deepEqual(trained(net.requiresGrad_(false, '*.bias')), ['blocks.1.weight']);
    assert.deepEqual(trained(net.requiresGrad_(true, 'gain')), ['gain', 'blocks.1.weight']);
    const twice = /norm/g; // has a memory of its own
    assert.deepEqual(trained(net.requiresGrad_(true, twice).requiresGrad_(true, twice)).slice(2), all.slice(-2));
    assert.deepEqual(trained(net.requiresGrad_()), all);
    for (const nothing of ['bloc', 'weight', 'block*.2', /^steps/, 'blocks_1'])
      assert.throws(() => net.requiresGrad_(false, nothing), { name: 'UsageError', hint: /blocks\.0\.weight/ });
  });

  it('stops gradients, drops what is there of them, and gives them again', () => {
    const layer = new Linear(2, 2);
    const run = () =>
      layer
        .forward(ones([1, 2]))
        .sum()
        .backward();
    run();
    layer.requiresGrad_(false, 'weight');
    assert.equal(layer.weight.grad, null);
    run();
    assert.equal(layer.weight.grad, null);
    assert.deepEqual(values(layer.bias!.grad!), [2, 2]);
    layer.requiresGrad_(true);
    run();
    assert.deepEqual(values(layer.weight.grad!), [1, 1, 1, 1]);
  });
});

/** One parameter with two names. */
class Tied extends Module {
  readonly encoder = new Linear(2, 2, { bias: false, dtype: 'float64', device: 'reference' });
  readonly decoder = new Shared(this.encoder.weight);
}
class Shared extends Module {
  constructor(readonly weight: Parameter) {
    super();
  }
}

describe('tied parameters', () => {
  it('are listed, counted and stepped once, and saved under each name', async () => {
    const net = new Tied();
    const { weight } = net.encoder;
    assert.deepEqual(net.namedParameters(), [['encoder.weight', weight]]);
    assert.deepEqual(net.parameters(), [weight]);
    assert.equal(net.parameterCount(), 4);
    assert.equal(weight.name, 'encoder.weight');
    assert.deepEqual(Object.keys(net.stateDict()), ['encoder.weight', 'decoder.weight']);

    const twin = new Parameter(weight);
    const step = async (parameters: Parameter[], parameter: Parameter) => {
      const optimizer = new AdamW(parameters, { lr: 0.1, maxGradNorm: 1 });
      parameter.mul(3).sum().backward();
      const norm = optimizer.gradNorm();
      await optimizer.step();
      return [norm, optimizer.parameters.length, optimizer.state().m.length, ...values(parameter)];
    };
    const once = await step([twin], twin);
    assert.deepEqual(await step([...net.parameters(), net.decoder.weight], weight), once);
  });

  it('load from either name', () => {
    const net = new Tied();
    const given = tensor(
      [
        [1, 2],
        [3, 4],
      ],
      { dtype: 'float64' },
    );
    for (const name of ['encoder.weight', 'decoder.weight']) {
      net.loadStateDict({ 'encoder.weight': given.mul(0) });
      net.loadStateDict({ [name]: given });
      assert.deepEqual(values(net.encoder.weight), [1, 2, 3, 4]);
    }
    assert.throws(() => net.loadStateDict({}), {
      name: 'CheckpointError',
      received: 'missing: encoder.weight, decoder.weight',
    });
  });
});

describe('parameters of a value', () => {
  before(() => init({ device: 'gpujs-cpu' }).then(() => init({ device: 'wasm' })));

  for (const device of ['reference', 'wasm', 'gpujs-cpu'])
    it(`do not share its memory on ${device}`, async () => {
      const value = ones([2, 2], { device });
      const made = [
        new Parameter(value),
        new Linear(2, 2, { weight: value, bias: false }).weight,
        scoped(() => new Parameter(value)),
      ];
      const running = new Buffer(value);
      for (const parameter of made) {
        parameter.square().sum().backward();
        await new AdamW([parameter], { lr: 0.5 }).step();
        assert.notDeepEqual(values(parameter), values(value));
      }
      value.dispose();
      for (const own of [...made, running]) assert.equal(values(own).length, 4);
    });

  it('refuse whole numbers and weights of another shape; the weight says dtype and device', () => {
    assert.throws(() => new Parameter(tensor([1], { dtype: 'int32' })), { name: 'DTypeError', op: 'Parameter' });
    assert.throws(() => new Linear(2, 3, { weight: ones([2, 3]) }), { name: 'ShapeError', received: /\[2, 3\]/ });
    const weight = ones([3, 2], { dtype: 'float64', device: 'reference' });
    const { weight: own, bias } = new Linear(2, 3, { weight });
    assert.deepEqual(
      [own.dtype, own.device, bias!.dtype, bias!.device],
      ['float64', 'reference', 'float64', 'reference'],
    );
    const moved = new Linear(2, 3, { weight, dtype: 'float32', device: 'wasm' }).weight;
    assert.deepEqual([moved.dtype, moved.device, values(moved)[5]], ['float32', 'wasm', 1]);
  });
});

describe('initialisation without a generator', () => {
  const makers: Record<string, () => Module> = {
    Linear: () => new Linear(3, 2),
    Conv2d: () => new Conv2d(2, 2, 3),
    Embedding: () => new Embedding(4, 3),
    MultiheadAttention: () => new MultiheadAttention(4, 2),
    Transformer: () => new Transformer({ width: 4, layers: 1, heads: 1 }),
  };
  for (const [name, make] of Object.entries(makers))
    it(`gives two ${name} other numbers, and the same ones again after the same seed`, () => {
      const draw = () => values(make().parameters()[0]!);
      manualSeed(7);
      const [first, second] = [draw(), draw()];
      assert.notDeepEqual(first, second);
      manualSeed(7);
      assert.deepEqual([draw(), draw()], [first, second]);
      manualSeed(8);
      assert.notDeepEqual(draw(), first);
    });
});
