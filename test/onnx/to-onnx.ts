/** What is exported computes in ONNX Runtime what it computes here. */
import assert from 'node:assert/strict';
import {
  arange,
  attention,
  concat,
  defineOp,
  gather,
  init,
  randn,
  registeredOps,
  type Tensor,
  tensor,
  uniform,
} from 'hopgrad';
import { BatchNorm2d, dropout, Linear, Sequential } from 'hopgrad/nn';
import { exportedOps, type OnnxOptions, toOnnx } from 'hopgrad/onnx';
import { asFunction, drawTrial, expectedOutput } from 'hopgrad/testing';
import { DomainError, UsageError } from '#src/tensor/errors.js';
import { relativeError, values } from '../helpers.js';
import { needRuntime, type Runtime, runtime } from './runtime.js';

describe('toOnnx', function () {
  this.timeout(300_000);
  let onnx: Runtime;
  before(async function () {
    needRuntime.call(this);
    await init({ device: 'wasm' });
    onnx = await runtime();
  });

  const typed = (x: Tensor) => new onnx.Tensor(x.dtype, x.dataSync(), x.shape);
  async function ran(bytes: Uint8Array, feeds: Record<string, Tensor>) {
    const session = await onnx.InferenceSession.create(bytes);
    const entries = Object.entries(feeds).map(([name, x]) => [name, typed(x)] as const);
    return (await session.run(Object.fromEntries(entries))).output!;
  }

  const ops = [...registeredOps().values()].filter(({ builtIn }) => builtIn);
  for (const op of ops)
    it(`${op.name}: in ONNX Runtime what the oracle says`, async () => {
      let compared = 0;
      for (let seed = 0; compared < 3 && seed < 12; seed++) {
        const trial = drawTrial(op, seed);
        const { f, free } = asFunction(op, trial, 'float32', 'wasm');
        if (free.some(({ size }) => size === 0)) continue; // ONNX Runtime reduces nothing over nothing
        const inputs = free.map((x, i) => ({ name: `x${i}`, shape: [...x.shape], example: () => x }));
        const options: OnnxOptions = { inputs, device: 'wasm' };
        // Their parameters name float64 and the reference device.
        const g = op.name === 'cast' || op.name === 'to' ? (x: Tensor) => x.cast('int32') : f;
        if (inputs.length === 0) return; // functions of whole numbers: constants of the graph
        const bytes = await toOnnx(g, options).catch((error) => error);
        if (bytes instanceof Error) {
          // One that has no form, or a composite of such: refused by name.
          assert.match(bytes.message, /^toOnnx: the op (\w+); expected one of /);
          assert.ok(!exportedOps.includes(/the op (\w+)/.exec(bytes.message)![1]!), bytes.message);
          assert.ok(!exportedOps.includes(op.name), bytes.message);
          return;
        }
        const result = await ran(bytes, Object.fromEntries(free.map((x, i) => [`x${i}`, x])));
        const expected = g === f ? expectedOutput(op, trial) : { shape: g(free[0]!).shape, data: values(g(free[0]!)) };
        assert.deepEqual([...result.dims], [...expected.shape], `seed ${seed}`);
        assert.ok(relativeError(result.data, expected.data, 1) < (op.test?.tolerance32 ?? 1e-5) * 10, `seed ${seed}`);
        compared++;
      }
      assert.ok(compared > 0);
    });

  it('names only ops that there are', () => {
    assert.deepEqual(
      exportedOps.filter((name) => !registeredOps().has(name)),
      [],
    );
  });

  it('leaves the batch free, where functions write its size into shapes', async () => {
    const token = randn([4], { seed: 1 });
    const table = randn([6, 4], { seed: 2 });
    const f = (x: Tensor, ids: Tensor) => {
      const [batch] = x.shape as [number];
      const tokens = concat([token.expand([batch, 1, 4]), x, gather(table, ids)], { axis: 1 }); // [batch, 1 + 3 + 2, 4]
      const attended = attention(tokens, tokens, tokens, { heads: 2 });
      const flat = attended
        .reshape([batch * 6, 4])
        .square()
        .reshape([batch, 24]);
      return flat
        .slice([
          [0, null],
          [2, 20],
        ])
        .pad(
          [
            [0, 0],
            [1, 0],
          ],
          3,
        )
        .logSoftmax();
    };
    const bytes = await toOnnx(f, {
      inputs: [
        { name: 'x', shape: [null, 3, 4] },
        { name: 'ids', shape: [null, 2], type: 'int32' },
      ],
    });
    for (const batch of [1, 2, 5]) {
      const x = uniform([batch, 3, 4], { seed: batch });
      const ids = tensor(
        Int32Array.from({ length: 2 * batch }, (_, i) => (i * 5) % 6),
        { shape: [batch, 2] },
      );
      const result = await ran(bytes, { x, ids });
      assert.deepEqual([...result.dims], [batch, 19]);
      assert.ok(relativeError(result.data, values(f(x, ids))) < 1e-5, `batch ${batch}`);
    }
  });

  it('takes tables of names, ops of users, and results that are inputs or constants', async () => {
    const model = new Sequential(new Linear(3, 2), (x: Tensor) => x.relu());
    const twice = defineOp({
      name: 'twice for onnx',
      equation: 'y = 2 x',
      derivative: 'x̄ = 2 ȳ',
      forward: ([x]) => x!.mul(2),
      vjp: [({ gradOutput }) => gradOutput.mul(2)],
    });
    const inputs = [{ name: 'x', shape: [null, 3] }];
    const bytes = await toOnnx((x) => twice([model.forward(x)]), { inputs, names: model.stateDict() });
    const text = new TextDecoder('latin1').decode(bytes);
    for (const name of Object.keys(model.stateDict())) assert.ok(text.includes(name), name);
    const x = randn([4, 3], { seed: 3 });
    assert.ok(relativeError((await ran(bytes, { x })).data, values(model.forward(x).mul(2))) < 1e-6);
    const same = await toOnnx((t) => t, { inputs });
    assert.deepEqual(Array.from((await ran(same, { x })).data), [...values(x)]);
    const constant = await toOnnx(() => arange(3), { inputs });
    assert.deepEqual(Array.from((await ran(constant, { x })).data), [0, 1, 2]);
  });

  for (const [what, f, message] of [
    ['random numbers', (x: Tensor) => x.add(uniform([3])), /a tensor \[3\] that the function makes itself/],
    ['dropout', (x: Tensor) => dropout(x, { p: 0.5 }), /makes itself|sizes that are constant/],
    ['numbers of rows', (x: Tensor) => x.add(arange(x.shape[0]!).unsqueeze(1)), /makes itself/],
    ['a size beyond the batch', (x: Tensor) => x.concat(arange(3).unsqueeze(0)), /8 for 7 rows and 12 for 11/],
    ['decisions by the batch', (x: Tensor) => (x.shape[0]! > 8 ? x.relu() : x.abs()), /other ops/],
    ['rows by their number', (x: Tensor) => x.slice([[1, null]]), /6 for 7 rows/],
    ['training mode', (x: Tensor) => new BatchNorm2d(3).forward(x.reshape([-1, 3, 1, 1])), /batchNorm/],
  ] as const)
    it(`refuses ${what}, and says so`, async () => {
      const inputs = [{ name: 'x', shape: [null, 3] }];
      await assert.rejects(toOnnx(f, { inputs }), (error: Error) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        return true;
      });
    });

  it('refuses inputs that are none', async () => {
    const of = (inputs: unknown) => toOnnx((x) => x, { inputs: inputs as never });
    for (const inputs of [
      [],
      [{ name: 'x', shape: [3, null] }],
      [{ name: 3, shape: [3] }],
      [{ name: 'x', shape: [3], type: 'float16' }],
      [
        { name: 'x', shape: [1] },
        { name: 'x', shape: [1] },
      ],
    ])
      await assert.rejects(of(inputs), DomainError, JSON.stringify(inputs));
  });
});
