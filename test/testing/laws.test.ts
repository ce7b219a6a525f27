/** What gradient checks look at beside finite differences, and comparisons of tensors: what they find and let pass. */
import assert from 'node:assert/strict';
import { defineOp, init, type Tensor, tensor, zeros } from 'hopgrad';
import { allClose, assertClose, type CheckOptions, checkGradients } from 'hopgrad/testing';

const x = [
  [0.3, -1.2, 0.7],
  [2, 0.1, -0.4],
];
const w = [
  [0.5, 1],
  [-0.2, 0.3],
  [1.5, -1],
];
const kinds = async (
  f: (...inputs: Tensor[]) => Tensor,
  inputs: Parameters<typeof checkGradients>[1],
  options: CheckOptions,
) => [
  ...new Set((await checkGradients(f, inputs, options)).failures.map(({ kind, argument }) => `${kind} ${argument}`)),
];

/** y = factor(where it runs) x, whose vjp says something else. */
const claims = (forward: (x: Tensor) => Tensor, backward: (g: Tensor) => Tensor) => {
  const op = defineOp({
    name: 'testClaims',
    equation: 'y = f(x)',
    derivative: 'as given',
    forward: ([input]) => forward(input!),
    vjp: [({ gradOutput }) => backward(gradOutput)],
  });
  return (input: Tensor) => op([input]);
};

describe('checkGradients, laws', () => {
  it('forward: agrees with reverse for what is right, and finds a vjp whose own derivative is lost', async () => {
    assert.deepEqual(await kinds((a, b) => a.tanh().matmul(b), [x, w], { forward: true }), []);
    const cut = claims(
      (input) => input.mul(2),
      (g) => g.detach().add(g.mul(0)).mul(2), // right, but linear in g to nobody who asks
    );
    assert.deepEqual(await kinds((a) => cut(a), [x], {}), []);
    assert.deepEqual(await kinds((a, b) => b.add(cut(a)), [x, x], { forward: true }), ['forward 0']);
  });

  it('linear: passes linear functions with their adjoints, in all or some inputs, and no others', async () => {
    const product = (a: Tensor, b: Tensor) => a.matmul(b);
    for (const linear of [[0], [1]]) assert.deepEqual(await kinds(product as never, [x, w], { linear }), []);
    assert.deepEqual(await kinds(product as never, [x, w], { linear: true }), ['adjoint null']);
    assert.deepEqual(await kinds((a, b) => a.add(b.mul(3)), [x, x], { linear: true }), []);
    assert.deepEqual(await kinds((a) => a.add(1), [x], { linear: true }), ['adjoint 0']);
    const indices = tensor([1, 0], { dtype: 'int32' });
    assert.deepEqual(await kinds((a, i) => a.gather(i!), [x, indices], { linear: true }), []);
    const wrong = claims(
      (input) => input.mul(2),
      (g) => g.mul(2.01),
    );
    const report = await checkGradients((a) => wrong(a), [x], { linear: true, mode: 'projection' });
    const [adjoint] = report.failures.filter(({ kind }) => kind === 'adjoint');
    assert.ok(Math.abs(adjoint!.numeric / adjoint!.analytic - 1.005) < 1e-9);
    assert.match(String(report), /argument 0, order 1: adjoint, analytic/);
  });

  it('batched: finds what mixes entries, in results and in gradients', async () => {
    assert.deepEqual(await kinds((a) => a.softmax({ axis: 1 }), [x], { batched: true }), []);
    assert.deepEqual(await kinds((a, b) => a.matmul(b), [x, w], { batched: [0] }), []);
    const mixing = await kinds((a) => a.softmax({ axis: 0 }), [x], { batched: true });
    assert.deepEqual(mixing, ['batched null', 'batched 0']);
    assert.deepEqual(await kinds((a) => a.sum({ axis: 0 }), [x], { batched: true }), ['shape null']);
    const secretly = claims(
      (input) => input.mul(1),
      (g) => g.sub(g.mean({ axis: 0, keepDims: true })),
    );
    assert.ok((await kinds((a) => secretly(a), [x], { batched: true })).includes('batched 0'));
  });

  it('devices: passes what is the same there, and names the device that differs', async () => {
    await init({ device: 'gpujs-cpu' });
    await init({ device: 'wasm' });
    const devices = ['wasm', 'gpujs-cpu'];
    const indices = tensor([1, 0], { dtype: 'int32' });
    assert.deepEqual(await kinds((a, b) => a.matmul(b).softmax().log(), [x, w], { devices }), []);
    assert.deepEqual(await kinds((a, i) => a.gather(i!).mul(tensor(2)), [x, indices], { devices }), []);
    const there = (a: Tensor) => (a.device === 'wasm' ? 1.001 : 1);
    // The difference is constant, so that no gradient shows it.
    const value = await checkGradients((a) => a.square().add(there(a)), [x], { devices });
    assert.deepEqual(
      value.failures.map(({ kind, argument, index, device }) => [kind, argument, index, device]),
      [['device', null, [0, 0], 'wasm']],
    );
    const slope = await checkGradients((a) => a.mul(there(a)).add(a.detach().mul(1 - there(a))), [x], { devices });
    assert.ok(
      slope.failures.every(({ kind, argument, device }) => kind === 'device' && argument === 0 && device === 'wasm'),
    );
    assert.ok(!slope.ok);
    assert.match(String(value), /device wasm/);
  });

  it('refuses positions that are no inputs with gradients, and batches of different lengths', async () => {
    const run = (options: CheckOptions, inputs: Tensor[] = [tensor(x), tensor([1, 0], { dtype: 'int32' })]) =>
      checkGradients((a) => a.mul(1), inputs, options);
    for (const options of [{ linear: [1] }, { linear: [] }, { batched: [2] }])
      await assert.rejects(run(options), { name: 'UsageError' }, JSON.stringify(options));
    await assert.rejects(run({ batched: true }, [tensor(x), zeros([3])]), { name: 'ShapeError' });
    await assert.rejects(run({ devices: ['nowhere'] }), { name: 'DeviceError' });
  });
});

describe('allClose', () => {
  it('says whether, where and by how much tensors differ', async () => {
    const a = tensor(x, { dtype: 'float64' });
    const near = await allClose(a, a.cast('float32'));
    assert.ok(near.ok && near.apart === 0 && near.largest.absolute > 0 && near.compared === 6);
    assert.match(String(near), /^All 6 elements are near\. Largest difference 4\.\d+e-8/);
    const far = await allClose(
      a.add(
        tensor(
          [
            [0, 1e-3, 0],
            [0, 0, -0.5],
          ],
          { dtype: 'float64' },
        ),
      ),
      x,
    );
    assert.deepEqual([far.ok, far.apart, far.worst!.index], [false, 2, [1, 2]]);
    assert.match(
      String(far),
      /^2 of 6 elements differ\. Worst at \[1, 2\]: -0\.9 and -0\.4, error 5\.00e-1 > 4\.01e-6\./,
    );
    assert.ok((await allClose(a.add(1e-3), a, { atol: 2e-3 })).ok);
    assert.equal(String(await allClose([1], [[1]])), 'Shapes differ: [1] and [1, 1].');
    assert.ok((await allClose(2, new Float32Array([2]).length + 1)).ok, 'numbers are scalars');
  });

  it('treats what is not finite as told', async () => {
    assert.ok((await allClose([Infinity, -Infinity], [Infinity, -Infinity])).ok);
    for (const [left, right] of [
      [Infinity, -Infinity],
      [1, Infinity],
      [Infinity, 1],
      [Number.NaN, 1],
      [1, Number.NaN],
    ] as const) {
      const report = await allClose([0, left], [0, right]);
      assert.deepEqual([report.ok, report.worst?.index], [false, [1]], `${left} ${right}`);
    }
    assert.ok(!(await allClose([Number.NaN], [Number.NaN])).ok);
    assert.ok((await allClose([Number.NaN], [Number.NaN], { equalNaN: true })).ok);
    await assert.rejects(allClose([1], [1], { rtol: -1 }), { name: 'DomainError' });
    await assert.rejects(allClose([1], [1], { tolerance: 1 } as never), { name: 'UsageError' });
    await assert.rejects(assertClose([1], [2]), {
      op: 'assertClose',
      received: /^1 of 1 elements differ\. Worst at \[0\]/,
    });
  });
});
