/** The graph of a result as a list of its steps, the oldest first: what text and pictures of it are made from. */
import { rangeOf } from '../autograd/anomaly.js';
import { collect, differentiate, type Node } from '../autograd/graph.js';
import { checkOptions } from '../autograd/ops/options.js';
import { checkTensor, type Operand, type Tensor } from '../autograd/tensor.js';
import { context, within } from '../kernels/context.js';
import { describeValue, GraphError, UsageError } from '../tensor/errors.js';
import { formatNumber } from '../tensor/print.js';
import { formatShape } from '../tensor/shape.js';

/** What a picture of a graph shows beside ops and shapes. */
export interface GraphOptions {
  /**
   * Show the range of every value. A tensor's graph holds only what its derivatives need ("not kept" elsewhere); of a
   * function, every value is seen. Default false.
   */
  values?: boolean;
  /** Show the range of ∂result/∂value, of every value; needs a result of one element. `.grad` stays as it is. Default false. */
  gradients?: boolean;
  /** What tensors are called: `{ w, b }`, or `model.namedParameters()`. */
  names?: Readonly<Record<string, Tensor>> | Iterable<readonly [string, Tensor]>;
}

/** A result, or a function that computes it. */
export type Graphed = Tensor | (() => Tensor);

/** One node of the graph. */
export interface Step {
  /** 1, 2, 3 … */
  number: number;
  /** The op; 'leaf' where gradients arrive. */
  op: string;
  /** Of a leaf, where it has one. */
  name: string;
  /** Parameters of the op: 'axes [0], keepDims false'. */
  params: string;
  /** For each input the number of its step, or the text of a constant. */
  inputs: readonly (number | string)[];
  /** 'float32 [2, 3]' */
  type: string;
  /** Ranges, where they were asked for: '−1 … 2.5'. */
  value: string;
  gradient: string;
}

/**
 * @param op the function that this is for, in errors
 * @throws GraphError when there is no graph, or backward() has freed it; DeviceError for ranges on a device that answers
 *   asynchronously; UsageError for other arguments
 */
export function stepsOf(op: string, given: Graphed, options: GraphOptions | undefined): Step[] {
  const { values = false, gradients = false, names = {} } = checkOptions(op, options, ['values', 'gradients', 'names']);
  const ran = new Map<Node, { inputs: readonly Operand[]; output: Tensor }>();
  const result = typeof given === 'function' ? watched(op, given, ran) : given;
  checkTensor(op, typeof given === 'function' ? 'result' : 'loss', result);
  if (result.node === null)
    throw new GraphError(op, {
      received: 'a tensor without history',
      expected: 'a tensor computed from one with requiresGrad',
      hint: result.whyNoGradient ?? 'Set requiresGrad on an input, and do not call this on results of noGrad().',
    });
  const nodes = collect(result.node).reverse();
  for (const node of nodes) node.checkThere(op);
  const numbers = new Map(nodes.map((node, i) => [node, i + 1]));
  const called = namesOf(op, names);
  const known = values ? knownValues(nodes, result, ran) : new Map<Node, Tensor>();
  const slopes = gradients ? gradientRanges(op, result) : new Map<Node, string>();
  return nodes.map((node, i) => ({
    number: i + 1,
    op: node.name,
    name: (node.leaf && called.get(node.leaf)) ?? '',
    params: paramsText(node.params),
    inputs: node.parents.map((parent, k) =>
      parent ? numbers.get(parent)! : constantText(ran.get(node)?.inputs[k] ?? node.inputs[k], node, k),
    ),
    type: `${node.dtype} ${formatShape(node.shape)}`,
    value: values ? (known.has(node) ? rangeText(op, known.get(node)!) : 'not kept') : '',
    gradient: gradients ? (slopes.get(node) ?? 'none') : '',
  }));
}

/** Runs a function and notes what every recorded op was given and gave. */
function watched(
  op: string,
  run: () => Tensor,
  ran: Map<Node, { inputs: readonly Operand[]; output: Tensor }>,
): Tensor {
  const { observer: outer } = context;
  const observer: typeof outer = (name, inputs, params, output) => {
    const { node } = output as Tensor;
    if (node) ran.set(node, { inputs: inputs as Operand[], output: output as Tensor });
    outer?.(name, inputs, params, output);
  };
  return within(op, { observer }, run);
}

/** The values that are there: leaves, the result, what ops were seen to give, and what derivatives keep. */
function knownValues(
  nodes: readonly Node[],
  result: Tensor,
  ran: ReadonlyMap<Node, { output: Tensor }>,
): Map<Node, Tensor> {
  const known = new Map<Node, Tensor>();
  const note = (node: Node | null | undefined, value: unknown) => {
    if (node && value && typeof value === 'object' && !(value as Tensor).storage.freed)
      known.set(node, value as Tensor);
  };
  for (const node of nodes) {
    node.parents.forEach((parent, i) => {
      note(parent, node.inputs[i]);
    });
    note(node, node.leaf ?? ran.get(node)?.output ?? node.output);
  }
  note(result.node, result);
  return known;
}

function gradientRanges(op: string, result: Tensor): Map<Node, string> {
  const ranges = new Map<Node, string>();
  differentiate(result, null, {
    retainGraph: true,
    onLeaf() {}, // nothing is added to .grad
    onNode: (node, grad) => ranges.set(node, rangeText(op, grad)),
  });
  return ranges;
}

function rangeText(op: string, x: Tensor): string {
  const { min, max, nans, infinities } = rangeOf(op, x);
  const finite = min < max ? `${formatNumber(min)} … ${formatNumber(max)}` : min === max ? formatNumber(min) : '';
  return [finite, nans && `${nans} NaN`, infinities && `${infinities} infinite`].filter(Boolean).join(', ') || 'empty';
}

/** An operand without a gradient. */
function constantText(operand: Operand | undefined, node: Node, i: number): string {
  return typeof operand === 'number' ? formatNumber(operand) : `constant ${formatShape(node.shapes[i] ?? [])}`;
}

/** The parameters of an op that can be told in a few characters. */
function paramsText(params: unknown): string {
  if (params === undefined || params === null) return '';
  if (typeof params !== 'object') return String(params);
  return Object.entries(params)
    .filter(([, value]) => value !== undefined && value !== false)
    .map(([key, value]) => `${key} ${plainText(value)}`)
    .join(', ');
}

function plainText(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(plainText).join(', ')}]`;
  return typeof value === 'number' ? formatNumber(value) : describeValue(value);
}

function namesOf(op: string, names: NonNullable<GraphOptions['names']>): Map<Tensor, string> {
  if (typeof names !== 'object' || names === null)
    throw new UsageError(op, {
      received: `${describeValue(names)} as names`,
      expected: 'tensors by name: { w, b }, or model.namedParameters()',
    });
  const entries = Symbol.iterator in names ? [...names] : Object.entries(names);
  return new Map(entries.map(([name, tensor]) => [tensor, name]));
}
