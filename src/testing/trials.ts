/** Random trials of registered ops: the inputs, the parameters, and what the oracle says. */
import { tensor } from '../autograd/create.js';
import { apply, type Op, type OpTest, type Trial } from '../autograd/op.js';
import type { Tensor } from '../autograd/tensor.js';
import type { DType } from '../tensor/dtype.js';
import { UsageError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { broadcastShapes, type Shape, sizeOf, stridesOf } from '../tensor/shape.js';
import { testOf } from './oracles/index.js';

/** Inputs and parameters drawn for one trial of an op. */
export interface DrawnTrial {
  inputs: { data: number[]; shape: Shape; dtype: DType }[];
  params: unknown;
}

// biome-ignore lint/suspicious/noExplicitAny: ops of every parameter type
type AnyOp = Op<any>;

/** Draws one trial of an op from a seed. @throws UsageError for an op without an oracle */
export function drawTrial(op: AnyOp, seed: number): DrawnTrial {
  const random = new Random(seed, 5);
  const test = testOf(op);
  if (!test.scalar && !test.oracle)
    throw new UsageError('drawTrial', {
      received: `${op.name} without an oracle`,
      expected: 'an op whose test has a scalar or an oracle',
    });
  const trial: Trial<unknown> = test.draw
    ? test.draw(random)
    : { shapes: elementwiseShapes(test, random), params: undefined };
  const inputs = trial.shapes.map((shape, i) => {
    const fixed = trial.fixed?.[i];
    if (fixed) return { data: fixed.data, shape, dtype: fixed.dtype };
    return { data: drawValues(test, i, sizeOf(shape), random), shape, dtype: 'float64' as const };
  });
  if (test.distinct) separate(inputs, random);
  return { inputs, params: trial.params };
}

function elementwiseShapes(test: OpTest<unknown>, random: Random): Shape[] {
  const full = Array.from({ length: random.int(4) }, () => random.int(4));
  const arity = test.scalar!.length;
  return Array.from({ length: arity }, () =>
    arity === 1
      ? full
      : full
          .map((size) => (random.int(4) === 0 ? 1 : size))
          .slice(random.int(3) === 0 ? random.int(full.length + 1) : 0),
  );
}

function drawValues(test: OpTest<unknown>, input: number, size: number, random: Random): number[] {
  const domain = test.domain ?? [-2, 2];
  const [low, high] = (Array.isArray(domain[0]) ? domain[input] : domain) as readonly [number, number];
  const near = (value: number) => test.avoid?.some((point) => Math.abs(value - point) < 0.05);
  return Array.from({ length: size }, () => {
    let value: number;
    do value = low + (high - low) * random.uniform();
    while (near(value));
    return value;
  });
}

/** Replaces all values by distinct ones, at least 0.01 apart, so that no small step reorders them. */
function separate(inputs: { data: number[]; dtype: DType }[], random: Random): void {
  const free = inputs.filter(({ dtype }) => dtype === 'float64');
  const count = free.reduce((sum, { data }) => sum + data.length, 0);
  const values = random.shuffle(
    Array.from({ length: count }, (_, i) => (i - count / 2) * 0.05 + 0.01 * random.uniform()),
  );
  let next = 0;
  for (const input of free) input.data = input.data.map(() => values[next++]!);
}

/** The trial's inputs as tensors of a float dtype on a device. */
export function trialTensors({ inputs }: DrawnTrial, dtype: 'float32' | 'float64', device: string): Tensor[] {
  return inputs.map(({ data, shape, dtype: own }) =>
    tensor(own === 'float64' ? Float64Array.from(data) : data, {
      shape,
      dtype: own === 'float64' ? dtype : own,
      device,
    }),
  );
}

/** The op's result by its oracle, and the shape that its shape rule gives. */
export function expectedOutput(op: AnyOp, { inputs, params }: DrawnTrial): { data: number[]; shape: Shape } {
  const shapes = inputs.map(({ shape }) => shape);
  const shape = op.shape ? op.shape(shapes, params) : shapes[0]!;
  const test = testOf(op);
  if (test.oracle) return { data: test.oracle(inputs, params, shape), shape };
  const full = broadcastShapes(op.name, ...shapes);
  const data = Array.from({ length: sizeOf(full) }, (_, i) =>
    test.scalar!(...inputs.map((input) => at(input, full, i))),
  );
  return { data, shape };
}

/** Element i of the broadcast shape, read from an operand. */
function at({ data, shape }: { data: number[]; shape: Shape }, full: Shape, i: number): number {
  const strides = stridesOf(shape);
  let rest = i;
  let from = 0;
  for (let axis = full.length - 1; axis >= 0; axis--) {
    const index = rest % full[axis]!;
    rest = Math.floor(rest / full[axis]!);
    const own = axis - (full.length - shape.length);
    if (own >= 0 && shape[own] !== 1) from += index * strides[own]!;
  }
  return data[from]!;
}

/** The op as a function of its differentiable inputs alone, the others (indices, conditions) held fixed. */
export function asFunction(
  op: AnyOp,
  trial: DrawnTrial,
  dtype: 'float32' | 'float64',
  device: string,
): { f: (...free: Tensor[]) => Tensor; free: Tensor[] } {
  const inputs = trialTensors(trial, dtype, device);
  const isDifferentiable = (i: number) => !op.nonDifferentiable?.includes(i);
  return {
    free: inputs.filter((_, i) => isDifferentiable(i)),
    f: (...free) => {
      let next = 0;
      return apply(
        op,
        inputs.map((x, i) => (isDifferentiable(i) ? free[next++]! : x)),
        trial.params,
      );
    },
  };
}
