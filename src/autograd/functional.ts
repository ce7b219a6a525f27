/** Derivatives of functions, and scopes. */
import { context, synchronous, within } from '../kernels/context.js';
import type { Storage } from '../kernels/device.js';
import { withScope } from '../kernels/scope.js';
import { ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { zeros } from './create.js';
import { differentiate, leafNode } from './graph.js';
import { identity } from './ops/identity.js';
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
  const nested = context.recording && (context.differentiating || inputs.some((x) => x.requiresGrad));
  const createGraph = options.createGraph ?? nested;
  const own = inputs.map((x) => (nested && x.requiresGrad ? identity([x]) : fresh(x)));
  const value = within('grad', { recording: true, differentiating: true }, () => f(...own));
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
  const taken = new Set([value, ...inputs].map(({ storage }) => storage));
  const grads = own.map((x, i) => {
    const gradient = found[i] ?? zeros(x.shape, { dtype: x.dtype, device: x.device });
    if (!taken.has(gradient.storage)) {
      taken.add(gradient.storage);
      return gradient;
    }
    return gradient.clone(); // its memory is its own: whoever frees another tensor does not free it
  });
  return { value: createGraph ? value : value.detach(), grads };
}

/** The same elements as a new leaf. */
function fresh(x: Tensor): Tensor {
  const leaf = new Tensor(x.storage, x.shape);
  leaf.node = leafNode(leaf);
  return leaf;
}

/**
 * Runs `body` and frees every tensor made inside at once, except those in its result (a tensor, or tensors anywhere in
 * arrays, maps and objects), gradients of tensors that live on, and optimiser state. Using a freed tensor is a typed
 * error. Never needed for correctness: it replaces waiting for garbage collection.
 *
 * @throws UsageError when body returns a promise: frees must not cut across awaits
 */
export function scoped<T>(body: () => T): T {
  return withScope(
    () => {
      const result = synchronous('scoped', body());
      return { result, kept: storagesIn(result) };
    },
    (storage, { kept }) => kept.has(storage),
  ).result;
}

/** The storages of all tensors in a value, and of their gradients. */
function storagesIn(value: unknown): Set<Storage> {
  const found = new Set<Storage>();
  const seen = new Set<unknown>();
  const waiting = [value];
  while (waiting.length > 0) {
    const item = waiting.pop();
    if (item === null || typeof item !== 'object' || ArrayBuffer.isView(item) || seen.has(item)) continue;
    seen.add(item);
    if (item instanceof Tensor) {
      found.add(item.storage);
      waiting.push(item.grad);
    } else {
      if (item instanceof Map || item instanceof Set) for (const entry of item.entries()) waiting.push(...entry);
      for (const member of Object.values(item)) waiting.push(member);
    }
  }
  return found;
}
