/**
 * The graph that operations record, and the backward pass over it.
 *
 * A node remembers its op, its parents and what its derivative needs. Nodes are numbered as they are made, and a
 * node is always younger than its parents, so descending numbers are a topological order: backward collects the
 * reachable nodes with an explicit stack (no recursion, any depth) and visits them from the youngest.
 */
import { context, within } from '../kernels/context.js';
import { type Device, type Storage, sameDevice, updateClock } from '../kernels/device.js';
import { keepWith, withScope } from '../kernels/scope.js';
import type { DType } from '../tensor/dtype.js';
import { DTypeError, GraphError, NotDifferentiableError, ShapeError } from '../tensor/errors.js';
import { formatShape, type Shape, sameShape } from '../tensor/shape.js';
import { withinGradientOf } from './anomaly.js';
import type { Op, VjpContext } from './op.js';
import { checkTensor, freedError, type Operand, Tensor } from './tensor.js';

let nextId = 0;

/** The number that the next node will have: nodes below it are there already. */
export function nodeClock(): number {
  return nextId;
}

/** How one tensor was computed; or a leaf, where gradients arrive. */
export class Node {
  readonly id = nextId++;
  /** Set on leaves: the tensor whose `.grad` collects the gradient. */
  leaf: Tensor | null = null;
  freed = false;
  readonly recordedAt = updateClock();
  /** What the result is like, and so its gradient. */
  readonly shape: Shape;
  readonly dtype: DType;
  readonly device: Device;

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
    /** Further values the forward kernel saved for the derivative. */
    public extra: readonly Tensor[],
    result: Tensor,
  ) {
    this.shape = result.shape;
    this.dtype = result.dtype;
    this.device = result.storage.device;
  }

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

  /** @throws GraphError when the graph was freed */
  checkThere(op: string): void {
    if (this.freed)
      throw new GraphError(op, {
        received: `a graph that an earlier backward() has freed (at ${this.name})`,
        expected: 'a graph that is still there',
        hint: 'Pass { retainGraph: true } to the first backward(), or compute the loss again.',
      });
  }

  /** @throws GraphError when the graph, or a saved value, was freed, or the value updated in place after it was saved */
  checkUsable(): void {
    this.checkThere('backward');
    for (const value of [...this.inputs, this.output, ...this.extra]) {
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
  const node = new Node(null, [], [], null, [], null, [], tensor);
  node.leaf = tensor;
  return node;
}

/** Runs `body` without recording: its results have no history and keep nothing alive. @throws UsageError for async ones */
export function noGrad<T>(body: () => T): T {
  return within('noGrad', { recording: false }, body);
}

/** Runs `body` with recording on, also inside noGrad. @throws UsageError for async ones */
export function enableGrad<T>(body: () => T): T {
  return within('enableGrad', { recording: true }, body);
}

/** What a backward pass leaves behind. */
export interface BackwardOptions {
  /** Keep the graph for another backward pass. Default: createGraph. */
  retainGraph?: boolean;
  /** Record the backward pass itself, so that gradients can be differentiated again. Default false. */
  createGraph?: boolean;
}

/** See {@link Tensor.backward}. */
export function backward(root: Tensor, gradOutput: Tensor | null, options: BackwardOptions = {}): void {
  differentiate(root, gradOutput, {
    ...options,
    onLeaf(leaf, grad, shared) {
      if (leaf.grad) checkGradient('backward', 'the .grad that is there', leaf.grad, leaf.node!);
      leaf.grad = leaf.grad ? leaf.grad.add(grad) : shared ? grad.clone() : grad;
      keepWith(leaf.grad.storage, leaf.storage);
    },
  });
}

export interface DifferentiateOptions extends BackwardOptions {
  /** Stop at these nodes and return their gradients, in order (null where the result does not depend on one). */
  wrt?: readonly (Node | null)[];
  /**
   * Called with the gradient of every leaf reached; without it only what leads to `wrt` is visited. `shared` says that
   * the gradient's memory is not the leaf's alone: that of gradOutput, or of another gradient.
   */
  onLeaf?: (leaf: Tensor, grad: Tensor, shared: boolean) => void;
  /** Called with every node that is reached, and its gradient, which may be freed after that. */
  onNode?: (node: Node, grad: Tensor) => void;
  /** Stop at nodes that were there before this number (see {@link nodeClock}). */
  since?: number;
}

/**
 * The backward pass: accumulates vector–Jacobian products from `root` down to its leaves and to `wrt`.
 *
 * Each vjp runs in a scope, so that it is known which gradients the pass has made itself. Without createGraph it frees
 * its own temporaries at once: a gradient is freed when the node that waited for it has used it (`pins` counts the
 * gradients waiting in one storage, as reshapes and additions pass the same one on).
 */
export function differentiate(
  root: Tensor,
  gradOutput: Tensor | null,
  { createGraph = false, retainGraph = false, wrt = [], onLeaf, onNode, since = 0 }: DifferentiateOptions,
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
  checkGradient('backward', 'gradOutput', seed, rootNode);

  const targets = new Set(wrt);
  const stops = (node: Node) => targets.has(node) || node.id < since;
  const order = collect(rootNode, stops);
  const needed = onLeaf ? null : leadingTo(order, targets, stops);
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
  const drop = ({ storage }: Tensor) => {
    const left = pins.get(storage)! - 1;
    pins.set(storage, left);
    if (left === 0 && owned.delete(storage) && !createGraph) storage.free();
  };
  const visit = (node: Node, grad: Tensor) => {
    const { parents } = node;
    vjp(node, grad, needed).forEach((part, i) => {
      if (!part || !parents[i]) return;
      checkGradient(`the vjp of ${node.name}`, `gradient ${i}`, part, parents[i]);
      add(parents[i], part);
    });
  };
  const owns = (storage: Storage) => (pins.get(storage) ?? 0) > 0 && Boolean(owned.add(storage));
  add(rootNode, seed);
  if (gradOutput === null) owned.add(seed.storage);

  within('backward', { recording: createGraph }, () => {
    for (const node of order) {
      const grad = grads.get(node);
      if (grad === undefined || stops(node)) continue;
      grads.delete(node);
      onNode?.(node, grad);
      if (node.leaf) {
        const { storage } = grad;
        onLeaf?.(node.leaf, grad, !owned.has(storage) || pins.get(storage) !== 1);
        if (node.leaf.grad?.storage === storage)
          owned.delete(storage); // it belongs to the leaf now
        else drop(grad);
        continue;
      }
      withScope(
        () => visit(node, grad),
        (storage) => owns(storage) || createGraph,
        'backward',
      );
      drop(grad);
      if (!retainGraph && !createGraph) node.release();
    }
  });
  return wrt.map((node) => (node && grads.get(node)) ?? null);
}

/**
 * @param node whose gradient `grad` is to be; `name` is what the caller calls it
 * @throws ShapeError, DTypeError, DeviceError, UsageError when it cannot be that
 */
function checkGradient(op: string, name: string, grad: unknown, node: Node): void {
  checkTensor(op, name, grad);
  if (!sameShape(grad.shape, node.shape))
    throw new ShapeError(op, {
      received: `${name} of shape ${formatShape(grad.shape)} for a tensor of shape ${formatShape(node.shape)}`,
      expected: 'the same shape',
      hint: 'Where an op repeats its input, the gradient is summed over the repeated axes.',
    });
  if (grad.dtype !== node.dtype)
    throw new DTypeError(op, {
      received: `${name} of ${grad.dtype} for a ${node.dtype} tensor`,
      expected: 'the same dtype',
      hint: `Make it with { dtype: '${node.dtype}' }, or cast it.`,
    });
  sameDevice(op, node.device, grad.storage.device);
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

/** Every node reachable from `root`, without going below where it `stops`, youngest first. */
export function collect(root: Node, stops: (node: Node) => boolean = () => false): Node[] {
  const seen = new Set<Node>([root]);
  const stack = [root];
  while (stack.length > 0) {
    const node = stack.pop()!;
    if (stops(node)) continue;
    for (const parent of node.parents) {
      if (parent === null || seen.has(parent)) continue;
      seen.add(parent);
      stack.push(parent);
    }
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/** The nodes of `order` (youngest first) from which some target can be reached. */
function leadingTo(
  order: readonly Node[],
  targets: ReadonlySet<Node | null>,
  stops: (node: Node) => boolean,
): Set<Node> {
  const leading = new Set<Node>();
  for (let i = order.length - 1; i >= 0; i--) {
    const node = order[i]!;
    const leads = stops(node)
      ? targets.has(node)
      : node.parents.some((parent) => parent !== null && leading.has(parent));
    if (leads) leading.add(node);
  }
  return leading;
}

/** Gradients of one node's inputs, null where none is wanted. */
function vjp(node: Node, gradOutput: Tensor, needed: ReadonlySet<Node> | null): (Tensor | null)[] {
  node.checkUsable();
  const op = node.op!;
  const wants = node.parents.map((parent) => parent !== null && (needed === null || needed.has(parent)));
  const view: VjpContext<unknown> = {
    gradOutput,
    inputs: node.inputs as readonly Tensor[],
    output: node.output!,
    params: node.params,
    shapes: node.shapes,
    extra: context.recording ? [] : node.extra,
    wants,
  };
  const plain = () =>
    typeof op.vjp === 'function'
      ? op.vjp(view)
      : wants.map((wanted, i) => (wanted ? (op.vjp as ((c: VjpContext<unknown>) => Tensor)[])[i]!(view) : null));
  if (context.detectingAnomalies) return withinGradientOf(op.name, plain); // in single ops, each of which is checked
  return (!context.recording && op.fusedVjp?.(view)) || plain();
}
