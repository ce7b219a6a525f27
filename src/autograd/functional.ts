/** Derivatives of functions, and scopes. */
import { context, synchronous, within } from '../kernels/context.js';
import type { Storage } from '../kernels/device.js';
import { withScope } from '../kernels/scope.js';
import { describeValue, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape } from '../tensor/shape.js';
import { zeros } from './create.js';
import { type BackwardOptions, differentiate, leafNode } from './graph.js';
import { identity } from './ops/identity.js';
import { noGradientOfIntegers, Tensor } from './tensor.js';

/** How {@link grad} and {@link valueAndGrad} differentiate. */
export interface GradOptions {
  /**
   * Record the derivative too, so that it can be differentiated with respect to anything it depends on. Default:
   * inside another grad(), and when an input is itself tracked.
   */
  createGraph?: boolean;
  /** Which inputs to differentiate by, from 0: one, or a list. The others may be anything. Default: all. */
  argnums?: number | readonly number[];
  /** f returns [result, aux]; aux, whatever it is, is handed on beside the gradient. Default false. */
  hasAux?: boolean;
}

/** Tensors by themselves, or in lists and plain objects, nested at will. */
export type Tree = Tensor | readonly Tree[] | { readonly [key: string]: Tree };

/** The same lists and objects with a gradient in every tensor's place. */
export type GradientOf<T> = T extends Tensor ? Tensor : { -readonly [K in keyof T]: GradientOf<T[K]> };

/** The gradient of one input has that input's form, that of several is a list in their order. */
export type Gradients<A extends readonly unknown[], O = GradOptions> = O extends { argnums: infer N }
  ? N extends number
    ? GradientOf<A[N]>
    : N extends readonly number[]
      ? { -readonly [K in keyof N]: GradientOf<A[N[K] & number]> }
      : never
  : A['length'] extends 1
    ? GradientOf<A[0]>
    : { -readonly [K in keyof A]: GradientOf<A[K]> };

/** What f returns: a tensor with one element, or with `hasAux` that and anything else. */
type Result<O> = O extends { hasAux: true } ? readonly [Tensor, unknown] : Tensor;
type Aux<R> = R extends readonly [Tensor, infer X] ? X : undefined;

/** A function's value, gradient and, with `hasAux`, what else it returned; also iterates as [value, grad]. */
export class ValueAndGrad<G = Tensor, X = undefined> {
  constructor(
    readonly value: Tensor,
    readonly grad: G,
    readonly aux: X,
  ) {}

  /** The value, and the gradient if it is one tensor. */
  toString(): string {
    return `value: ${this.value}${this.grad instanceof Tensor ? `\ngrad: ${this.grad}` : ''}`;
  }

  /** Value and gradient, for `const [value, gradient] = …`. */
  *[Symbol.iterator](): Generator<Tensor | G> {
    yield this.value;
    yield this.grad;
  }
}

/**
 * The function that computes f and its gradient: ∇f(x) with respect to every input, or those that `argnums` names.
 * Inputs are tensors, or lists and plain objects of tensors; gradients come in the same form. An input that f does not
 * use has a gradient of zeros. `.grad` of tensors is not touched.
 *
 * @param f takes such inputs, returns a tensor with one element, or [tensor, aux] with `hasAux`
 * @throws ShapeError when f's result has several elements; DTypeError for int32 inputs; UsageError for inputs that are
 *   no tensors, and for `argnums` that name no input
 * @example valueAndGrad(({ w, b }, x) => loss(x.matmul(w).add(b)), { argnums: 0 })({ w, b }, x).grad.w
 */
export function valueAndGrad<A extends readonly Tensor[]>(
  f: (...inputs: A) => Tensor,
  options?: Pick<GradOptions, 'createGraph'>,
): (...inputs: A) => ValueAndGrad<Gradients<A>>;
export function valueAndGrad<A extends readonly unknown[], const O extends GradOptions, R extends Result<O>>(
  f: (...inputs: A) => R,
  options?: O,
): (...inputs: A) => ValueAndGrad<Gradients<A, O>, Aux<R>>;
export function valueAndGrad(f: (...inputs: unknown[]) => unknown, options: GradOptions = {}): unknown {
  return (...inputs: unknown[]) => gradients(f, inputs, options);
}

/**
 * The gradient of a function: `grad(f)(x)` is ∇f(x); nested for higher derivatives. With several inputs the result is a
 * list, with `hasAux` it is [gradient, aux]. See {@link valueAndGrad}.
 *
 * @example grad((x) => x.pow(3).sum())(tensor([2]))          // [12]
 * @example grad((x) => grad((y) => y.pow(3).sum())(x).sum())(tensor([2])) // [12], the second derivative
 */
export function grad<A extends readonly Tensor[]>(
  f: (...inputs: A) => Tensor,
  options?: Pick<GradOptions, 'createGraph'>,
): (...inputs: A) => Gradients<A>;
export function grad<A extends readonly unknown[], const O extends GradOptions, R extends Result<O>>(
  f: (...inputs: A) => R,
  options?: O,
): (...inputs: A) => O extends { hasAux: true } ? [Gradients<A, O>, Aux<R>] : Gradients<A, O>;
export function grad(f: (...inputs: unknown[]) => unknown, options: GradOptions = {}): unknown {
  return (...inputs: unknown[]) => {
    const { grad: found, aux } = gradients(f, inputs, options);
    return options.hasAux ? [found, aux] : found;
  };
}

function gradients(
  f: (...inputs: unknown[]) => unknown,
  inputs: readonly unknown[],
  { argnums, hasAux = false, createGraph: wanted }: GradOptions,
): ValueAndGrad<unknown, unknown> {
  const places = checkPlaces(argnums, inputs.length);
  const by = places.map((place) => inputs[place] as Tree);
  const leaves = by.flatMap((tree, i) => leavesOf(tree, `input ${places[i]}`));
  const { own, tracked } = enter(leaves);
  const createGraph = wanted ?? tracked;
  const given = [...inputs];
  const rebuilt = replaceLeaves(by, own);
  places.forEach((place, i) => {
    given[place] = rebuilt[i];
  });
  const result = within('grad', { recording: true, differentiating: true }, () => f(...given));
  const [value, aux] = hasAux ? (Array.isArray(result) ? result : []) : [result, undefined];
  if (!(value instanceof Tensor) || value.size !== 1)
    throw new ShapeError('grad', {
      received:
        value instanceof Tensor
          ? `a function with a result of shape ${formatShape(value.shape)}`
          : `a function that returns ${describeValue(result)}`,
      expected: hasAux ? 'a function that returns [one element, aux]' : 'a function with one element as result',
      hint: hasAux ? 'Return [loss, anything].' : 'Reduce it: .sum() or .mean().',
    });
  const taken = new Set([value, ...leaves].map(({ storage }) => storage));
  const grads = pullBack(value, own, null, { createGraph }).map((gradient) => {
    if (!taken.has(gradient.storage)) {
      taken.add(gradient.storage);
      return gradient;
    }
    return gradient.clone(); // its memory is its own: whoever frees another tensor does not free it
  });
  const formed = replaceLeaves(by, grads);
  const single = argnums === undefined ? inputs.length === 1 : typeof argnums === 'number';
  return new ValueAndGrad(createGraph ? value : value.detach(), single ? formed[0] : formed, aux);
}

/** The inputs to differentiate by. @throws UsageError */
function checkPlaces(argnums: GradOptions['argnums'], count: number): readonly number[] {
  const places = argnums === undefined ? Array.from({ length: count }, (_, i) => i) : [argnums].flat();
  const wrong = places.find((place) => !Number.isInteger(place) || place < 0 || place >= count);
  if (wrong !== undefined || new Set(places).size < places.length)
    throw new UsageError('grad', {
      received: `argnums ${JSON.stringify(argnums)} for ${count} inputs`,
      expected: `different whole numbers in [0, ${count})`,
    });
  return places;
}

/** The tensors of a tree in order. @throws UsageError for what is no tree; DTypeError for int32 tensors */
function leavesOf(tree: unknown, where: string): Tensor[] {
  if (tree instanceof Tensor) {
    if (tree.dtype === 'int32') throw noGradientOfIntegers('grad');
    return [tree];
  }
  if (Array.isArray(tree)) return tree.flatMap((member, i) => leavesOf(member, `${where}[${i}]`));
  if (typeof tree === 'object' && tree !== null && isPlain(tree))
    return Object.entries(tree).flatMap(([key, member]) => leavesOf(member, `${where}.${key}`));
  throw new UsageError('grad', {
    received: `${tree === null ? 'null' : typeof tree === 'object' ? tree.constructor.name : typeof tree} as ${where}`,
    expected: 'tensors, or lists and plain objects of tensors',
    hint: 'Wrap numbers with tensor(…), or name the inputs to differentiate by with argnums.',
  });
}

function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The trees with other tensors in place of theirs, in the order of {@link leavesOf}. */
function replaceLeaves(trees: readonly Tree[], leaves: readonly Tensor[]): unknown[] {
  let next = 0;
  const replace = (tree: Tree): unknown => {
    if (tree instanceof Tensor) return leaves[next++]!;
    if (Array.isArray(tree)) return tree.map(replace);
    return Object.fromEntries(Object.entries(tree).map(([key, member]) => [key, replace(member)]));
  };
  return trees.map(replace);
}

/** The same elements as a new leaf. */
export function fresh(x: Tensor): Tensor {
  const leaf = new Tensor(x.storage, x.shape);
  leaf.node = leafNode(leaf);
  return leaf;
}

/**
 * Inputs as a function under a derivative gets them: tensors of its own, which are part of the graph around it only where
 * the derivative is to be differentiated in turn (`tracked`).
 */
export function enter(inputs: readonly Tensor[]): { own: Tensor[]; tracked: boolean } {
  const tracked = context.recording && (context.differentiating || inputs.some((x) => x.requiresGrad));
  return { own: inputs.map((x) => (tracked && x.requiresGrad ? identity([x]) : fresh(x))), tracked };
}

/** Gradients of ⟨value, gradOutput⟩ (null: of the value) by inputs from {@link enter}; zeros for one that it does not use. */
export function pullBack(
  value: Tensor,
  own: readonly Tensor[],
  gradOutput: Tensor | null,
  options: BackwardOptions,
): Tensor[] {
  const found = value.node ? differentiate(value, gradOutput, { ...options, wrt: own.map((x) => x.node) }) : [];
  return own.map((x, i) => found[i] ?? zeros(x.shape, { dtype: x.dtype, device: x.device }));
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
