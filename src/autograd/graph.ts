/**
 * The graph that operations record, and the backward pass over it.
 *
 * A node remembers its op, its parents and what its derivative needs. Nodes are numbered as they are made, and a
 * node is always younger than its parents, so descending numbers are a topological order: backward collects the
 * reachable nodes with an explicit stack (no recursion, any depth) and visits them from the youngest.
 */
import { type Storage, updateClock } from '../kernels/device.js';
import { keep, withScope } from '../kernels/scope.js';
import { GraphError, NotDifferentiableError, ShapeError } from '../tensor/errors.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { isDetectingAnomalies, withinGradientOf } from './anomaly.js';
import type { Op, VjpContext } from './op.js';
import { checkSynchronous, checkTensor, freedError, type Operand, Tensor } from './tensor.js';

let nextId = 0;

/** How one tensor was computed; or a leaf, where gradients arrive. */
export class Node {
  readonly id = nextId++;
  /** Set on leaves: the tensor whose `.grad` collects the gradient. */
  leaf: Tensor | null = null;
  freed = false;
  readonly recordedAt = updateClock();

  constructor(
    // biome-ignore lint/suspicious/noExplicitAny: a graph holds ops of every parameter type
    readonly op: Op<any> | null,
    public parents: readonly (Node | null)[],
    /** Inputs that the op declared in `saves`, undefined elsewhere. */
    public inputs: readonly (Operand | undefined)[],
    readonly params: unknown,
    readonly shapes: readonly Shape[],
    /** The op's result, when declared in `saves`. */
    public output: Tensor | null,
    /** Further values the forward kernel kept for the derivative. */
    public extra: readonly Tensor[],
  ) {}

  get isLeaf(): boolean {
    return this.leaf !== null;
  }

  get name(): string {
    return this.op?.name ?? 'leaf';
  }

  /** Drops everything the derivative needed, so that it can be collected. */
  release(): void {
    this.freed = true;
    this.parents = [];
    this.inputs = [];
    this.output = null;
    this.extra = [];
  }

  /** @throws GraphError when the graph, or a saved value, was freed, or the value updated in place after it was saved */
  checkUsable(): void {
    if (this.freed)
      throw new GraphError('backward', {
        received: `a graph that an earlier backward() has freed (at ${this.name})`,
        expected: 'a graph that is still there',
        hint: 'Pass { retainGraph: true } to the first backward(), or compute the loss again.',
      });
    for (const value of [...this.inputs, this.output]) {
      if (!(value instanceof Tensor)) continue;
      if (value.storage.freed) throw freedError(`backward through ${this.name}`, value);
      if (value.storage.updatedAt > this.recordedAt)
        throw new GraphError('backward', {
          received: `a value of shape ${formatShape(value.shape)}, needed by the gradient of ${this.name}, that was updated in place since`,
          expected: 'values as they were in the forward pass',
          hint: 'Call backward() before the optimiser step or loadStateDict().',
        });
    }
  }
}

/** The node of a tensor that no op produced: where its gradient arrives. */
export function leafNode(tensor: Tensor): Node {
  const node = new Node(null, [], [], null, [], null, []);
  node.leaf = tensor;
  return node;
}

let recording = true;

/** Whether operations are being recorded. */
export function isRecording(): boolean {
  return recording;
}

function withRecording<T>(value: boolean, body: () => T): T {
  const before = recording;
  recording = value;
  try {
    return checkSynchronous(value ? 'enableGrad' : 'noGrad', body());
  } finally {
    recording = before;
  }
}

/** Runs `body` without recording: its results have no history and keep nothing alive. @throws UsageError for async ones */
export function noGrad<T>(body: () => T): T {
  return withRecording(false, body);
}

/** Runs `body` with recording on, also inside noGrad. */
export function enableGrad<T>(body: () => T): T {
  return withRecording(true, body);
}

let replays = 0;

/** Whether a checkpoint is computing its function again: what counts or updates in the forward pass must not now. */
export function isReplaying(): boolean {
  return replays > 0;
}

/** Runs the second computation of a checkpoint. */
export function replaying<T>(body: () => T): T {
  replays++;
  try {
    return body();
  } finally {
    replays--;
  }
}

export interface BackwardOptions {
  /** Keep the graph for another backward pass. Default: createGraph. */
  retainGraph?: boolean;
  /** Record the backward pass itself, so that gradients can be differentiated again. Default false. */
  createGraph?: boolean;
}

type LeafSink = (leaf: Tensor, grad: Tensor) => void;

/** See {@link Tensor.backward}. */
export function backward(root: Tensor, gradOutput: Tensor | null, options: BackwardOptions = {}): void {
  differentiate(root, gradOutput, {
    ...options,
    onLeaf(leaf, grad) {
      leaf.grad = leaf.grad === null ? grad : leaf.grad.add(grad);
      keep(leaf.grad.storage);
    },
  });
}

export interface DifferentiateOptions extends BackwardOptions {
  /** Stop at these nodes and return their gradients, in order (null where the result does not depend on one). */
  wrt?: readonly (Node | null)[];
  /** Called with the gradient of every leaf reached; without it only what leads to `wrt` is visited. */
  onLeaf?: LeafSink | undefined;
}

let leafSink: LeafSink | undefined;

/** Where the running backward pass sends gradients of leaves; for ops that differentiate inside their vjp. */
export function currentLeafSink(): LeafSink | undefined {
  return leafSink;
}

/**
 * The backward pass: accumulates vector–Jacobian products from `root` down to its leaves and to `wrt`.
 *
 * Without createGraph the pass frees its own temporaries at once: each vjp runs in a scope, and a gradient is
 * freed when the node that waited for it has used it (`pins` counts the gradients waiting in one storage, as
 * reshapes and additions pass the same one on).
 */
export function differentiate(
  root: Tensor,
  gradOutput: Tensor | null,
  { createGraph = false, retainGraph = false, wrt = [], onLeaf }: DifferentiateOptions,
): (Tensor | null)[] {
  const rootNode = root.node;
  if (rootNode === null && root.whyNoGradient)
    throw new NotDifferentiableError('backward', { received: root.whyNoGradient, expected: 'a differentiable result' });
  if (rootNode === null)
    throw new GraphError('backward', {
      received: 'a tensor without history',
      expected: 'a tensor computed from one with requiresGrad',
      hint: 'Set requiresGrad on an input, and do not call this after detach() or on results of noGrad().',
    });
  const seed = gradOutput ?? onesFor(root);
  checkTensor('backward', 'gradOutput', seed);
  if (!sameShape(seed.shape, root.shape))
    throw new ShapeError('backward', {
      received: `gradOutput of shape ${formatShape(seed.shape)} for a tensor of shape ${formatShape(root.shape)}`,
      expected: 'the same shape',
    });

  const targets = new Set(wrt);
  const order = collect(rootNode, targets);
  const needed = onLeaf ? null : leadingTo(order, targets);
  const grads = new Map<Node, Tensor>();
  const pins = new Map<Storage, number>();
  const owned = new Set<Storage>();
  const add = (node: Node, part: Tensor) => {
    const waiting = grads.get(node);
    const total = waiting ? waiting.add(part) : part;
    grads.set(node, total);
    pins.set(total.storage, (pins.get(total.storage) ?? 0) + 1);
    if (waiting) drop(waiting);
  };
  const drop = (grad: Tensor) => {
    const left = pins.get(grad.storage)! - 1;
    pins.set(grad.storage, left);
    if (left === 0 && owned.delete(grad.storage)) grad.storage.free();
  };
  const visit = (node: Node, grad: Tensor) => {
    const { parents } = node;
    vjp(node, grad, needed).forEach((part, i) => {
      if (!part || !parents[i]) return;
      checkGradient(node, i, part);
      add(parents[i]!, part);
    });
  };
  add(rootNode, seed);
  if (gradOutput === null && !createGraph) owned.add(seed.storage);

  const outerSink = leafSink;
  leafSink = onLeaf;
  try {
    withRecording(createGraph, () => {
      for (const node of order) {
        const grad = grads.get(node);
        if (grad === undefined || targets.has(node)) continue;
        grads.delete(node);
        if (node.leaf) {
          onLeaf?.(node.leaf, grad);
          if (node.leaf.grad?.storage === grad.storage)
            owned.delete(grad.storage); // it belongs to the leaf now
          else drop(grad);
          continue;
        }
        if (createGraph) visit(node, grad);
        else
          withScope(
            () => visit(node, grad),
            (storage) => (pins.get(storage) ?? 0) > 0 && Boolean(owned.add(storage)),
          );
        drop(grad);
        if (!retainGraph && !createGraph) node.release();
      }
    });
  } finally {
    leafSink = outerSink;
  }
  return wrt.map((node) => (node && grads.get(node)) ?? null);
}

/** @throws ShapeError, UsageError when a vjp gives something that is no gradient of its input */
function checkGradient(node: Node, input: number, part: unknown): void {
  checkTensor(`the vjp of ${node.name}`, `gradient ${input}`, part);
  if (!sameShape(part.shape, node.shapes[input]!))
    throw new ShapeError(`the vjp of ${node.name}`, {
      received: `a gradient of shape ${formatShape(part.shape)} for input ${input} of shape ${formatShape(node.shapes[input]!)}`,
      expected: 'the same shape',
      hint: 'Where the op repeats an input, its gradient is summed over the repeated axes.',
    });
}

/** The gradient of a single element with respect to itself. */
function onesFor(root: Tensor): Tensor {
  if (root.size !== 1)
    throw new GraphError('backward', {
      received: `a tensor of shape ${formatShape(root.shape)} and no gradOutput`,
      expected: 'a single element, or a gradOutput of the same shape',
      hint: 'Reduce to a scalar loss first: loss.mean().backward().',
    });
  return new Tensor(root.storage.device.fill(1, 1, root.dtype), root.shape);
}

/** Every node reachable from `root`, without going below `targets`, youngest first. */
function collect(root: Node, targets: ReadonlySet<Node | null>): Node[] {
  const seen = new Set<Node>([root]);
  const stack = [root];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (targets.has(node)) continue;
    for (const parent of node.parents) {
      if (parent === null || seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/** The nodes of `order` (youngest first) from which some target can be reached. */
function leadingTo(order: readonly Node[], targets: ReadonlySet<Node | null>): Set<Node> {
  const leading = new Set<Node>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    if (targets.has(node) || node.parents.some((parent) => parent !== null && leading.has(parent))) leading.add(node);
  }
  return leading;
}

/** Gradients of one node's inputs, null where none is wanted. */
function vjp(node: Node, gradOutput: Tensor, needed: ReadonlySet<Node> | null): (Tensor | null)[] {
  node.checkUsable();
  const op = node.op!;
  const wants = node.parents.map((parent) => parent !== null && (needed === null || needed.has(parent)));
  const context: VjpContext<unknown> = {
    gradOutput,
    inputs: node.inputs as readonly Tensor[],
    output: node.output!,
    params: node.params,
    shapes: node.shapes,
    extra: node.extra,
    wants,
  };
  const plain = () =>
    typeof op.vjp === 'function'
      ? op.vjp(context)
      : wants.map((wanted, i) => (wanted ? (op.vjp as ((c: VjpContext<unknown>) => Tensor)[])[i]!(context) : null));
  if (isDetectingAnomalies()) return withinGradientOf(op.name, plain); // in single ops, each of which is checked
  return (!recording && op.fusedVjp?.(context)) || plain();
}
