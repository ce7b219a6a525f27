/** defineUnary and defineBinary: what docs/own-kernel.md does not show. */
import assert from 'node:assert/strict';
import {
  add,
  defineBinary,
  defineUnary,
  KernelError,
  type OwnBinary,
  type OwnUnary,
  registeredOps,
  type Tensor,
  tensor,
  UsageError,
  withDevice,
} from 'hopgrad';
import { checkGradients } from 'hopgrad/testing';
import { identityOf } from '#src/kernels/source/identity.js';
import { builtInKernels } from '#src/kernels/source/own.js';

const unary = (changes: object = {}) =>
  defineUnary({
    name: 'testOwnCube',
    equation: 'y = x³',
    derivative: 'x̄ = 3x² ȳ',
    kernel: (x) => x * x * x,
    vjp: ({ gradOutput, inputs: [x] }) => gradOutput.mul(x!.square()).mul(3),
    ...changes,
  } as OwnUnary);
const binary = (changes: object = {}) =>
  defineBinary({
    name: 'testOwnProduct',
    equation: 'y = a² b',
    derivative: 'ā = 2ab ȳ, b̄ = a² ȳ',
    kernel: (a, b) => a * a * b,
    vjp: [
      ({ gradOutput, inputs: [a, b] }) => gradOutput.mul(a!).mul(b!).mul(2),
      ({ gradOutput, inputs: [a] }) => gradOutput.mul(a!.square()),
    ],
    ...changes,
  } as OwnBinary);
const values = (x: Tensor) => [...x.dataSync()];

describe('ops from functions of numbers', () => {
  it('have no standing of their own: names free, kernels their text', () => {
    const before = builtInKernels().size;
    const kernel = (x: number) => x * x * x + 1;
    const first = unary();
    const second = unary({ kernel });
    assert.equal(registeredOps().get('testOwnCube')!.builtIn, false);
    assert.equal(identityOf(kernel).builtIn, false);
    assert.equal(builtInKernels().size, before);
    const x = tensor([2]);
    assert.deepEqual([values(first(x)), values(second(x))], [[8], [9]]); // the first goes on working
  });

  it('a kernel called as one of ours runs as it is written', () => {
    const notAdd = binary({
      kernel: function add(a: number, b: number) {
        return a - b;
      },
      vjp: 'none',
    });
    for (const device of ['wasm', 'reference'])
      withDevice(device, () => {
        assert.deepEqual(values(notAdd(tensor([5]), tensor([3]))), [2]);
        assert.deepEqual(values(add(tensor([5]), tensor([3]))), [8]);
      });
  });

  it('broadcast, take numbers, and have derivatives of second order', async () => {
    const f = binary();
    assert.deepEqual(values(f(tensor([[1], [2]]), tensor([3, 4]))), [3, 4, 12, 16]);
    assert.deepEqual(values(f(2, tensor([3]))), [12]);
    const points = [
      [[0.5], [-1.5]],
      [1, 2, -0.5],
    ];
    const settings = { order: 2, devices: ['wasm'] } as const;
    assert.ok((await checkGradients((a, b) => f(a, b), points, settings)).ok);
    assert.ok((await checkGradients((x) => unary()(x), [[0.5, -2]], settings)).ok);
  });

  it('run the fused derivative where it is not differentiated, the vjp where it is', async () => {
    const wrong = unary({ gradKernel: (g: number, x: number) => g * x }); // seen in the first order only
    const x = tensor([2], { requiresGrad: true });
    wrong(x).backward();
    assert.deepEqual(values(x.grad!), [2]);
    x.grad = null;
    wrong(x).backward(null, { createGraph: true });
    assert.deepEqual(values(x.grad!), [12]);
    const right = unary({ gradKernel: (g: number, x: number) => 3 * g * x * x });
    assert.ok((await checkGradients((t) => right(t), [[0.5, -2]], { order: 2 })).ok);
  });

  it('keep what the derivative needs and nothing else', () => {
    const x = tensor([2], { requiresGrad: true });
    assert.deepEqual(unary()(x).node!.inputs, [x]);
    const y = unary({ saves: 'output', vjp: ({ gradOutput }: { gradOutput: Tensor }) => gradOutput })(x);
    assert.deepEqual([y.node!.inputs, y.node!.output], [[undefined], y]);
  });

  it('int32 becomes float32, or stays, or is refused', () => {
    const whole = tensor([1, 2, 3], { dtype: 'int32' });
    const half = (int32?: string) => unary({ kernel: (x: number) => x / 2, ...(int32 && { int32 }) });
    assert.deepEqual([half()(whole).dtype, values(half()(whole))], ['float32', [0.5, 1, 1.5]]);
    assert.deepEqual([half('exact')(whole).dtype, values(half('exact')(whole))], ['int32', [0, 1, 1]]);
    assert.throws(() => half('refused')(whole), /int32/);
    assert.equal(binary()(whole, 2).dtype, 'float32');
  });

  it('are refused at once where a kernel breaks the rules or a part is missing', () => {
    const outside = 2;
    const refused = (make: () => unknown, error: typeof KernelError | typeof UsageError, text: RegExp) =>
      assert.throws(make, (thrown: Error) => thrown instanceof error && text.test(thrown.message));
    refused(() => unary({ kernel: (x: number) => x * outside }), KernelError, /outside/);
    refused(() => unary({ kernel: (a: number, b: number) => a + b }), KernelError, /2 numbers for 1/);
    refused(() => unary({ kernel: 'x * x' }), KernelError, /expected a function of numbers/);
    refused(() => unary({ gradKernel: (g: number) => g }), KernelError, /1 numbers for 2/);
    refused(() => unary({ gradKernel: (g: number, x: number) => g * x * outside }), KernelError, /outside/);
    refused(
      () => unary({ saves: 'nothing', gradKernel: (g: number, x: number) => g * x }),
      UsageError,
      /saves nothing/,
    );
    refused(() => unary({ vjp: 'none', gradKernel: (g: number, x: number) => g * x }), UsageError, /no derivative/);
    refused(() => unary({ name: 'tanh' }), UsageError, /built-in/);
    refused(() => unary({ name: undefined }), UsageError, /no name/);
    refused(() => unary({ derivative: 3 }), UsageError, /3 as derivative/);
    refused(() => unary({ vjp: undefined }), UsageError, /no vjp/);
    refused(() => unary({ saves: 'both' }), UsageError, /"both" as saves/);
    refused(() => defineUnary(undefined as never), UsageError, /undefined/);
    refused(() => binary({ kernel: (x: number) => x }), KernelError, /1 numbers for 2/);
    refused(() => binary({ vjp: () => 1 }), UsageError, /as vjp/);
    assert.ok(!registeredOps().has('undefined'));
  });
});
