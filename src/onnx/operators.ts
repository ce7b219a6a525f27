/** Each op of hopgrad as operators of ONNX. @source ONNX operators, opset 18 */
import type { AttentionSpec, Conv2dSpec, Pool2dSpec } from '../kernels/device.js';
import { UsageError } from '../tensor/errors.js';
import type { GraphBuilder } from './graph.js';
import type { Size, Step, Value } from './trace.js';

/** Writes one op; gets the names of its inputs and returns that of its output. */
type Writer = (g: GraphBuilder, names: string[], step: Step) => string;

const one =
  (type: string): Writer =>
  (g, names) =>
    g.node(type, names);

/** A comparison gives booleans, hopgrad's the operands' dtype. */
const comparison =
  (type: string): Writer =>
  (g, names, { output }) =>
    g.cast(g.node(type, names), output.dtype);

const reduction =
  (type: string): Writer =>
  (g, [x], { params: { axes, keepDims } }) =>
    axes.length === 0 ? x! : g.node(type, [x!, g.integers(axes)], { keepdims: Number(keepDims) });

/** int64 becomes int32. */
const position =
  (type: string): Writer =>
  (g, names, { params: { axis, keepDims } }) =>
    g.cast(g.node(type, names, { axis, keepdims: Number(keepDims) }), 'int32');

const rank = (value: Value | number) => (typeof value === 'number' ? 0 : value.sizes.length);
/** The matrix with its last two axes exchanged. */
const transposed = (g: GraphBuilder, name: string, axes: number) => {
  const perm = Array.from({ length: axes }, (_, i) => i);
  return g.node('Transpose', [name], { perm: [...perm.slice(0, -2), axes - 1, axes - 2] });
};

function attention(g: GraphBuilder, [q, k, v]: string[], { params, output }: Step): string {
  const { heads, headDim, queries, scale, causal } = params as AttentionSpec;
  const split = (x: string) =>
    g.node('Transpose', [g.node('Reshape', [x, g.integers([0, -1, heads, headDim])])], { perm: [0, 2, 1, 3] });
  const logits = g.node('Mul', [
    g.node('MatMul', [split(q!), transposed(g, split(k!), 4)]),
    g.number(scale, output.dtype),
  ]);
  const future = Array.from({ length: queries * queries }, (_, i) =>
    i % queries > Math.floor(i / queries) ? -Infinity : 0,
  );
  const seen = causal ? g.node('Add', [logits, g.numbers(future, [queries, queries], output.dtype)]) : logits;
  const answers = g.node('MatMul', [g.node('Softmax', [seen], { axis: -1 }), split(v!)]);
  return g.node('Reshape', [
    g.node('Transpose', [answers], { perm: [0, 2, 1, 3] }),
    g.integers([0, -1, heads * headDim]),
  ]);
}

function conv2d(g: GraphBuilder, names: string[], { params }: Step): string {
  const s = params as Conv2dSpec & { groups?: number; dilationY?: number; dilationX?: number };
  return g.node('Conv', names, {
    kernel_shape: [s.kernelHeight, s.kernelWidth],
    strides: [s.strideY, s.strideX],
    pads: [s.paddingY, s.paddingX, s.paddingY, s.paddingX],
    dilations: [s.dilationY ?? 1, s.dilationX ?? 1],
    group: s.groups ?? 1,
  });
}

/** hopgrad's pools planes, [planes, height, width]; ONNX images, [batch, channels, height, width]. */
function avgPool2d(g: GraphBuilder, [x]: string[], { params }: Step): string {
  const s = params as Pool2dSpec & { paddingY?: number; paddingX?: number };
  const pads = [s.paddingY ?? 0, s.paddingX ?? 0];
  const image = g.node('Unsqueeze', [x!, g.integers([0])]);
  const pooled = g.node('AveragePool', [image], {
    kernel_shape: [s.kernelY, s.kernelX],
    strides: [s.strideY, s.strideX],
    pads: [...pads, ...pads],
    count_include_pad: 1,
  });
  return g.node('Squeeze', [pooled, g.integers([0])]);
}

function slice(g: GraphBuilder, [x]: string[], { inputs, params: { starts, sizes } }: Step): string {
  const whole = (inputs[0] as Value).sizes;
  // An axis that is kept whole is left out, and so may be the batch.
  const axes = (sizes as Size[]).flatMap((size, axis) => (same(size, whole[axis]!) ? [] : [axis]));
  if (axes.length === 0) return x!;
  const from = axes.map((axis) => fixed('slice', starts[axis]));
  const to = axes.map((axis, i) => from[i]! + fixed('slice', sizes[axis]));
  return g.node('Slice', [x!, g.integers(from), g.integers(to), g.integers(axes)]);
}

const same = (a: Size, b: Size) => (typeof a === 'number' || typeof b === 'number' ? a === b : a.perRow === b.perRow);

/** @throws UsageError for what goes with the batch */
function fixed(op: string, size: Size): number {
  if (typeof size === 'number') return size;
  throw new UsageError('toOnnx', {
    received: `${op} of an axis by the size of the batch`,
    expected: 'the whole batch, or another axis',
  });
}

function pad(g: GraphBuilder, [x]: string[], { inputs, params, output }: Step): string {
  const { shape, value } = params as { shape: Size[]; value: number };
  const from = (inputs[0] as Value).sizes;
  const before = (params.before as Size[]).map((size) => fixed('pad', size));
  const after = before.map((n, axis) =>
    same(shape[axis]!, from[axis]!) ? 0 : fixed('pad', shape[axis]!) - fixed('pad', from[axis]!) - n,
  );
  return g.node('Pad', [x!, g.integers([...before, ...after]), g.number(value, output.dtype)]);
}

const writers: Record<string, Writer> = {
  neg: one('Neg'),
  abs: one('Abs'),
  sign: one('Sign'),
  floor: one('Floor'),
  ceil: one('Ceil'),
  round: one('Round'),
  exp: one('Exp'),
  log: one('Log'),
  sqrt: one('Sqrt'),
  reciprocal: one('Reciprocal'),
  sin: one('Sin'),
  cos: one('Cos'),
  tan: one('Tan'),
  asin: one('Asin'),
  acos: one('Acos'),
  atan: one('Atan'),
  sinh: one('Sinh'),
  cosh: one('Cosh'),
  asinh: one('Asinh'),
  acosh: one('Acosh'),
  atanh: one('Atanh'),
  tanh: one('Tanh'),
  sigmoid: one('Sigmoid'),
  relu: one('Relu'),
  erf: one('Erf'),
  softplus: one('Softplus'),
  clone: one('Identity'),
  identity: one('Identity'),
  to: one('Identity'),
  add: one('Add'),
  sub: one('Sub'),
  mul: one('Mul'),
  div: one('Div'),
  pow: one('Pow'),
  maximum: one('Max'),
  minimum: one('Min'),
  greater: comparison('Greater'),
  less: comparison('Less'),
  greaterEqual: comparison('GreaterOrEqual'),
  lessEqual: comparison('LessOrEqual'),
  equal: comparison('Equal'),
  sum: reduction('ReduceSum'),
  max: reduction('ReduceMax'),
  min: reduction('ReduceMin'),
  argmax: position('ArgMax'),
  argmin: position('ArgMin'),
  square: (g, [x]) => g.node('Mul', [x!, x!]),
  rsqrt: (g, names) => g.node('Reciprocal', [g.node('Sqrt', names)]),
  log2: (g, names, { output }) => g.node('Mul', [g.node('Log', names), g.number(Math.LOG2E, output.dtype)]),
  log10: (g, names, { output }) => g.node('Mul', [g.node('Log', names), g.number(Math.LOG10E, output.dtype)]),
  log1p: (g, [x], { output }) => g.node('Log', [g.node('Add', [x!, g.number(1, output.dtype)])]),
  expm1: (g, names, { output }) => g.node('Sub', [g.node('Exp', names), g.number(1, output.dtype)]),
  gelu(g, [x], { output: { dtype } }) {
    const erf = g.node('Erf', [g.node('Mul', [x!, g.number(Math.SQRT1_2, dtype)])]);
    const half = g.node('Mul', [x!, g.number(0.5, dtype)]);
    return g.node('Mul', [half, g.node('Add', [erf, g.number(1, dtype)])]);
  },
  quickGelu: (g, [x], { output }) =>
    g.node('Mul', [x!, g.node('Sigmoid', [g.node('Mul', [x!, g.number(1.702, output.dtype)])])]),
  where: (g, [condition, a, b]) => g.node('Where', [g.cast(condition!, 'bool'), a!, b!]),
  cast: (g, [x], { output }) => g.cast(x!, output.dtype),
  softmax: (g, names) => g.node('Softmax', names, { axis: -1 }),
  logSoftmax: (g, names) => g.node('LogSoftmax', names, { axis: -1 }),
  logSumExp: (g, [x]) => g.node('ReduceLogSumExp', [x!, g.integers([-1])], { keepdims: 0 }),
  reshape: (g, [x], { params }) => g.node('Reshape', [x!, g.shape(params.shape)]),
  expand: (g, [x], { params }) => g.node('Expand', [x!, g.shape(params.shape)]),
  permute: (g, names, { params }) => g.node('Transpose', names, { perm: params.axes }),
  concat: (g, names, { params }) => g.node('Concat', names, { axis: params.axis }),
  gather: (g, names, { params }) => g.node('Gather', names, { axis: params.axis }),
  slice,
  flip(g, [x], { params: { axes } }) {
    const all = (value: number) => g.integers(axes.map(() => value));
    return g.node('Slice', [x!, all(-1), all(-(2 ** 31)), g.integers(axes), all(-1)]); // from the last, to before the first
  },
  pad,
  matmul(g, [a, b], { inputs, params: { transposeA, transposeB } }) {
    const left = transposeA ? transposed(g, a!, rank(inputs[0]!)) : a!;
    return g.node('MatMul', [left, transposeB ? transposed(g, b!, rank(inputs[1]!)) : b!]);
  },
  conv2d,
  avgPool2d,
  layerNorm: (g, names, { params }) =>
    g.node('LayerNormalization', names, { axis: -1, epsilon: { float: params.eps } }),
  attention,
};

/** Names of the ops that can be written. */
export const exportedOps: readonly string[] = Object.keys(writers);

/** @throws UsageError for an op that has no form here */
export function write(g: GraphBuilder, names: string[], step: Step): string {
  const writer = Object.hasOwn(writers, step.op) ? writers[step.op]! : null;
  if (!writer)
    throw new UsageError('toOnnx', {
      received: `the op ${step.op}`,
      expected: `one of ${exportedOps.join(', ')}`,
      hint:
        step.op === 'batchNorm' || step.op === 'scatterAdd'
          ? 'Layers in training mode and gradients cannot be exported: call eval() on the model.'
          : 'Write the function with these.',
    });
  return writer(g, names, step);
}
