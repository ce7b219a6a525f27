/** Elementwise kernels over operands of every layout, and numbers in any place, on every device against plain loops. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { add, init, sub, type Tensor, tensor, valueAndGrad, where, withDevice } from 'hopgrad';
import { property } from '../helpers.js';
import { needWebGpu } from './gpu/adapter.js';

type Shape = number[];
const sizeOf = (shape: Shape) => shape.reduce((product, n) => product * n, 1);

/** An operand: a number, or a shape to be filled. */
type Layout = number | Shape;

/** Result shape of rank 0 to 6 with sizes 0 to 3, and layouts that broadcast to it: axes dropped at the left, or 1. */
const layouts = (count: number): fc.Arbitrary<{ output: Shape; operands: Layout[] }> =>
  fc
    .array(fc.constantFrom(1, 2, 2, 3, 3, 0), { maxLength: 6 })
    .filter((shape) => sizeOf(shape) <= 300)
    .chain((output) => {
      const shape = fc
        .tuple(fc.integer({ min: 0, max: output.length }), fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }))
        .map(([drop, ones]) => output.map((n, i) => (ones[i] ? 1 : n)).slice(drop));
      const operand = fc.oneof(fc.constantFrom(-1, 0.5, 0, 3, Number.POSITIVE_INFINITY), shape, shape);
      return fc.record({
        output: fc.constant(output),
        operands: fc.array(operand, { minLength: count, maxLength: count }),
      });
    });

const broadcast = (...shapes: Shape[]): Shape => {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[i - rank + shape.length] ?? 1);
    return sizes.find((n) => n !== 1) ?? 1;
  });
};

/** Where element `flat` of `output` reads an operand of `shape`. */
function place(flat: number, output: Shape, shape: Shape): number {
  let [rest, index, stride] = [flat, 0, 1];
  for (let axis = output.length - 1; axis >= 0; axis--) {
    const i = rest % output[axis]!;
    rest = Math.floor(rest / output[axis]!);
    const own = axis - output.length + shape.length;
    if (own < 0) continue;
    if (shape[own] !== 1) index += i * stride;
    stride *= shape[own]!;
  }
  return index;
}

/** Small whole numbers: every device has them exactly, and their sums. */
const fill = (shape: Shape, seed: number) =>
  Array.from({ length: sizeOf(shape) }, (_, i) => ((i * 7 + seed * 5) % 11) - 5);

/** f of tensors and numbers against an element's oracle, with the gradients of Σ y · weight. */
async function compare(
  device: string,
  operands: Layout[],
  run: (operands: (Tensor | number)[]) => Tensor,
  element: (values: number[]) => { y: number; partials: number[] },
): Promise<void> {
  const shapes = operands.filter((x) => typeof x !== 'number') as Shape[];
  if (shapes.length === 0) return;
  const output = broadcast(...shapes);
  const data = shapes.map((shape, i) => fill(shape, i));
  const weight = fill(output, 9);
  const expected: number[] = [];
  const grads = shapes.map((shape) => new Array<number>(sizeOf(shape)).fill(0));
  for (let i = 0; i < sizeOf(output); i++) {
    let next = 0;
    const sources = operands.map((x) => (typeof x === 'number' ? null : next++));
    const values = operands.map((x, k) => (typeof x === 'number' ? x : data[sources[k]!]![place(i, output, x)]!));
    const { y, partials } = element(values);
    expected.push(y);
    sources.forEach((source, k) => {
      if (source !== null) grads[source]![place(i, output, shapes[source]!)]! += partials[k]! * weight[i]!;
    });
  }
  const tensors = withDevice(device, () => shapes.map((shape, i) => tensor(data[i]!, { shape })));
  const call = (...xs: Tensor[]) => {
    let next = 0;
    return run(operands.map((x) => (typeof x === 'number' ? x : xs[next++]!)));
  };
  const y = call(...tensors);
  assert.deepEqual([...y.shape], output);
  assert.deepEqual(Array.from(await y.data()), expected.map(Math.fround), 'forward');
  const w = withDevice(device, () => tensor(weight, { shape: output }));
  const { grad: all } = valueAndGrad((...xs: Tensor[]) =>
    call(...xs)
      .mul(w)
      .sum(),
  )(...tensors);
  const computed = [all].flat() as Tensor[];
  for (const [i, grad] of computed.entries()) {
    assert.deepEqual([...grad.shape], shapes[i]);
    assert.deepEqual(
      Array.from(await grad.data(), (g) => g + 0),
      grads[i]!.map((g) => g + 0),
      `gradient ${i}`,
    );
  }
}

for (const device of ['reference', 'wasm', 'gpujs-cpu', 'webgpu'])
  describe(`operands on ${device}`, () => {
    before(async function () {
      if (device === 'webgpu') await needWebGpu.call(this);
      else await init({ device: device as 'wasm' });
    });
    after(() => init({ device: 'wasm' }));
    const runs = device === 'webgpu' ? 15 : 60;

    it('where with a number, a mask of [B, 1, T, 1] and values of [B, H, T, D]', async () => {
      await compare(
        device,
        [[2, 1, 2, 1], [2, 2, 2, 2], -1],
        ([c, a, b]) => where(c as Tensor, a!, b!),
        ([c, a, b]) => ({ y: c !== 0 ? a! : b!, partials: [0, c !== 0 ? 1 : 0, 0] }),
      );
    });

    property(
      'where',
      layouts(3).filter(({ operands }) => typeof operands[0] !== 'number'),
      async ({ operands }) => {
        await compare(
          device,
          operands,
          ([c, a, b]) => where(c as Tensor, a!, b!),
          ([c, a, b]) => ({ y: c !== 0 ? a! : b!, partials: [0, c !== 0 ? 1 : 0, c !== 0 ? 0 : 1] }),
        );
      },
      runs,
    );

    property(
      'two operands',
      layouts(2),
      async ({ operands }) => {
        await compare(
          device,
          operands,
          ([a, b]) => sub(a!, b!),
          ([a, b]) => ({ y: a! - b!, partials: [1, -1] }),
        );
        await compare(
          device,
          operands,
          ([a, b]) => add(b!, a!),
          ([a, b]) => ({ y: a! + b!, partials: [1, 1] }),
        );
      },
      runs,
    );
  });
