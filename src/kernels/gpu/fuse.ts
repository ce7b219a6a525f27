/**
 * Elementwise steps of a recording as fewer, larger ones: where only one step reads what another makes, and reads it element by
 * element, it computes that itself. f(a, b) and g(f, c) become g(f(a, b), c): one kernel less to start, one buffer less to write and read.
 */
import { sizeOf } from '../../tensor/shape.js';
import { identityOf } from '../source/identity.js';
import type { Formula } from './programs.js';

/** What an elementwise step computes: a formula over a shape, outermost axis first; operands' strides over it, none for numbers. */
export interface Form {
  formula: Formula;
  shape: readonly number[];
  strides: readonly (readonly number[] | null)[];
}

/** An operand: a number, or what stands under a key (equal keys: equal contents). */
export type Input<A> = A & ({ key: string } | { value: number });

/** A form and what it is given. */
export interface Fusable<A> {
  form: Form;
  inputs: readonly Input<A>[];
}

/** Arrays that a kernel may read: WebGPU promises eight buffers, and one is the result. */
export const mostArrays = 7;

/** Strides of an array whose elements are read in order. */
export function inOrder(shape: readonly number[]): number[] {
  return shape.map((_, axis) => sizeOf(shape.slice(axis + 1)));
}

/** Whether an array is read in order; along an axis of one element any stride will do. */
export const isInOrder = (strides: readonly number[], shape: readonly number[]) =>
  inOrder(shape).every((step, axis) => shape[axis] === 1 || strides[axis] === step);

const allInOrder = ({ strides, shape }: Form) => strides.every((own) => own === null || isInOrder(own, shape));

const over = (shape: readonly number[], strides: Form['strides']): Form['strides'] =>
  strides.map((own) => own && inOrder(shape));

/** The kernels of a formula, by the names that they are printed under. */
function kernels(formula: Formula, found = new Map<string, string>()): Map<string, string> | null {
  const { name, id } = identityOf(formula.f);
  if ((found.get(name) ?? id) !== id) return null; // two kernels of users under one name
  found.set(name, id);
  return formula.args.every((arg) => typeof arg === 'number' || kernels(arg, found)) ? found : null;
}

/** How often a formula has an operand. */
const times = ({ args }: Formula, operand: number): number =>
  args.reduce<number>((sum, arg) => sum + (typeof arg === 'number' ? Number(arg === operand) : times(arg, operand)), 0);

/** The formula with other operands, or formulas, in place of its own. */
const replaced = ({ f, args }: Formula, by: (operand: number) => Formula | number): Formula => ({
  f,
  args: args.map((arg) => (typeof arg === 'number' ? by(arg) : replaced(arg, by))),
});

/**
 * `outer` with what `inner` computes in place of its operand `at`; null where that is not read in order, element by element, or
 * the shapes do not fit, or a kernel would have too many arrays.
 */
export function fuse<A>(outer: Fusable<A>, at: number, inner: Fusable<A>): Fusable<A> | null {
  const [a, b] = [outer.form, inner.form];
  const read = a.strides[at]!;
  if (read === null || !isInOrder(read, a.shape) || sizeOf(a.shape) !== sizeOf(b.shape)) return null;
  if (times(a.formula, at) !== 1) return null; // it would be computed twice
  let [shape, outerStrides, innerStrides] = [a.shape, a.strides, b.strides];
  if (a.shape.join() !== b.shape.join()) {
    if (allInOrder(b)) innerStrides = over(a.shape, b.strides);
    else if (allInOrder(a)) [shape, outerStrides] = [b.shape, over(b.shape, a.strides)];
    else return null;
  }
  const inputs: Input<A>[] = [];
  const strides: (readonly number[] | null)[] = [];
  const places = new Map<string, number>();
  /** Where an operand stands now; arrays that are read alike are one. */
  const place = (input: Input<A>, own: readonly number[] | null) => {
    const key = 'key' in input ? `${input.key} ${own}` : `${inputs.length}`;
    const known = places.get(key);
    if (known !== undefined) return known;
    places.set(key, inputs.length);
    strides.push(own);
    return inputs.push(input) - 1;
  };
  const formula = replaced(a.formula, (i) =>
    i === at
      ? replaced(b.formula, (j) => place(inner.inputs[j]!, innerStrides[j]!))
      : place(outer.inputs[i]!, outerStrides[i]!),
  );
  if (strides.filter((own) => own !== null).length > mostArrays || !kernels(formula)) return null;
  return { form: { formula, shape, strides }, inputs };
}
