/** Modules: parameters and buffers by name, in training or evaluation mode. */

import { leafNode, noGrad } from '../autograd/graph.js';
import { noGradientOfIntegers, Tensor } from '../autograd/tensor.js';
import type { HalfTensor } from '../formats/half.js';
import { context } from '../kernels/context.js';
import { type Storage, touch } from '../kernels/device.js';
import { keep } from '../kernels/scope.js';
import { CheckpointError, UsageError } from '../tensor/errors.js';
import { formatShape, type Shape, sizeOf } from '../tensor/shape.js';
import { type SummaryEntry, summarize, sums } from './summary.js';

export interface ParameterOptions {
  /** Whether AdamW shrinks it. Default: matrices and larger yes; biases, gains and other vectors no. */
  decay?: boolean;
  /** False takes the value's memory over: for a value that nothing else uses. Default true. */
  copy?: boolean;
}

/** A tensor that is trained. It knows itself whether weight decay applies; nobody matches on names. */
export class Parameter extends Tensor {
  readonly decay: boolean;
  /** What the module that listed it last calls it, for messages; null before. */
  name: string | null = null;

  /**
   * @param value where it begins; its history is cut off
   * @throws DTypeError for whole numbers
   */
  constructor(value: Tensor, { decay = value.rank >= 2, copy = true }: ParameterOptions = {}) {
    if (value.dtype === 'int32') throw noGradientOfIntegers('Parameter');
    super(copy ? copied(value) : value.storage, value.shape);
    keep(this.storage);
    this.node = leafNode(this);
    this.decay = decay;
  }
}

/** A tensor that belongs to a module's state but is not trained, such as running statistics. */
export class Buffer extends Tensor {
  constructor(value: Tensor) {
    super(copied(value), value.shape);
    keep(this.storage);
  }
}

/** The same elements in memory of their own: what is updated in place must not be another's. */
function copied(value: Tensor): Storage {
  return value.detach().clone().storage;
}

/** A parameter made of a value that nothing else uses. */
export function adopt(value: Tensor, options: { decay?: boolean } = {}): Parameter {
  return new Parameter(value, { ...options, copy: false });
}

/** Overwrites `target` with `value`, in place and without history. Shapes must hold equally many elements. */
export function assign(target: Tensor, value: Tensor): void {
  const { device, dtype } = target;
  const source = value
    .detach()
    .to(value.dtype === dtype ? device : 'reference')
    .cast(dtype)
    .to(device);
  target.storage.device.copyInto(target.storage, source.storage);
  touch(target.storage);
}

/**
 * Moves a running statistic towards that of a batch: running ← (1 − momentum) running + momentum value. Not while a
 * checkpoint computes its function again: that batch has been counted.
 */
export function follow(running: Buffer, value: Tensor, momentum: number): void {
  if (context.replaying) return;
  noGrad(() => assign(running, running.mul(1 - momentum).add(value.reshape(running.shape).mul(momentum))));
}

/**
 * Compares names and shapes of a state dict with those of a model; `num_batches_tracked` is passed over, and a scalar
 * may be [] or [1].
 * @param strict when false, missing and unexpected names are allowed and returned
 * @throws CheckpointError that lists every missing, unexpected and mismatched entry
 */
export function checkState(
  op: string,
  own: ReadonlyMap<string, Shape>,
  given: ReadonlyMap<string, Shape>,
  { strict }: { strict: boolean },
): { missing: string[]; unexpected: string[] } {
  const missing = [...own.keys()].filter((name) => !given.has(name));
  const unexpected = [...given.keys()].filter((name) => !own.has(name) && !name.endsWith('num_batches_tracked'));
  const mismatched = [...own].flatMap(([name, shape]) => {
    const other = given.get(name);
    const scalar = other && sizeOf(other) === 1 && sizeOf(shape) === 1;
    return !other || scalar || formatShape(other) === formatShape(shape)
      ? []
      : [`${name}: ${formatShape(other)} instead of ${formatShape(shape)}`];
  });
  const matched = own.size - missing.length;
  const faults = [
    !strict && matched === 0 && own.size > 0 && 'no name matches',
    strict && missing.length > 0 && `missing: ${missing.join(', ')}`,
    strict && unexpected.length > 0 && `unexpected: ${unexpected.join(', ')}`,
    mismatched.length > 0 && `wrong shape: ${mismatched.join(', ')}`,
  ].filter(Boolean);
  if (faults.length === 0) return { missing, unexpected };
  throw new CheckpointError(op, {
    received: faults.join('; '),
    expected: `the ${own.size} entries of this model`,
    hint: `Is the checkpoint from another architecture or size?${
      matched > 0 && mismatched.length === 0 ? ` { strict: false } loads the ${matched} that fit by name.` : ''
    }`,
  });
}

/** Parameters, buffers and modules in a property's value. `around` are the containers that it is in, which may be circular. */
function* membersIn(
  name: string,
  value: unknown,
  around: readonly unknown[],
): Generator<[string, Parameter | Buffer | Module]> {
  if (value instanceof Parameter || value instanceof Buffer || value instanceof Module) yield [name, value];
  if (typeof value !== 'object' || value === null || around.includes(value)) return;
  const entries: Iterable<[unknown, unknown]> | null =
    value instanceof Map || Array.isArray(value)
      ? value.entries()
      : Object.getPrototypeOf(value) === Object.prototype
        ? Object.entries(value)
        : null;
  for (const [key, item] of entries ?? []) yield* membersIn(`${name}.${key}`, item, [...around, value]);
}

/**
 * The base of layers and models. Every property that holds a Parameter, a Buffer or a Module belongs to it, under the
 * property's name; nested names are joined with dots (`layer1.0.conv1.weight`). So does what is in lists, maps and plain
 * objects, under its index or key. A module that refers back to one around it (`parent`) does not hold that.
 */
export abstract class Module {
  /** Layers such as batch norm behave differently in training; see train() and eval(). */
  training = true;

  /** This module and all that it holds, in order; what is in lists, maps and plain objects by its place, `name.0`, `name.key`. */
  *#walk(path: string, around: readonly Module[]): Generator<[string, Parameter | Buffer | Module, owner: string]> {
    yield [path, this, path];
    const within = [...around, this];
    for (const [property, value] of Object.entries(this))
      for (const [name, member] of membersIn(path ? `${path}.${property}` : property, value, []))
        if (!(member instanceof Module)) yield [name, member, path];
        else if (!within.includes(member)) yield* member.#walk(name, within);
  }

  *#tensors(): Generator<[string, Parameter | Buffer]> {
    for (const [name, member] of this.#walk('', [])) if (!(member instanceof Module)) yield [name, member];
  }

  /** This module and all inside it, by name ('' is this one). */
  *namedModules(prefix = ''): Generator<[string, Module]> {
    for (const [name, member] of this.#walk(prefix, [])) if (member instanceof Module) yield [name, member];
  }

  /** All parameters with their names, in order of definition; one that has several names (tied) once, with the first. */
  namedParameters(): [string, Parameter][] {
    const names = new Map<Parameter, string>();
    for (const [name, value] of this.#tensors())
      if (value instanceof Parameter && !names.has(value)) names.set(value, name);
    for (const [parameter, name] of names) parameter.name = name;
    return [...names].map(([parameter, name]) => [name, parameter]);
  }

  /** All parameters, those of submodules included, each once. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, parameter]) => parameter);
  }

  /** Number of trained values. */
  parameterCount(): number {
    return this.parameters().reduce((count, parameter) => count + parameter.size, 0);
  }

  /**
   * Parameters and buffers by name, tied ones under each of their names, without history. They share memory with the
   * module: clone() to keep a copy.
   */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries([...this.#tensors()].map(([name, value]) => [name, value.detach()]));
  }

  /**
   * Overwrites parameters and buffers in place, converting dtype and device; half precision is widened, a tensor at a time.
   *
   * `num_batches_tracked` entries, which PyTorch's batch norm writes and nothing here uses, are passed over, and a
   * scalar may be stored as [] or [1]. A tied parameter needs one of its names.
   * @param strict when false, missing and unexpected names are allowed and returned
   * @throws CheckpointError that lists every missing, unexpected and mismatched entry; nothing is changed then
   */
  loadStateDict(
    state: Record<string, Tensor | HalfTensor>,
    { strict = true }: { strict?: boolean } = {},
  ): { missing: string[]; unexpected: string[] } {
    const given = new Set([...this.#tensors()].flatMap(([name, tensor]) => (state[name] ? tensor : [])));
    const own = new Map([...this.#tensors()].filter(([name, tensor]) => state[name] || !given.has(tensor)));
    const shapes = (entries: Iterable<[string, Tensor | HalfTensor]>) =>
      new Map([...entries].map(([name, { shape }]) => [name, shape]));
    const faults = checkState('loadStateDict', shapes(own), shapes(Object.entries(state)), { strict });
    for (const [name, tensor] of own) {
      const value = state[name];
      if (!value) continue;
      if (value instanceof Tensor) assign(tensor, value);
      else {
        const wide = value.toTensor({ device: tensor.device });
        assign(tensor, wide);
        wide.dispose();
      }
    }
    return faults;
  }

  /** Training mode for this module and all inside: batch norm uses and updates batch statistics. */
  train(): this {
    for (const [, module] of this.namedModules()) module.training = true;
    return this;
  }

  /** Evaluation mode: batch norm uses its running statistics. */
  eval(): this {
    for (const [, module] of this.namedModules()) module.training = false;
    return this;
  }

  /**
   * Freezes parameters (false) or lets them be trained again (true): all of them, or those that `pattern` matches. A
   * frozen parameter gets no gradient and no update, and what it has of a gradient is dropped; where nothing before it is
   * trained either, backward does not go there. Batch norm's running statistics still move in training mode: eval() stops them.
   *
   * @param pattern a name as in namedParameters(), or that of a module for all inside it; `*` stands for any characters.
   *   Or a regular expression that finds something in the name
   * @throws UsageError when the pattern matches no parameter
   * @example model.requiresGrad_(false).requiresGrad_(true, 'head');  model.requiresGrad_(false, '*.bias')
   */
  requiresGrad_(value = true, pattern: string | RegExp = /^/): this {
    const expression =
      typeof pattern === 'string'
        ? new RegExp(`^${pattern.replace(/[^*\w]/g, '\\$&').replaceAll('*', '.*')}(\\.|$)`)
        : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, '')); // those two remember where they were
    const matched = new Set([...this.#tensors()].flatMap(([name, tensor]) => (expression.test(name) ? tensor : [])));
    const parameters = this.parameters().filter((parameter) => matched.has(parameter));
    if (parameters.length === 0)
      throw new UsageError('requiresGrad_', {
        received: `${pattern}, which no parameter's name matches`,
        expected: 'a name, a pattern with *, or a regular expression',
        hint: `Names are ${this.namedParameters()
          .slice(0, 5)
          .map(([name]) => name)
          .join(', ')} …`,
      });
    for (const parameter of parameters) {
      parameter.requiresGrad = value;
      if (!value) parameter.grad = null;
    }
    return this;
  }

  /**
   * Moves parameters, buffers and gradients to a device, in place: parameters stay the same objects, so that optimisers
   * made before still hold them, and move what they remember at their next step.
   * @returns this
   * @throws DeviceError for a device that is unknown, or from one that answers asynchronously
   * @example model.to('webgpu')
   */
  to(device: string): this {
    for (const tensor of new Set([...this.#tensors()].map(([, tensor]) => tensor))) {
      if (tensor.device === device) continue;
      if (tensor.grad) tensor.grad = tensor.grad.to(device);
      const moved = tensor.detach().to(device).storage;
      keep(moved);
      (tensor as { storage: Storage }).storage = moved;
      if (tensor.requiresGrad) tensor.node = leafNode(tensor);
    }
    return this;
  }

  /**
   * A table of the layers: name, kind, shape of the output, parameters, memory of parameters and buffers; and sums.
   *
   * @param example what forward() is given, or a function that runs the model: output shapes are those of this run, which
   *   changes neither running statistics nor the random numbers that come next. Without it they are left out
   * @example console.log(model.summary(zeros([1, 3, 32, 32])))  model.summary(() => model.encodeText(tokens))
   */
  summary(...example: unknown[]): string {
    const entries = new Map<string, SummaryEntry & { own: Tensor[] }>();
    for (const [name, member, owner] of this.#walk('', []))
      if (member instanceof Module) entries.set(name, { path: name, module: member, own: [] });
      else entries.get(owner)!.own.push(member);
    return summarize(this, [...entries.values()], example);
  }

  /** Class, number of parameters and memory, in a line. */
  toString(): string {
    return `${this.constructor.name}: ${sums(this, [...new Set([...this.#tensors()].map(([, tensor]) => tensor))])}`;
  }

  /** Class and number of parameters, for JSON.stringify, which is no place for weights: {@link save} writes them. */
  toJSON(): { module: string; parameters: number } {
    const parameters = this.parameters().reduce((sum, { shape }) => sum + sizeOf(shape), 0);
    return { module: this.constructor.name, parameters };
  }

  /** What Node prints: the {@link summary} instead of all weights. */
  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.summary();
  }

  /** Drops all gradients. */
  zeroGrad(): void {
    for (const parameter of this.parameters()) parameter.grad = null;
  }
}
