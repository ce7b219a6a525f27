/**
 * What an op is: its equation, its shape rule, its forward kernel and its derivative, side by side. `defineOp`
 * turns the description into a function on tensors and enters it into the registry, from which the tests
 * (forward against the oracle, first and second derivatives, devices against reference) are made.
 */
import { context, within } from '../kernels/context.js';
import { type Device, Storage, sameDevice } from '../kernels/device.js';
import { checkInt32, type DType, promote } from '../tensor/dtype.js';
import { DTypeError, describeValue, UsageError } from '../tensor/errors.js';
import type { Random } from '../tensor/random.js';
import type { Shape } from '../tensor/shape.js';
import { checkAnomaly } from './anomaly.js';
import { Node } from './graph.js';
import { checkTensor, freedError, type Operand, Tensor } from './tensor.js';

/** What a derivative can see. */
export interface VjpContext<P> {
  /** ∂loss/∂output, same shape as the output. */
  gradOutput: Tensor;
  /** The inputs named in `saves.inputs`; others are undefined. A number operand is given as it was. */
  inputs: readonly Tensor[];
  /** The output, when `saves.output`. */
  output: Tensor;
  params: P;
  /** Shapes of all inputs, saved or not. */
  shapes: readonly Shape[];
  /**
   * What the forward kernel handed to `save`: values without a history, so there are none where the derivative is itself
   * differentiated, and it computes them again.
   */
  extra: readonly Tensor[];
  /** Which inputs a gradient is wanted for. */
  wants: readonly boolean[];
}

/** What a forward kernel can see. */
export interface ForwardContext<P> {
  device: Device;
  params: P;
  shapes: readonly Shape[];
  outputShape: Shape;
  dtype: DType;
  /** Saves a further value for the derivative. */
  save(storage: Storage, shape: Shape): void;
}

/** One random trial of an op for the generated tests. */
export interface Trial<P> {
  shapes: Shape[];
  params: P;
  /** Values for inputs that are not free reals (indices, conditions), by position. */
  fixed?: Record<number, { data: number[]; dtype: DType }>;
}

/** How the generated tests exercise an op. What built-in ops need beyond numbers is in src/testing/oracles, by their names. */
export interface OpTest<P> {
  /** Shapes and parameters of one trial. Leave out for elementwise ops. */
  draw?(random: Random): Trial<P>;
  /** Range of the inputs' values, for all or each. Default [-2, 2]. */
  domain?: readonly [number, number] | readonly (readonly [number, number])[];
  /** Values the inputs stay 0.05 away from: kinks and poles. */
  avoid?: readonly number[];
  /** Distinct values that no finite difference can reorder (max, argmax). */
  distinct?: boolean;
  /** The op in plain arithmetic, written independently: one element for elementwise ops … */
  scalar?(...values: number[]): number;
  /** … or all elements, row-major, for the others. */
  oracle?(inputs: { data: ArrayLike<number>; shape: Shape }[], params: P, outputShape: Shape): number[];
  /** Relative tolerance of float32 devices against float64, default 1e-5. */
  tolerance32?: number;
}

/**
 * What becomes of int32 inputs: the kernel computes with them exactly, sums and products wrapping as `| 0` does; they
 * are converted to float32 first; or the op refuses them with a DTypeError.
 */
export type Int32Rule = 'exact' | 'float32' | 'refused';

/**
 * An operation as it is given to {@link defineOp}: its equation, its derivative and what computes both. P: its
 * parameters.
 */
export interface OpDefinition<P> {
  /** Unique; the name in error messages. */
  name: string;
  /** y = f(x), in plain mathematics. */
  equation: string;
  /** The vjp in plain mathematics, ȳ being gradOutput. */
  derivative: string;
  /** Paper, book or standard, where there is one to name. */
  source?: string;
  /**
   * The shape rule for a person, as `[…, n] → […]` or in words. Default: as x, for elementwise ops of two inputs that they
   * broadcast.
   */
  shapes?: string;
  /** Output shape; throws typed errors for inputs that do not fit. Default: that of the first input. */
  shape?(shapes: readonly Shape[], params: P): Shape;
  /** dtype of the output. Default: the promoted dtype of the inputs. */
  dtype?(dtype: DType, params: P): DType;
  /** What becomes of int32 inputs. Default: 'exact'. */
  int32?: Int32Rule;
  /** Inputs (by position) that get no gradient: indices, conditions. Their dtype is their own, and no other input takes it. */
  nonDifferentiable?: readonly number[];
  /** Inputs are walked by a broadcasting kernel, so plain numbers may stay numbers. Others become tensors. */
  numbers?: boolean;
  /** Computes the output from storages (built-in ops). */
  kernel?(inputs: readonly (Storage | number)[], context: ForwardContext<P>): Storage;
  /** Computes the output from tensors, not recorded (the simple way, for your own ops). */
  forward?(inputs: readonly Tensor[], params: P): Tensor;
  /** The output as a composition of other ops, whose derivatives are its own: see `defineComposite`. */
  compose?(inputs: readonly Tensor[], params: P): Tensor;
  /** What the derivative needs; anything else is not kept alive. Default: all inputs and the output. */
  saves?: { inputs?: readonly number[]; output?: boolean };
  /**
   * Gradients in terms of differentiable ops, so that they can be differentiated again: a list with one function
   * an input, called only where wanted, or one function that gives them all. A string instead says why not.
   */
  vjp: ((context: VjpContext<P>) => Tensor)[] | ((context: VjpContext<P>) => (Tensor | null)[]) | string;
  /** The same gradients from fused kernels; used when they are not themselves differentiated. Null declines. */
  fusedVjp?(context: VjpContext<P>): (Tensor | null)[] | null;
  test?: OpTest<P>;
}

export interface Op<P> extends OpDefinition<P> {
  readonly builtIn: boolean;
}

/** A defined op: inputs in the definition's order, and its parameters. */
export type OpFunction<P> = (inputs: readonly Operand[], params: P) => Tensor;

/** Every op defined so far, by name; the last definition of each. The public `registeredOps` has their equations, too. */
// biome-ignore lint/suspicious/noExplicitAny: the registry holds ops of every parameter type
export const registry = new Map<string, Op<any>>();

/**
 * Defines a differentiable operation and returns it as a function `(inputs, params) → Tensor`.
 *
 * @example
 * const cube = defineOp({
 *   name: 'cube', equation: 'y = x³', derivative: 'x̄ = 3x² ȳ',
 *   forward: ([x]) => x.mul(x).mul(x),
 *   vjp: [({ gradOutput, inputs: [x] }) => gradOutput.mul(x.mul(x).mul(3))],
 * });
 * cube([tensor([1, 2, 3])])
 *
 * An op of your own may be defined again under its name (a cell of a notebook run twice): the last definition counts,
 * and functions made from an earlier one go on working.
 *
 * @throws UsageError when the name is that of a built-in op, or there is not exactly one of `kernel` and `forward`
 */
export function defineOp<P = void>(definition: OpDefinition<P>): OpFunction<P> {
  return define(definition, false);
}

/** defineOp for the ops of this library, whose names are taken for good. */
export function defineBuiltIn<P = void>(definition: OpDefinition<P>): OpFunction<P> {
  return define(definition, true);
}

export interface CompositeDefinition<P>
  extends Omit<OpDefinition<P>, 'kernel' | 'forward' | 'saves' | 'vjp' | 'fusedVjp' | 'dtype'> {
  compose(inputs: readonly Tensor[], params: P): Tensor;
  /** Why there is no derivative, for those that have none. */
  constant?: string;
}

/**
 * Defines an op of this library as a composition of others: no kernel and no derivative of its own, but a place in the
 * registry, and with it the generated tests. What is recorded are the ops that it is made of.
 */
export function defineComposite<P = void>({ constant, ...definition }: CompositeDefinition<P>): OpFunction<P> {
  return defineBuiltIn<P>({ ...definition, vjp: constant ?? [] });
}

function define<P>(definition: OpDefinition<P>, builtIn: boolean): OpFunction<P> {
  const name = definition?.name;
  if (typeof name !== 'string' || name === '')
    throw new UsageError('defineOp', {
      received: `${describeValue(definition)}, without a name`,
      expected: '{ name, vjp, … } whose name is a text',
    });
  if (registry.get(name)?.builtIn)
    throw new UsageError('defineOp', {
      received: `the name ${name}, which is that of a built-in op`,
      expected: 'a name of your own',
    });
  if (!definition.compose && Boolean(definition.kernel) === Boolean(definition.forward))
    throw new UsageError('defineOp', {
      received: `${name} with ${definition.kernel ? 'both' : 'neither'} kernel and forward`,
      expected: 'exactly one of them',
    });
  const op: Op<P> = { ...definition, builtIn };
  registry.set(name, op);
  if (builtIn) return (inputs, params) => apply(op, inputs, params);
  return (inputs, params) => {
    if (Array.isArray(inputs)) return apply(op, inputs, params);
    throw new UsageError(name, {
      received: `${describeValue(inputs)} as operands`,
      expected: 'a list of tensors and numbers',
      hint: `Write ${name}([x]).`,
    });
  };
}

/** Runs an op and records it. */
export function apply<P>(op: Op<P>, operands: readonly Operand[], params: P): Tensor {
  const { inputs, dtype } = prepare(op, operands);
  if (op.compose) return op.compose(inputs as Tensor[], params);
  const shapes = new Array<Shape>(inputs.length);
  let tracked = false;
  let why: string | null = null;
  let device: Device | null = null;
  const storages = new Array<Storage | number>(inputs.length);
  for (let i = 0; i < inputs.length; i++) {
    const input = inputs[i]!;
    if (typeof input === 'number') {
      shapes[i] = scalarShape;
      storages[i] = input;
      continue;
    }
    const { storage } = input;
    if (storage.freed) throw freedError(op.name, input);
    device = storage.device;
    shapes[i] = input.shape;
    storages[i] = storage;
    if (input.node !== null)
      tracked ||= !op.nonDifferentiable?.includes(i); // nothing flows through a condition or an index
    else if (input.whyNoGradient !== null) why = input.whyNoGradient;
  }
  const outputShape = op.shape ? op.shape(shapes, params) : shapes[0]!;
  const extra: Tensor[] = [];
  let output: Tensor;
  if (op.kernel) {
    const storage = op.kernel(storages, {
      device: device!,
      params,
      shapes,
      outputShape,
      dtype: op.dtype ? op.dtype(dtype, params) : dtype,
      save: (value, shape) => extra.push(new Tensor(value, shape)),
    });
    if (!op.builtIn && !(storage instanceof Storage)) throw noStorage(op.name, storage);
    output = new Tensor(storage, outputShape);
  } else {
    output = forwardUnrecorded(op, inputs as Tensor[], params);
  }
  if (!context.recording || !tracked) output.whyNoGradient = why;
  else if (typeof op.vjp === 'string') output.whyNoGradient = `${op.name}: ${op.vjp}`;
  else output.node = record(op, inputs, params, shapes, output, extra);
  checkAnomaly(op.name, inputs, params, output);
  context.observer?.(op.name, inputs, params, output);
  return output;
}

const scalarShape: Shape = [];

function forwardUnrecorded<P>(op: Op<P>, inputs: readonly Tensor[], params: P): Tensor {
  const result = within(op.name, { recording: false }, () => op.forward!(inputs, params));
  checkTensor(op.name, 'result of forward', result);
  return new Tensor(result.storage, result.shape); // never the input object itself, which has its own history
}

function record<P>(
  op: Op<P>,
  inputs: readonly Operand[],
  params: P,
  shapes: readonly Shape[],
  output: Tensor,
  extra: readonly Tensor[],
): Node {
  const parents = inputs.map((x, i) => (typeof x === 'number' || op.nonDifferentiable?.includes(i) ? null : x.node));
  const { saves } = op;
  const saved = saves ? inputs.map((x, i) => (saves.inputs?.includes(i) ? x : undefined)) : inputs;
  return new Node(op, parents, saved, params, shapes, !saves || saves.output ? output : null, extra, output);
}

/**
 * Brings operands to one dtype, and numbers to tensors where the op needs tensors. Numbers beside float32 tensors are
 * rounded to float32: on every device `x.equal(0.1)` then is what it is with a tensor of 0.1.
 */
function prepare<P>(op: Op<P>, operands: readonly Operand[]): { inputs: readonly Operand[]; dtype: DType } {
  let first: Tensor | null = null;
  let dtype: DType | null = null;
  let choosing: DType = 'float32'; // of conditions, for a result that only numbers make
  let uniform = true;
  let fractional = false;
  let rounded = false;
  for (let i = 0; i < operands.length; i++) {
    const operand = operands[i];
    if (typeof operand === 'number') {
      if (!op.numbers) uniform = false;
      if (!Number.isInteger(operand)) fractional = true;
      if (Math.fround(operand) !== operand) rounded = true;
    } else if (operand instanceof Tensor) {
      first ??= operand;
      if (operand.storage.device !== first.storage.device)
        sameDevice(op.name, first.storage.device, operand.storage.device);
      if (op.nonDifferentiable?.includes(i)) {
        if (operand.dtype === 'float64') choosing = 'float64';
        continue;
      }
      if (dtype !== null && dtype !== operand.dtype) uniform = false;
      dtype = dtype === null ? operand.dtype : promote(dtype, operand.dtype);
    } else {
      throw new UsageError(op.name, {
        received: `${operand === null ? 'null' : Array.isArray(operand) ? 'an array' : typeof operand} as operand ${i}`,
        expected: 'a tensor or a number',
        hint: 'Wrap data with tensor(…).',
      });
    }
  }
  if (first === null)
    throw new UsageError(op.name, {
      received: 'no tensor',
      expected: 'at least one tensor',
      hint: 'Wrap a number with tensor(…).',
    });
  dtype ??= choosing;
  if (dtype === 'int32') {
    if (op.int32 === 'refused') throw noIntegers(op.name);
    if (op.int32 === 'float32' || fractional) {
      dtype = 'float32';
      uniform = false;
    } else for (const x of operands) if (typeof x === 'number') checkInt32(op.name, x);
  }
  if (uniform && !(rounded && dtype === 'float32')) return { inputs: operands, dtype };
  const target = dtype;
  const { device } = first.storage;
  const inputs = operands.map((x, i) => {
    if (typeof x === 'number') {
      if (!op.numbers) return new Tensor(device.fill(1, x, target), scalarShape);
      return target === 'float32' ? Math.fround(x) : x;
    }
    return op.nonDifferentiable?.includes(i) || x.dtype === target ? x : x.cast(target);
  });
  return { inputs, dtype };
}

function noStorage(op: string, result: unknown): UsageError {
  return new UsageError(op, {
    received: `${describeValue(result)} from its kernel`,
    expected: 'a Storage, made by the device: kernel: ([x], { device }) => device.map(f, x)',
    hint: 'A function of numbers is the f of device.map or device.zip. A function of tensors goes to `forward`.',
  });
}

function noIntegers(op: string): DTypeError {
  return new DTypeError(op, {
    received: 'int32 tensors',
    expected: 'float32 or float64',
    hint: "Convert with cast('float32').",
  });
}
