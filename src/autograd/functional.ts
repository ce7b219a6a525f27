/** Derivatives of functions, recomputation instead of storage, and scopes. */
import type { Storage } from '../kernels/device.js';
import { withScope } from '../kernels/scope.js';
import { GraphError, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { globalGenerator, withGlobalGenerator, zeros } from './create.js';
import { currentLeafSink, differentiate, enableGrad, isRecording, leafNode, Node, noGrad, replaying } from './graph.js';
import type { Op } from './op.js';
import { identity } from './ops/cast.js';
import { noGradientOfIntegers, Tensor } from './tensor.js';

export interface GradOptions {
  /**
   * Record the derivative too, so that it can be differentiated with respect to anything it depends on. Default:
   * inside another grad(), and when an input is itself tracked.
   */
  createGraph?: boolean;
}

/** The gradient of one input is a tensor, that of several a list in their order. */
export type Gradients<A extends readonly Tensor[]> = A['length'] extends 1 ? Tensor : { [K in keyof A]: Tensor };

/** A function's value and gradient; also iterates as [value, grad]. */
export class ValueAndGrad<A extends readonly Tensor[]> {
  constructor(
    readonly value: Tensor,
    readonly grad: Gradients<A>,
  ) {}

  *[Symbol.iterator](): Generator<Tensor | Gradients<A>> {
    yield this.value;
    yield this.grad;
  }
}

/**
 * The function that computes f and its gradient: ∇f(x) with respect to every input.
 * An input that f does not use has a gradient of zeros. `.grad` of tensors is not touched.
 *
 * @param f takes tensors, returns a tensor with one element
 * @throws ShapeError when f's result has several elements; DTypeError for int32 inputs
 */
export function valueAndGrad<A extends readonly Tensor[]>(
  f: (...inputs: A) => Tensor,
  options: GradOptions = {},
): (...inputs: A) => ValueAndGrad<A> {
  return (...inputs) => {
    const { value, grads } = gradients(f as (...inputs: readonly Tensor[]) => Tensor, inputs, options);
    return new ValueAndGrad<A>(value, (inputs.length === 1 ? grads[0] : grads) as Gradients<A>);
  };
}

/**
 * The gradient of a function: `grad(f)(x)` is ∇f(x); nested for higher derivatives.
 * With several inputs the result is a list. See {@link valueAndGrad}.
 *
 * @example grad((x) => x.pow(3).sum())(tensor([2]))          // [12]
 * @example grad((x) => grad((y) => y.pow(3).sum())(x).sum())(tensor([2])) // [12], the second derivative
 */
export function grad<A extends readonly Tensor[]>(
  f: (...inputs: A) => Tensor,
  options: GradOptions = {},
): (...inputs: A) => Gradients<A> {
  return (...inputs) => valueAndGrad(f, options)(...inputs).grad;
}

function gradients(
  f: (...inputs: readonly Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  options: GradOptions,
): { value: Tensor; grads: Tensor[] } {
  inputs.forEach((x, i) => {
    if (!(x instanceof Tensor))
      throw new UsageError('grad', {
        received: `${typeof x} as input ${i}`,
        expected: 'tensors',
        hint: 'Wrap numbers with tensor(…).',
      });
    if (x.dtype === 'int32') throw noGradientOfIntegers('grad');
  });
  const nested = isRecording() && (depth > 0 || inputs.some((x) => x.requiresGrad));
  const createGraph = options.createGraph ?? nested;
  const own = inputs.map((x) => (nested && x.requiresGrad ? identity([x]) : fresh(x)));
  depth++;
  let value: Tensor;
  try {
    value = enableGrad(() => f(...own));
  } finally {
    depth--;
  }
  if (!(value instanceof Tensor) || value.size !== 1)
    throw new ShapeError('grad', {
      received:
        value instanceof Tensor
          ? `a function with a result of shape ${formatShape(value.shape)}`
          : 'a function whose result is no tensor',
      expected: 'a function with one element as result',
      hint: 'Reduce it: .sum() or .mean().',
    });
  const found = value.node ? differentiate(value, null, { createGraph, wrt: own.map((x) => x.node) }) : [];
  const grads = own.map((x, i) => found[i] ?? zeros(x.shape, { dtype: x.dtype, device: x.device }));
  return { value: createGraph ? value : value.detach(), grads };
}

/** How many functions under grad() are running: the derivative taken inside one is itself differentiated. */
let depth = 0;

/** The same elements as a new leaf. */
function fresh(x: Tensor): Tensor {
  const leaf = new Tensor(x.storage, x.shape);
  leaf.node = leafNode(leaf);
  return leaf;
}

/**
 * Computes fn without keeping what its derivative needs, and computes it again during backward: less memory for
 * about one more forward pass. Tensors that fn uses from outside (parameters) get their gradients as usual. Random
 * numbers drawn by randn() and uniform() are the same both times.
 *
 * @throws GraphError when fn gives a result of another shape the second time
 * @source Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv 1604.06174
 */
export function checkpoint<A extends readonly Tensor[]>(fn: (...inputs: A) => Tensor, ...inputs: A): Tensor {
  if (!isRecording()) return fn(...inputs);
  const state = globalGenerator().state;
  const result = noGrad(() => fn(...inputs));
  const output = new Tensor(result.storage, result.shape);
  const op: Op<void> = {
    name: 'checkpoint',
    equation: 'y = f(x)',
    derivative: 'that of f, computed again',
    builtIn: true,
    vjp({ gradOutput }) {
      const createGraph = isRecording();
      const own = inputs.map((x) =>
        x.dtype === 'int32' ? x : createGraph && x.requiresGrad ? identity([x]) : fresh(x),
      );
      const again = replaying(() => withGlobalGenerator(state, () => enableGrad(() => fn(...(own as unknown as A)))));
      if (formatShape(again.shape) !== formatShape(output.shape))
        throw new GraphError('checkpoint', {
          received: `shapes ${formatShape(output.shape)} and then ${formatShape(again.shape)} from the same function`,
          expected: 'the same result both times',
          hint: 'The function must not depend on anything that changes between forward and backward.',
        });
      if (!again.node) return inputs.map(() => null);
      return differentiate(again, gradOutput, { createGraph, wrt: own.map((x) => x.node), onLeaf: currentLeafSink() });
    },
  };
  output.node = new Node(
    op,
    inputs.map((x) => x.node),
    inputs, // so that updates in place are noticed
    undefined,
    inputs.map((x) => x.shape),
    null,
    [],
  );
  return output;
}

/**
 * Runs `body` and frees every tensor made inside at once, except those in its result (a tensor, or tensors in
 * arrays and plain objects), gradients of tensors from outside, and optimiser state. Using a freed tensor is a
 * typed error. Never needed for correctness: it replaces waiting for garbage collection.
 *
 * @throws UsageError when body returns a promise: frees must not cut across awaits
 */
export function scoped<T>(body: () => T): T {
  return withScope(
    () => {
      const result = body();
      if (result instanceof Promise)
        throw new UsageError('scoped', {
          received: 'a function that returns a promise',
          expected: 'a synchronous function',
          hint: 'Read results outside of it.',
        });
      return { result, kept: storagesIn(result) };
    },
    (storage, { kept }) => kept.has(storage),
  ).result;
}

function storagesIn(value: unknown, found = new Set<Storage>()): Set<Storage> {
  if (value instanceof Tensor) found.add(value.storage);
  else if (Array.isArray(value)) for (const item of value) storagesIn(item, found);
  else if (value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype)
    for (const item of Object.values(value)) storagesIn(item, found);
  return found;
}
