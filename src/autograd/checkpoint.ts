/** Recomputation instead of storage. */
import { context, synchronous, within } from '../kernels/context.js';
import type { Storage } from '../kernels/device.js';
import { withScope } from '../kernels/scope.js';
import { GraphError } from '../tensor/errors.js';
import { Random } from '../tensor/random.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { differentiate, Node, nodeClock } from './graph.js';
import type { Op } from './op.js';
import { checkTensor, Tensor } from './tensor.js';

/**
 * Computes fn without keeping what its derivative needs, and computes it again during backward: less memory for
 * about one more forward pass. To the graph it is one op, y = f(x, w), whose parents are all tensors that fn depends
 * on, its inputs x as well as what it uses from outside w (parameters, other results). Derivatives of any order follow.
 *
 * The second time, random numbers drawn by randn() and uniform() are the same, the default device is what it was, and
 * batch norm does not count the batch again. Results inside fn that its derivative would have needed are freed at its
 * end: what is to be used later, return.
 *
 * @param fn a synchronous function of tensors that gives one tensor, and the same one both times
 * @throws UsageError when fn gives a promise or no tensor; in backward GraphError when fn gives a result of another
 *   shape the second time, uses other tensors, or one of those it depends on was updated in place since
 * @source Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174
 */
export function checkpoint<A extends readonly Tensor[]>(fn: (...inputs: A) => Tensor, ...inputs: A): Tensor {
  if (!context.recording) return synchronous('checkpoint', fn(...inputs));
  const { deviceName, random } = context;
  const { state } = random;
  const run = () => {
    const since = nodeClock();
    const result = synchronous('checkpoint', fn(...inputs));
    checkTensor('checkpoint', 'result of the function', result);
    return { result, since, ...survey(result.node, since) };
  };

  const { result, since, outside } = withScope(run, (storage, { result, saved }) => {
    return storage === result.storage || !saved.has(storage);
  });
  const output = new Tensor(result.storage, result.shape);
  output.whyNoGradient = result.whyNoGradient;
  if (outside.length === 0) return output;

  const op: Op<void> = {
    name: 'checkpoint',
    equation: 'y = f(x, w)',
    derivative: 'those of f, computed again',
    builtIn: true,
    vjp({ gradOutput, wants }) {
      const createGraph = context.recording;
      const replay = { recording: true, replaying: true, deviceName, random: Random.fromState(state) };
      const again = within('checkpoint', replay, run);
      if (!sameShape(again.result.shape, output.shape))
        throw changed(`shapes ${formatShape(output.shape)} and then ${formatShape(again.result.shape)}`);
      const known = new Set(outside);
      if (again.outside.some((node) => node.id < again.since && !known.has(node)))
        throw changed('a result of other tensors the second time');
      if (again.result.node === null) return outside.map(() => null);
      const wrt = outside.map((node, i) => (wants[i] ? node : null));
      return differentiate(again.result, gradOutput, { createGraph, wrt, since: again.since });
    },
  };
  const leaves = outside.flatMap(({ leaf, id }) => (leaf && id < since ? leaf : []));
  output.node = new Node(
    op,
    outside,
    [...inputs, ...leaves], // so that updates in place are noticed
    undefined,
    outside.map(({ shape }) => shape),
    null,
    [],
    output,
  );
  return output;
}

function changed(received: string): GraphError {
  return new GraphError('checkpoint', {
    received: `${received} from the same function`,
    expected: 'the same result both times',
    hint: 'The function must not depend on anything that changes between forward and backward.',
  });
}

/**
 * What the nodes made since a moment depend on from before it, leaves always included (a layer may be made on its first
 * use), and the storages that they keep for their derivatives.
 */
function survey(root: Node | null, since: number): { outside: Node[]; saved: Set<Storage> } {
  const outside: Node[] = [];
  const saved = new Set<Storage>();
  const seen = new Set<Node | null>([null, root]);
  const waiting = root ? [root] : [];
  while (waiting.length > 0) {
    const node = waiting.pop()!;
    if (node.isLeaf || node.id < since) {
      outside.push(node);
      continue;
    }
    for (const value of [...node.inputs, node.output])
      if (value instanceof Tensor && value.node && !value.node.isLeaf) saved.add(value.storage);
    for (const { storage } of node.extra) saved.add(storage);
    for (const parent of node.parents) {
      if (seen.has(parent)) continue;
      seen.add(parent);
      waiting.push(parent!);
    }
  }
  return { outside, saved };
}
