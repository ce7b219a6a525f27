/**
 * Derivatives of functions with results of any shape, all made from reverse mode: a vjp is a backward pass, a jvp a vjp
 * of a vjp, and matrices are made row by row.
 *
 * For f: ℝⁿ → ℝᵐ with Jacobian J = ∂f/∂x, [m, n]: vjp gives ū ↦ Jᵀū, jvp gives v ↦ Jv, hvp gives v ↦ ∇²f v.
 */
import { context, within } from '../kernels/context.js';
import { DTypeError, ShapeError, UsageError } from '../tensor/errors.js';
import { formatShape, sameShape } from '../tensor/shape.js';
import { eye, zeros } from './create.js';
import { enter, grad, pullBack } from './functional.js';
import { stack } from './ops/join.js';
import { noGradientOfIntegers, Tensor } from './tensor.js';

type Inputs = readonly Tensor[];

/** The gradient of one input is a tensor, that of several a list. */
type PerInput<A extends Inputs> = A['length'] extends 1 ? Tensor : { -readonly [K in keyof A]: Tensor };

/** f at its inputs, recorded, with what is needed to go back through it. */
function record(op: string, f: (...inputs: never[]) => Tensor, inputs: Inputs) {
  inputs.forEach((x, i) => {
    if (!(x instanceof Tensor))
      throw new UsageError(op, {
        received: `${typeof x} as input ${i}`,
        expected: 'tensors',
        hint: 'Wrap numbers with tensor(…).',
      });
    if (x.dtype === 'int32') throw noGradientOfIntegers(op);
  });
  const { own, tracked } = enter(inputs);
  const value = within(op, { recording: true, differentiating: true }, () => f(...(own as never[])));
  if (!(value instanceof Tensor))
    throw new UsageError(op, { received: 'a function whose result is no tensor', expected: 'one tensor as result' });
  /** Jᵀū for every input. */
  const pull = (cotangent: Tensor, { createGraph = tracked } = {}): Tensor[] =>
    pullBack(value, own, cotangent, { createGraph, retainGraph: true });
  return { value, pull, tracked };
}

function checkLike(op: string, what: string, given: Tensor, like: Tensor): void {
  if (!(given instanceof Tensor) || !sameShape(given.shape, like.shape))
    throw new ShapeError(op, {
      received: given instanceof Tensor ? `${what} of shape ${formatShape(given.shape)}` : `${typeof given} as ${what}`,
      expected: `shape ${formatShape(like.shape)}`,
    });
  if (given.dtype !== like.dtype)
    throw new DTypeError(op, { received: `${what} in ${given.dtype}`, expected: like.dtype });
}

const unpacked = <A extends Inputs>(list: Tensor[]) => (list.length === 1 ? list[0] : list) as PerInput<A>;

/**
 * Value and vector–Jacobian product of a function: `pull(ū)` is Jᵀū for each input, as often as wanted.
 *
 * @param f tensors → one tensor of any shape
 * @returns value f(x); pull: a tensor in the value's shape → one in each input's shape (a list for several inputs)
 * @throws UsageError, DTypeError; pull: ShapeError, DTypeError for a vector unlike the value
 * @example const { pull } = vjp((x) => x.square(), tensor([1, 2])); pull(tensor([1, 1])) // [2, 4]
 */
export function vjp<A extends Inputs>(
  f: (...inputs: A) => Tensor,
  ...inputs: A
): { value: Tensor; pull: (cotangent: Tensor) => PerInput<A> } {
  const { value, pull, tracked } = record('vjp', f as never, inputs);
  return {
    value: tracked ? value : value.detach(),
    pull(cotangent) {
      checkLike('vjp', 'a vector', cotangent, value);
      const createGraph = context.recording && (tracked || context.differentiating || cotangent.requiresGrad);
      return unpacked<A>(pull(cotangent, { createGraph }));
    },
  };
}

/**
 * Value and Jacobian–vector product: how f changes when its inputs move along `tangents`, J v.
 *
 * Jᵀu is linear in u, and its own vjp in the direction v is (Jᵀ)ᵀ v = J v: two backward passes, no rule beside the
 * vjps. It costs about three evaluations of f; its memory is that of backward.
 *
 * @param f tensors → one tensor of any shape
 * @param inputs   where; @param tangents v, one in each input's shape
 * @returns value f(x) and tangent J v, both in the shape of f's result
 * @throws UsageError, DTypeError, ShapeError
 * @source J. Townsend 2017, "A new trick for calculating Jacobian vector products"
 */
export function jvp<A extends Inputs>(
  f: (...inputs: A) => Tensor,
  inputs: A,
  tangents: { readonly [K in keyof A]: Tensor },
): { value: Tensor; tangent: Tensor } {
  if (!Array.isArray(inputs) || !Array.isArray(tangents) || inputs.length !== tangents.length)
    throw new UsageError('jvp', {
      received: `${(inputs as Inputs)?.length} inputs and ${(tangents as Inputs)?.length} tangents`,
      expected: 'two lists of the same length',
      hint: 'jvp(f, [x], [v]).',
    });
  const { value, pull, tracked } = record('jvp', f as never, inputs);
  inputs.forEach((x, i) => {
    checkLike('jvp', `tangent ${i}`, tangents[i]!, x);
  });
  const createGraph = context.recording && (tracked || tangents.some((v) => v.requiresGrad));
  const { shape, dtype, device } = value;
  const probe = zeros(shape, { dtype, device, requiresGrad: true }); // Jᵀu does not depend on which u
  const pulled = within('jvp', { recording: true, differentiating: true }, () =>
    pull(probe, { createGraph: true })
      .map((part, i) => part.mul(tangents[i]!).sum())
      .reduce((a, b) => a.add(b)),
  );
  const [tangent] = pullBack(pulled, [probe], null, { createGraph });
  return { value: tracked ? value : value.detach(), tangent: tangent! };
}

/**
 * The Jacobian: entry [i…, j…] is ∂f(x)[i…]/∂x[j…].
 *
 * Rows come one by one, a backward pass for each element of f's result; the forward pass is made once.
 * @param f one tensor → one tensor
 * @returns x ↦ [...shape of f(x), ...shape of x]
 * @throws UsageError, DTypeError
 */
export function jacobian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return (x) => {
    const { value, pull } = record('jacobian', f as never, [x]);
    const { size: count, shape, dtype, device } = value;
    const rows = eye(count, undefined, { dtype, device });
    const row = (i: number) => pull(rows.slice([[i, i + 1]]).reshape(shape))[0]!;
    const all = [...shape, ...x.shape];
    if (count === 0 || x.size === 0) return zeros(all, { dtype: x.dtype, device: x.device });
    return stack(Array.from({ length: count }, (_, i) => row(i))).reshape(all);
  };
}

/**
 * The Hessian of a function with one element as result: entry [i…, j…] is ∂²f/∂x[i…]∂x[j…]. The Jacobian of the gradient.
 * @returns x ↦ [...shape of x, ...shape of x], symmetric
 * @throws as {@link grad} and {@link jacobian}
 */
export function hessian(f: (x: Tensor) => Tensor): (x: Tensor) => Tensor {
  return jacobian(grad(f) as (x: Tensor) => Tensor);
}

/**
 * Hessian–vector product, ∇²f(x) v, without the Hessian: the gradient of ⟨∇f(x), v⟩.
 * @param f tensors → one element; @param inputs where; @param vectors v, one in each input's shape
 * @returns one in each input's shape (a list for several inputs)
 * @throws UsageError, DTypeError, ShapeError
 * @source Pearlmutter 1994, "Fast exact multiplication by the Hessian"
 */
export function hvp<A extends Inputs>(
  f: (...inputs: A) => Tensor,
  inputs: A,
  vectors: { readonly [K in keyof A]: Tensor },
): PerInput<A> {
  inputs.forEach((x, i) => {
    checkLike('hvp', `vector ${i}`, vectors[i]!, x);
  });
  const slope = (...own: Tensor[]) =>
    [grad(f as unknown as (...all: Tensor[]) => Tensor)(...own)]
      .flat()
      .map((part, i) => part.mul(vectors[i]!).sum())
      .reduce((a, b) => a.add(b));
  return grad(slope)(...inputs) as PerInput<A>;
}

/**
 * f for each entry along the leading axis, results stacked along a new one: `vmap(f)(x)[i] = f(x[i])`.
 *
 * It is a loop, differentiable to any order, and no faster than one: what has a batch axis of its own (layers, matmul,
 * reductions with `axis`) is faster called once.
 * @param f tensors → one tensor, of the same shape for each entry
 * @returns tensors [n, …] → [n, …]
 * @throws ShapeError for inputs without a leading axis or of different lengths, and for results of different shapes
 */
export function vmap<A extends Inputs>(f: (...entries: A) => Tensor): (...inputs: A) => Tensor {
  return (...inputs) => {
    const [count] = inputs[0]?.shape ?? [];
    if (!count || inputs.some((x) => x.shape[0] !== count))
      throw new ShapeError('vmap', {
        received: `shapes ${inputs.map((x) => formatShape(x.shape)).join(' and ') || '(none)'}`,
        expected: 'inputs with the same leading axis, of at least one entry',
      });
    const entry = (i: number) => inputs.map((x) => x.slice([[i, i + 1]]).squeeze(0)) as never as A;
    return stack(Array.from({ length: count }, (_, i) => f(...entry(i))));
  };
}
