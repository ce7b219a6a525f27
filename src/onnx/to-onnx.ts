/** A function of tensors as a file of ONNX. */

import { zeros } from '../autograd/create.js';
import type { Tensor } from '../autograd/tensor.js';
import type { Bytes } from '../tensor/bytes.js';
import type { DType } from '../tensor/dtype.js';
import { DomainError, describeValue } from '../tensor/errors.js';
import { GraphBuilder } from './graph.js';
import { write } from './operators.js';
import { elementTypes, modelBytes } from './proto.js';
import { type Step, trace, type Value } from './trace.js';

/** What a function is given: a shape in which null stands for the batch, which may only be the first axis. */
export interface OnnxInput {
  name: string;
  shape: readonly (number | null)[];
  /** int64 is what others tokenize to; the function gets int32. Default float32. */
  type?: 'float32' | 'int32' | 'int64';
  /** Values for the two runs that show what the function does, where zeros will not do: rows → tensor. */
  example?(rows: number): Tensor;
}

/** What the inputs and the result of an exported function are called, and how it is watched. */
export interface OnnxOptions {
  inputs: readonly OnnxInput[];
  /** Name of the result. Default 'output'. */
  output?: string;
  /** Names for constants, such as `model.stateDict()`; others get names that begin with /. */
  names?: Record<string, Tensor>;
  /** Where the function is run to see what it does. Default: the default device. */
  device?: string;
}

/**
 * A function of tensors as a file of ONNX (opset 18): what the function computes with ops becomes a graph, what it closes
 * over becomes constants. The batch, a `null` in the inputs' shapes, stays free.
 *
 * The function is run on two small batches of zeros, and must run the same ops both times: decisions are taken then and
 * there. Parts that depend on constants alone are computed at once.
 *
 * @param f the inputs in order → one tensor
 * @returns the bytes of a .onnx file
 * @throws UsageError for ops without an ONNX form, random numbers, layers in training mode, sizes that go otherwise than so
 *   many per row; DomainError for inputs that are none
 * @example
 * const bytes = await toOnnx((x) => model.forward(x).softmax(), { inputs: [{ name: 'x', shape: [null, 784] }] });
 * writeFileSync('model.onnx', bytes);
 * @source Open Neural Network Exchange, https://onnx.ai
 */
export async function toOnnx(
  f: (...inputs: Tensor[]) => Tensor,
  { inputs, output = 'output', names = {}, device }: OnnxOptions,
): Promise<Bytes> {
  checkInputs(inputs);
  const examples = inputs.map(({ shape, type = 'float32', example }) => (rows: number) => {
    if (example) return example(rows);
    const dtype: DType = type === 'float32' ? 'float32' : 'int32';
    return zeros(
      shape.map((n) => n ?? rows),
      { dtype, ...(device && { device }) },
    );
  });
  const traced = await trace(f, examples);
  const graph = new GraphBuilder(inputs.find(({ shape }) => shape[0] === null)?.name ?? null);
  const known = new Map<Value, string>();
  for (const [i, { name, type }] of inputs.entries())
    known.set(traced.inputs[i]!, type === 'int64' ? graph.cast(name, 'int32') : name);
  const called = new Map(Object.entries(names).map(([name, tensor]) => [tensor.storage, name]));
  const nameOf = async (value: Value) => {
    let name = known.get(value);
    if (name !== undefined) return name;
    const tensor = value.tensor!;
    const own = called.get(tensor.storage);
    if (own !== undefined) called.delete(tensor.storage); // in another shape it is another constant
    name = await graph.tensor(tensor, own ?? `/constant${known.size}`);
    known.set(value, name);
    return name;
  };
  for (const step of traced.steps) {
    const operands: string[] = [];
    for (const input of step.inputs)
      operands.push(typeof input === 'number' ? graph.number(input, numberType(step)) : await nameOf(input));
    known.set(step.output, write(graph, operands, step));
  }
  const result = traced.outputs[0]!;
  graph.output(await nameOf(result), output);
  return modelBytes({
    name: 'hopgrad',
    nodes: graph.nodes,
    initializers: graph.initializers,
    inputs: inputs.map(({ name, shape, type = 'float32' }) => ({
      ...{ name, type },
      sizes: shape.map((n) => n ?? { perRow: 1 }),
    })),
    outputs: [{ name: output, type: result.dtype, sizes: result.sizes }],
  });
}

/** A number among tensors is of their dtype; `where` has its condition first, which says nothing. */
function numberType({ op, inputs, output }: Step): DType {
  if (op === 'where') return output.dtype;
  const beside = inputs.find((input) => typeof input !== 'number') as Value;
  return beside.dtype;
}

function checkInputs(inputs: readonly OnnxInput[]): void {
  if (!Array.isArray(inputs) || inputs.length === 0)
    throw new DomainError('toOnnx', {
      received: 'no inputs',
      expected: "a list such as [{ name: 'x', shape: [null, 3] }]",
    });
  for (const { name, shape, type = 'float32' } of inputs) {
    const fits = (n: number | null, axis: number) => (n === null ? axis === 0 : Number.isInteger(n) && n >= 0);
    if (typeof name !== 'string' || !Array.isArray(shape) || !shape.every(fits))
      throw new DomainError('toOnnx', {
        received: `input ${describeValue(name)} of shape ${describeValue(shape)}`,
        expected: 'a name, and sizes of which only the first may be null: the batch',
      });
    if (!(type in elementTypes))
      throw new DomainError('toOnnx', { received: `type ${describeValue(type)}`, expected: 'float32, int32 or int64' });
  }
  const twice = inputs.find(({ name }, i) => inputs.findIndex((other) => other.name === name) !== i);
  if (twice)
    throw new DomainError('toOnnx', { received: `two inputs named ${twice.name}`, expected: 'names of their own' });
}
